//! The reporting database as loadline means it: the feed's table, the ledger (`loadline_files`) and the rejects
//! (`loadline_rejects`). No driver here; `backend` has one implementation per database.
//!
//! The story of exactly once. Every file has one row in the ledger. Rows reach the table only in a *segment*: one
//! transaction that locks the ledger row, checks that it still bears the worker's epoch and plan and stands where the
//! worker's stream stands, inserts the rows and rejects, moves `records_done` on, and commits. A worker that was
//! frozen, cut off or superseded finds another epoch and changes nothing; a worker that died leaves `records_done`
//! where its last commit left it.
//!
//! Invariant: the rows and rejects of a file are those of its records 1 to `records_done`, whoever died when.

mod bind;
mod checksum;
mod double_text;
mod pieces;
mod statement;
mod table;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

pub use bind::{Cell, Columns};
pub use checksum::{Checksum, checksum_rule};
pub use double_text::push_double;
pub use pieces::{Found, Piece, pieces};
pub use statement::{insert_sql, rows_per_statement};
pub use table::{FILE_COLUMN, RECORD_COLUMN, TableColumn, TableSpec};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::job::JobId;

/// `loadline_files.file`, and `_file` in the feed's table.
pub type FileNumber = i64;

/// For whom, where to and under which plan files are taken.
#[derive(Debug, Clone)]
pub struct Taker {
    pub feed: String,
    pub job: JobId,
    /// The table that takes the rows.
    pub table: String,
    pub plan_hash: String,
    /// Whether a file that is complete under another version is walked back and loaded anew.
    pub reload: bool,
}

/// A file as a worker brings it to a take.
#[derive(Debug, Clone)]
pub struct LedgerKey {
    pub key: String,
    pub version: String,
    pub hour: DateTime<Utc>,
}

/// Counts of one file up to `records_done`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Progress {
    pub records_done: u64,
    pub rows: u64,
    pub rejects: u64,
    /// Sum over the file's rows, see [`Checksum`].
    pub checksum: i64,
    /// What the checksum is made of, see [`checksum_rule`]; `None` before the first segment, and of files that an earlier
    /// version loaded: what those sums mean is not known.
    pub checksum_rule: Option<String>,
    /// Values that became NULL because they did not convert, by column; columns without any are left out.
    pub invalid: BTreeMap<String, u64>,
    pub complete: bool,
    /// Of a complete file; `None` where an earlier version loaded it.
    pub fingerprint: Option<Fingerprint>,
}

/// A row of the ledger, as people ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    pub file: FileNumber,
    /// The job that took it last. It may be gone from the metadata.
    pub job: JobId,
    pub version: String,
    /// The table that holds its rows.
    pub table: String,
    pub completed: Option<DateTime<Utc>>,
    /// When a person has taken its rows out.
    pub unloaded: Option<DateTime<Utc>>,
    pub progress: Progress,
}

/// A row of the ledger with the file that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedEntry {
    pub key: String,
    pub hour: DateTime<Utc>,
    pub entry: LedgerEntry,
    /// Its rows are on their way out, see [`AuditedFile::walking_back`].
    pub walking_back: bool,
}

/// A row of the ledger, and what its tables hold of the file at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedFile {
    pub key: String,
    pub hour: DateTime<Utc>,
    pub entry: LedgerEntry,
    /// It is being taken out, or was when somebody died: `rows`, `rejects` and `checksum` of the entry still are those of
    /// before, and only the tables and `records_done` move. Everything else in motion needs no mark: a segment is seen
    /// whole or not at all.
    pub walking_back: bool,
    /// Rows of the file in the table that the entry names, which may be another than the feed's now; 0 where that is gone.
    pub rows: u64,
    /// Rows whose record is there already, or lies behind `records_done`.
    pub surplus: u64,
    /// Its rejects. Fewer than the ledger counts where they have been pruned.
    pub rejects: u64,
    /// Recomputed from the rows; `None` where that was not asked for.
    pub checksum: Option<i64>,
}

impl AuditedFile {
    /// Nothing is counted yet.
    pub fn uncounted(KeyedEntry { key, hour, entry, walking_back }: KeyedEntry) -> Self {
        Self { key, hour, entry, walking_back, rows: 0, surplus: 0, rejects: 0, checksum: None }
    }
}

/// What a take found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The file may be loaded from `records_done` on, or is complete.
    Ready,
    /// Begun and not ended under another plan or version, complete under another version where the taker reloads, or
    /// left in the middle of a walk back: walk back, then begin anew.
    OtherPlan,
    /// Complete under another version, and the taker does not reload: its rows stay, the file goes into quarantine.
    OtherVersion,
    /// A person takes its rows out, or has: nothing may be loaded until [`Warehouse::readmit`]. With `records_done` above 0
    /// the unload was cut short: whoever took the file may end it with [`WalkEnd::Unloaded`].
    Unloaded,
}

/// A file whose epoch this worker has counted up: older holders can't commit any more.
#[derive(Debug, Clone)]
pub struct Taken {
    pub file: FileNumber,
    pub epoch: i64,
    pub standing: Standing,
    pub progress: Progress,
}

/// What a segment or a walk back must find in the ledger row to be allowed.
#[derive(Debug, Clone)]
pub struct Fence {
    pub file: FileNumber,
    pub epoch: i64,
    pub plan_hash: String,
}

/// What stands in the ledger when a walk back has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WalkEnd {
    /// Record 0 under the fence's plan: ready to be loaded.
    Anew,
    /// The same, and [`Standing::Unloaded`]. That stands from the first step on: whatever dies in between, and be it the
    /// metadata database, no take finds the file complete, and none loads it again.
    Unloaded,
}

/// How a segment began.
pub enum Begun {
    Segment(Box<dyn Segment>),
    /// The ledger stands at other progress than the worker's stream: move the stream there and begin again.
    Moved(Progress),
    /// Another take has superseded this one. Nothing is open.
    Lost,
}

/// A record that did not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// From 1, header not counted.
    pub record: u64,
    /// Line of the file on which the record starts, from 1.
    pub line: u64,
    /// Byte in the (decompressed) file at which the record starts, from 0.
    pub byte_offset: u64,
    /// The column that is to blame; `None` where the whole record is.
    pub column: Option<String>,
    pub reason: String,
    /// The record's bytes without its line end, capped at 64 KiB.
    pub raw: Vec<u8>,
}

/// A row of `loadline_rejects`, as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct RejectRow {
    pub feed: String,
    pub key: String,
    pub record: u64,
    pub line: u64,
    pub byte_offset: u64,
    pub column_name: Option<String>,
    pub reason: String,
    pub raw: String,
}

/// Why rows were not written.
#[derive(Debug)]
pub enum WriteError {
    /// The key of this record stands in the table already.
    Duplicate {
        record: u64,
    },
    Other(Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// One open transaction over one file. Dropped without [`Segment::commit`], it is rolled back.
#[async_trait]
pub trait Segment: Send {
    /// Inserts rows: the table's columns in order, then `_record` (UInt64); the backend adds `_file`. After an error
    /// the segment is good for nothing but dropping.
    async fn write(&mut self, table: &TableSpec, rows: &RecordBatch) -> Result<(), WriteError>;

    async fn reject(&mut self, rejects: &[Reject]) -> Result<()>;

    /// Moves the ledger row from the progress that [`Warehouse::begin`] checked to `progress` and commits. After an
    /// error the caller takes the file again and reads where it stands: the commit may have landed.
    async fn commit(self: Box<Self>, progress: &Progress) -> Result<()>;
}

#[async_trait]
pub trait Warehouse: Send + Sync {
    /// The schema version of the database; `None` where it has never been set up. Changes nothing.
    async fn version(&self) -> Result<Option<u32>>;

    /// As [`crate::job::JobStore::migrate`], for the ledger and the rejects.
    async fn migrate(&self) -> Result<Vec<String>>;

    /// The columns the table has, by name and declared type with its place in the primary key, in order; `None` where there is no such table.
    async fn columns(&self, table: &str) -> Result<Option<Vec<(String, String)>>>;

    /// Creates the table and its index where they are missing. Never alters one.
    async fn create_table(&self, table: &TableSpec) -> Result<()>;

    /// The DDL that [`Warehouse::create_table`] runs.
    fn table_ddl(&self, table: &TableSpec) -> Vec<String>;

    /// The column types that this backend stores the table with, in the words of [`Warehouse::columns`].
    fn expected_columns(&self, table: &TableSpec) -> Vec<(String, String)>;

    /// Makes the missing ledger rows, counts the epoch of every file up in one transaction, and says where each
    /// stands, in the order of `files`. Where nothing of a file is done, this table, plan and version become its own.
    ///
    /// Where a part of another version is done, a walk back to this version is announced: the row gets this version and no
    /// plan, so that no segment can begin, and every later take says [`Standing::OtherPlan`] until a walk has ended.
    ///
    /// Where all of another version is done and the taker reloads, the row stays as it is until the first step of that
    /// walk: a take by a worker that has lost its claim takes nothing away from readers, nor does it rename what is loaded.
    /// Such a walk ends under the version that was complete, and the file has to be taken again, which sets this one.
    async fn take(&self, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>>;

    /// Opens a segment if the ledger row bears the fence's epoch and plan, is not unloaded, and stands at `from`.
    async fn begin(&self, fence: &Fence, from: u64) -> Result<Begun>;

    /// Takes every row and reject of the file out of the table that the ledger names, a segment a transaction, and
    /// leaves it at record 0 under the fence's plan, for `table`. `false`: another take has superseded this one. Killed in
    /// between, the next take says [`Standing::OtherPlan`]; on the way to [`WalkEnd::Unloaded`], and behind it,
    /// [`Standing::Unloaded`]. A file of which nothing is done can be unloaded too.
    async fn walk_back(&self, fence: &Fence, table: &TableSpec, end: WalkEnd) -> Result<bool>;

    /// Lets unloaded files of a feed be loaded again; returns how many were. Their epochs are counted up: whoever was about
    /// to unload them finds out. One whose unload was cut short stays unloaded.
    async fn readmit(&self, feed: &str, keys: &[String]) -> Result<u64>;

    /// What of the server or of the tables would break the guarantees, a sentence each with what to do. Tables that are
    /// missing are no obstacle, nor is a database that is. Asked before `migrate` as well; changes nothing.
    async fn obstacles(&self, tables: &[TableSpec]) -> Result<Vec<String>>;

    /// Deletes at most about `limit` rejects of complete files that were completed before; returns how many. The ledger
    /// keeps its counts. Asked at every scan: cheap where nothing is old.
    async fn prune_rejects(&self, before: DateTime<Utc>, limit: usize) -> Result<u64>;

    /// The ledger's row of a file; `None` where it was never taken.
    async fn entry(&self, feed: &str, key: &str) -> Result<Option<LedgerEntry>>;

    /// Progress of the named files of a feed, for people. Files without a ledger row are left out.
    async fn progress(&self, feed: &str, keys: &[String]) -> Result<BTreeMap<String, Progress>>;

    /// Rejects of the named files (`None`: of all), by file and record.
    async fn rejects(&self, feed: Option<&str>, keys: Option<&[String]>, limit: usize) -> Result<Vec<RejectRow>>;

    /// A page of the ledger of a feed, by file number, behind `after`; at most `limit` files. Files never begun are in it too.
    async fn ledger(&self, feed: &str, after: FileNumber, limit: usize) -> Result<Vec<KeyedEntry>>;

    /// A page of the ledger of a feed with what stands beside it in the tables, by file number, behind `after`; at most
    /// `limit` files. The page is one consistent picture. Files never begun are in it too. With `deep` the checksum of every file is
    /// recomputed from the rows by [`Warehouse::checksum_sql`]; a table that is not the feed's any more is counted only.
    async fn audit(
        &self,
        feed: &str,
        table: &TableSpec,
        after: FileNumber,
        limit: usize,
        deep: bool,
    ) -> Result<Vec<AuditedFile>>;

    /// Rows of the table that bear a `_file` which is in no ledger row: the number and how many rows it has.
    async fn strays(&self, table: &str, limit: usize) -> Result<Vec<(FileNumber, u64)>>;

    /// The plain SQL that recomputes `rows` and `checksum` of one file from the table, for any client of the database.
    fn checksum_sql(&self, table: &TableSpec, file: FileNumber) -> String;

    /// Reject reasons of the named files with their counts, commonest first: (column, reason, count).
    async fn reject_reasons(&self, feed: &str, keys: &[String]) -> Result<Vec<(Option<String>, String, u64)>>;
}
