//! The second look: fresh rows of suspects, and what is wrong with those that did not move meanwhile.
//!
//! Invariant: a picture's registry row was the same before and after its ledger row was read.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};

use super::compare::{self, AtSource, Registered};
use super::finding::Finding;
use super::kind::Kind;
use super::walk::{self, Listed, Suspect};
use super::{Auditor, repair};
use crate::error::Result;
use crate::job::{FileRecord, FileState, Job, JobId, Known, ListedFile};
use crate::source;
use crate::warehouse::{AuditedFile, FileNumber};

/// How often a file that moves is looked at. One that still moves is on its way.
const LOOKS_MAX: usize = 5;
/// Neighbours are read together, whoever stands between them, up to so many at a time.
const RUN_MAX: i64 = 1000;
const GAP_MAX: i64 = 16;
/// Files asked of the source side by side.
const HEADS: usize = 16;

/// All that the books say of one file.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    pub key: String,
    pub record: Option<FileRecord>,
    /// The job that the record names.
    pub job: Option<Job>,
    pub ledger: Option<AuditedFile>,
    pub listed: Option<Listed>,
}

/// A file and what is wrong with it.
pub struct Judged {
    pub picture: Picture,
    pub findings: Vec<Finding>,
}

impl Picture {
    pub fn job_is_open(&self) -> bool {
        self.job.as_ref().is_some_and(walk::is_open)
    }
}

impl Auditor<'_> {
    pub(super) async fn look(&self, suspects: &[(String, Suspect)]) -> Result<Vec<Picture>> {
        let mut open: Vec<&(String, Suspect)> = suspects.iter().collect();
        let mut pictures = Vec::with_capacity(open.len());
        for _ in 0..LOOKS_MAX {
            let before = self.records(&open).await?;
            let mut ledger = self.ledger(&open).await?;
            let jobs = self.jobs_of(&before).await?;
            let mut after = self.records(&open).await?;
            let mut moving = Vec::new();
            for suspect in open {
                let (key, Suspect { listed, .. }) = suspect;
                let record = after.remove(key);
                if before.get(key) != record.as_ref() {
                    moving.push(suspect);
                    continue;
                }
                let job = record.as_ref().and_then(|record| jobs.get(&record.job_id?)).cloned();
                let (ledger, listed) = (ledger.remove(key), listed.clone());
                pictures.push(Picture { key: key.clone(), record, job, ledger, listed });
            }
            if moving.is_empty() {
                break;
            }
            open = moving;
        }
        self.ask_source(pictures).await
    }

    /// Registry rows by key; without those that there are not.
    async fn records(&self, suspects: &[&(String, Suspect)]) -> Result<HashMap<String, FileRecord>> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            suspects.iter().copied().partition(|(_, suspect)| suspect.id.is_some());
        let mut records = HashMap::with_capacity(known.len());
        for (first, length) in runs(known.iter().filter_map(|(_, suspect)| suspect.id).collect()) {
            let page = self.store.registry(&self.feed.name, first - 1, length).await?;
            records.extend(page.into_iter().map(|record| (record.key.clone(), record)));
        }
        let listed: Vec<ListedFile> = unknown.iter().map(|(key, _)| unheard_of(key, self)).collect();
        let classified =
            if listed.is_empty() { Vec::new() } else { self.store.classify(&self.feed.name, &listed).await? };
        for (file, known) in listed.into_iter().zip(classified) {
            if known != Known::New
                && let Some(record) = self.store.file(&self.feed.name, &file.key).await?
            {
                records.insert(file.key, record);
            }
        }
        Ok(records)
    }

    async fn ledger(&self, suspects: &[&(String, Suspect)]) -> Result<HashMap<String, AuditedFile>> {
        let mut numbers: Vec<FileNumber> = suspects.iter().filter_map(|(_, suspect)| suspect.number).collect();
        let unknown = suspects.iter().filter(|(_, suspect)| suspect.number.is_none());
        let keys: Vec<String> = unknown.map(|(key, _)| key.clone()).collect();
        for key in self.warehouse.progress(&self.feed.name, &keys).await?.keys() {
            numbers.extend(self.warehouse.entry(&self.feed.name, key).await?.map(|entry| entry.file));
        }
        let (table, mut files) = (self.table(), HashMap::with_capacity(numbers.len()));
        for (first, length) in runs(numbers) {
            let page = self.warehouse.audit(&self.feed.name, &table, first - 1, length, self.request.deep).await?;
            files.extend(page.into_iter().map(|file| (file.key.clone(), file)));
        }
        Ok(files)
    }

    /// The jobs of files that rest on theirs.
    async fn jobs_of(&self, records: &HashMap<String, FileRecord>) -> Result<HashMap<JobId, Job>> {
        let mut jobs = HashMap::new();
        for record in records.values() {
            let rests_on_it = matches!(record.state, FileState::InJob | FileState::Quarantined);
            if let Some(id) = record.job_id.filter(|id| rests_on_it && !jobs.contains_key(id)) {
                jobs.extend(self.store.job(id).await?.map(|job| (id, job)));
            }
        }
        Ok(jobs)
    }

    /// Asks the source for those whose findings rest on their not being listed.
    async fn ask_source(&self, pictures: Vec<Picture>) -> Result<Vec<Picture>> {
        let asked = pictures.into_iter().map(async |mut picture: Picture| {
            let kinds = self.kinds(&picture);
            if picture.listed.is_none() && (kinds.contains(&Kind::Missing) || kinds.contains(&Kind::RowsLost)) {
                let entry = source::head(self.source, &picture.key).await?;
                picture.listed =
                    entry.map(|entry| Listed { version: entry.version, size: entry.size, modified: entry.modified });
            }
            Ok(picture)
        });
        stream::iter(asked).buffered(HEADS).try_collect().await
    }

    fn kinds(&self, picture: &Picture) -> Vec<Kind> {
        let (registered, rules) = (picture.record.as_ref().map(Registered::from), self.rules());
        let mut kinds = compare::books(registered.as_ref(), picture.job_is_open(), picture.ledger.as_ref(), &rules);
        let listed = picture.listed.as_ref().map(|listed| compare::digest(&listed.version));
        let at_source = registered.map(|registered| compare::source(&registered, listed, &rules));
        if let Some(AtSource::Wrong(kind)) = at_source {
            kinds.push(kind);
        }
        kinds
    }

    pub(super) fn judge(&self, pictures: Vec<Picture>) -> Vec<Judged> {
        let judge = |picture: Picture| {
            let kinds = self.kinds(&picture);
            let finding = |kind: &Kind| {
                let repair = repair::of(*kind, &kinds, &picture, self.feed.on_overwrite);
                Finding::of(*kind, &self.feed.name, &picture, repair)
            };
            let findings = kinds.iter().map(finding).collect();
            Judged { picture, findings }
        };
        pictures.into_iter().map(judge).collect()
    }

    /// The jobs whose sums are still not those of their files, or whose lease is still over.
    pub(super) async fn jobs(&self, suspects: &[JobId]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for id in suspects {
            for _ in 0..LOOKS_MAX {
                let Some(before) = self.store.job(*id).await? else { break };
                let loaded = self.store.files_of(*id).await?;
                let Some(job) = self.store.job(*id).await? else { break };
                if (before.status, walk::sums(&before)) != (job.status, walk::sums(&job)) {
                    continue;
                }
                let loaded = loaded.iter().filter(|file| {
                    let kept = matches!(file.state, FileState::Loaded | FileState::Quarantined);
                    kept && file.loaded_time.is_some()
                });
                let of_files = loaded.fold((0, 0), |(rows, rejects), file| {
                    (rows + file.rows_loaded.unwrap_or_default(), rejects + file.rows_rejected.unwrap_or_default())
                });
                if walk::is_stuck(&job, self.now) {
                    findings.push(Finding::stuck(&job));
                }
                if walk::sums(&job).is_some_and(|sums| sums != of_files) {
                    findings.push(Finding::job(&job, of_files));
                }
                break;
            }
        }
        Ok(findings)
    }
}

/// A key as [`crate::job::JobStore::classify`] takes it.
fn unheard_of(key: &str, auditor: &Auditor<'_>) -> ListedFile {
    let (key, version) = (key.to_owned(), String::new());
    ListedFile { key, version, size: 0, modified: auditor.now, hour: auditor.now }
}

/// First number and length of the runs that hold all of the numbers.
pub(super) fn runs(mut numbers: Vec<i64>) -> Vec<(i64, usize)> {
    numbers.sort_unstable();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, last)) if number - *last <= GAP_MAX && number - *first < RUN_MAX => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs.into_iter().map(|(first, last)| (first, (last - first + 1) as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together() {
        assert_eq!(runs(vec![]), []);
        assert_eq!(runs(vec![7, 5, 6, 30, 30]), [(5, 3), (30, 1)]);
        assert_eq!(runs((1..=2000).collect()), [(1, 1000), (1001, 1000)]);
    }
}
