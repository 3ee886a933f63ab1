//! A finding: what was expected, what was found, and where.

use super::kind::{Kind, Repair};
use super::look::Picture;
use crate::feed::Feed;
use crate::job::{FileRecord, FileState, Job, JobId};
use crate::warehouse::{AuditedFile, FileNumber};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub feed: String,
    /// Of the file that it is about, if it is about a file.
    pub key: Option<String>,
    /// Its number in the ledger, where it has one.
    pub file: Option<FileNumber>,
    pub job: Option<JobId>,
    /// Where the registry has it.
    pub state: Option<FileState>,
    /// The source has it, as far as that was looked at.
    pub is_at_source: bool,
    pub expected: String,
    pub found: String,
    /// What a repair does about it; `None`: a person has to.
    pub repair: Option<Repair>,
}

impl Finding {
    pub fn of(kind: Kind, feed: &str, picture: &Picture, repair: Option<Repair>) -> Self {
        let (expected, found) = told(kind, picture);
        Self {
            kind,
            feed: feed.to_owned(),
            key: Some(picture.key.clone()),
            file: picture.ledger.as_ref().map(|ledger| ledger.entry.file),
            job: picture.record.as_ref().and_then(|record| record.job_id),
            state: picture.record.as_ref().map(|record| record.state),
            is_at_source: picture.listed.is_some(),
            expected,
            found,
            repair,
        }
    }

    pub fn stray(feed: &Feed, file: FileNumber, rows: u64) -> Self {
        let (expected, found) = ("a ledger row for every _file".to_owned(), format!("{rows} rows with _file {file}"));
        let (kind, feed) = (Kind::RowsStray, feed.name.clone());
        Self { file: Some(file), ..Self::of_no_file(kind, feed, expected, found) }
    }

    pub fn job(job: &Job, of_files: (u64, u64)) -> Self {
        let expected = format!("its loaded files: {}", counts(Some(of_files.0), Some(of_files.1)));
        let found = format!("{}: {}", job.status.as_str(), counts(job.rows_loaded, job.rows_rejected));
        Self::of_job(Kind::JobDiffers, job, expected, found)
    }

    pub fn stuck(job: &Job) -> Self {
        let until = job.lease_until.map(|until| until.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let found = format!("PROCESSING, its lease ended at {until} UTC");
        Self::of_job(Kind::JobStuck, job, "a worker that holds it".to_owned(), found)
    }

    fn of_job(kind: Kind, job: &Job, expected: String, found: String) -> Self {
        Self { job: Some(job.id), ..Self::of_no_file(kind, job.feed.clone(), expected, found) }
    }

    fn of_no_file(kind: Kind, feed: String, expected: String, found: String) -> Self {
        let (key, file, job, state, is_at_source, repair) = (None, None, None, None, false, None);
        Self { kind, feed, key, file, job, state, is_at_source, expected, found, repair }
    }
}

/// What was expected, and what was found.
fn told(kind: Kind, picture: &Picture) -> (String, String) {
    let (record, ledger) = (picture.record.as_ref(), picture.ledger.as_ref());
    match kind {
        Kind::Missing => (format!("a file of {} bytes", record.map_or(0, |record| record.size)), at_source(picture)),
        Kind::Changed => (format!("version {}", record.map_or("", |record| &record.version)), at_source(picture)),
        Kind::RowsLost | Kind::CountsDiffer => (registry(record), in_ledger(ledger)),
        Kind::VersionDiffers => (
            record.map_or_else(String::new, |record| format!("version {}", record.version)),
            ledger.map_or_else(String::new, |file| format!("ledger: version {}", file.entry.version)),
        ),
        Kind::NotRegistered | Kind::Unfinished => (in_ledger(ledger), registry(record)),
        Kind::StateDiffers if record.is_some_and(|record| record.state == FileState::InJob) => {
            let job =
                picture.job.as_ref().map_or("there is no such job".to_owned(), |job| job.status.as_str().to_owned());
            (registry(record), format!("{job}; {}", in_ledger(ledger)))
        }
        Kind::StateDiffers => (registry(record), in_ledger(ledger)),
        Kind::RecordsDiffer => (
            ledger.map_or_else(String::new, |file| format!("{} records", file.entry.progress.records_done)),
            in_ledger(ledger),
        ),
        Kind::RowsDiffer => (
            in_ledger(ledger),
            ledger.map_or_else(String::new, |file| {
                format!("{} rows in {}", file.rows.saturating_sub(file.surplus), file.entry.table)
            }),
        ),
        Kind::RowsDoubled => (
            in_ledger(ledger),
            ledger.map_or_else(String::new, |file| {
                format!("{} rows in {}, {} too many", file.rows, file.entry.table, file.surplus)
            }),
        ),
        Kind::RejectsDiffer => {
            (in_ledger(ledger), ledger.map_or_else(String::new, |file| format!("{} rejects are kept", file.rejects)))
        }
        Kind::ChecksumDiffers => (
            ledger.map_or_else(String::new, |file| format!("checksum {}", file.entry.progress.checksum)),
            ledger.and_then(|file| file.checksum).map_or_else(String::new, |checksum| checksum.to_string()),
        ),
        Kind::RowsStray | Kind::JobDiffers | Kind::JobStuck => (String::new(), String::new()),
    }
}

fn at_source(picture: &Picture) -> String {
    match &picture.listed {
        Some(listed) => format!("at the source: version {} ({} bytes)", listed.version, listed.size),
        None => "not at the source".to_owned(),
    }
}

fn registry(record: Option<&FileRecord>) -> String {
    let Some(record) = record else { return "not in the registry".to_owned() };
    let state = record.state.as_str();
    match record.state {
        FileState::Loaded | FileState::Quarantined if record.loaded_time.is_some() => {
            let counts = counts(record.rows_loaded, record.rows_rejected);
            format!("registry: {state}, {counts}")
        }
        FileState::InJob => format!("registry: {state} {}", record.job_id.unwrap_or_default()),
        _ => format!("registry: {state}"),
    }
}

fn in_ledger(file: Option<&AuditedFile>) -> String {
    let Some(file) = file else { return "not in the ledger".to_owned() };
    let (entry, progress) = (&file.entry, &file.entry.progress);
    let counts = counts(Some(progress.rows), Some(progress.rejects));
    match () {
        () if entry.unloaded.is_some() && progress.records_done == 0 => "ledger: unloaded".to_owned(),
        () if entry.unloaded.is_some() => format!("ledger: unloaded up to record {}", progress.records_done),
        () if progress.complete => format!("ledger: complete, {counts}"),
        () if progress.records_done == 0 => "ledger: nothing loaded".to_owned(),
        () => format!("ledger: {} records loaded, not complete", progress.records_done),
    }
}

/// `16 rows + 2 rejects`
fn counts(rows: Option<u64>, rejects: Option<u64>) -> String {
    let count = |count: Option<u64>| count.map_or_else(|| "no".to_owned(), |count| count.to_string());
    format!("{} rows + {} rejects", count(rows), count(rejects))
}
