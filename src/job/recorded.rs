//! What becomes of a listed file that the registry knows: one rule for all databases.

use chrono::{DateTime, Utc};

use super::{FileState, JobId, Known, ListedFile, OnOverwrite};

/// What the registry holds of a listed key.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// `scanner_files.id`.
    pub id: i64,
    pub version: String,
    pub state: FileState,
    /// Whether it has a load time.
    pub was_loaded: bool,
    pub job: Option<JobId>,
    /// Whether that job is waiting or at work.
    pub job_is_open: bool,
}

impl Recorded {
    /// What becomes of the file: the table of [`super::JobStore::register`].
    pub fn known(&self, file: &ListedFile, policy: OnOverwrite) -> Known {
        use {FileState as State, OnOverwrite as Policy};
        let never_in_a_job = self.job.is_none() && !self.was_loaded;
        match (self.state, policy) {
            (State::Quarantined, Policy::Reload) if !self.job_is_open => Known::Renewed,
            (State::Quarantined, Policy::Ignore) if never_in_a_job => Known::Renewed,
            (State::Quarantined | State::Unloaded, _) => Known::Same,
            _ if self.version == file.version => Known::Same,
            (_, Policy::Quarantine) | (State::InJob, _) | (State::Failed, Policy::Ignore) => Known::Changed,
            (State::Loaded, Policy::Ignore) => Known::Kept,
            (State::Found, Policy::Ignore) | (_, Policy::Reload) => Known::Renewed,
        }
    }

    /// `scanner_files.error` of a file that is set aside.
    pub fn what_changed(&self, file: &ListedFile) -> String {
        let when = if self.was_loaded { "after" } else { "before" };
        let modified: DateTime<Utc> = file.modified;
        format!(
            "changed at the source {when} it was loaded: known version {}, now {} ({} bytes, modified {})",
            self.version,
            file.version,
            file.size,
            modified.format("%Y-%m-%d %H:%M:%S%.6f")
        )
    }
}
