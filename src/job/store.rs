//! The queue and the registry as verbs. One implementation per database; the meaning is held by the conformance
//! suite, which every backend runs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    FeedOverview, FileOutcome, FileRecord, FoundFile, Job, JobDraft, JobId, JobStatus, Known, ListedFile, OnOverwrite,
    Replacement, Restored, Selection,
};
use crate::error::Result;

/// 128 random bits as 32 hex digits, new at every claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimToken(pub String);

impl ClaimToken {
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }
}

/// Which end of the queue a worker takes, by `latest_file_modified_time`, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobOrder {
    #[default]
    Oldest,
    Newest,
}

#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Host, process and worker: for people who read `lease_owner`.
    pub owner: String,
    pub order: JobOrder,
    pub feed: Option<String>,
    pub lease: Duration,
}

/// A job held by this worker until its lease ends or another claim supersedes it.
#[derive(Debug, Clone)]
pub struct Claim {
    pub job: Job,
    pub token: ClaimToken,
    /// All files of the job, by key; those not IN_JOB are there for the picture only.
    pub files: Vec<FileRecord>,
}

/// What a scan may skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermark {
    /// Newest `latest_file_modified_time` of the feed's jobs.
    pub newest: Option<DateTime<Utc>>,
    pub last_full_listing: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    pub status: Option<JobStatus>,
    pub feed: Option<String>,
}

/// Held while a scanner works, so that a second one does not do the same work. Dropped, it is given back. Nothing
/// rests on it: two scanners at once cost work, not correctness.
pub struct ScannerLock(#[expect(dead_code, reason = "held, not looked at")] Box<dyn std::any::Any + Send>);

impl ScannerLock {
    pub fn holding(what: impl std::any::Any + Send) -> Self {
        Self(Box::new(what))
    }
}

/// Contract, for every method: one transaction, either wholly done or not at all; an error means "perhaps done", and
/// the caller reads before it goes on. Nothing is ever decided by a plain read: changes are compare-and-set.
#[async_trait]
pub trait JobStore: Send + Sync {
    // -- set-up ----------------------------------------------------------------------------------------------------

    /// The schema version of the database; `None` where it has never been set up. Changes nothing.
    async fn version(&self) -> Result<Option<u32>>;

    /// Brings the schema to the version of this binary, step by step, and writes the one NONE row if it is missing.
    /// Returns the names of the migrations that ran. Running it again, also after a kill, changes nothing more.
    async fn migrate(&self, start_from: Option<DateTime<Utc>>) -> Result<Vec<String>>;

    /// Records the names of feeds; recorded ones stay as they are.
    async fn record_feeds(&self, feeds: &[String]) -> Result<()>;

    /// Names of all feeds ever recorded, sorted.
    async fn recorded_feeds(&self) -> Result<Vec<String>>;

    /// What of the server would break the guarantees, a sentence each with what to do. Empty: nothing. Asked before
    /// `migrate` as well, where the database may be missing; changes nothing.
    async fn obstacles(&self) -> Result<Vec<String>>;

    // -- scanner ---------------------------------------------------------------------------------------------------

    /// `None`: another scanner is at work on this database. Does not wait.
    async fn lock_scanner(&self) -> Result<Option<ScannerLock>>;

    async fn watermark(&self, feed: &str) -> Result<Watermark>;

    /// What [`JobStore::register`] would make of each file under `Quarantine`, in order. Changes nothing.
    async fn classify(&self, feed: &str, page: &[ListedFile]) -> Result<Vec<Known>>;

    /// Records new files as FOUND (found at `now`), does with known keys of another version what the policy says, and
    /// says what each file was, in order. Set-wise: a page costs a handful of statements, not one a file.
    ///
    /// A known key listed with another version than the registry's becomes, and is called:
    ///
    /// | state                                    | `Quarantine`         | `Reload`             | `Ignore`             |
    /// |------------------------------------------|----------------------|----------------------|----------------------|
    /// | FOUND                                    | QUARANTINED, Changed | FOUND, Renewed       | FOUND, Renewed       |
    /// | IN_JOB                                   | QUARANTINED, Changed | QUARANTINED, Changed | QUARANTINED, Changed |
    /// | LOADED                                   | QUARANTINED, Changed | FOUND, Renewed       | LOADED, Kept         |
    /// | FAILED                                   | QUARANTINED, Changed | FOUND, Renewed       | QUARANTINED, Changed |
    /// | QUARANTINED in a job that has not ended  | stays, Same          | stays, Same          | stays, Same          |
    /// | QUARANTINED in no job, never loaded      | stays, Same          | FOUND, Renewed       | FOUND, Renewed       |
    /// | QUARANTINED otherwise                    | stays, Same          | FOUND, Renewed       | stays, Same          |
    /// | UNLOADED                                 | stays, Same          | stays, Same          | stays, Same          |
    ///
    /// Listed under the registry's version, every state stays and is Same, but for QUARANTINED where the table says FOUND:
    /// there it is FOUND again under that version too.
    ///
    /// FOUND again: under the listed version, size and modified time, in no job, with no counts, load time or error. The
    /// sums of the job that it leaves are those of the files that are left. QUARANTINED: `error` has both versions;
    /// version, counts, load time and job stay.
    async fn register(
        &self,
        feed: &str,
        page: &[ListedFile],
        policy: OnOverwrite,
        now: DateTime<Utc>,
    ) -> Result<Vec<Known>>;

    /// FOUND files after `after` (exclusive; `None`: from the start), in order of modified time, then key bytes.
    async fn found(&self, feed: &str, after: Option<&FoundFile>, limit: usize) -> Result<Vec<FoundFile>>;

    /// Inserts the job as SENT_FOR_ETL and takes its files, FOUND to IN_JOB. `None`, and nothing changed, where one
    /// of them is not FOUND any more (another scanner was here).
    async fn form_job(&self, draft: &JobDraft) -> Result<Option<JobId>>;

    /// Remembers that a scan of the feed ended at `at` (`last_scan`), and whether it listed the whole feed
    /// (`last_full_listing`).
    async fn scanned(&self, feed: &str, at: DateTime<Utc>, full: bool) -> Result<()>;

    // -- worker ----------------------------------------------------------------------------------------------------

    /// The owners of all jobs in PROCESSING, each once.
    async fn owners(&self) -> Result<Vec<String>>;

    /// Gives jobs whose lease has expired, or whose owner is among `dead`, back to the queue; returns how many. The attempt
    /// is taken back and counted in `expiries` instead. A bounded number at a time. Never writes FAILED.
    async fn rescue(&self, dead: &[String]) -> Result<u64>;

    /// Takes the first runnable job: SENT_FOR_ETL to PROCESSING, attempts + 1, a new token, a lease. `None`: nothing
    /// is runnable now.
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>>;

    /// Extends the lease if the token still holds the job. `false`: the claim is lost, stop.
    async fn confirm(&self, job: JobId, token: &ClaimToken, lease: Duration) -> Result<bool>;

    /// PROCESSING to LOADED with the outcome of every file, by token. `false`: the claim is lost.
    ///
    /// A file that the scanner has put into quarantine meanwhile stays QUARANTINED, unless its outcome is UNLOADED. An
    /// outcome LOADED, or QUARANTINED with counts, sets the file's load time. The job's sums are those of its files that
    /// are loaded now: LOADED, or QUARANTINED with a load time.
    async fn complete(&self, job: JobId, token: &ClaimToken, outcomes: &[FileOutcome]) -> Result<bool>;

    /// PROCESSING to SENT_FOR_ETL, runnable after `delay`, by token. Where the attempt is not `counted`, because an
    /// outage was to blame and not the job, it is taken back.
    async fn postpone(
        &self,
        job: JobId,
        token: &ClaimToken,
        delay: Duration,
        counted: bool,
        reason: &str,
    ) -> Result<bool>;

    /// PROCESSING to FAILED, by token. The caller has walked the failed files back.
    async fn fail(&self, job: JobId, token: &ClaimToken, outcomes: &[FileOutcome], reason: &str) -> Result<bool>;

    // -- people ----------------------------------------------------------------------------------------------------

    /// FAILED, or LOADED with UNLOADED files, to SENT_FOR_ETL with attempts and expiries 0; its files that are FAILED,
    /// UNLOADED, or QUARANTINED without ever having been loaded, become IN_JOB again under the given versions. `false`:
    /// the job is neither. The caller has let UNLOADED files in again with [`crate::warehouse::Warehouse::readmit`].
    async fn retry(&self, job: JobId, replacements: &[Replacement]) -> Result<bool>;

    /// Jobs by id, without the NONE row.
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>>;

    async fn job(&self, id: JobId) -> Result<Option<Job>>;

    /// The files of a job, by key.
    async fn files_of(&self, job: JobId) -> Result<Vec<FileRecord>>;

    /// The files in QUARANTINED, by feed and key.
    async fn quarantined(&self) -> Result<Vec<FileRecord>>;

    /// Makes files that are UNLOADED, or QUARANTINED without ever having been loaded and in no job, FOUND again and in no
    /// job, under the given versions; returns how many.
    async fn release(&self, replacements: &[Replacement]) -> Result<u64>;

    /// One file of the registry.
    async fn file(&self, feed: &str, key: &str) -> Result<Option<FileRecord>>;

    /// Every recorded feed, by name, with its files by state and its jobs by status (those that there are, in any
    /// order). One consistent picture; a second or two over a million files is well, as people ask for it.
    async fn overview(&self) -> Result<Vec<FeedOverview>>;

    /// Files of the selection that were loaded (LOADED, or QUARANTINED since) or are UNLOADED, by id, behind `after`;
    /// at most `limit`. A page costs about its own rows, however many files there are.
    async fn loaded_files(&self, of: &Selection, after: i64, limit: usize) -> Result<Vec<FileRecord>>;

    /// A page of the registry of a feed in any state, by id, behind `after`; at most `limit`.
    async fn registry(&self, feed: &str, after: i64, limit: usize) -> Result<Vec<FileRecord>>;

    /// Records files that the registry does not know in the state that the ledger has them in (LOADED, QUARANTINED with a load time, or
    /// UNLOADED), in no job; returns how many. Known keys stay as they are.
    async fn restore(&self, feed: &str, files: &[Restored]) -> Result<u64>;

    /// LOADED, or QUARANTINED after it was loaded, to FOUND under its registered version, in no job, without counts, load time and error;
    /// returns how many. Others stay as they are. For files whose rows the reporting database has lost.
    async fn requeue(&self, files: &[i64]) -> Result<u64>;

    /// LOADED, or QUARANTINED after it was loaded, to UNLOADED without counts, load time and error; returns how many.
    /// Others stay as they are. The files stay in their jobs, whose sums become those of the files that are still loaded.
    /// The first step of an unload: from then on no worker and no scan takes the file for loaded.
    async fn revoke(&self, files: &[i64]) -> Result<u64>;

    /// Deletes at most `limit` LOADED jobs that finished before; returns how many. Their files stay as they are, in no
    /// job. The job that holds a feed's watermark (its newest `latest_file_modified_time`, then id) stays. Asked at every
    /// scan: cheap where nothing is old.
    async fn prune_jobs(&self, before: DateTime<Utc>, limit: usize) -> Result<u64>;
}
