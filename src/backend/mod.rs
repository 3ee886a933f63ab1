//! The databases behind the two seams, [`crate::job::JobStore`] and [`crate::warehouse::Warehouse`]: the only place
//! that knows a driver.
//!
//! Invariant: the SQL texts differ from backend to backend, their meaning does not. One conformance suite
//! (`tests/it/conformance`) runs on all of them.

pub mod mysql;
pub mod sqlite;

use crate::config::Database;
use crate::error::Result;
use crate::job::JobStore;
use crate::warehouse::Warehouse;

/// Schema version of the metadata database that this binary reads and writes.
pub const METADATA_VERSION: u32 = 5;

/// Schema version of the reporting database that this binary reads and writes.
pub const REPORTING_VERSION: u32 = 4;

/// Opens the metadata database as it is: nothing is created before `migrate`.
pub fn open_job_store(database: &Database) -> Result<Box<dyn JobStore>> {
    match database {
        Database::Sqlite { path } => Ok(Box::new(sqlite::SqliteJobStore::open(path)?)),
        Database::Mysql(config) => Ok(Box::new(mysql::MysqlJobStore::open(config))),
    }
}

/// Opens the reporting database as it is: nothing is created before `migrate`.
pub fn open_warehouse(database: &Database) -> Result<Box<dyn Warehouse>> {
    match database {
        Database::Sqlite { path } => Ok(Box::new(sqlite::SqliteWarehouse::open(path)?)),
        Database::Mysql(config) => Ok(Box::new(mysql::MysqlWarehouse::open(config))),
    }
}

/// What `migrate` of a new metadata database runs, in order.
pub fn metadata_ddl(database: &Database) -> Vec<&'static str> {
    match database {
        Database::Sqlite { .. } => sqlite::metadata_ddl(),
        Database::Mysql(_) => mysql::metadata_ddl(),
    }
}

/// What `migrate` of a new reporting database runs, in order.
pub fn reporting_ddl(database: &Database) -> Vec<&'static str> {
    match database {
        Database::Sqlite { .. } => sqlite::reporting_ddl(),
        Database::Mysql(_) => mysql::reporting_ddl(),
    }
}

/// What a user of one role needs.
#[derive(Debug, Clone)]
pub struct Grants {
    /// The name of the user in the statements.
    pub role: &'static str,
    /// The commands that it is for.
    pub purpose: &'static str,
    pub statements: Vec<String>,
}

/// Least-privilege grants for both databases, the feeds' `tables` in the second one. Empty where neither has users.
pub fn grants(metadata: &Database, reporting: &Database, tables: &[String]) -> Vec<Grants> {
    let name = |database: &Database| match database {
        Database::Sqlite { .. } => None,
        Database::Mysql(config) => Some(config.name.clone()),
    };
    let (metadata, reporting) = (name(metadata), name(reporting));
    if metadata.is_none() && reporting.is_none() {
        return Vec::new();
    }
    mysql::grants(metadata.as_deref(), reporting.as_deref(), tables)
}
