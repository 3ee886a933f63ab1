//! [`JobStore`] on SQLite: the registry of files, the queue of jobs and what people ask of both.
//!
//! Invariant: every method is one transaction. Those that change something begin IMMEDIATE, so that what they read
//! first still stands when they write: a compare-and-set needs no more than that.

mod books;
mod overview;
mod people;
mod queue;
mod registry;
mod rows;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::migrations::METADATA;
use super::mounts;
use crate::error::Result;
use crate::job::{
    Claim, ClaimRequest, ClaimToken, FeedOverview, FileOutcome, FileRecord, FoundFile, Job, JobDraft, JobFilter, JobId,
    JobStore, Known, ListedFile, OnOverwrite, Replacement, Restored, ScannerLock, Selection, Watermark,
};

pub struct SqliteJobStore {
    database: Database,
}

impl SqliteJobStore {
    /// The metadata database in the file at `path`. Creates nothing.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: Database::open(path, &METADATA)? })
    }
}

#[async_trait]
impl JobStore for SqliteJobStore {
    async fn version(&self) -> Result<Option<u32>> {
        self.database.version().await
    }

    async fn migrate(&self, start_from: Option<DateTime<Utc>>) -> Result<Vec<String>> {
        let ran = self.database.migrate().await?;
        self.database.write(move |c| registry::insert_none_row(c, start_from)).await?;
        Ok(ran)
    }

    async fn record_feeds(&self, feeds: &[String]) -> Result<()> {
        let feeds = feeds.to_vec();
        self.database.write(move |c| registry::record_feeds(c, &feeds)).await
    }

    async fn recorded_feeds(&self) -> Result<Vec<String>> {
        self.database.read(registry::recorded_feeds).await
    }

    /// SQLite serialises the scanners itself: a second one waits at every write, and then finds nothing new.
    async fn lock_scanner(&self) -> Result<Option<ScannerLock>> {
        Ok(Some(ScannerLock::holding(())))
    }

    async fn obstacles(&self) -> Result<Vec<String>> {
        Ok(mounts::obstacle(self.database.path()).into_iter().collect())
    }

    async fn watermark(&self, feed: &str) -> Result<Watermark> {
        let feed = feed.to_owned();
        self.database.read(move |c| registry::watermark(c, &feed)).await
    }

    async fn classify(&self, feed: &str, page: &[ListedFile]) -> Result<Vec<Known>> {
        let (feed, page) = (feed.to_owned(), page.to_vec());
        self.database.read(move |c| registry::classify(c, &feed, &page)).await
    }

    async fn register(
        &self,
        feed: &str,
        page: &[ListedFile],
        policy: OnOverwrite,
        now: DateTime<Utc>,
    ) -> Result<Vec<Known>> {
        let (feed, page) = (feed.to_owned(), page.to_vec());
        self.database.write(move |c| registry::register(c, &feed, &page, policy, now)).await
    }

    async fn found(&self, feed: &str, after: Option<&FoundFile>, limit: usize) -> Result<Vec<FoundFile>> {
        let (feed, after) = (feed.to_owned(), after.cloned());
        self.database.read(move |c| registry::found(c, &feed, after.as_ref(), limit)).await
    }

    async fn form_job(&self, draft: &JobDraft) -> Result<Option<JobId>> {
        let draft = draft.clone();
        self.database.write(move |c| registry::form_job(c, &draft)).await
    }

    async fn scanned(&self, feed: &str, at: DateTime<Utc>, full: bool) -> Result<()> {
        let feed = feed.to_owned();
        self.database.write(move |c| registry::scanned(c, &feed, at, full)).await
    }

    async fn owners(&self) -> Result<Vec<String>> {
        self.database.read(queue::owners).await
    }

    async fn rescue(&self, dead: &[String]) -> Result<u64> {
        let dead = dead.to_vec();
        self.database.write(move |c| queue::rescue(c, &dead)).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>> {
        let request = request.clone();
        self.database.write(move |c| queue::claim(c, &request)).await
    }

    async fn confirm(&self, job: JobId, token: &ClaimToken, lease: Duration) -> Result<bool> {
        let token = token.clone();
        self.database.write(move |c| queue::confirm(c, job, &token, lease)).await
    }

    async fn complete(&self, job: JobId, token: &ClaimToken, outcomes: &[FileOutcome]) -> Result<bool> {
        let (token, outcomes) = (token.clone(), outcomes.to_vec());
        self.database.write(move |c| queue::complete(c, job, &token, &outcomes)).await
    }

    async fn postpone(
        &self,
        job: JobId,
        token: &ClaimToken,
        delay: Duration,
        counted: bool,
        reason: &str,
    ) -> Result<bool> {
        let (token, reason) = (token.clone(), reason.to_owned());
        self.database.write(move |c| queue::postpone(c, job, &token, delay, counted, &reason)).await
    }

    async fn fail(&self, job: JobId, token: &ClaimToken, outcomes: &[FileOutcome], reason: &str) -> Result<bool> {
        let (token, outcomes, reason) = (token.clone(), outcomes.to_vec(), reason.to_owned());
        self.database.write(move |c| queue::fail(c, job, &token, &outcomes, &reason)).await
    }

    async fn retry(&self, job: JobId, replacements: &[Replacement]) -> Result<bool> {
        let replacements = replacements.to_vec();
        self.database.write(move |c| people::retry(c, job, &replacements)).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        let filter = filter.clone();
        self.database.read(move |c| people::jobs(c, &filter)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.database.read(move |c| people::job(c, id)).await
    }

    async fn files_of(&self, job: JobId) -> Result<Vec<FileRecord>> {
        self.database.read(move |c| people::files_of(c, job)).await
    }

    async fn quarantined(&self) -> Result<Vec<FileRecord>> {
        self.database.read(people::quarantined).await
    }

    async fn release(&self, replacements: &[Replacement]) -> Result<u64> {
        let replacements = replacements.to_vec();
        self.database.write(move |c| people::release(c, &replacements)).await
    }
    async fn file(&self, feed: &str, key: &str) -> Result<Option<FileRecord>> {
        let (feed, key) = (feed.to_owned(), key.to_owned());
        self.database.read(move |c| people::file(c, &feed, &key)).await
    }

    async fn loaded_files(&self, of: &Selection, after: i64, limit: usize) -> Result<Vec<FileRecord>> {
        let of = of.clone();
        self.database.read(move |c| people::loaded_files(c, &of, after, limit)).await
    }

    async fn registry(&self, feed: &str, after: i64, limit: usize) -> Result<Vec<FileRecord>> {
        let feed = feed.to_owned();
        self.database.read(move |c| books::registry(c, &feed, after, limit)).await
    }

    async fn restore(&self, feed: &str, files: &[Restored]) -> Result<u64> {
        let (feed, files) = (feed.to_owned(), files.to_vec());
        self.database.write(move |c| books::restore(c, &feed, &files)).await
    }

    async fn requeue(&self, files: &[i64]) -> Result<u64> {
        let files = files.to_vec();
        self.database.write(move |c| books::requeue(c, &files)).await
    }

    async fn revoke(&self, files: &[i64]) -> Result<u64> {
        let files = files.to_vec();
        self.database.write(move |c| people::revoke(c, &files)).await
    }

    async fn overview(&self) -> Result<Vec<FeedOverview>> {
        self.database.read(overview::overview).await
    }

    async fn prune_jobs(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.database.write(move |c| overview::prune_jobs(c, before, limit)).await
    }
}
