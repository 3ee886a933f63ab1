//! The workers of one process, with what they share: the heartbeat, the watch for outages, the rescue of jobs whose
//! workers died, and the wish to stop.
//!
//! Invariant: nothing in here grows with the number of jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::heartbeat::Heartbeat;
use super::load_job::JobLoader;
use super::reach::Reach;
use super::stop::Stop;
use super::{Etl, EtlReport, owner};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::job::{Claim, ClaimRequest, ClaimToken, JobId, backoff};
use crate::progress::{Event, JobEnd, Outcome};

/// How often jobs of workers that died are looked for, give or take a half; more often where leases are short, so that
/// such a job is back within a lease and a heartbeat.
const RESCUE_EVERY: Duration = Duration::from_secs(4);
const RESCUES_PER_LEASE: u32 = 6;
/// How long an idle worker waits before it looks for a job, at least and at most.
const IDLE: (f64, f64) = (2.0, 5.0);
/// How long a job of a feed that the config lacks is left alone.
const STRANGE_JOB: Duration = Duration::from_secs(300);
/// How long dropped work may take to let go, and giving its jobs back.
const PARTING: Duration = Duration::from_secs(2);

/// When the workers end, a stop aside.
pub(super) enum Until {
    /// No job can be run now, or something is out of reach.
    Drained,
    /// Never. Woken by this, idle workers look for jobs at once.
    Stopped(watch::Receiver<()>),
}

pub(super) struct Crew {
    pub etl: Arc<Etl>,
    pub heartbeat: Heartbeat,
    pub reach: Reach,
    pub stop: Stop,
    /// How long the metadata is given to take the end of a job when it can't be reached.
    pub patience: Duration,
    /// Set by the first worker that a drained run ends with.
    halted: AtomicBool,
    /// Jobs came back to the queue: idle workers need not wait to find out.
    rescued: Notify,
}

impl Crew {
    pub async fn gather(etl: Arc<Etl>, stop: &Stop, patience: Duration) -> Result<Self> {
        let heartbeat = Heartbeat::start(etl.store_factory.clone(), etl.settings.lease).await?;
        let reach = Reach::new(etl.clone());
        Ok(Self {
            etl,
            heartbeat,
            reach,
            stop: stop.clone(),
            patience,
            halted: AtomicBool::new(false),
            rescued: Notify::new(),
        })
    }

    /// Runs all workers to their end. Where a stop was asked for and the grace is over, drops what is left: open segments
    /// roll back.
    pub async fn work(self, until: Until) -> Result<EtlReport> {
        let crew = Arc::new(self);
        let mut helpers = JoinSet::new();
        let (rescuing, keeping) = (crew.clone(), crew.clone());
        helpers.spawn(async move { rescuing.rescue_for_ever().await });
        helpers.spawn(async move { keeping.reach.keep().await });
        let mut workers = JoinSet::new();
        for number in 1..=crew.etl.settings.workers {
            let crew = crew.clone();
            match &until {
                Until::Drained => workers.spawn(async move { crew.drain(number).await }),
                Until::Stopped(news) => {
                    let news = news.clone();
                    workers.spawn(async move { crew.serve(number, news).await })
                }
            };
        }
        let mut report = EtlReport::default();
        let mut first_error = None;
        let grace_over = crew.stop.grace_over();
        tokio::pin!(grace_over);
        loop {
            let ended = tokio::select! {
                ended = workers.join_next() => ended,
                () = &mut grace_over => {
                    // Asked now: a claim is watched by the work that is dropped next.
                    let held = crew.heartbeat.held();
                    // What does not let go in time ends with the process.
                    let _ = timeout(PARTING, workers.shutdown()).await;
                    crew.give_back(held).await;
                    report.dropped = true;
                    break;
                }
            };
            let Some(ended) = ended else { break };
            match ended {
                Ok((of_worker, error)) => {
                    report.add(&of_worker);
                    first_error = first_error.or(error);
                }
                // The others end what they are at, and its job is rescued. What the panic says may hold a value.
                Err(_) => {
                    tracing::error!("a worker broke down: standard error says where");
                    first_error = Some(Error::internal("a worker broke down: standard error says where"));
                    crew.stop.ask("a worker that broke down");
                }
            }
        }
        first_error.map_or(Ok(report), Err)
    }

    /// Loads until no job is runnable, or something is out of reach for every job.
    async fn drain(&self, number: usize) -> (EtlReport, Option<Error>) {
        let mut report = EtlReport::default();
        let request = self.request(number);
        // A job is rescued by whoever looks first: only a claim behind a rescue shows that there is none.
        let mut has_rescued = false;
        while !self.halted.load(Ordering::Relaxed) && !self.stop.is_asked() {
            let error = match self.work_once(&request).await {
                Ok(Some(end)) => {
                    has_rescued = false;
                    report.count(&end);
                    let postponed = matches!(end.outcome, Outcome::Postponed(..));
                    if postponed { self.reach.outage().await } else { None }
                }
                Ok(None) if has_rescued => break,
                Ok(None) => {
                    let rescued = self.rescue().await;
                    has_rescued = matches!(rescued, Ok(0));
                    rescued.err()
                }
                Err(error) => Some(error),
            };
            if error.is_some() {
                self.halted.store(true, Ordering::Relaxed);
                return (report, error);
            }
        }
        (report, None)
    }

    /// Loads whatever comes, until a stop is asked for.
    async fn serve(&self, number: usize, mut news: watch::Receiver<()>) -> (EtlReport, Option<Error>) {
        let mut report = EtlReport::default();
        let request = self.request(number);
        let mut troubles = 0;
        while !self.stop.is_asked() {
            tokio::select! {
                () = self.stop.asked() => break,
                () = self.reach.open() => {}
            }
            match self.work_once(&request).await {
                Ok(Some(end)) => {
                    troubles = 0;
                    report.count(&end);
                    if matches!(end.outcome, Outcome::Postponed(..))
                        && let Some(error) = self.reach.outage().await
                    {
                        self.reach.close(&error);
                    }
                }
                Ok(None) => {
                    troubles = 0;
                    self.idle(&mut news).await;
                }
                Err(error) => {
                    troubles += 1;
                    self.get_over(&error, troubles).await;
                }
            }
        }
        (report, None)
    }

    /// An outage waits for its end; anything else is said, and tried again a little later.
    async fn get_over(&self, error: &Error, troubles: u32) {
        if error.is_retryable()
            && let Some(outage) = self.reach.outage_behind(error).await
        {
            return self.reach.close(&outage);
        }
        let hint = error.hint_text().unwrap_or_default();
        tracing::error!(reason = error.chain(), hint, "a worker could not go on, and will try again");
        tokio::select! {
            () = self.stop.asked() => {}
            () = sleep(backoff(troubles, rand::random::<f64>())) => {}
        }
    }

    async fn idle(&self, news: &mut watch::Receiver<()>) {
        let (least, most) = IDLE;
        let pause = Duration::from_secs_f64(least + (most - least) * rand::random::<f64>());
        let heard = async {
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.stop.asked() => {}
            () = heard => {}
            () = self.rescued.notified() => {}
            () = sleep(pause) => {}
        }
    }

    fn request(&self, number: usize) -> ClaimRequest {
        let settings = &self.etl.settings;
        let (order, feed, lease) = (settings.order, settings.feed.clone(), settings.lease);
        ClaimRequest { owner: owner::owner(number), order, feed, lease }
    }

    /// Claims and works on one job; `None` where nothing is runnable.
    async fn work_once(&self, request: &ClaimRequest) -> Result<Option<JobEnd>> {
        let Some(claim) = self.etl.store.claim(request).await? else { return Ok(None) };
        let Some(planner) = self.etl.planners.iter().find(|planner| planner.feed().name == claim.job.feed) else {
            return Err(self.refuse(&claim).await);
        };
        let end = JobLoader::new(self, planner, claim).run().await?;
        (self.etl.observer)(Event::JobEnded(end.clone()));
        Ok(Some(end))
    }

    async fn refuse(&self, claim: &Claim) -> Error {
        let (job, feed) = (claim.job.id, &claim.job.feed);
        let reason = format!("job {job} is of feed `{feed}`, which the config does not have");
        // Where this fails, its lease ends.
        let _ = self.etl.store.postpone(job, &claim.token, STRANGE_JOB, false, &reason).await;
        Error::config(reason).hint("a feed's name is permanent: put it back into the config")
    }

    /// Gives jobs of workers that died back to the queue; how many.
    pub async fn rescue(&self) -> Result<u64> {
        let store = &self.etl.store;
        let dead: Vec<String> = store.owners().await?.into_iter().filter(|name| owner::is_dead(name)).collect();
        failpoint::reach("rescue.looked").await?;
        let rescued = store.rescue(&dead).await?;
        failpoint::reach("rescued").await?;
        if rescued > 0 {
            tracing::info!(rescued, "gave jobs of workers that died back to the queue");
            self.rescued.notify_waiters();
        }
        Ok(rescued)
    }

    async fn rescue_for_ever(&self) {
        let usual = RESCUE_EVERY.min(self.etl.settings.lease / RESCUES_PER_LEASE);
        loop {
            self.reach.open().await;
            if let Err(error) = self.rescue().await {
                tracing::debug!(error = error.chain(), "could not look for jobs of workers that died");
            }
            sleep(usual.mul_f64(0.5 + rand::random::<f64>())).await;
        }
    }

    /// Work was dropped: whoever comes next need not wait for the leases to end.
    async fn give_back(&self, held: Vec<(JobId, ClaimToken)>) {
        let reason = self.stop.reason();
        let giving = async {
            for (job, token) in held {
                // Where this fails, its lease ends.
                let _ = self.etl.store.postpone(job, &token, Duration::ZERO, false, &reason).await;
            }
        };
        let _ = timeout(PARTING, giving).await;
    }
}
