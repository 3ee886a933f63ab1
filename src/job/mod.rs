//! Jobs and files as the metadata database records them. Pure: no driver, no planning, no clock.
//!
//! ```text
//! NONE           the one dummy row that setup writes; holds the start of scanning
//! SENT_FOR_ETL   --claim-->  PROCESSING  --all files complete-->  LOADED
//!                                |--error, attempts left-->  SENT_FOR_ETL with run_after (backoff)
//!                                |--error, no attempts left or permanent-->  FAILED + failure_msg
//!                                |--lease expired-->  SENT_FOR_ETL (rescued; a new claim has a new token)
//! FAILED, or LOADED with UNLOADED files  --retry-->  SENT_FOR_ETL
//! ```
//!
//! Invariant: whoever leaves PROCESSING names the claim token of the claim it holds, so that a worker that lost its
//! job can't change it any more.

mod file;
mod plan;
mod recorded;
mod retry;
mod store;
mod uri;

use chrono::{DateTime, Utc};

pub use file::{
    FeedOverview, FileOutcome, FileRecord, FileState, FoundFile, Known, ListedFile, OnOverwrite, Replacement, Restored,
    Selection,
};
pub use plan::{JobDraft, JobLimits, Planner};
pub use recorded::Recorded;
pub use retry::backoff;
pub use store::{Claim, ClaimRequest, ClaimToken, JobFilter, JobOrder, JobStore, ScannerLock, Watermark};
pub use uri::{file_uri, key_of, split_uri_list, uri_list};

pub type JobId = i64;

/// Where a job stands; see the module's picture for the ways between the statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// The dummy row of setup.
    #[value(skip)]
    None,
    /// Waiting for a worker, from `run_after` on.
    SentForEtl,
    /// Held by the worker whose claim token it bears, until `lease_until`.
    Processing,
    /// Every file is complete in the ledger, or was unloaded by a person.
    Loaded,
    /// Stopped for good: see `failure_msg`; its failed files are not in the table.
    Failed,
}

impl JobStatus {
    pub const ALL: [Self; 5] = [Self::None, Self::SentForEtl, Self::Processing, Self::Loaded, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SentForEtl => "SENT_FOR_ETL",
            Self::Processing => "PROCESSING",
            Self::Loaded => "LOADED",
            Self::Failed => "FAILED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A row of `scanner_jobs`. Field names are its column names.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: JobId,
    pub feed: String,
    /// Comma-separated URIs; a comma in a key is percent-encoded.
    pub files: String,
    pub latest_file_modified_time: DateTime<Utc>,
    pub total_size_in_bytes: u64,
    pub created_time: DateTime<Utc>,
    pub modified_time: DateTime<Utc>,
    pub status: JobStatus,
    pub failure_msg: Option<String>,
    /// Claims so far, since the last `retry`, without those whose worker died.
    pub attempts: u32,
    /// Claims whose lease ran out because their worker died, since the last `retry`.
    pub expiries: u32,
    pub lease_owner: Option<String>,
    pub lease_until: Option<DateTime<Utc>>,
    pub run_after: DateTime<Utc>,
    /// Once it has ended: of its files that are loaded now, and so for the rejects.
    pub rows_loaded: Option<u64>,
    pub rows_rejected: Option<u64>,
    pub started_time: Option<DateTime<Utc>>,
    pub finished_time: Option<DateTime<Utc>>,
}
