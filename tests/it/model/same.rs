//! Model and code together: the same transactions, drawn at random, on the real databases and on the model. Every
//! answer must be the same, and what stands in both databases at the end.
//!
//! The protocol is not followed here: stale claims, takes and drafts are used as often as good ones, in any order. A
//! sequence is one feed, so that many share a database.
//!
//! `LOADLINE_MODEL_SEQUENCES=N` runs so many of them on each database; `LOADLINE_MODEL_SEED=N` runs that one alone.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use loadline::job::{
    ClaimRequest, ClaimToken, FileOutcome, FileState, FoundFile, JobDraft, JobLimits, JobOrder, JobStatus, JobStore,
    ListedFile, OnOverwrite, Planner, Replacement,
};
use loadline::warehouse::{self, Begun as RealBegun, LedgerKey, Progress, Taker, WalkEnd, Warehouse};

use super::metadata::{Claim, Entries, Entry, Metadata, Outcome, Outcomes};
use super::protocol::Protocol;
use super::reporting::{Begun, Fence, Reporting, Walked};
use super::schedule::Dice;
use super::{FILES, Plan, RECORDS_MAX, VERSIONS_MAX, Version};
use crate::conformance::ledger::{rows_of, table};
use crate::conformance::{ReadBack, at};
use crate::servers::Kind;
use crate::skip::{number, say};
use crate::{mysql, sqlite};

const STEPS: usize = 60;
const LEASE: Duration = Duration::from_secs(3600);

/// Both sides, and what a caller holds of either.
struct Pair<'a> {
    store: &'a dyn JobStore,
    warehouse: &'a dyn Warehouse,
    read: &'a dyn ReadBack,
    feed: String,
    policy: OnOverwrite,
    dice: Dice,
    metadata: Metadata,
    reporting: Reporting,
    /// The id of each of the model's jobs.
    jobs: Vec<i64>,
    /// What was once claimed, taken or found, and may be old.
    claims: Vec<(Claim, ClaimToken)>,
    fences: Vec<(Fence, warehouse::Fence, Version)>,
    found: Vec<FoundFile>,
    said: Vec<String>,
}

fn key(file: usize) -> String {
    format!("{file}.csv")
}

fn version(version: Version) -> String {
    format!("v{version}")
}

fn plan(plan: Plan) -> String {
    format!("plan {plan}")
}

fn owner(feed: &str, token: u16) -> String {
    format!("{feed}:{token}")
}

impl Pair<'_> {
    async fn run(&mut self) {
        for _ in 0..STEPS {
            match self.dice.below(16) {
                0..=1 => self.register().await,
                2..=3 => self.form().await,
                4..=5 => self.claim().await,
                6 => self.confirm().await,
                7 => self.end().await,
                8 => self.rescue().await,
                9 => self.retry().await,
                10 => self.let_go().await,
                11 => self.take().await,
                12..=14 => self.segment().await,
                _ => self.walk_back().await,
            }
        }
        self.compare().await;
    }

    /// Both did the same thing.
    fn same<T: PartialEq + Debug>(&mut self, what: String, real: &T, model: &T) {
        let said = if self.said.is_empty() { String::new() } else { self.said.join("\n") };
        assert_eq!(real, model, "{}, {what}: the database, then the model; before that:\n{said}", self.feed);
        self.said.push(format!("{what}: {real:?}"));
    }

    fn file(&mut self) -> usize {
        self.dice.below(FILES as u64)
    }

    fn version(&mut self) -> Version {
        1 + self.dice.below(VERSIONS_MAX as u64 - 1) as Version
    }

    // -- the metadata database -------------------------------------------------------------------------------------

    async fn register(&mut self) {
        let (file, listed) = (self.file(), self.version());
        let page = [ListedFile { key: key(file), version: version(listed), size: 10, modified: at(0), hour: at(0) }];
        let known = self.store.register(&self.feed, &page, self.policy, at(1)).await.unwrap();
        let expected = self.metadata.register(file, listed, self.policy);
        self.same(format!("register {file} v{listed}"), &known, &vec![expected]);
    }

    /// Of what is FOUND, or was.
    async fn form(&mut self) {
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

    async fn claim(&mut self) {
        let token = self.claims.len() as u16 + 1;
        let (owner, feed) = (owner(&self.feed, token), Some(self.feed.clone()));
        let request = ClaimRequest { owner, order: JobOrder::Oldest, feed, lease: LEASE };
        let claim = self.store.claim(&request).await.unwrap();
        let expected = self.metadata.claim(token);
        let files = |claim: &loadline::job::Claim| {
            let of = |file: usize| claim.files.iter().find(|record| record.key == key(file));
            let entry = |record: &loadline::job::FileRecord| {
                (record.version.clone(), record.state, record.loaded_time.is_some())
            };
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

    async fn confirm(&mut self) {
        let Some((claim, token, job)) = self.any_claim() else { return };
        if self.dice.one_in(2) {
            let held = self.store.confirm(job, &token, LEASE).await.unwrap();
            let expected = self.metadata.confirm(&claim, Protocol::default());
            return self.same(format!("confirm {claim:?}"), &held, &expected);
        }
        let counted = self.dice.one_in(2);
        let held = self.store.postpone(job, &token, Duration::ZERO, counted, "a reason").await.unwrap();
        let expected = self.metadata.postpone(&claim, counted, Protocol::default());
        self.same(format!("postpone {claim:?}, counted {counted}"), &held, &expected);
    }

    async fn end(&mut self) {
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
        let expected = self.metadata.end(&claim, status, &outcomes, Protocol::default());
        self.same(format!("end {claim:?} {status:?} {outcomes:?}"), &held, &expected);
    }

    async fn rescue(&mut self) {
        let Some((claim, ..)) = self.any_claim() else { return };
        let rescued = self.store.rescue(&[owner(&self.feed, claim.token)]).await.unwrap();
        let holds = self.metadata.confirm(&claim, Protocol::default());
        let expected = holds && self.metadata.rescue(claim.job);
        self.same(format!("rescue {claim:?}"), &rescued, &u64::from(expected));
    }

    async fn id_of(&self, file: usize) -> Option<i64> {
        self.store.file(&self.feed, &key(file)).await.unwrap().map(|record| record.id)
    }

    async fn retry(&mut self) {
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
    async fn let_go(&mut self) {
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

    // -- the reporting database ------------------------------------------------------------------------------------

    async fn take(&mut self) {
        let (mine, reload) = (1 + self.dice.below(2) as Plan, self.dice.one_in(2));
        let mut files: Entries = [None; FILES];
        for file in &mut files {
            let entry = Entry { version: self.version(), state: FileState::InJob, job: None, was_loaded: false };
            *file = self.dice.one_in(2).then_some(entry);
        }
        let (feed, table) = (self.feed.clone(), table(&[]).name);
        let taker = Taker { feed, job: 1, table, plan_hash: plan(mine), reload };
        let ledger_key = |(file, entry): (usize, &Option<Entry>)| {
            entry.map(|entry| LedgerKey { key: key(file), version: version(entry.version), hour: at(0) })
        };
        let keys: Vec<LedgerKey> = files.iter().enumerate().filter_map(ledger_key).collect();
        let taken = self.warehouse.take(&taker, &keys).await.unwrap();
        let expected = self.reporting.take(mine, reload, &files, Protocol::default());
        let is = |taken: &warehouse::Taken| {
            let Progress { records_done, complete, .. } = taken.progress;
            (taken.epoch, taken.standing, records_done, complete)
        };
        let is: Vec<_> = taken.iter().map(is).collect();
        let should_be = expected.iter().flatten();
        let should_be = should_be
            .map(|taken| (taken.epoch.into(), taken.standing, u64::from(taken.done), taken.complete))
            .collect();
        let versions = files.map(|entry| entry.map(|entry| entry.version));
        self.same(format!("take {versions:?} under {mine}, reload {reload}"), &is, &should_be);
        let files = files.iter().zip(&expected).enumerate();
        let held = files.filter_map(|(file, (entry, taken))| Some((file, (*entry)?.version, (*taken)?.epoch)));
        for ((file, version, epoch), taken) in held.zip(taken) {
            let real = warehouse::Fence { file: taken.file, epoch: taken.epoch, plan_hash: plan(mine) };
            self.fences.push((Fence { file, epoch, plan: mine }, real, version));
        }
    }

    /// One that is newest, or was.
    fn any_fence(&mut self) -> Option<(Fence, warehouse::Fence, Version)> {
        let back = self.dice.below(4);
        self.fences.iter().rev().nth(back).cloned()
    }

    async fn segment(&mut self) {
        let Some((fence, real, version)) = self.any_fence() else { return };
        let stands = self.reporting.ledger[fence.file].map_or(0, |row| row.done);
        let from = if self.dice.one_in(4) { self.dice.below(RECORDS_MAX as u64) as u8 } else { stands };
        let to = (from + self.dice.below(3) as u8).min(RECORDS_MAX as u8);
        let (complete, is_dropped) = (self.dice.one_in(3), self.dice.one_in(5));
        let begun = self.warehouse.begin(&real, u64::from(from)).await.unwrap();
        let expected = self.reporting.begin(fence, from, 0, Protocol::default());
        let is = match &begun {
            RealBegun::Segment(_) => Begun::Segment,
            RealBegun::Moved(to) => Begun::Moved { done: to.records_done as u8, complete: to.complete },
            RealBegun::Lost => Begun::Lost,
        };
        self.reporting.unlock(fence.file, 0);
        self.same(format!("segment {fence:?} {from} to {to}, {complete}, dropped {is_dropped}"), &is, &expected);
        let RealBegun::Segment(mut segment) = begun else { return };
        if to > from {
            let id = 100 * i64::from(version) + i64::from(fence.plan);
            segment.write(&table(&[]), &rows_of(u64::from(from) + 1..=u64::from(to), id)).await.unwrap();
        }
        if !is_dropped {
            let records_done = u64::from(to);
            segment
                .commit(&Progress { records_done, rows: records_done, complete, ..Progress::default() })
                .await
                .unwrap();
            self.reporting.commit(fence, version, from, to, complete);
        }
    }

    async fn walk_back(&mut self) {
        let Some((fence, real, _)) = self.any_fence() else { return };
        let end = if self.dice.one_in(2) { WalkEnd::Anew } else { WalkEnd::Unloaded };
        let walked = self.warehouse.walk_back(&real, &table(&[]), end).await.unwrap();
        let expected = loop {
            match self.reporting.walk_back_step(fence, end, Protocol::default()) {
                Walked::Partly => {}
                walked => break walked == Walked::Wholly,
            }
        };
        self.same(format!("walk back {fence:?} {end:?}"), &walked, &expected);
    }

    // -- what stands at the end ------------------------------------------------------------------------------------

    async fn compare(&mut self) {
        for (at, id) in self.jobs.clone().into_iter().enumerate() {
            let job = self.store.job(id).await.unwrap().unwrap();
            let expected = self.metadata.jobs[at];
            let should_be = (expected.status, u32::from(expected.attempts), u32::from(expected.expiries));
            self.same(format!("job {}", at + 1), &(job.status, job.attempts, job.expiries), &should_be);
        }
        for file in 0..FILES {
            let record = self.store.file(&self.feed, &key(file)).await.unwrap();
            let is = record.map(|record| (record.version, record.state, record.job_id, record.loaded_time.is_some()));
            let job = |job: usize| self.jobs[job - 1];
            let entry = self.metadata.files[file];
            let should_be = entry.map(|e| (version(e.version), e.state, e.job.map(job), e.was_loaded));
            self.same(format!("file {file}"), &is, &should_be);
            self.compare_rows(file).await;
        }
        assert_eq!(self.reporting.doubled, None, "{}", self.feed);
    }

    async fn compare_rows(&mut self, file: usize) {
        let entry = self.warehouse.entry(&self.feed, &key(file)).await.unwrap();
        let Some(entry) = entry else {
            return self.same(format!("no ledger row of {file}"), &true, &self.reporting.ledger[file].is_none());
        };
        let (number, row) = (entry.file, self.reporting.ledger[file].unwrap());
        let plan_hash = format!("SELECT plan_hash FROM loadline_files WHERE file = {number}");
        let plan_hash = self.read.query(&plan_hash).await[0][0].clone();
        let is =
            (entry.version, plan_hash, entry.progress.records_done, entry.progress.complete, entry.unloaded.is_some());
        let named = Some(row.plan.map(plan).unwrap_or_default());
        let should_be = (version(row.version), named, u64::from(row.done), row.complete, row.unloaded);
        self.same(format!("ledger row of {file}"), &is, &should_be);
        let rows = format!("SELECT _record, id FROM {} WHERE _file = {number} ORDER BY _record", table(&[]).name);
        let rows: Vec<String> = self.read.query(&rows).await.into_iter().map(|row| texts(&row)).collect();
        let cell = |(at, (version, plan)): (usize, (Version, Plan))| {
            format!("{} {}", at + 1, 100 * u64::from(version) + u64::from(plan))
        };
        let cells = self.reporting.rows[file].iter().enumerate();
        let should_be = cells.filter_map(|(at, row)| Some((at, (*row)?))).map(cell).collect();
        self.same(format!("rows of {file}"), &rows, &should_be);
    }
}

fn texts(row: &[Option<String>]) -> String {
    row.iter().flatten().cloned().collect::<Vec<_>>().join(" ")
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

async fn run(store: &dyn JobStore, warehouse: &dyn Warehouse, read: &dyn ReadBack, name: &str, sequences: u64) {
    store.migrate(None).await.unwrap();
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&table(&[])).await.unwrap();
    let (one, many) = (number("LOADLINE_MODEL_SEED"), number("LOADLINE_MODEL_SEQUENCES").unwrap_or(sequences));
    let begun = Instant::now();
    for seed in one.map_or(0..many, |seed| seed..seed + 1) {
        let mut dice = Dice::new(seed);
        let policies = [OnOverwrite::Quarantine, OnOverwrite::Reload, OnOverwrite::Ignore];
        let policy = policies[dice.below(3)];
        let (metadata, reporting, feed) = (Metadata::default(), Reporting::default(), format!("seed{seed}"));
        let (jobs, claims, fences, found, said) = Default::default();
        let mut pair =
            Pair { store, warehouse, read, feed, policy, dice, metadata, reporting, jobs, claims, fences, found, said };
        pair.run().await;
    }
    say(&format!("model: {many} sequences of {STEPS} transactions on {name} as in the model, {:?}", begun.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_does_what_the_model_does() {
    let db = sqlite::Fresh::new();
    run(&db.jobs(), &db.warehouse(), &db, "SQLite", 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_does_what_the_model_does() {
    let Some(db) = mysql::Fresh::of(Kind::MariaDb) else { return };
    run(&db.jobs(), &db.warehouse(), &db, "MariaDB", 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_does_what_the_model_does() {
    let Some(db) = mysql::Fresh::of(Kind::MySql) else { return };
    run(&db.jobs(), &db.warehouse(), &db, "MySQL", 50).await;
}
