//! How a schema comes to its version: numbered steps, each in one transaction together with its number.
//!
//! Invariant: a kill at any point leaves a whole number of steps, and running again goes on from there. Both schemas
//! may share a file: each counts its own version in `loadline_schema`.

mod metadata;
mod reporting;

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::fault::Fault;
use crate::backend::{METADATA_VERSION, REPORTING_VERSION};
use crate::error::Error;
use crate::failpoint;

const SCHEMA_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS loadline_schema (
    component TEXT PRIMARY KEY,
    version   INTEGER NOT NULL
) STRICT";

/// A step; its number is its place, from 1. Every statement of it may run again without harm.
pub(super) struct Migration {
    name: &'static str,
    /// Added where they are missing: SQLite has no `ADD COLUMN IF NOT EXISTS`.
    columns: &'static [Column],
    statements: &'static [&'static str],
}

struct Column {
    table: &'static str,
    name: &'static str,
    ddl: &'static str,
}

/// One of the two schemas.
pub(super) struct Component {
    /// `loadline_schema.component`, and the database's role in messages.
    pub name: &'static str,
    pub version: u32,
    steps: &'static [Migration],
}

pub(super) static METADATA: Component =
    Component { name: "metadata", version: METADATA_VERSION, steps: &metadata::STEPS };

pub(super) static REPORTING: Component =
    Component { name: "reporting", version: REPORTING_VERSION, steps: &reporting::STEPS };

/// The DDL of the metadata database, in order.
pub fn metadata_ddl() -> Vec<&'static str> {
    METADATA.ddl()
}

/// The DDL of the reporting database without the feeds' tables, in order.
pub fn reporting_ddl() -> Vec<&'static str> {
    REPORTING.ddl()
}

impl Column {
    fn exists(&self, c: &Connection) -> Result<bool, Fault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
        Ok(c.query_row(sql, [self.table, self.name], |row| row.get(0))?)
    }
}

impl Component {
    fn ddl(&self) -> Vec<&'static str> {
        let mut ddl = vec![SCHEMA_TABLE];
        for step in self.steps {
            ddl.extend(step.columns.iter().map(|column| column.ddl));
            ddl.extend(step.statements);
        }
        ddl
    }

    /// `None` where this schema has never been set up in the database.
    pub fn version_in(&self, connection: &Connection) -> Result<Option<u32>, Fault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'loadline_schema')";
        let has_versions: bool = connection.query_row(sql, [], |row| row.get(0))?;
        if !has_versions {
            return Ok(None);
        }
        let sql = "SELECT version FROM loadline_schema WHERE component = ?1";
        Ok(connection.query_row(sql, [self.name], |row| row.get(0)).optional()?)
    }

    /// Runs the steps that are missing and returns their names.
    pub fn migrate(&self, connection: &mut Connection, path: &Path) -> Result<Vec<String>, Fault> {
        connection.execute_batch(SCHEMA_TABLE)?;
        let mut ran = Vec::new();
        for (number, step) in (1..).zip(self.steps) {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version = self.version_in(&transaction)?.unwrap_or(0);
            if version > self.version {
                return Err(self.too_new(version, path).into());
            }
            if version >= number {
                continue;
            }
            for column in step.columns {
                if !column.exists(&transaction)? {
                    transaction.execute_batch(column.ddl)?;
                }
            }
            for statement in step.statements {
                transaction.execute_batch(statement)?;
                failpoint::reach_blocking("setup.statement")?;
            }
            let sql = "INSERT INTO loadline_schema (component, version) VALUES (?1, ?2) \
                       ON CONFLICT (component) DO UPDATE SET version = excluded.version";
            transaction.execute(sql, (self.name, number))?;
            transaction.commit()?;
            failpoint::reach_blocking("setup.step")?;
            ran.push(step.name.to_owned());
        }
        Ok(ran)
    }

    /// Refuses a database that this binary can't work on.
    pub fn require_in(&self, connection: &Connection, path: &Path) -> Result<(), Fault> {
        match self.version_in(connection)? {
            None => Err(self.not_set_up(path).into()),
            Some(version) if version > self.version => Err(self.too_new(version, path).into()),
            Some(version) if version < self.version => Err(self.too_old(version, path).into()),
            Some(_) => Ok(()),
        }
    }

    pub fn not_set_up(&self, path: &Path) -> Error {
        let (name, path) = (self.name, path.display());
        Error::config(format!("the {name} database {path} is not set up")).hint("run `loadline setup`")
    }

    fn too_old(&self, version: u32, path: &Path) -> Error {
        let (Self { name, version: needed, .. }, path) = (self, path.display());
        Error::config(format!("the {name} database {path} has schema version {version}, this loadline needs {needed}"))
            .hint("run `loadline setup`")
    }

    fn too_new(&self, version: u32, path: &Path) -> Error {
        let (Self { name, version: known, .. }, path) = (self, path.display());
        Error::config(format!("the {name} database {path} has schema version {version}, this loadline knows {known}"))
            .hint("use the newer loadline that set it up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumes_after_any_step_and_repeats_harmlessly() {
        for component in [&METADATA, &REPORTING] {
            assert_eq!(component.steps.len(), component.version as usize);
            for done in 0..=component.steps.len() {
                let mut connection = Connection::open_in_memory().unwrap();
                component.migrate(&mut connection, Path::new("m.db")).unwrap();
                // As if killed after `done` steps, with later ones there but not counted.
                connection.execute("UPDATE loadline_schema SET version = ?1", [done as i64]).unwrap();
                let ran = component.migrate(&mut connection, Path::new("m.db")).unwrap();
                assert_eq!(ran.len(), component.steps.len() - done);
                assert_eq!(component.version_in(&connection).unwrap(), Some(component.version));
            }
        }
    }

    #[test]
    fn a_newer_schema_is_reported_and_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        METADATA.migrate(&mut connection, Path::new("m.db")).unwrap();
        connection.execute("UPDATE loadline_schema SET version = 99", []).unwrap();
        assert_eq!(METADATA.version_in(&connection).unwrap(), Some(99));
        assert!(METADATA.migrate(&mut connection, Path::new("m.db")).is_err());
        assert!(METADATA.require_in(&connection, Path::new("m.db")).is_err());
    }
}
