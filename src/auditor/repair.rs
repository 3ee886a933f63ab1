//! Repairs: the registry is written again from the ledger, and what the ledger has lost is queued again.
//!
//! Why that is safe beside workers, scans, unloads and other repairs. The ledger alone decides what is loaded, and no
//! repair writes there. Each step is a compare-and-set of the registry, and the worst that a step on stale knowledge does
//! is a job that reads nothing:
//!
//! - *restore* inserts keys that the registry does not know. If a scan was faster, its row stays (FOUND); the job that
//!   takes the file finds it complete in the ledger and records it without reading it.
//! - *requeue* takes only files that are LOADED (or were, in quarantine) out of their job. One that is loaded or unloaded
//!   meanwhile has another state (IN_JOB, UNLOADED) and is left alone; one that is LOADED again meanwhile goes into a job,
//!   whose worker takes it, finds it complete, and records that.
//! - *revoke* is the first step of an unload, taken where the ledger has ended one: from there on it says the same.
//!
//! Killed anywhere, the same command goes on: files that were restored, requeued or revoked are no findings any more, and
//! FOUND files are put into jobs by every repair and every scan.

use serde::Serialize;

use super::Auditor;
use super::kind::{Kind, Repair};
use super::look::{Judged, Picture};
use super::walk::Listed;
use crate::error::Result;
use crate::failpoint;
use crate::job::{FileState, ListedFile, OnOverwrite, Recorded, Restored};
use crate::scanner::Former;
use crate::warehouse::AuditedFile;

/// What a repair has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Files written into the registry again.
    pub restored: u64,
    /// Those of them that are QUARANTINED, because the source holds another version by now.
    pub restored_quarantined: u64,
    /// Files that are FOUND again.
    pub requeued: u64,
    /// Files that are UNLOADED again.
    pub revoked: u64,
    /// Jobs that were formed of FOUND files.
    pub jobs: u64,
    /// FOUND files that wait for a fuller job.
    pub waiting: u64,
}

/// What is to be done about a finding, which is one of `all` of its file.
pub(super) fn of(kind: Kind, all: &[Kind], picture: &Picture, on_overwrite: OnOverwrite) -> Option<Repair> {
    let tables_agree = !all.iter().any(|kind| kind.is_of_the_table());
    match kind {
        Kind::NotRegistered => Some(Repair::Restore),
        Kind::RowsLost if picture.ledger.as_ref().is_some_and(|file| file.entry.unloaded.is_some()) => {
            Some(Repair::Revoke)
        }
        Kind::RowsLost => picture.listed.is_some().then_some(Repair::Requeue),
        Kind::CountsDiffer => tables_agree.then_some(Repair::Requeue),
        // The version at the source takes the place of the one in the ledger.
        Kind::VersionDiffers => (on_overwrite == OnOverwrite::Reload && tables_agree).then_some(Repair::Requeue),
        _ => None,
    }
}

impl Auditor<'_> {
    /// Does what the findings ask for.
    pub(super) async fn repair(&self, judged: &[Judged], repaired: &mut Repaired) -> Result<()> {
        let with = |repair: Repair| {
            let wanted = move |judged: &&Judged| judged.findings.iter().any(|finding| finding.repair == Some(repair));
            judged.iter().filter(wanted).map(|judged| &judged.picture)
        };
        let restored: Vec<Restored> = with(Repair::Restore).filter_map(|picture| self.restored(picture)).collect();
        let ids = |repair| with(repair).filter_map(|picture| picture.record.as_ref()).map(|record| record.id).collect();
        let (requeued, revoked): (Vec<i64>, Vec<i64>) = (ids(Repair::Requeue), ids(Repair::Revoke));
        if !restored.is_empty() {
            let quarantined = restored.iter().filter(|file| file.state == FileState::Quarantined).count() as u64;
            repaired.restored += self.store.restore(&self.feed.name, &restored).await?;
            repaired.restored_quarantined += quarantined;
            failpoint::reach("repair.restored").await?;
        }
        if !revoked.is_empty() {
            repaired.revoked += self.store.revoke(&revoked).await?;
            failpoint::reach("repair.revoked").await?;
        }
        if !requeued.is_empty() {
            repaired.requeued += self.store.requeue(&requeued).await?;
            failpoint::reach("repair.requeued").await?;
        }
        Ok(())
    }

    fn restored(&self, picture: &Picture) -> Option<Restored> {
        let AuditedFile { hour, entry, .. } = picture.ledger.as_ref()?;
        let unloaded = entry.unloaded.is_some();
        let changed = picture.listed.as_ref().filter(|listed| listed.version != entry.version);
        let error = match self.feed.on_overwrite {
            OnOverwrite::Quarantine if !unloaded => changed.map(|listed| what_changed(picture, &entry.version, listed)),
            _ => None,
        };
        let state = match &error {
            _ if unloaded => FileState::Unloaded,
            Some(_) => FileState::Quarantined,
            None => FileState::Loaded,
        };
        // Of a file that is gone from the source nobody knows these any more.
        let (size, modified) = picture.listed.as_ref().map_or((0, *hour), |listed| (listed.size, listed.modified));
        let completed = entry.completed.unwrap_or(self.now);
        Some(Restored {
            key: picture.key.clone(),
            version: entry.version.clone(),
            size,
            modified,
            hour: *hour,
            state,
            rows_loaded: (!unloaded).then_some(entry.progress.rows),
            rows_rejected: (!unloaded).then_some(entry.progress.rejects),
            error,
            found_time: completed,
            loaded_time: (!unloaded).then_some(completed),
        })
    }

    /// Puts FOUND files into jobs, as a scan does.
    pub(super) async fn form_jobs(&self, repaired: &mut Repaired) -> Result<()> {
        let former = Former {
            store: self.store,
            feed: self.feed,
            source_url: self.source.url(),
            limits: self.scanner.limits,
            now: self.now,
        };
        let formed = former.run().await?;
        (repaired.jobs, repaired.waiting) = (formed.jobs.len() as u64, formed.waiting);
        Ok(())
    }
}

/// In the words of a scan that finds a loaded file changed.
fn what_changed(picture: &Picture, loaded: &str, listed: &Listed) -> String {
    let (version, state) = (loaded.to_owned(), FileState::Loaded);
    let known = Recorded { id: 0, version, state, was_loaded: true, job: None, job_is_open: false };
    let Listed { version, size, modified } = listed.clone();
    known.what_changed(&ListedFile { key: picture.key.clone(), version, size, modified, hour: modified })
}
