//! Files as the registry (`scanner_files`) knows them.

use chrono::{DateTime, Utc};

use super::{JobId, JobStatus};

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    /// Listed, in no job yet. Forming a job takes it.
    Found,
    /// In the job `job_id`, which has not ended yet.
    InJob,
    /// Complete in the ledger.
    Loaded,
    /// Its job ended without it; `error` says why; nothing of it is in the table.
    Failed,
    /// A known key came back with another version. Never loaded by itself.
    Quarantined,
    /// Was loaded, and was taken out again by a person. Stays so, whatever a scan lists, until a person retries it.
    Unloaded,
}

impl FileState {
    pub const ALL: [Self; 6] =
        [Self::Found, Self::InJob, Self::Loaded, Self::Failed, Self::Quarantined, Self::Unloaded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::InJob => "IN_JOB",
            Self::Loaded => "LOADED",
            Self::Failed => "FAILED",
            Self::Quarantined => "QUARANTINED",
            Self::Unloaded => "UNLOADED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One entry of a listing that belongs to a feed. The key is relative to the source url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    pub key: String,
    /// Which bytes the key stands for: see `source::version`.
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
    /// Start of the hour or day of its folder.
    pub hour: DateTime<Utc>,
}

/// What the registry says of a listed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The key was not known.
    New,
    /// Stays as it is: known under this version, in quarantine already, or unloaded by a person.
    Same,
    /// Known with another version, and QUARANTINED.
    Changed,
    /// Known with another version or in quarantine, and FOUND again: it will be loaded in this version.
    Renewed,
    /// Known with another version; what was loaded stays, as the policy says.
    Kept,
}

/// What a scan does with a known key that comes with another version.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnOverwrite {
    /// Set it aside for a person to decide. Rows of the old version stay.
    #[default]
    Quarantine,
    /// Load the new version in place of the old one.
    Reload,
    /// Keep what was loaded.
    Ignore,
}

/// Files that a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    File {
        feed: String,
        key: String,
    },
    Job(JobId),
    /// Files of a feed whose hour is in `from..to`.
    Hours {
        feed: String,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    },
}

/// What stands where in one feed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedOverview {
    pub feed: String,
    pub last_scan: Option<DateTime<Utc>>,
    pub last_full_listing: Option<DateTime<Utc>>,
    /// Files FOUND or IN_JOB, and their bytes.
    pub backlog_files: u64,
    pub backlog_bytes: u64,
    /// Of the backlog: its first hour, and when the longest-waiting file was found.
    pub oldest_unloaded_hour: Option<DateTime<Utc>>,
    pub oldest_found: Option<DateTime<Utc>>,
    /// Of the files whose rows are in the table: LOADED, or QUARANTINED since.
    pub newest_loaded_hour: Option<DateTime<Utc>>,
    pub last_loaded: Option<DateTime<Utc>>,
    /// Files by state, jobs by status (without the NONE row).
    pub files: Vec<(FileState, u64)>,
    pub jobs: Vec<(JobStatus, u64)>,
}

/// A file in state FOUND, as planning sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    pub id: i64,
    pub key: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
    pub hour: DateTime<Utc>,
    /// When a scanner registered it.
    pub found: DateTime<Utc>,
}

/// A row of `scanner_files`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRecord {
    pub id: i64,
    pub feed: String,
    pub key: String,
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
    pub hour: DateTime<Utc>,
    pub job_id: Option<JobId>,
    pub state: FileState,
    /// Records of the file = rows + rejects, once it is LOADED.
    pub rows_loaded: Option<u64>,
    pub rows_rejected: Option<u64>,
    pub error: Option<String>,
    /// When a scanner registered it.
    pub found_time: DateTime<Utc>,
    /// When it was completely loaded. Set once loaded, kept in quarantine, gone when it is unloaded or found again.
    pub loaded_time: Option<DateTime<Utc>>,
}

/// What a worker says of one file when its job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOutcome {
    /// `scanner_files.id`.
    pub id: i64,
    /// LOADED, FAILED, QUARANTINED or UNLOADED.
    pub state: FileState,
    /// Of what the ledger holds complete: a LOADED file, or a QUARANTINED one of which another version is loaded.
    pub rows_loaded: Option<u64>,
    pub rows_rejected: Option<u64>,
    pub error: Option<String>,
}

/// The version that a file has at the source now: `retry` takes a file that was replaced since it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// `scanner_files.id`.
    pub id: i64,
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
}

/// A file as the ledger remembers it, for a registry that has lost it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub key: String,
    /// The version that is loaded.
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
    pub hour: DateTime<Utc>,
    /// LOADED, QUARANTINED or UNLOADED.
    pub state: FileState,
    pub rows_loaded: Option<u64>,
    pub rows_rejected: Option<u64>,
    pub error: Option<String>,
    pub found_time: DateTime<Utc>,
    pub loaded_time: Option<DateTime<Utc>>,
}
