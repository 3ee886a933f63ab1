//! What an auditor gets in hand: for every loaded file what went in, what came out of it, and the SQL that counts it
//! again in any client of the database, without loadline.
//!
//! A receipt is what the ledger says, which was written in the transactions that brought the rows. It proves nothing by
//! itself: the SHA-256 can be taken again from the source's bytes, and rows, rejects and checksum from the tables. The
//! texts that the checksum is made of are in the README.
//!
//! Invariant: only files that are complete and in their table have one.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Result;
use crate::feed::Feed;
use crate::fingerprint::Fingerprint;
use crate::warehouse::{FILE_COLUMN, FileNumber, KeyedEntry, TableSpec, Warehouse, checksum_rule};

/// Files read at a time.
const PAGE: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReceipt {
    pub feed: String,
    pub key: String,
    /// The ETag, or size and time, that the file had when it was read.
    pub version: String,
    /// Bytes at the source, not decompressed. Null, with `sha256`, where a version loaded the file that took none.
    pub bytes: Option<u64>,
    /// 64 hex digits.
    pub sha256: Option<String>,
    /// Records, header not counted: those that are rows, and those that are rejects.
    pub records: u64,
    pub rows: u64,
    pub rejects: u64,
    /// Null where the file was loaded with other columns than the table has now, or by an earlier version.
    pub checksum: Option<i64>,
    pub table: String,
    /// `_file` in the table.
    pub file: FileNumber,
    #[serde(serialize_with = "as_text")]
    pub completed: DateTime<Utc>,
    /// Gives `rows`, and `checksum` where there is one.
    pub sql: String,
    /// Gives `rejects`, as long as they have not been pruned.
    pub rejects_sql: String,
}

fn as_text<S: serde::Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
}

impl FileReceipt {
    /// `None` where the file is not complete, or not in the table any more.
    fn of(feed: &str, table: &TableSpec, found: KeyedEntry, warehouse: &dyn Warehouse) -> Option<Self> {
        let KeyedEntry { key, entry, .. } = found;
        let progress = entry.progress;
        let completed = entry.completed.filter(|_| progress.complete && entry.unloaded.is_none())?;
        let same_rule = progress.checksum_rule == Some(checksum_rule(table)) && entry.table == table.name;
        let (file, counted) = (entry.file, &entry.table);
        let sql = match same_rule {
            true => warehouse.checksum_sql(table, file),
            false => format!("SELECT COUNT(*) AS `rows` FROM `{counted}` WHERE `{FILE_COLUMN}` = {file}"),
        };
        Some(Self {
            feed: feed.to_owned(),
            key,
            version: entry.version,
            bytes: progress.fingerprint.map(|fingerprint| fingerprint.bytes),
            sha256: progress.fingerprint.as_ref().map(Fingerprint::hex),
            records: progress.records_done,
            rows: progress.rows,
            rejects: progress.rejects,
            checksum: same_rule.then_some(progress.checksum),
            table: entry.table,
            file,
            completed,
            sql,
            rejects_sql: format!("SELECT COUNT(*) AS rejects FROM loadline_rejects WHERE file = {file}"),
        })
    }
}

/// Hands out the receipts of a feed's files one by one, by file number: those whose hour is not before `since`. Ends early
/// where `hand_out` says false.
pub async fn receipts(
    warehouse: &dyn Warehouse,
    feed: &Feed,
    since: Option<DateTime<Utc>>,
    mut hand_out: impl FnMut(FileReceipt) -> Result<bool> + Send,
) -> Result<()> {
    let table = TableSpec::of(feed);
    let mut after = 0;
    loop {
        let page = warehouse.ledger(&feed.name, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.entry.file;
        for found in page.into_iter().filter(|found| since.is_none_or(|since| found.hour >= since)) {
            let Some(receipt) = FileReceipt::of(&feed.name, &table, found, warehouse) else { continue };
            if !hand_out(receipt)? {
                return Ok(());
            }
        }
    }
}

impl fmt::Display for FileReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feed, key, version, records, rows, rejects, table, file, completed, .. } = self;
        let bytes = self.bytes.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
        let checksum = self.checksum.map_or_else(|| "not comparable".to_owned(), |sum| sum.to_string());
        writeln!(f, "{key}")?;
        writeln!(f, "  feed       {feed}, version {version}")?;
        writeln!(f, "  bytes      {bytes}, sha256 {}", self.sha256.as_deref().unwrap_or("unknown"))?;
        writeln!(f, "  records    {records}: {rows} rows, {rejects} rejects")?;
        writeln!(f, "  checksum   {checksum}")?;
        writeln!(f, "  table      {table}, {FILE_COLUMN} = {file}, complete since {}", completed.format("%F %T UTC"))
    }
}
