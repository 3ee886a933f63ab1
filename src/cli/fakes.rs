//! Stand-ins for the databases, with two jobs: 1 is LOADED, 2 FAILED with one of its two files.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clap::Parser;

use super::{Cli, Command};
use crate::error::{Error, Result};
use crate::job::{
    Claim, ClaimRequest, ClaimToken, FeedOverview, FileOutcome, FileRecord, FileState, FoundFile, Job, JobDraft,
    JobFilter, JobId, JobStatus, JobStore, Known, ListedFile, OnOverwrite, Replacement, Restored, ScannerLock,
    Selection, Watermark,
};
use crate::warehouse::{
    AuditedFile, Begun, Fence, FileNumber, KeyedEntry, LedgerEntry, LedgerKey, Progress, RejectRow, TableSpec, Taken,
    Taker, WalkEnd, Warehouse,
};

pub fn args(line: &str) -> Command {
    Cli::try_parse_from(line.split_whitespace()).unwrap().command
}

fn unasked<T>() -> Result<T> {
    Err(Error::internal("the stand-in was not made for this"))
}

pub fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

pub fn job(id: JobId, status: JobStatus, failure_msg: Option<&str>) -> Job {
    Job {
        id,
        feed: "loan_applications".to_owned(),
        files: "file:///in/a.csv,file:///in/b.csv".to_owned(),
        latest_file_modified_time: at(),
        total_size_in_bytes: 1 << 20,
        created_time: at(),
        modified_time: at(),
        status,
        failure_msg: failure_msg.map(str::to_owned),
        attempts: 1,
        expiries: 0,
        lease_owner: None,
        lease_until: None,
        run_after: at(),
        rows_loaded: Some(98),
        rows_rejected: Some(2),
        started_time: Some(at()),
        finished_time: Some(at() + Duration::from_secs(75)),
    }
}

pub fn file(id: i64, key: &str, state: FileState, error: Option<&str>) -> FileRecord {
    FileRecord {
        id,
        feed: "loan_applications".to_owned(),
        key: key.to_owned(),
        version: "1".to_owned(),
        size: 4096,
        modified: at(),
        hour: at(),
        job_id: Some(2),
        state,
        rows_loaded: None,
        rows_rejected: None,
        error: error.map(str::to_owned),
        found_time: at(),
        loaded_time: (state == FileState::Loaded).then(at),
    }
}

#[derive(Default)]
pub struct FakeStore {
    retried: Mutex<Vec<(JobId, Vec<i64>)>>,
}

impl FakeStore {
    /// Jobs that were retried, with the ids of the replaced files.
    pub fn retried(&self) -> Vec<(JobId, Vec<i64>)> {
        self.retried.lock().unwrap().clone()
    }
}

#[async_trait]
impl JobStore for FakeStore {
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        let message =
            "b.csv: too many\u{1b}[31m invalid values; and so on, at great length, until it is too long for a line";
        let all = [job(1, JobStatus::Loaded, None), job(2, JobStatus::Failed, Some(message))];
        Ok(all.into_iter().filter(|job| filter.status.is_none_or(|status| status == job.status)).collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        if id == 0 {
            return Ok(Some(job(0, JobStatus::None, None)));
        }
        Ok(self.jobs(&JobFilter::default()).await?.into_iter().find(|job| job.id == id))
    }

    async fn files_of(&self, _: JobId) -> Result<Vec<FileRecord>> {
        let error = "too many\u{1b}[31m invalid values";
        Ok(vec![file(21, "a.csv", FileState::Loaded, None), file(22, "b.csv", FileState::Failed, Some(error))])
    }

    async fn retry(&self, job: JobId, replacements: &[Replacement]) -> Result<bool> {
        let ids = replacements.iter().map(|replacement| replacement.id).collect();
        self.retried.lock().unwrap().push((job, ids));
        Ok(true)
    }

    async fn version(&self) -> Result<Option<u32>> {
        unasked()
    }
    async fn migrate(&self, _: Option<DateTime<Utc>>) -> Result<Vec<String>> {
        unasked()
    }
    async fn record_feeds(&self, _: &[String]) -> Result<()> {
        unasked()
    }
    async fn recorded_feeds(&self) -> Result<Vec<String>> {
        unasked()
    }
    async fn watermark(&self, _: &str) -> Result<Watermark> {
        Ok(Watermark { newest: Some(at()), last_full_listing: Some(at()) })
    }
    async fn file(&self, _: &str, key: &str) -> Result<Option<FileRecord>> {
        let all = self.files_of(2).await?;
        Ok(all.into_iter().find(|file| file.key == key))
    }
    async fn classify(&self, _: &str, _: &[ListedFile]) -> Result<Vec<Known>> {
        unasked()
    }
    async fn register(&self, _: &str, _: &[ListedFile], _: OnOverwrite, _: DateTime<Utc>) -> Result<Vec<Known>> {
        unasked()
    }
    async fn found(&self, _: &str, _: Option<&FoundFile>, _: usize) -> Result<Vec<FoundFile>> {
        unasked()
    }
    async fn form_job(&self, _: &JobDraft) -> Result<Option<JobId>> {
        unasked()
    }
    async fn scanned(&self, _: &str, _: DateTime<Utc>, _: bool) -> Result<()> {
        unasked()
    }
    async fn owners(&self) -> Result<Vec<String>> {
        unreachable!()
    }

    async fn rescue(&self, _: &[String]) -> Result<u64> {
        unasked()
    }
    async fn claim(&self, _: &ClaimRequest) -> Result<Option<Claim>> {
        unasked()
    }
    async fn confirm(&self, _: JobId, _: &ClaimToken, _: Duration) -> Result<bool> {
        unasked()
    }
    async fn complete(&self, _: JobId, _: &ClaimToken, _: &[FileOutcome]) -> Result<bool> {
        unasked()
    }
    async fn postpone(&self, _: JobId, _: &ClaimToken, _: Duration, _: bool, _: &str) -> Result<bool> {
        unasked()
    }
    async fn fail(&self, _: JobId, _: &ClaimToken, _: &[FileOutcome], _: &str) -> Result<bool> {
        unasked()
    }
    async fn quarantined(&self) -> Result<Vec<FileRecord>> {
        unasked()
    }
    async fn release(&self, _: &[Replacement]) -> Result<u64> {
        unasked()
    }
    async fn obstacles(&self) -> Result<Vec<String>> {
        unasked()
    }
    async fn lock_scanner(&self) -> Result<Option<ScannerLock>> {
        unasked()
    }
    async fn overview(&self) -> Result<Vec<FeedOverview>> {
        unasked()
    }
    async fn loaded_files(&self, _: &Selection, _: i64, _: usize) -> Result<Vec<FileRecord>> {
        unasked()
    }
    async fn registry(&self, _: &str, _: i64, _: usize) -> Result<Vec<FileRecord>> {
        unasked()
    }
    async fn restore(&self, _: &str, _: &[Restored]) -> Result<u64> {
        unasked()
    }
    async fn requeue(&self, _: &[i64]) -> Result<u64> {
        unasked()
    }
    async fn revoke(&self, _: &[i64]) -> Result<u64> {
        unasked()
    }
    async fn prune_jobs(&self, _: DateTime<Utc>, _: usize) -> Result<u64> {
        unasked()
    }
}

pub struct FakeWarehouse;

#[async_trait]
impl Warehouse for FakeWarehouse {
    async fn progress(&self, _: &str, _: &[String]) -> Result<BTreeMap<String, Progress>> {
        let invalid = BTreeMap::from([("monthly_income".to_owned(), 3)]);
        let done = Progress { records_done: 100, rows: 98, rejects: 2, invalid, complete: true, ..Progress::default() };
        Ok(BTreeMap::from([("a.csv".to_owned(), done)]))
    }

    async fn rejects(&self, feed: Option<&str>, _: Option<&[String]>, limit: usize) -> Result<Vec<RejectRow>> {
        let row = |record: u64| RejectRow {
            feed: feed.unwrap_or("loan_applications").to_owned(),
            key: "a.csv".to_owned(),
            record,
            line: record + 1,
            byte_offset: 200,
            column_name: None,
            reason: "ragged".to_owned(),
            raw: "1\u{1b}[2J,x".to_owned(),
        };
        Ok([7, 9].map(row).into_iter().take(limit).collect())
    }

    async fn reject_reasons(&self, _: &str, _: &[String]) -> Result<Vec<(Option<String>, String, u64)>> {
        Ok(vec![(None, "ragged".to_owned(), 2)])
    }

    async fn entry(&self, _: &str, _: &str) -> Result<Option<LedgerEntry>> {
        Ok(None)
    }

    async fn version(&self) -> Result<Option<u32>> {
        unasked()
    }
    async fn migrate(&self) -> Result<Vec<String>> {
        unasked()
    }
    async fn columns(&self, _: &str) -> Result<Option<Vec<(String, String)>>> {
        unasked()
    }
    async fn create_table(&self, _: &TableSpec) -> Result<()> {
        unasked()
    }
    fn table_ddl(&self, _: &TableSpec) -> Vec<String> {
        Vec::new()
    }
    fn expected_columns(&self, _: &TableSpec) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn take(&self, _: &Taker, _: &[LedgerKey]) -> Result<Vec<Taken>> {
        unasked()
    }
    async fn begin(&self, _: &Fence, _: u64) -> Result<Begun> {
        unasked()
    }
    async fn walk_back(&self, _: &Fence, _: &TableSpec, _: WalkEnd) -> Result<bool> {
        unasked()
    }
    async fn readmit(&self, _: &str, _: &[String]) -> Result<u64> {
        unasked()
    }
    async fn obstacles(&self, _: &[TableSpec]) -> Result<Vec<String>> {
        unasked()
    }
    async fn prune_rejects(&self, _: DateTime<Utc>, _: usize) -> Result<u64> {
        unasked()
    }
    async fn ledger(&self, _: &str, _: FileNumber, _: usize) -> Result<Vec<KeyedEntry>> {
        unasked()
    }
    async fn audit(&self, _: &str, _: &TableSpec, _: FileNumber, _: usize, _: bool) -> Result<Vec<AuditedFile>> {
        unasked()
    }
    async fn strays(&self, _: &str, _: usize) -> Result<Vec<(FileNumber, u64)>> {
        unasked()
    }
    fn checksum_sql(&self, _: &TableSpec, _: FileNumber) -> String {
        String::new()
    }
}
