//! [`Warehouse`] on MySQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::ledger::{self, Walked};
use super::migrations::REPORTING;
use super::{audit, checksum, obstacles, reports, segment, table};
use crate::config::MysqlDatabase;
use crate::error::Result;
use crate::failpoint;
use crate::warehouse::{
    AuditedFile, Begun, Fence, FileNumber, KeyedEntry, LedgerEntry, LedgerKey, Progress, RejectRow, TableSpec, Taken,
    Taker, WalkEnd, Warehouse,
};

pub struct MysqlWarehouse {
    database: Database,
}

impl MysqlWarehouse {
    /// The reporting database, which may be that of the metadata. Connects to nothing yet.
    pub fn open(config: &MysqlDatabase) -> Self {
        Self { database: Database::open(config, &REPORTING) }
    }
}

#[async_trait]
impl Warehouse for MysqlWarehouse {
    async fn version(&self) -> Result<Option<u32>> {
        self.database.version().await
    }

    async fn migrate(&self) -> Result<Vec<String>> {
        self.database.migrate().await
    }

    async fn columns(&self, table: &str) -> Result<Option<Vec<(String, String)>>> {
        self.database.read(async |session| table::columns(session, table).await).await
    }

    async fn create_table(&self, table: &TableSpec) -> Result<()> {
        let ddl = self.table_ddl(table);
        let create = async |session: &mut super::connection::Session| {
            for statement in &ddl {
                session.run(statement).await?;
            }
            Ok(())
        };
        self.database.read(create).await
    }

    fn table_ddl(&self, table: &TableSpec) -> Vec<String> {
        table::ddl(table)
    }

    fn expected_columns(&self, table: &TableSpec) -> Vec<(String, String)> {
        table::expected_columns(table)
    }

    async fn take(&self, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>> {
        ledger::take(&self.database, taker, files).await.map_err(|fault| self.database.explain(fault))
    }

    async fn begin(&self, fence: &Fence, from: u64) -> Result<Begun> {
        segment::begin(&self.database, fence, from).await.map_err(|fault| self.database.explain(fault))
    }

    async fn walk_back(&self, fence: &Fence, table: &TableSpec, end: WalkEnd) -> Result<bool> {
        failpoint::reach("walk_back.begun").await?;
        loop {
            let step = async |session: &mut super::connection::Session| {
                ledger::walk_back_step(session, fence, table, end).await
            };
            match self.database.write(step).await? {
                Walked::Lost => return Ok(false),
                Walked::Partly => failpoint::reach("walk_back.step").await?,
                Walked::Wholly => return Ok(true),
            }
        }
    }

    async fn readmit(&self, feed: &str, keys: &[String]) -> Result<u64> {
        self.database.write(async |session| ledger::readmit(session, feed, keys).await).await
    }

    async fn obstacles(&self, tables: &[TableSpec]) -> Result<Vec<String>> {
        let ours = ["loadline_files", "loadline_rejects"];
        let tables: Vec<&str> = ours.into_iter().chain(tables.iter().map(|table| table.name.as_str())).collect();
        self.database.look_unchecked(async |session| obstacles::obstacles(session, &tables, true).await).await
    }

    async fn prune_rejects(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.database.read(async |session| reports::prune_rejects(session, before, limit).await).await
    }

    async fn entry(&self, feed: &str, key: &str) -> Result<Option<LedgerEntry>> {
        self.database.read(async |session| reports::entry(session, feed, key).await).await
    }

    async fn progress(&self, feed: &str, keys: &[String]) -> Result<BTreeMap<String, Progress>> {
        self.database.read(async |session| reports::progress(session, feed, keys).await).await
    }

    async fn rejects(&self, feed: Option<&str>, keys: Option<&[String]>, limit: usize) -> Result<Vec<RejectRow>> {
        self.database.read(async |session| reports::rejects(session, feed, keys, limit).await).await
    }

    async fn reject_reasons(&self, feed: &str, keys: &[String]) -> Result<Vec<(Option<String>, String, u64)>> {
        self.database.read(async |session| reports::reject_reasons(session, feed, keys).await).await
    }

    async fn ledger(&self, feed: &str, after: FileNumber, limit: usize) -> Result<Vec<KeyedEntry>> {
        self.database.read(async |session| audit::page(session, feed, after, limit).await).await
    }

    async fn audit(
        &self,
        feed: &str,
        table: &TableSpec,
        after: FileNumber,
        limit: usize,
        deep: bool,
    ) -> Result<Vec<AuditedFile>> {
        self.database.read_picture(async |session| audit::audit(session, feed, table, after, limit, deep).await).await
    }

    async fn strays(&self, table: &str, limit: usize) -> Result<Vec<(FileNumber, u64)>> {
        self.database.read_picture(async |session| audit::strays(session, table, limit).await).await
    }

    fn checksum_sql(&self, table: &TableSpec, file: FileNumber) -> String {
        checksum::of_file(table, file)
    }
}
