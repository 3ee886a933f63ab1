//! The unloader: takes rows, rejects and ledger state of loaded files out again, and lets such files in again.
//!
//! ```text
//! revoke in the metadata (UNLOADED) -> take in the ledger -> look whether it is still UNLOADED -> walk back, unloaded
//! ```
//!
//! In that order: from the first step on no scan and no worker takes the file for loaded; the take shuts out whoever
//! still writes it; and a person who retries the file meanwhile is seen by the look, or takes it after this take and
//! ends the walk. The walk is one transaction a segment. Killed anywhere, the same command goes on from there.
//!
//! Invariant: only a file that the registry called UNLOADED after this take is walked back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};
use crate::failpoint;
use crate::feed::Feed;
use crate::job::{FileRecord, FileState, JobFilter, JobId, JobStatus, JobStore, Selection};
use crate::warehouse::{Fence, LedgerKey, Progress, Standing, TableSpec, Taken, Taker, WalkEnd, Warehouse};

/// Files looked at at a time: what bounds the memory.
const PAGE: usize = 500;
/// How often a file is taken back from somebody else who unloads it too.
const TAKES_MAX: usize = 5;

/// Files of one feed that a person wants out, or in again.
pub struct Unloader<'a> {
    pub store: &'a dyn JobStore,
    pub warehouse: &'a dyn Warehouse,
    pub feed: &'a Feed,
    pub selection: &'a Selection,
}

/// What is to be taken out, or was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unloading {
    pub files: u64,
    pub rows: u64,
    pub rejects: u64,
    pub first_hour: Option<DateTime<Utc>>,
    pub last_hour: Option<DateTime<Utc>>,
    /// Of the files: those that an earlier unload has begun with. Their counts are what may be left of them.
    pub unfinished: u64,
}

impl Unloading {
    fn add(&mut self, file: &FileRecord, progress: &Progress) {
        let left = progress.records_done;
        self.files += 1;
        self.unfinished += u64::from(file.state == FileState::Unloaded);
        self.rows += progress.rows.min(left);
        self.rejects += progress.rejects.min(left);
        self.first_hour = Some(self.first_hour.map_or(file.hour, |first| first.min(file.hour)));
        self.last_hour = self.last_hour.max(Some(file.hour));
    }

    pub fn records(&self) -> u64 {
        self.rows + self.rejects
    }
}

impl Unloader<'_> {
    /// What [`Unloader::run`] would take out. Changes nothing.
    pub async fn plan(&self) -> Result<Unloading> {
        let (mut plan, mut after) = (Unloading::default(), 0);
        loop {
            let page = self.store.loaded_files(self.selection, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(plan) };
            after = last.id;
            let keys: Vec<String> = page.iter().map(|file| file.key.clone()).collect();
            let ledger = self.warehouse.progress(&self.feed.name, &keys).await?;
            for file in &page {
                let progress = ledger.get(&file.key).cloned().unwrap_or_default();
                let is_out = file.state == FileState::Unloaded && is_empty(&progress);
                if !is_out {
                    plan.add(file, &progress);
                }
            }
        }
    }

    /// # Errors
    /// Unavailable where a worker is at work on a job of one of the files.
    pub async fn refuse_running(&self) -> Result<()> {
        let filter = JobFilter { status: Some(JobStatus::Processing), feed: Some(self.feed.name.clone()) };
        for job in self.store.jobs(&filter).await? {
            let files = self.store.files_of(job.id).await?;
            if files.iter().any(|file| self.is_selected(file)) {
                return Err(Error::unavailable(format!(
                    "a worker is loading job {}, which has files of these: nothing was unloaded",
                    job.id
                ))
                .hint(format!(
                    "run the same command again when `loadline jobs {0}` says LOADED or FAILED; if its worker died, \
                     `loadline etl` ends the job",
                    job.id
                )));
            }
        }
        Ok(())
    }

    fn is_selected(&self, file: &FileRecord) -> bool {
        match self.selection {
            Selection::File { key, .. } => file.key == *key,
            Selection::Job(job) => file.job_id == Some(*job),
            Selection::Hours { from, to, .. } => (*from..*to).contains(&file.hour),
        }
    }

    /// Takes the files out, page by page. `seen` is told of each file that is out, with its records.
    pub async fn run(&self, seen: &(dyn Fn(u64) + Sync)) -> Result<Unloading> {
        let (mut done, mut after) = (Unloading::default(), 0);
        loop {
            let page = self.store.loaded_files(self.selection, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after = last.id;
            let loaded = page.iter().filter(|file| file.state != FileState::Unloaded);
            self.store.revoke(&loaded.map(|file| file.id).collect::<Vec<_>>()).await?;
            failpoint::reach("unload.revoked").await?;
            for (file, progress) in self.take_out(&page).await? {
                let before = done.records();
                done.add(file, &progress);
                seen(done.records() - before);
            }
        }
    }

    /// Lets UNLOADED files load again, as far as the ledger is concerned; what an unload has left of them is taken out
    /// first. The caller changes the metadata afterwards.
    pub async fn readmit(&self, files: &[FileRecord]) -> Result<()> {
        let unloaded: Vec<FileRecord> =
            files.iter().filter(|file| file.state == FileState::Unloaded).cloned().collect();
        self.take_out(&unloaded).await?;
        let keys: Vec<String> = files.iter().map(|file| file.key.clone()).collect();
        self.warehouse.readmit(&self.feed.name, &keys).await?;
        failpoint::reach("retry.readmitted").await
    }

    /// Walks back what stands of revoked files; those of which something stood, with what that was.
    async fn take_out<'f>(&self, files: &'f [FileRecord]) -> Result<Vec<(&'f FileRecord, Progress)>> {
        let mut by_job: BTreeMap<JobId, Vec<&FileRecord>> = BTreeMap::new();
        for file in files {
            by_job.entry(file.job_id.unwrap_or_default()).or_default().push(file);
        }
        let mut out = Vec::with_capacity(files.len());
        for (job, files) in by_job {
            let taken = self.take(job, &files).await?;
            failpoint::reach("unload.taken").await?;
            for (file, taken) in files.into_iter().zip(taken) {
                let was_out = taken.standing == Standing::Unloaded && is_empty(&taken.progress);
                if !was_out && let Some(progress) = self.walk_back(job, file, taken).await? {
                    out.push((file, progress));
                }
            }
        }
        Ok(out)
    }

    async fn take(&self, job: JobId, files: &[&FileRecord]) -> Result<Vec<Taken>> {
        let key =
            |file: &&FileRecord| LedgerKey { key: file.key.clone(), version: file.version.clone(), hour: file.hour };
        let taker = Taker {
            feed: self.feed.name.clone(),
            job,
            table: self.feed.table.clone(),
            plan_hash: self.feed.plan_hash(),
            reload: false,
        };
        self.warehouse.take(&taker, &files.iter().map(key).collect::<Vec<_>>()).await
    }

    /// `None`: somebody has let the file in again meanwhile.
    async fn walk_back(&self, job: JobId, file: &FileRecord, mut taken: Taken) -> Result<Option<Progress>> {
        let table = TableSpec::of(self.feed);
        for _ in 0..TAKES_MAX {
            let now = self.store.file(&self.feed.name, &file.key).await?;
            if now.is_none_or(|now| now.state != FileState::Unloaded) {
                return Ok(None);
            }
            failpoint::reach("unload.looked").await?;
            let fence = Fence { file: taken.file, epoch: taken.epoch, plan_hash: self.feed.plan_hash() };
            if self.warehouse.walk_back(&fence, &table, WalkEnd::Unloaded).await? {
                failpoint::reach("unload.walked_back").await?;
                tracing::info!(key = file.key, rows = taken.progress.rows, "unloaded");
                return Ok(Some(taken.progress));
            }
            taken = self.take(job, &[file]).await?.pop().ok_or_else(|| Error::internal("a take without an answer"))?;
        }
        Err(Error::unavailable(format!("{}: others keep taking this file", file.key))
            .hint("run the same command again"))
    }
}

/// Nothing of the file stands in the tables.
fn is_empty(progress: &Progress) -> bool {
    progress.records_done == 0 && !progress.complete
}
