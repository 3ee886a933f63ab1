//! Model and code together: the same transactions, drawn at random, on the real databases and on the model. Every
//! answer must be the same, and what stands in both databases at the end.
//!
//! The protocol is not followed here: stale claims, takes and drafts are used as often as good ones, in any order. A
//! sequence is one feed, so that many share a database.
//!
//! `LOADLINE_MODEL_SEQUENCES=N` runs so many of them on each database; `LOADLINE_MODEL_SEED=N` runs that one alone.

mod metadata;
mod reporting;

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures::FutureExt;
use loadline::job::{ClaimToken, FoundFile, JobStore, OnOverwrite};
use loadline::warehouse::{self, Warehouse};

use super::metadata::{Claim, Metadata};
use super::protocol::{Hole, Protocol};
use super::reporting::{Fence, Reporting};
use super::schedule::Dice;
use super::{FILES, Plan, VERSIONS_MAX, Version};
use crate::conformance::ReadBack;
use crate::conformance::ledger::table;
use crate::servers::Kind;
use crate::skip::{number, say};
use crate::{mysql, sqlite};

/// Transactions of a sequence.
const STEPS: usize = 60;

/// Both sides, and what a caller holds of either.
struct Pair<'a> {
    store: &'a dyn JobStore,
    warehouse: &'a dyn Warehouse,
    read: &'a dyn ReadBack,
    feed: String,
    policy: OnOverwrite,
    protocol: Protocol,
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
}

impl<'a> Pair<'a> {
    fn new(databases: Databases<'a>, feed: String, seed: u64, protocol: Protocol) -> Self {
        let mut dice = Dice::new(seed);
        let policies = [OnOverwrite::Quarantine, OnOverwrite::Reload, OnOverwrite::Ignore];
        let policy = policies[dice.below(3)];
        let (metadata, reporting, jobs, claims, fences, found, said) = Default::default();
        let Databases { store, warehouse, read } = databases;
        Self {
            store,
            warehouse,
            read,
            feed,
            policy,
            protocol,
            dice,
            metadata,
            reporting,
            jobs,
            claims,
            fences,
            found,
            said,
        }
    }
}

#[derive(Clone, Copy)]
struct Databases<'a> {
    store: &'a dyn JobStore,
    warehouse: &'a dyn Warehouse,
    read: &'a dyn ReadBack,
}

impl Databases<'_> {
    async fn set_up(&self) {
        self.store.migrate(None).await.unwrap();
        self.warehouse.migrate().await.unwrap();
        self.warehouse.create_table(&table(&[])).await.unwrap();
    }

    async fn run(self, name: &str, sequences: u64) {
        self.set_up().await;
        let (one, many) = (number("LOADLINE_MODEL_SEED"), number("LOADLINE_MODEL_SEQUENCES").unwrap_or(sequences));
        let begun = Instant::now();
        for seed in one.map_or(0..many, |seed| seed..seed + 1) {
            Pair::new(self, format!("seed{seed}"), seed, Protocol::default()).run().await;
        }
        say(&format!(
            "model: {many} sequences of {STEPS} transactions on {name} as in the model, {:?}",
            begun.elapsed()
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_does_what_the_model_does() {
    let db = sqlite::Fresh::new();
    Databases { store: &db.jobs(), warehouse: &db.warehouse(), read: &db }.run("SQLite", 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_does_what_the_model_does() {
    let Some(db) = mysql::Fresh::of(Kind::MariaDb) else { return };
    Databases { store: &db.jobs(), warehouse: &db.warehouse(), read: &db }.run("MariaDB", 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_does_what_the_model_does() {
    let Some(db) = mysql::Fresh::of(Kind::MySql) else { return };
    Databases { store: &db.jobs(), warehouse: &db.warehouse(), read: &db }.run("MySQL", 50).await;
}

/// The comparison would notice a database that does otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_with_a_hole_is_another_one() {
    let db = sqlite::Fresh::new();
    let (store, warehouse) = (db.jobs(), db.warehouse());
    let databases = Databases { store: &store, warehouse: &warehouse, read: &db };
    databases.set_up().await;
    let holes = [
        Hole::JobAndCount,
        Hole::NoFence,
        Hole::FromAsRead,
        Hole::PlanUnseen,
        Hole::VersionUnseen,
        Hole::UnloadForgotten,
    ];
    for hole in holes {
        let mut differs = false;
        for seed in 0..200 {
            let mut pair = Pair::new(databases, format!("{hole:?}{seed}"), seed, Protocol::without(&[hole]));
            differs |= AssertUnwindSafe(pair.run()).catch_unwind().await.is_err();
            if differs {
                break;
            }
        }
        assert!(differs, "{hole:?} was not noticed");
    }
}
