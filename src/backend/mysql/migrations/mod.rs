//! How a schema comes to its version: numbered steps, each of DDL that may run again.
//!
//! MySQL commits at every DDL statement, and can't roll one back. So a step's number is written when all of its
//! statements have run, and a step that was killed in between is run again from its beginning.
//!
//! Invariant: every statement of a step may run again without harm, and running again goes on from there. Both schemas
//! may share a database: each counts its own version in `loadline_schema`.

mod metadata;
mod reporting;

use super::connection::Session;
use super::fault::Fault;
use super::value::field;
use crate::backend::{METADATA_VERSION, REPORTING_VERSION};
use crate::config::MysqlDatabase;
use crate::error::Error;
use crate::failpoint;

const SCHEMA_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS loadline_schema (
    component VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version   INT UNSIGNED NOT NULL,
    PRIMARY KEY (component)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// A step; its number is its place, from 1.
pub(super) struct Migration {
    name: &'static str,
    /// Added where they are missing: MySQL has no `ADD COLUMN IF NOT EXISTS`.
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
    async fn add_where_missing(&self, session: &mut Session) -> Result<(), Fault> {
        let sql = "SELECT count(*) AS found FROM information_schema.columns \
                   WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?";
        let found = session.first(sql, (self.table, self.name)).await?;
        let found: u64 = found.map(|mut row| field(&mut row, "found")).transpose()?.unwrap_or(0);
        if found > 0 {
            return Ok(());
        }
        match session.run(self.ddl).await {
            // Somebody else has set up at the same time.
            Err(fault) if fault.is_duplicate_column() => Ok(()),
            ran => ran,
        }
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
    pub async fn version_in(&self, session: &mut Session) -> Result<Option<u32>, Fault> {
        match session.first("SELECT version FROM loadline_schema WHERE component = ?", (self.name,)).await {
            Err(fault) if fault.is_missing_table() => Ok(None),
            Err(fault) => Err(fault),
            Ok(row) => row.map(|mut row| field(&mut row, "version")).transpose(),
        }
    }

    /// Runs the steps that are missing and returns their names.
    pub async fn migrate(&self, session: &mut Session, database: &MysqlDatabase) -> Result<Vec<String>, Fault> {
        let version = self.version_in(session).await?;
        if let Some(version) = version.filter(|version| *version > self.version) {
            return Err(self.too_new(version, database).into());
        }
        if version.is_none() {
            session.run(SCHEMA_TABLE).await?;
        }
        let mut ran = Vec::new();
        for (number, step) in (1_u32..).zip(self.steps).skip(version.unwrap_or(0) as usize) {
            for column in step.columns {
                column.add_where_missing(session).await?;
            }
            for statement in step.statements {
                session.run(statement).await?;
                failpoint::reach("setup.statement").await?;
            }
            self.write_version(session, number).await?;
            failpoint::reach("setup.step").await?;
            ran.push(step.name.to_owned());
        }
        Ok(ran)
    }

    /// Never back: another setup may have come further meanwhile.
    async fn write_version(&self, session: &mut Session, number: u32) -> Result<(), Fault> {
        let sql = "INSERT INTO loadline_schema (component, version) VALUES (?, ?) \
                   ON DUPLICATE KEY UPDATE version = GREATEST(version, ?)";
        session.execute(sql, (self.name, number, number)).await.map(drop)
    }

    /// Refuses a database that this binary can't work on.
    pub async fn require_in(&self, session: &mut Session, database: &MysqlDatabase) -> Result<(), Fault> {
        match self.version_in(session).await? {
            None => Err(self.not_set_up(database).into()),
            Some(version) if version > self.version => Err(self.too_new(version, database).into()),
            Some(version) if version < self.version => Err(self.too_old(version, database).into()),
            Some(_) => Ok(()),
        }
    }

    pub fn not_set_up(&self, database: &MysqlDatabase) -> Error {
        Error::config(format!("the {} database {database} is not set up", self.name)).hint("run `loadline setup`")
    }

    fn too_old(&self, version: u32, database: &MysqlDatabase) -> Error {
        let Self { name, version: needed, .. } = self;
        let message =
            format!("the {name} database {database} has schema version {version}, this loadline needs {needed}");
        Error::config(message).hint("run `loadline setup`")
    }

    fn too_new(&self, version: u32, database: &MysqlDatabase) -> Error {
        let Self { name, version: known, .. } = self;
        let message =
            format!("the {name} database {database} has schema version {version}, this loadline knows {known}");
        Error::config(message).hint("use the newer loadline that set it up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_step_and_every_statement_may_run_again() {
        for component in [&METADATA, &REPORTING] {
            assert_eq!(component.steps.len(), component.version as usize);
            for step in component.steps {
                assert!(step.statements.iter().all(|statement| statement.contains("IF NOT EXISTS")), "{}", step.name);
            }
        }
    }
}
