//! A worker without a memory, for the tests of the tests: the naive loader, which commits the rows first and the job's
//! status afterwards, with nothing beside the rows that says how far it came.
//!
//! Every take gets a ledger row of its own, so that whatever an earlier claim has committed is loaded once more. An
//! attack that does not find rows twice with it has no power. Only with the feature `failpoints`, and only where
//! `LOADLINE_FAILPOINTS` has `ledger.forgets=on`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::failpoint;
use crate::warehouse::{
    AuditedFile, Begun, Fence, FileNumber, KeyedEntry, LedgerEntry, LedgerKey, Progress, RejectRow, TableSpec, Taken,
    Taker, WalkEnd, Warehouse,
};

/// The warehouse as it is, or without its memory where a test asked for that.
pub fn forgetful(warehouse: Arc<dyn Warehouse>) -> Arc<dyn Warehouse> {
    if failpoint::is_on("ledger.forgets") { Arc::new(Forgetful(warehouse)) } else { warehouse }
}

struct Forgetful(Arc<dyn Warehouse>);

#[async_trait]
impl Warehouse for Forgetful {
    async fn take(&self, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>> {
        let anew = |file: &LedgerKey| LedgerKey {
            key: format!("{}#{:016x}", file.key, rand::random::<u64>()),
            ..file.clone()
        };
        self.0.take(taker, &files.iter().map(anew).collect::<Vec<_>>()).await
    }

    async fn version(&self) -> Result<Option<u32>> {
        self.0.version().await
    }

    async fn migrate(&self) -> Result<Vec<String>> {
        self.0.migrate().await
    }

    async fn columns(&self, table: &str) -> Result<Option<Vec<(String, String)>>> {
        self.0.columns(table).await
    }

    async fn create_table(&self, table: &TableSpec) -> Result<()> {
        self.0.create_table(table).await
    }

    fn table_ddl(&self, table: &TableSpec) -> Vec<String> {
        self.0.table_ddl(table)
    }

    fn expected_columns(&self, table: &TableSpec) -> Vec<(String, String)> {
        self.0.expected_columns(table)
    }

    async fn begin(&self, fence: &Fence, from: u64) -> Result<Begun> {
        self.0.begin(fence, from).await
    }

    async fn walk_back(&self, fence: &Fence, table: &TableSpec, end: WalkEnd) -> Result<bool> {
        self.0.walk_back(fence, table, end).await
    }

    async fn readmit(&self, feed: &str, keys: &[String]) -> Result<u64> {
        self.0.readmit(feed, keys).await
    }

    async fn obstacles(&self, tables: &[TableSpec]) -> Result<Vec<String>> {
        self.0.obstacles(tables).await
    }

    async fn prune_rejects(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.0.prune_rejects(before, limit).await
    }

    async fn entry(&self, feed: &str, key: &str) -> Result<Option<LedgerEntry>> {
        self.0.entry(feed, key).await
    }

    async fn progress(&self, feed: &str, keys: &[String]) -> Result<BTreeMap<String, Progress>> {
        self.0.progress(feed, keys).await
    }

    async fn rejects(&self, feed: Option<&str>, keys: Option<&[String]>, limit: usize) -> Result<Vec<RejectRow>> {
        self.0.rejects(feed, keys, limit).await
    }

    async fn ledger(&self, feed: &str, after: FileNumber, limit: usize) -> Result<Vec<KeyedEntry>> {
        self.0.ledger(feed, after, limit).await
    }

    async fn audit(
        &self,
        feed: &str,
        table: &TableSpec,
        after: FileNumber,
        limit: usize,
        deep: bool,
    ) -> Result<Vec<AuditedFile>> {
        self.0.audit(feed, table, after, limit, deep).await
    }

    async fn strays(&self, table: &str, limit: usize) -> Result<Vec<(FileNumber, u64)>> {
        self.0.strays(table, limit).await
    }

    fn checksum_sql(&self, table: &TableSpec, file: FileNumber) -> String {
        self.0.checksum_sql(table, file)
    }

    async fn reject_reasons(&self, feed: &str, keys: &[String]) -> Result<Vec<(Option<String>, String, u64)>> {
        self.0.reject_reasons(feed, keys).await
    }
}
