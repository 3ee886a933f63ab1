//! One claimed job from take to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::task::JoinSet;

use super::crew::Crew;
use super::ending::{Ending, tell};
use super::load_file::{FileLoader, Loaded};
use crate::engine::{LoadPlan, LoadPlanner};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::feed::Feed;
use crate::job::{Claim, FileOutcome, FileRecord, FileState, OnOverwrite, backoff};
use crate::progress::{Event, JobEnd, Outcome};
use crate::source::FileRef;
use crate::warehouse::{Fence, LedgerKey, Progress, Standing, TableSpec, Taken, Taker, WalkEnd};

/// How often files are taken back from stale workers.
const TAKES_MAX: usize = 5;
/// Longest `failure_msg`, in characters.
const FAILURE_MSG_MAX: usize = 4000;

pub struct JobLoader<'a> {
    crew: &'a Crew,
    claim: Claim,
    planner: &'a LoadPlanner,
    feed: &'a Feed,
    table: Arc<TableSpec>,
    started: std::time::Instant,
    lost: Arc<AtomicBool>,
}

/// Where one file of the job stands when all have been worked on.
enum Ended {
    Complete(Progress),
    /// A person has taken it out: nothing is left to do.
    Unloaded,
    Quarantined(String),
    /// Its load stopped with this error.
    Error(Error),
    Lost,
    /// A stop was asked for.
    Stopped,
}

struct FileEnd {
    file: FileRecord,
    taken: Taken,
    ended: Ended,
}

impl<'a> JobLoader<'a> {
    /// `planner` is that of the job's feed.
    pub fn new(crew: &'a Crew, planner: &'a LoadPlanner, claim: Claim) -> Self {
        let feed = planner.feed();
        let (table, lost) = (Arc::new(TableSpec::of(feed)), Arc::new(AtomicBool::new(false)));
        Self { crew, claim, planner, feed, table, started: std::time::Instant::now(), lost }
    }

    pub async fn run(self) -> Result<JobEnd> {
        let files = self.files();
        let (job, attempt) = (self.claim.job.id, self.claim.job.attempts);
        tracing::info!(job, feed = self.feed.name, files = files.len(), attempt, "claimed");
        (self.crew.etl.observer)(Event::JobStarted {
            job: self.claim.job.id,
            feed: self.feed.name.clone(),
            files: files.len(),
            bytes: files.iter().map(|file| file.size).sum(),
        });
        let watched = self.crew.heartbeat.watch(job, &self.claim.token, self.lost.clone());
        let (outcome, ends) = match self.load(&files).await {
            Ok(None) => (Outcome::Lost, Vec::new()),
            Ok(Some(ends)) => (self.conclude(&ends).await?, ends),
            Err(error) => (self.give_back(error).await?, Vec::new()),
        };
        drop(watched);
        Ok(self.end(outcome, &files, &ends))
    }

    /// The files that the job still has to answer for: those to load, and those that the scanner put into quarantine
    /// before they were known to be loaded. The latter are never read, but the ledger may hold a part of them.
    fn files(&self) -> Vec<FileRecord> {
        let files = self.claim.files.iter();
        let open = files.filter(|file| match file.state {
            FileState::InJob => true,
            FileState::Quarantined => file.loaded_time.is_none(),
            _ => false,
        });
        open.cloned().collect()
    }

    /// Take, confirm, load. `None`: the claim is lost.
    ///
    /// A stale worker may still take the files once more after this one; while the claim holds, they are taken back.
    async fn load(&self, files: &[FileRecord]) -> Result<Option<Vec<FileEnd>>> {
        failpoint::reach("claimed").await?;
        for _ in 0..TAKES_MAX {
            let taken = self.take(files).await?;
            failpoint::reach("taken").await?;
            if !self.confirm().await? {
                return Ok(None);
            }
            failpoint::reach("confirmed").await?;
            let ends = self.load_taken(files, taken).await;
            let superseded = ends.iter().any(|end| matches!(end.ended, Ended::Lost));
            if !superseded {
                return Ok(Some(ends));
            }
            if !self.confirm().await? {
                return Ok(None);
            }
        }
        Err(Error::unavailable("other workers keep taking the files of this job"))
    }

    async fn take(&self, files: &[FileRecord]) -> Result<Vec<Taken>> {
        let keys: Vec<LedgerKey> = files
            .iter()
            .map(|file| LedgerKey { key: file.key.clone(), version: file.version.clone(), hour: file.hour })
            .collect();
        let taker = Taker {
            feed: self.feed.name.clone(),
            job: self.claim.job.id,
            table: self.table.name.clone(),
            plan_hash: self.feed.plan_hash(),
            reload: self.feed.on_overwrite == OnOverwrite::Reload,
        };
        self.crew.etl.warehouse.take(&taker, &keys).await
    }

    /// Loads the files side by side, each to its own end.
    async fn load_taken(&self, files: &[FileRecord], taken: Vec<Taken>) -> Vec<FileEnd> {
        let refs: Vec<FileRef> = files
            .iter()
            .map(|file| FileRef { key: file.key.clone(), version: file.version.clone(), size: file.size })
            .collect();
        let plan = Arc::new(self.planner.over(&refs));
        let given_up = self.given_up();
        let mut loads = Vec::with_capacity(files.len());
        for (index, (file, taken)) in files.iter().zip(taken).enumerate() {
            let given_up = given_up.clone();
            let loader = self.file_loader(index, file.clone(), self.fence(&taken), plan.clone());
            let file = file.clone();
            loads.push(async move {
                let loaded = apart(load_file(loader, taken.clone(), given_up)).await;
                FileEnd { file, taken, ended: loaded }
            });
        }
        stream::iter(loads).buffered(self.crew.etl.settings.connections).collect().await
    }

    fn fence(&self, taken: &Taken) -> Fence {
        Fence { file: taken.file, epoch: taken.epoch, plan_hash: self.feed.plan_hash() }
    }

    fn file_loader(&self, index: usize, file: FileRecord, fence: Fence, plan: Arc<LoadPlan>) -> FileLoader {
        FileLoader {
            job: self.claim.job.id,
            file,
            plan,
            index,
            fence,
            table: self.table.clone(),
            warehouse: self.crew.etl.warehouse.clone(),
            settings: self.crew.etl.settings.clone(),
            observer: self.crew.etl.observer.clone(),
            lost: self.lost.clone(),
            stop: self.crew.stop.clone(),
        }
    }

    async fn confirm(&self) -> Result<bool> {
        let held =
            self.crew.etl.store.confirm(self.claim.job.id, &self.claim.token, self.crew.etl.settings.lease).await?;
        if !held {
            self.lost.store(true, Ordering::Relaxed);
        }
        Ok(held)
    }

    /// Says in the metadata how the job ended, by the claim token.
    async fn conclude(&self, ends: &[FileEnd]) -> Result<Outcome> {
        if ends.iter().any(|end| matches!(end.ended, Ended::Lost)) {
            return Ok(Outcome::Lost);
        }
        if ends.iter().any(|end| matches!(end.ended, Ended::Stopped)) {
            return self.stop().await;
        }
        let retryable = ends.iter().filter_map(|end| match &end.ended {
            Ended::Error(error) if error.is_retryable() => Some(error),
            _ => None,
        });
        let retryable = retryable.max_by_key(|error| error.is_outage());
        if let Some(error) = retryable {
            if self.crew.stop.is_asked() {
                return self.stop().await;
            }
            let outage = self.crew.reach.outage_behind(error).await.is_some();
            if outage || self.attempts_left() {
                return self.postpone(&error.chain(), !outage).await;
            }
        }
        if ends.iter().all(|end| matches!(end.ended, Ended::Complete(_) | Ended::Unloaded)) {
            let outcomes = ends.iter().map(outcome).collect::<Vec<_>>();
            let held = tell(self.crew, &self.claim, &Ending::Complete(outcomes)).await?;
            return Ok(if held { Outcome::Loaded } else { Outcome::Lost });
        }
        self.fail(ends).await
    }

    /// The files could not even be taken: nothing may be said of them, so the job goes back to the queue. Only what may
    /// pass by itself is counted as an attempt: a right that is missing is not the job's fault.
    async fn give_back(&self, error: Error) -> Result<Outcome> {
        if error.is_retryable() && self.crew.stop.is_asked() {
            return self.stop().await;
        }
        let outage = self.crew.reach.outage_behind(&error).await.is_some();
        let outcome = self.postpone(&error.chain(), error.is_retryable() && !outage).await?;
        if error.is_retryable() { Ok(outcome) } else { Err(error) }
    }

    fn attempts_left(&self) -> bool {
        self.claim.job.attempts < self.crew.etl.settings.max_attempts
    }

    /// An attempt that an outage has spoilt is not counted.
    async fn postpone(&self, reason: &str, counted: bool) -> Result<Outcome> {
        let delay: Duration = backoff(self.claim.job.attempts, rand::random::<f64>());
        let reason = capped(reason.to_owned());
        let ending = Ending::Postpone { delay, counted, reason: reason.clone() };
        let held = tell(self.crew, &self.claim, &ending).await?;
        Ok(if held { Outcome::Postponed(delay, reason) } else { Outcome::Lost })
    }

    /// The job goes back to the queue as if it had not been claimed, but for what is committed of it.
    async fn stop(&self) -> Result<Outcome> {
        let reason = self.crew.stop.reason();
        let ending = Ending::Postpone { delay: Duration::ZERO, counted: false, reason: reason.clone() };
        let held = tell(self.crew, &self.claim, &ending).await?;
        Ok(if held { Outcome::GivenBack(reason) } else { Outcome::Lost })
    }

    /// Why no file of the job is loaded any more, if so.
    fn given_up(&self) -> Option<String> {
        let (job, settings) = (&self.claim.job, &self.crew.etl.settings);
        if job.expiries >= settings.max_expiries {
            return Some(match job.expiries {
                1 => "its worker died once".to_owned(),
                more => format!("its worker died {more} times"),
            });
        }
        (job.attempts > settings.max_attempts).then(|| match settings.max_attempts {
            1 => "1 attempt was not enough".to_owned(),
            more => format!("{more} attempts were not enough"),
        })
    }

    /// Walks every failed file back, so that nothing of it stays, and only then writes FAILED. Where that can't be done now,
    /// the job goes back to the queue, and its next worker comes here again.
    async fn fail(&self, ends: &[FileEnd]) -> Result<Outcome> {
        match self.take_out(ends).await {
            Ok(true) => {}
            Ok(false) => return Ok(Outcome::Lost),
            Err(error) => return self.give_back(error).await,
        }
        let message = self.failure_msg(ends);
        let outcomes = ends.iter().map(outcome).collect::<Vec<_>>();
        let held = tell(self.crew, &self.claim, &Ending::Fail(outcomes, message.clone())).await?;
        Ok(if held { Outcome::Failed(message) } else { Outcome::Lost })
    }

    /// `false`: the claim is lost.
    async fn take_out(&self, ends: &[FileEnd]) -> Result<bool> {
        if !self.confirm().await? {
            return Ok(false);
        }
        failpoint::reach("fail.confirmed").await?;
        for end in ends.iter().filter(|end| matches!(end.ended, Ended::Error(_))) {
            tracing::info!(job = self.claim.job.id, key = end.file.key, "failed: taking out what stands of it");
            if !self.crew.etl.warehouse.walk_back(&self.fence(&end.taken), &self.table, WalkEnd::Anew).await? {
                return Ok(false);
            }
        }
        failpoint::reach("fail.walked_back").await?;
        Ok(true)
    }

    /// A line for every file that did not load: its key, the place and the whole chain of causes.
    fn failure_msg(&self, ends: &[FileEnd]) -> String {
        let mut lines: Vec<String> = ends.iter().filter_map(problem).collect();
        if let Some(why) = self.given_up() {
            let last = self.claim.job.failure_msg.as_deref();
            let last = last.map(|last| format!("; before that: {last}")).unwrap_or_default();
            lines.insert(0, format!("given up: {why}{last}"));
        }
        capped(lines.join("\n"))
    }

    fn end(&self, outcome: Outcome, files: &[FileRecord], ends: &[FileEnd]) -> JobEnd {
        let progress = ends.iter().filter_map(|end| match &end.ended {
            Ended::Complete(progress) => Some(progress),
            _ => None,
        });
        let (rows, rejects) = progress.fold((0, 0), |sum, done| (sum.0 + done.rows, sum.1 + done.rejects));
        JobEnd {
            job: self.claim.job.id,
            feed: self.feed.name.clone(),
            outcome,
            files: files.len(),
            bytes: files.iter().map(|file| file.size).sum(),
            rows,
            rejects,
            took: self.started.elapsed(),
        }
    }
}

/// What needs no load: a complete file, and one whose rows are of another version.
fn settled(taken: &Taken) -> Option<Ended> {
    match taken.standing {
        Standing::OtherVersion => {
            Some(Ended::Quarantined("rows of another version of this file are in the table".to_owned()))
        }
        Standing::Unloaded => Some(Ended::Unloaded),
        Standing::Ready if taken.progress.complete => Some(Ended::Complete(taken.progress.clone())),
        Standing::Ready | Standing::OtherPlan => None,
    }
}

/// Runs the load as a task of its own, which ends with whoever waits for it.
async fn apart(load: impl Future<Output = Ended> + Send + 'static) -> Ended {
    let mut task = JoinSet::new();
    task.spawn(load);
    // What a panic says may hold a value of the file.
    let broken = |_| Ended::Error(Error::internal("the load broke down: standard error says where"));
    let nothing = || Ended::Error(Error::internal("the load vanished"));
    task.join_next().await.map_or_else(nothing, |ended| ended.unwrap_or_else(broken))
}

/// Loads one taken file from where it stands.
async fn load_file(loader: FileLoader, taken: Taken, given_up: Option<String>) -> Ended {
    if taken.standing == Standing::Unloaded && taken.progress.records_done > 0 {
        return end_unload(&loader).await;
    }
    if let Some(ended) = settled(&taken) {
        return ended;
    }
    if loader.file.state == FileState::Quarantined {
        let why = loader.file.error.as_deref().unwrap_or("changed at the source");
        return Ended::Error(Error::changed(format!("quarantined: {why}")));
    }
    if let Some(why) = given_up {
        return Ended::Error(Error::data(format!("not loaded: {why}")));
    }
    if loader.stop.is_asked() {
        return Ended::Stopped;
    }
    let mut progress = taken.progress;
    if taken.standing == Standing::OtherPlan {
        tracing::info!(job = loader.job, key = loader.file.key, "begun under another schema or version: walking back");
        match loader.warehouse.walk_back(&loader.fence, &loader.table, WalkEnd::Anew).await {
            // The ledger still names the version that was complete: the take behind this one sets the one that comes.
            Ok(true) if progress.complete => return Ended::Lost,
            Ok(true) => progress = Progress::default(),
            Ok(false) => return Ended::Lost,
            Err(error) => return Ended::Error(error),
        }
    }
    match loader.load(progress).await {
        Ok(Loaded::Complete(progress)) => Ended::Complete(progress),
        Ok(Loaded::Lost) => Ended::Lost,
        Ok(Loaded::Stopped) => Ended::Stopped,
        Err(error) => Ended::Error(error),
    }
}

/// Takes out what an unload that was cut short has left.
async fn end_unload(loader: &FileLoader) -> Ended {
    tracing::info!(job = loader.job, key = loader.file.key, "its unload was cut short: taking out what is left");
    match loader.warehouse.walk_back(&loader.fence, &loader.table, WalkEnd::Unloaded).await {
        Ok(true) => Ended::Unloaded,
        Ok(false) => Ended::Lost,
        Err(error) => Ended::Error(error),
    }
}

fn outcome(end: &FileEnd) -> FileOutcome {
    let (state, progress) = match &end.ended {
        Ended::Complete(progress) => (FileState::Loaded, Some(progress)),
        Ended::Unloaded => (FileState::Unloaded, None),
        // Of the version that is loaded.
        Ended::Quarantined(_) => (FileState::Quarantined, Some(&end.taken.progress)),
        Ended::Error(error) if error.kind() == ErrorKind::Changed => (FileState::Quarantined, None),
        Ended::Error(_) | Ended::Lost | Ended::Stopped => (FileState::Failed, None),
    };
    FileOutcome {
        id: end.file.id,
        state,
        rows_loaded: progress.map(|done| done.rows),
        rows_rejected: progress.map(|done| done.rejects),
        error: problem(end),
    }
}

fn problem(end: &FileEnd) -> Option<String> {
    match &end.ended {
        Ended::Complete(_) | Ended::Unloaded | Ended::Stopped => None,
        Ended::Quarantined(reason) => Some(format!("{}: {reason}", end.file.key)),
        Ended::Lost => Some(format!("{}: superseded by another worker", end.file.key)),
        Ended::Error(error) => {
            let chain = error.chain();
            let named = chain.starts_with(&end.file.key);
            Some(capped(if named { chain } else { format!("{}: {chain}", end.file.key) }))
        }
    }
}

fn capped(text: String) -> String {
    match text.char_indices().nth(FAILURE_MSG_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
