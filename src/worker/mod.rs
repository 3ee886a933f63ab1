//! The ETL worker: claim, take, confirm, load, and say how it ended.
//!
//! ```text
//! rescue -> claim -> [heartbeat] -> take -> confirm -> load files side by side -> complete
//!                                                              |-- some file can't be loaded --> walk back -> fail
//!                                                              |-- something is out of reach --> postpone
//!                                                              `-- superseded --> stop, change nothing
//! ```
//!
//! Invariant: only a take that was confirmed afterwards may load or fail. Whatever a worker believes, the ledger row
//! decides in the transaction that holds the rows; the lease and the heartbeat only save work.

mod heartbeat;
mod load_file;
mod load_job;
mod owner;
mod segment;
mod totals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

pub use heartbeat::StoreFactory;
use load_job::JobLoader;

use crate::engine::LoadPlanner;
use crate::error::{Error, Result};
use crate::job::{ClaimRequest, JobOrder, JobStore};
use crate::progress::{Event, JobEnd, Observer, Outcome};
use crate::source::{self, Source};
use crate::warehouse::Warehouse;

/// How long a claim holds without a heartbeat.
const LEASE: Duration = Duration::from_secs(60);

/// How jobs are loaded, from the config and the command line.
#[derive(Debug, Clone)]
pub struct EtlSettings {
    pub workers: usize,
    pub max_attempts: u32,
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

impl Default for SegmentLimits {
    fn default() -> Self {
        // A worker reads two files side by side: its segments are 64 MiB together.
        Self { records_max: 100_000, bytes_max: 32 * 1024 * 1024 }
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
}

impl Etl {
    /// Runs the workers until no job is runnable.
    ///
    /// # Errors
    /// What stopped a worker: a database or the source out of reach, a job of a feed that the config lacks. The other
    /// workers end their jobs first.
    pub async fn run(self: Arc<Self>) -> Result<EtlReport> {
        let mut workers = JoinSet::new();
        let stop = Arc::new(AtomicUsize::new(0));
        for number in 1..=self.settings.workers {
            let (etl, stop) = (self.clone(), stop.clone());
            workers.spawn(async move { etl.work(number, &stop).await });
        }
        let mut report = EtlReport::default();
        let mut first_error = None;
        while let Some(worker) = workers.join_next().await {
            let ended = worker.map_err(|error| Error::internal("a worker broke down").caused_by(error))?;
            let (of_worker, error) = ended;
            report.add(&of_worker);
            first_error = first_error.or(error);
        }
        first_error.map_or(Ok(report), Err)
    }

    async fn work(&self, number: usize, stop: &AtomicUsize) -> (EtlReport, Option<Error>) {
        let mut report = EtlReport::default();
        let request = ClaimRequest {
            owner: owner::owner(number),
            order: self.settings.order,
            feed: self.settings.feed.clone(),
            lease: LEASE,
        };
        while stop.load(Ordering::Relaxed) == 0 {
            match self.work_once(&request).await {
                Ok(Some(end)) => {
                    report.count(&end);
                    let postponed = matches!(end.outcome, Outcome::Postponed(..));
                    if postponed && let Some(error) = self.outage().await {
                        stop.fetch_add(1, Ordering::Relaxed);
                        return (report, Some(error));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    stop.fetch_add(1, Ordering::Relaxed);
                    return (report, Some(error));
                }
            }
        }
        (report, None)
    }

    /// What is out of reach for every job, if anything: claiming more of them would only use their attempts up.
    async fn outage(&self) -> Option<Error> {
        match self.warehouse.version().await {
            Ok(_) => source::reachable(&self.source).await.err(),
            Err(error) => Some(error),
        }
    }

    /// Claims and works on one job; `None` where nothing is runnable.
    async fn work_once(&self, request: &ClaimRequest) -> Result<Option<JobEnd>> {
        let dead: Vec<String> = self.store.owners().await?.into_iter().filter(|name| owner::is_dead(name)).collect();
        let rescued = self.store.rescue(&dead).await?;
        if rescued > 0 {
            tracing::info!(rescued, "gave jobs of workers that died back to the queue");
        }
        let Some(claim) = self.store.claim(request).await? else { return Ok(None) };
        let end = JobLoader::new(self, claim)?.run().await?;
        (self.observer)(Event::JobEnded(end.clone()));
        Ok(Some(end))
    }
}

impl EtlReport {
    fn add(&mut self, other: &Self) {
        self.loaded += other.loaded;
        self.failed += other.failed;
        self.postponed += other.postponed;
        self.lost += other.lost;
    }

    fn count(&mut self, end: &JobEnd) {
        match end.outcome {
            Outcome::Loaded => self.loaded += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Postponed(..) => self.postponed += 1,
            Outcome::Lost => self.lost += 1,
        }
    }
}
