//! [`Warehouse`] on SQLite.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::ledger::{self, Walked};
use super::migrations::REPORTING;
use super::{audit, checksum, mounts, reports, segment, table};
use crate::error::Result;
use crate::failpoint;
use crate::warehouse::{
    AuditedFile, Begun, Fence, FileNumber, KeyedEntry, LedgerEntry, LedgerKey, Progress, RejectRow, TableSpec, Taken,
    Taker, WalkEnd, Warehouse,
};

pub struct SqliteWarehouse {
    database: Database,
}

impl SqliteWarehouse {
    /// The reporting database in the file at `path`, which may be that of the metadata. Creates nothing.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: Database::open(path, &REPORTING)? })
    }
}

#[async_trait]
impl Warehouse for SqliteWarehouse {
    async fn version(&self) -> Result<Option<u32>> {
        self.database.version().await
    }

    async fn migrate(&self) -> Result<Vec<String>> {
        self.database.migrate().await
    }

    async fn columns(&self, table: &str) -> Result<Option<Vec<(String, String)>>> {
        let table = table.to_owned();
        self.database.read(move |c| table::columns(c, &table)).await
    }

    async fn create_table(&self, table: &TableSpec) -> Result<()> {
        let ddl = self.table_ddl(table);
        self.database.write(move |c| Ok(ddl.iter().try_for_each(|statement| c.execute_batch(statement))?)).await
    }

    fn table_ddl(&self, table: &TableSpec) -> Vec<String> {
        table::ddl(table)
    }

    fn expected_columns(&self, table: &TableSpec) -> Vec<(String, String)> {
        table::expected_columns(table)
    }

    async fn take(&self, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>> {
        let (taker, files) = (taker.clone(), files.to_vec());
        self.database.write(move |c| ledger::take(c, &taker, &files)).await
    }

    async fn begin(&self, fence: &Fence, from: u64) -> Result<Begun> {
        segment::begin(&self.database, fence, from).await
    }

    async fn walk_back(&self, fence: &Fence, table: &TableSpec, end: WalkEnd) -> Result<bool> {
        failpoint::reach("walk_back.begun").await?;
        loop {
            let (fence, table) = (fence.clone(), table.clone());
            match self.database.write(move |c| ledger::walk_back_step(c, &fence, &table, end)).await? {
                Walked::Lost => return Ok(false),
                Walked::Partly => failpoint::reach("walk_back.step").await?,
                Walked::Wholly => return Ok(true),
            }
        }
    }

    async fn readmit(&self, feed: &str, keys: &[String]) -> Result<u64> {
        let (feed, keys) = (feed.to_owned(), keys.to_vec());
        self.database.write(move |c| ledger::readmit(c, &feed, &keys)).await
    }

    async fn obstacles(&self, tables: &[TableSpec]) -> Result<Vec<String>> {
        let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
        let mut obstacles: Vec<String> = mounts::obstacle(self.database.path()).into_iter().collect();
        obstacles.extend(self.database.inspect(move |c| table::obstacles(c, &names)).await?.unwrap_or_default());
        Ok(obstacles)
    }

    async fn prune_rejects(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.database.write(move |c| reports::prune_rejects(c, before, limit)).await
    }

    async fn entry(&self, feed: &str, key: &str) -> Result<Option<LedgerEntry>> {
        let (feed, key) = (feed.to_owned(), key.to_owned());
        self.database.read(move |c| reports::entry(c, &feed, &key)).await
    }

    async fn progress(&self, feed: &str, keys: &[String]) -> Result<BTreeMap<String, Progress>> {
        let (feed, keys) = (feed.to_owned(), keys.to_vec());
        self.database.read(move |c| reports::progress(c, &feed, &keys)).await
    }

    async fn rejects(&self, feed: Option<&str>, keys: Option<&[String]>, limit: usize) -> Result<Vec<RejectRow>> {
        let (feed, keys) = (feed.map(str::to_owned), keys.map(<[String]>::to_vec));
        self.database.read(move |c| reports::rejects(c, feed.as_deref(), keys.as_deref(), limit)).await
    }

    async fn reject_reasons(&self, feed: &str, keys: &[String]) -> Result<Vec<(Option<String>, String, u64)>> {
        let (feed, keys) = (feed.to_owned(), keys.to_vec());
        self.database.read(move |c| reports::reject_reasons(c, &feed, &keys)).await
    }

    async fn ledger(&self, feed: &str, after: FileNumber, limit: usize) -> Result<Vec<KeyedEntry>> {
        let feed = feed.to_owned();
        self.database.read(move |c| audit::page(c, &feed, after, limit)).await
    }

    async fn audit(
        &self,
        feed: &str,
        table: &TableSpec,
        after: FileNumber,
        limit: usize,
        deep: bool,
    ) -> Result<Vec<AuditedFile>> {
        let (feed, table) = (feed.to_owned(), table.clone());
        self.database.read(move |c| audit::audit(c, &feed, &table, after, limit, deep)).await
    }

    async fn strays(&self, table: &str, limit: usize) -> Result<Vec<(FileNumber, u64)>> {
        let table = table.to_owned();
        self.database.read(move |c| audit::strays(c, &table, limit)).await
    }

    fn checksum_sql(&self, table: &TableSpec, file: FileNumber) -> String {
        checksum::of_file(table, file)
    }
}
