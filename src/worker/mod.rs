//! The ETL worker: claim, take, confirm, load, and say how it ended.
//!
//! ```text
//! rescue -> claim -> [heartbeat] -> take -> confirm -> load files side by side -> complete
//!                                                              |-- some file can't be loaded --> walk back -> fail
//!                                                              |-- something is out of reach --> postpone
//!                                                              |-- a stop is asked for --> postpone, uncounted
//!                                                              `-- superseded --> stop, change nothing
//! ```
//!
//! Invariant: only a take that was confirmed afterwards may load or fail. Whatever a worker believes, the ledger row
//! decides in the transaction that holds the rows; the lease and the heartbeat only save work.

mod crew;
mod ending;
#[cfg(feature = "failpoints")]
mod forgetful;
mod heartbeat;
mod load_file;
mod load_job;
mod owner;
mod reach;
mod segment;
mod stop;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crew::{Crew, Until};
#[cfg(feature = "failpoints")]
pub use forgetful::forgetful;
pub use heartbeat::StoreFactory;
pub use stop::Stop;

use crate::engine::LoadPlanner;
use crate::error::Result;
use crate::failpoint;
use crate::job::{JobOrder, JobStore};
use crate::progress::{JobEnd, Observer, Outcome};
use crate::source::Source;
use crate::warehouse::Warehouse;

/// How long the metadata is given to take the end of a job when it can't be reached: by a run that ends then, and by one
/// that would have to wait anyway.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_SERVING: Duration = Duration::from_secs(600);

/// How jobs are loaded, from the config and the command line.
#[derive(Debug, Clone)]
pub struct EtlSettings {
    pub workers: usize,
    /// Files of one job that are loaded side by side.
    pub connections: usize,
    pub max_attempts: u32,
    /// Workers that may die over a job.
    pub max_expiries: u32,
    /// How long a claim holds without a heartbeat.
    pub lease: Duration,
    pub order: JobOrder,
    /// Load jobs of this feed only.
    pub feed: Option<String>,
    /// A file with more rejects than this part of its records fails, from [`RATIO_FLOOR`] rejects on.
    pub max_reject_ratio: f64,
    /// A file fails when more than this part of a column's values do not convert, from [`RATIO_FLOOR`] values on.
    pub max_invalid_ratio: f64,
    pub segment: SegmentLimits,
}

/// Fewer rejects, or invalid values of a column, than this never fail a file.
pub const RATIO_FLOOR: u64 = 10;

/// How much one transaction takes.
#[derive(Debug, Clone, Copy)]
pub struct SegmentLimits {
    pub records_max: usize,
    /// Of the plain file.
    pub bytes_max: u64,
}

impl SegmentLimits {
    /// For a worker that loads so many files side by side: its segments are 64 MiB together.
    pub fn shared_by(files: usize) -> Self {
        Self { records_max: failpoint::records(100_000) as usize, bytes_max: 64 * 1024 * 1024 / files.max(1) as u64 }
    }
}

/// What workers share.
pub struct Etl {
    pub store: Arc<dyn JobStore>,
    /// Opens the heartbeat's own connection.
    pub store_factory: StoreFactory,
    pub warehouse: Arc<dyn Warehouse>,
    pub source: Source,
    /// One for every feed of the config.
    pub planners: Vec<LoadPlanner>,
    pub settings: EtlSettings,
    pub observer: Observer,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EtlReport {
    pub loaded: usize,
    pub failed: usize,
    pub postponed: usize,
    pub lost: usize,
    /// Given back because a stop was asked for.
    pub given_back: usize,
    /// A stop was asked for, and what did not end in time was dropped.
    pub dropped: bool,
}

impl Etl {
    /// Runs the workers until no job is runnable, or until a stop is asked for: then the running segments end, and their
    /// jobs go back to the queue.
    ///
    /// # Errors
    /// What stopped a worker: a database or the source out of reach, a job of a feed that the config lacks. The other
    /// workers end their jobs first.
    pub async fn run(self: Arc<Self>, stop: &Stop) -> Result<EtlReport> {
        let crew = Crew::gather(self, stop, PATIENCE).await?;
        crew.rescue().await?;
        crew.work(Until::Drained).await
    }

    /// Runs the workers until a stop is asked for. Idle ones look for jobs every few seconds, and at once when `news`
    /// changes. An outage makes them wait for its end.
    ///
    /// # Errors
    /// Internal where a worker broke down, or what keeps them from beginning.
    pub async fn serve(self: Arc<Self>, stop: &Stop, news: watch::Receiver<()>) -> Result<EtlReport> {
        let crew = Crew::gather(self, stop, PATIENCE_SERVING).await?;
        crew.work(Until::Stopped(news)).await
    }
}

impl EtlReport {
    fn add(&mut self, other: &Self) {
        self.loaded += other.loaded;
        self.failed += other.failed;
        self.postponed += other.postponed;
        self.lost += other.lost;
        self.given_back += other.given_back;
    }

    fn count(&mut self, end: &JobEnd) {
        match end.outcome {
            Outcome::Loaded => self.loaded += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Postponed(..) => self.postponed += 1,
            Outcome::GivenBack(_) => self.given_back += 1,
            Outcome::Lost => self.lost += 1,
        }
    }
}
