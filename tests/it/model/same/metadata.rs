//! The transactions of the metadata database.

use std::time::Duration;

use loadline::job::{
    ClaimRequest, ClaimToken, FileOutcome, FileRecord, FileState, FoundFile, JobDraft, JobLimits, JobOrder, JobStatus,
    ListedFile, Planner, Replacement,
};

use super::{Pair, key, version};
use crate::conformance::at;
use crate::model::metadata::{Claim, Entry, Outcome, Outcomes};
use crate::model::{FILES, Version};

const LEASE: Duration = Duration::from_secs(3600);

fn owner(feed: &str, token: u16) -> String {
    format!("{feed}:{token}")
}

impl Pair<'_> {
    pub(super) async fn register(&mut self) {
        let (file, listed) = (self.file(), self.version());
        let page = [ListedFile { key: key(file), version: version(listed), size: 10, modified: at(0), hour: at(0) }];
        let known = self.store.register(&self.feed, &page, self.policy, at(1)).await.unwrap();
        let expected = self.metadata.register(file, listed, self.policy);
        self.same(format!("register {file} v{listed}"), &known, &vec![expected]);
    }

    /// Of what is FOUND, or was.
    pub(super) async fn form(&mut self) {
        if self.dice.one_in(2) {
            self.found = self.store.found(&self.feed, None, 10).await.unwrap();
            let found: Vec<String> = self.found.iter().map(|file| file.key.clone()).collect();
            let expected = (0..FILES).filter(|file| self.metadata.found()[*file]).map(key).collect();
            self.same("found".to_owned(), &found, &expected);
        }
        let files: Vec<FoundFile> = self.found.iter().filter(|_| !self.dice.one_in(3)).cloned().collect();
        if files.is_empty() {
            return;
        }
        let keys: Vec<String> = files.iter().map(|file| file.key.clone()).collect();
        let mut draft = [false; FILES];
        (0..FILES).for_each(|file| draft[file] = keys.contains(&key(file)));
        let formed = self.store.form_job(&draft_of(&self.feed, files)).await.unwrap();
        let expected = self.metadata.form_job(draft);
        self.jobs.extend(formed);
        self.same(format!("form a job of {keys:?}"), &formed.is_some(), &expected.is_some());
    }

    pub(super) async fn claim(&mut self) {
        let token = self.claims.len() as u16 + 1;
        let (owner, feed) = (owner(&self.feed, token), Some(self.feed.clone()));
        let request = ClaimRequest { owner, order: JobOrder::Oldest, feed, lease: LEASE };
        let claim = self.store.claim(&request).await.unwrap();
        let expected = self.metadata.claim(token);
        let files = |claim: &loadline::job::Claim| {
            let of = |file: usize| claim.files.iter().find(|record| record.key == key(file));
            let entry = |record: &FileRecord| (record.version.clone(), record.state, record.loaded_time.is_some());
            (0..FILES).map(|file| of(file).map(entry)).collect::<Vec<_>>()
        };
        let is = claim.as_ref().map(|claim| (claim.job.id, claim.job.attempts, claim.job.expiries, files(claim)));
        let should_be = expected.map(|claim| {
            let entry = |entry: Entry| (version(entry.version), entry.state, entry.was_loaded);
            let files = claim.files.iter().map(|file| file.map(entry)).collect();
            (self.jobs[claim.job - 1], claim.attempts.into(), claim.expiries.into(), files)
        });
        self.same("claim".to_owned(), &is, &should_be);
        self.claims.extend(expected.zip(claim.map(|claim| claim.token)));
    }

    /// One that is held, or was.
    fn any_claim(&mut self) -> Option<(Claim, ClaimToken, i64)> {
        let back = self.dice.below(3);
        let (claim, token) = self.claims.iter().rev().nth(back)?.clone();
        Some((claim, token, self.jobs[claim.job - 1]))
    }

    pub(super) async fn confirm(&mut self) {
        let Some((claim, token, job)) = self.any_claim() else { return };
        if self.dice.one_in(2) {
            let held = self.store.confirm(job, &token, LEASE).await.unwrap();
            let expected = self.metadata.confirm(&claim, self.protocol);
            return self.same(format!("confirm {claim:?}"), &held, &expected);
        }
        let counted = self.dice.one_in(2);
        let held = self.store.postpone(job, &token, Duration::ZERO, counted, "a reason").await.unwrap();
        let expected = self.metadata.postpone(&claim, counted, self.protocol);
        self.same(format!("postpone {claim:?}, counted {counted}"), &held, &expected);
    }

    pub(super) async fn end(&mut self) {
        let Some((claim, token, job)) = self.any_claim() else { return };
        let mut outcomes: Outcomes = [None; FILES];
        for (file, outcome) in outcomes.iter_mut().enumerate() {
            let is_of_job = self.metadata.files[file].is_some_and(|entry| entry.job == Some(claim.job));
            let states = [FileState::Loaded, FileState::Failed, FileState::Quarantined, FileState::Unloaded];
            let state = states[self.dice.below(4)];
            let other_version = state == FileState::Quarantined && self.dice.one_in(2);
            let is_loaded = state == FileState::Loaded || other_version;
            *outcome = is_of_job.then_some(Outcome { state, is_loaded });
        }
        let mut real = Vec::new();
        for (file, outcome) in outcomes.iter().enumerate() {
            let (Some(Outcome { state, is_loaded }), Some(id)) = (*outcome, self.id_of(file).await) else { continue };
            let rows = is_loaded.then_some(3);
            real.push(FileOutcome { id, state, rows_loaded: rows, rows_rejected: rows, error: None });
        }
        let failed = self.dice.one_in(2);
        let held = match failed {
            true => self.store.fail(job, &token, &real, "a reason").await.unwrap(),
            false => self.store.complete(job, &token, &real).await.unwrap(),
        };
        let status = if failed { JobStatus::Failed } else { JobStatus::Loaded };
        let expected = self.metadata.end(&claim, status, &outcomes, self.protocol);
        self.same(format!("end {claim:?} {status:?} {outcomes:?}"), &held, &expected);
    }

    pub(super) async fn rescue(&mut self) {
        let Some((claim, ..)) = self.any_claim() else { return };
        let rescued = self.store.rescue(&[owner(&self.feed, claim.token)]).await.unwrap();
        let holds = self.metadata.confirm(&claim, self.protocol);
        let expected = holds && self.metadata.rescue(claim.job);
        self.same(format!("rescue {claim:?}"), &rescued, &u64::from(expected));
    }

    async fn id_of(&self, file: usize) -> Option<i64> {
        self.store.file(&self.feed, &key(file)).await.unwrap().map(|record| record.id)
    }

    pub(super) async fn retry(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let job = 1 + self.dice.below(self.jobs.len() as u64);
        let mut now = [None; FILES];
        let mut replacements = Vec::new();
        for (file, now) in now.iter_mut().enumerate() {
            if self.metadata.files[file].is_some() && self.dice.one_in(2) {
                let new = self.version();
                *now = Some(new);
                replacements.extend(self.id_of(file).await.map(|id| replacement(id, new)));
            }
        }
        let retried = self.store.retry(self.jobs[job - 1], &replacements).await.unwrap();
        let expected = self.metadata.retry(job, &now);
        self.same(format!("retry {job} {now:?}"), &retried, &expected);
    }

    /// Release, revoke or readmit.
    pub(super) async fn let_go(&mut self) {
        let file = self.file();
        let Some(id) = self.id_of(file).await else { return };
        match self.dice.below(3) {
            0 => {
                let new = self.version();
                let released = self.store.release(&[replacement(id, new)]).await.unwrap();
                let expected = self.metadata.release(file, new);
                self.same(format!("release {file} v{new}"), &released, &u64::from(expected));
            }
            1 => {
                let revoked = self.store.revoke(&[id]).await.unwrap();
                let expected = self.metadata.revoke(file);
                self.same(format!("revoke {file}"), &revoked, &u64::from(expected));
            }
            _ => {
                let readmitted = self.warehouse.readmit(&self.feed, &[key(file)]).await.unwrap();
                let expected = self.reporting.readmit(file);
                self.same(format!("readmit {file}"), &readmitted, &u64::from(expected));
            }
        }
    }
}

fn replacement(id: i64, new: Version) -> Replacement {
    Replacement { id, version: version(new), size: 10, modified: at(0) }
}

fn draft_of(feed: &str, files: Vec<FoundFile>) -> JobDraft {
    let limits = JobLimits { size_max: u64::MAX, files_max: FILES + 1, wait_max: chrono::Duration::zero() };
    let mut planner = Planner::new(feed, "file:///in", limits);
    assert!(files.into_iter().all(|file| planner.push(file).is_none()));
    planner.finish(at(1_000)).unwrap()
}
