//! What a running scan or load tells whoever watches it. The watcher decides how to show it; the work never waits.

use std::sync::Arc;
use std::time::Duration;

use crate::job::JobId;

#[derive(Debug, Clone)]
pub enum Event {
    /// So many keys of the feed's listing have been seen so far.
    Listed {
        feed: String,
        keys: u64,
    },
    /// The feed's listing has ended, and jobs are formed.
    ListingEnded {
        feed: String,
    },
    JobStarted {
        job: JobId,
        feed: String,
        files: usize,
        bytes: u64,
    },
    /// A segment was committed: so many more bytes of the job's files and rows in the table.
    Advanced {
        job: JobId,
        bytes: u64,
        rows: u64,
    },
    JobEnded(JobEnd),
}

#[derive(Debug, Clone)]
pub struct JobEnd {
    pub job: JobId,
    pub feed: String,
    pub outcome: Outcome,
    pub files: usize,
    pub bytes: u64,
    pub rows: u64,
    pub rejects: u64,
    pub took: Duration,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Loaded,
    /// With `failure_msg`.
    Failed(String),
    /// To be tried again after the delay, and why.
    Postponed(Duration, String),
    /// Given back to the queue unharmed, and why.
    GivenBack(String),
    /// Another worker has taken the job over.
    Lost,
}

pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// For whoever does not watch.
pub fn unobserved() -> Observer {
    Arc::new(|_| {})
}
