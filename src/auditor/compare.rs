//! Where the books disagree over one file. Pure: no reading, no clock.
//!
//! Invariant: a file that is on its way disagrees with nothing. What is waiting or at work may have any part of itself in
//! the ledger; and ledger and tables are read on one picture, on which they agree at every moment.

use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Duration, Utc};

use super::kind::Kind;
use crate::job::{FileRecord, FileState, JobId, OnOverwrite};
use crate::warehouse::{AuditedFile, Progress};

/// What a comparison rests on besides the books.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub now: DateTime<Utc>,
    /// Older rejects may have been deleted.
    pub rejects_kept: Option<Duration>,
    pub on_overwrite: OnOverwrite,
}

/// A row of the registry, in few bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// `scanner_files.id`.
    pub id: i64,
    pub job: Option<JobId>,
    pub rows: Option<u64>,
    pub rejects: Option<u64>,
    /// [`digest`] of the version.
    pub version: u64,
    pub state: FileState,
    pub was_loaded: bool,
}

/// Of a version, within one process: what differs is looked at again.
pub fn digest(version: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    hasher.finish()
}

impl From<&FileRecord> for Registered {
    fn from(file: &FileRecord) -> Self {
        Self {
            id: file.id,
            job: file.job_id,
            rows: file.rows_loaded,
            rejects: file.rows_rejected,
            version: digest(&file.version),
            state: file.state,
            was_loaded: file.loaded_time.is_some(),
        }
    }
}

/// What the registry says of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// They are in the table.
    In,
    /// They are on their way.
    OnTheWay,
    /// None is.
    Out,
}

impl Registered {
    /// `job_is_open`: its job is waiting or at work.
    pub fn claims(&self, job_is_open: bool) -> Claimed {
        match self.state {
            FileState::Loaded => Claimed::In,
            FileState::Quarantined if self.was_loaded => Claimed::In,
            FileState::Found => Claimed::OnTheWay,
            FileState::InJob | FileState::Quarantined if job_is_open => Claimed::OnTheWay,
            FileState::InJob | FileState::Quarantined | FileState::Failed | FileState::Unloaded => Claimed::Out,
        }
    }
}

/// Where registry, ledger and tables disagree.
pub fn books(
    registered: Option<&Registered>,
    job_is_open: bool,
    ledger: Option<&AuditedFile>,
    rules: &Rules,
) -> Vec<Kind> {
    let mut kinds = match registered {
        None => ledger.map(unregistered).unwrap_or_default(),
        Some(file) => match file.claims(job_is_open) {
            Claimed::In => loaded(file, ledger).into_iter().collect(),
            Claimed::OnTheWay => Vec::new(),
            Claimed::Out => {
                let stands = file.state == FileState::InJob || ledger.is_some_and(something_stands);
                if stands { vec![Kind::StateDiffers] } else { Vec::new() }
            }
        },
    };
    kinds.extend(ledger.map(|file| tables(file, rules)).unwrap_or_default());
    kinds
}

fn something_stands(file: &AuditedFile) -> bool {
    let progress = &file.entry.progress;
    progress.complete || progress.records_done > 0
}

fn unregistered(file: &AuditedFile) -> Vec<Kind> {
    let progress = &file.entry.progress;
    match () {
        // Whoever unloaded it was cut short.
        () if file.entry.unloaded.is_some() && something_stands(file) => vec![Kind::NotRegistered, Kind::StateDiffers],
        () if file.entry.unloaded.is_some() || progress.complete => vec![Kind::NotRegistered],
        () if progress.records_done > 0 => vec![Kind::Unfinished],
        () => Vec::new(),
    }
}

/// A file that the registry says is loaded.
fn loaded(file: &Registered, ledger: Option<&AuditedFile>) -> Option<Kind> {
    let Some(ledger) = ledger.filter(|ledger| ledger.entry.progress.complete) else { return Some(Kind::RowsLost) };
    let progress = &ledger.entry.progress;
    let same_version = file.version == digest(&ledger.entry.version);
    match file.state {
        // In quarantine it may bear either version.
        FileState::Loaded if !same_version => Some(Kind::VersionDiffers),
        _ if (file.rows, file.rejects) != (Some(progress.rows), Some(progress.rejects)) => Some(Kind::CountsDiffer),
        _ => None,
    }
}

/// Where the tables disagree with the ledger beside them.
fn tables(file: &AuditedFile, rules: &Rules) -> Vec<Kind> {
    let Progress { records_done, rows, rejects, checksum, complete, .. } = file.entry.progress;
    let mut kinds = Vec::new();
    let held = file.rows.saturating_sub(file.surplus);
    // Once a walk back has begun, the ledger's counts are those of before.
    if file.walking_back {
        if held.saturating_add(file.rejects) > records_done {
            kinds.push(Kind::RowsDiffer);
        }
    } else {
        if rows.saturating_add(rejects) != records_done {
            kinds.push(Kind::RecordsDiffer);
        }
        if held != rows {
            kinds.push(Kind::RowsDiffer);
        }
        let pruned = complete && rules.rejects_kept.is_some_and(|kept| is_older(file, rules.now - kept));
        if file.rejects > rejects || (file.rejects < rejects && !pruned) {
            kinds.push(Kind::RejectsDiffer);
        }
    }
    if file.surplus > 0 {
        kinds.push(Kind::RowsDoubled);
    }
    if kinds.is_empty() && complete && file.checksum.is_some_and(|recomputed| recomputed != checksum) {
        kinds.push(Kind::ChecksumDiffers);
    }
    kinds
}

fn is_older(file: &AuditedFile, than: DateTime<Utc>) -> bool {
    file.entry.completed.is_none_or(|completed| completed < than)
}

/// What the source says of a registered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtSource {
    AsRegistered,
    /// Another version, and that is for the next scan to see, or the feed's policy to keep what was loaded.
    Replaced,
    /// Gone, and nothing is waiting for it.
    Gone,
    Wrong(Kind),
}

/// `listed`: [`digest`] of the version that the source holds.
pub fn source(file: &Registered, listed: Option<u64>, rules: &Rules) -> AtSource {
    match (file.state, listed) {
        (FileState::Found | FileState::InJob, None) => AtSource::Wrong(Kind::Missing),
        (_, None) => AtSource::Gone,
        (_, Some(version)) if version == file.version => AtSource::AsRegistered,
        (FileState::Loaded, Some(_)) if rules.on_overwrite == OnOverwrite::Quarantine => AtSource::Wrong(Kind::Changed),
        (_, Some(_)) => AtSource::Replaced,
    }
}
