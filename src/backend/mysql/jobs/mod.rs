//! [`JobStore`] on MySQL: the registry of files, the queue of jobs and what people ask of both.
//!
//! Everything is a handful of statements over indexes, however many files a page or a job has; where many rows change,
//! each with values of its own, the statement brings them along and joins them ([`given`]).
//!
//! Invariant: every method is one transaction. What a change rests on is in its WHERE, or was read under a lock that it
//! still holds; the victim of a deadlock begins anew.

mod books;
mod given;
mod overview;
mod people;
mod queue;
mod registry;
mod rows;
mod scanner_lock;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::migrations::METADATA;
use super::obstacles;
use crate::config::MysqlDatabase;
use crate::error::Result;
use crate::job::{
    Claim, ClaimRequest, ClaimToken, FeedOverview, FileOutcome, FileRecord, FoundFile, Job, JobDraft, JobFilter, JobId,
    JobStore, Known, ListedFile, OnOverwrite, Replacement, Restored, ScannerLock, Selection, Watermark,
};

const TABLES: [&str; 4] = ["scanner_jobs", "scanner_files", "scanner_feeds", "loadline_schema"];

pub struct MysqlJobStore {
    database: Database,
}

impl MysqlJobStore {
    /// The metadata database on a server. Connects to nothing yet.
    pub fn open(config: &MysqlDatabase) -> Self {
        Self { database: Database::open(config, &METADATA) }
    }
}

#[async_trait]
impl JobStore for MysqlJobStore {
    async fn version(&self) -> Result<Option<u32>> {
        self.database.version().await
    }

    async fn migrate(&self, start_from: Option<DateTime<Utc>>) -> Result<Vec<String>> {
        let ran = self.database.migrate().await?;
        self.database.write(async |session| registry::insert_none_row(session, start_from).await).await?;
        Ok(ran)
    }

    async fn record_feeds(&self, feeds: &[String]) -> Result<()> {
        self.database.write(async |session| registry::record_feeds(session, feeds).await).await
    }

    async fn recorded_feeds(&self) -> Result<Vec<String>> {
        self.database.read(registry::recorded_feeds).await
    }

    async fn obstacles(&self) -> Result<Vec<String>> {
        self.database.look_unchecked(async |session| obstacles::obstacles(session, &TABLES, false).await).await
    }

    async fn lock_scanner(&self) -> Result<Option<ScannerLock>> {
        let held = scanner_lock::lock(&self.database).await.map_err(|fault| self.database.explain(fault))?;
        Ok(held.map(ScannerLock::holding))
    }

    async fn watermark(&self, feed: &str) -> Result<Watermark> {
        self.database.read(async |session| registry::watermark(session, feed).await).await
    }

    async fn classify(&self, feed: &str, page: &[ListedFile]) -> Result<Vec<Known>> {
        self.database.read(async |session| registry::classify(session, feed, page).await).await
    }

    async fn register(
        &self,
        feed: &str,
        page: &[ListedFile],
        policy: OnOverwrite,
        now: DateTime<Utc>,
    ) -> Result<Vec<Known>> {
        self.database.write(async |session| registry::register(session, feed, page, policy, now).await).await
    }

    async fn found(&self, feed: &str, after: Option<&FoundFile>, limit: usize) -> Result<Vec<FoundFile>> {
        self.database.read(async |session| registry::found(session, feed, after, limit).await).await
    }

    async fn form_job(&self, draft: &JobDraft) -> Result<Option<JobId>> {
        self.database.write(async |session| registry::form_job(session, draft).await).await
    }

    async fn scanned(&self, feed: &str, at: DateTime<Utc>, full: bool) -> Result<()> {
        self.database.write(async |session| registry::scanned(session, feed, at, full).await).await
    }

    async fn owners(&self) -> Result<Vec<String>> {
        self.database.read(queue::owners).await
    }

    async fn rescue(&self, dead: &[String]) -> Result<u64> {
        let mut rescued = self.database.write(queue::rescue_expired).await?;
        for owner in dead {
            rescued += self.database.write(async |session| queue::rescue_of(session, owner).await).await?;
        }
        Ok(rescued)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>> {
        self.database.write(async |session| queue::claim(session, request).await).await
    }

    async fn confirm(&self, job: JobId, token: &ClaimToken, lease: Duration) -> Result<bool> {
        self.database.write(async |session| queue::confirm(session, job, token, lease).await).await
    }

    async fn complete(&self, job: JobId, token: &ClaimToken, outcomes: &[FileOutcome]) -> Result<bool> {
        self.database.write(async |session| queue::end(session, job, token, outcomes, None).await).await
    }

    async fn postpone(
        &self,
        job: JobId,
        token: &ClaimToken,
        delay: Duration,
        counted: bool,
        reason: &str,
    ) -> Result<bool> {
        let postpone = async |session: &mut _| queue::postpone(session, job, token, delay, counted, reason).await;
        self.database.write(postpone).await
    }

    async fn fail(&self, job: JobId, token: &ClaimToken, outcomes: &[FileOutcome], reason: &str) -> Result<bool> {
        self.database.write(async |session| queue::end(session, job, token, outcomes, Some(reason)).await).await
    }

    async fn retry(&self, job: JobId, replacements: &[Replacement]) -> Result<bool> {
        self.database.write(async |session| people::retry(session, job, replacements).await).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        self.database.read(async |session| people::jobs(session, filter).await).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.database.read(async |session| people::job(session, id).await).await
    }

    async fn files_of(&self, job: JobId) -> Result<Vec<FileRecord>> {
        self.database.read(async |session| people::files_of(session, job).await).await
    }

    async fn quarantined(&self) -> Result<Vec<FileRecord>> {
        self.database.read(people::quarantined).await
    }

    async fn release(&self, replacements: &[Replacement]) -> Result<u64> {
        self.database.write(async |session| people::release(session, replacements).await).await
    }

    async fn file(&self, feed: &str, key: &str) -> Result<Option<FileRecord>> {
        self.database.read(async |session| people::file(session, feed, key).await).await
    }

    async fn overview(&self) -> Result<Vec<FeedOverview>> {
        self.database.read_picture(overview::overview).await
    }

    async fn loaded_files(&self, of: &Selection, after: i64, limit: usize) -> Result<Vec<FileRecord>> {
        self.database.read(async |session| people::loaded_files(session, of, after, limit).await).await
    }

    async fn registry(&self, feed: &str, after: i64, limit: usize) -> Result<Vec<FileRecord>> {
        self.database.read(async |session| books::registry(session, feed, after, limit).await).await
    }

    async fn restore(&self, feed: &str, files: &[Restored]) -> Result<u64> {
        self.database.write(async |session| books::restore(session, feed, files).await).await
    }

    async fn requeue(&self, files: &[i64]) -> Result<u64> {
        self.database.write(async |session| books::requeue(session, files).await).await
    }

    async fn revoke(&self, files: &[i64]) -> Result<u64> {
        self.database.write(async |session| people::revoke(session, files).await).await
    }

    async fn prune_jobs(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.database.write(async |session| overview::prune_jobs(session, before, limit).await).await
    }
}
