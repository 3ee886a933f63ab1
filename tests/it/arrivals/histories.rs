//! The histories that are run.
//!
//! `LOADLINE_HISTORIES=N` runs so many short ones on each database, `LOADLINE_HISTORY=SEED` that one alone.

use std::time::Instant;

use chrono::Duration;
use loadline::job::{JobLimits, JobStore, OnOverwrite};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::history::{Habits, History, Tally};
use crate::servers::Kind;
use crate::skip::{number, say};
use crate::{mysql, sqlite};

const LIMITS: JobLimits = JobLimits { size_max: 40_000, files_max: 150, wait_max: Duration::zero() };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_arrivals_are_neither_missed_nor_taken_twice() {
    let db = sqlite::Fresh::new();
    let store = db.jobs();
    store.migrate(None).await.unwrap();
    let habits = Habits {
        files: 100_000,
        files_a_step: 500,
        rewrites_a_step: 3,
        hours_a_step: 2,
        layout: "{yyyy}/{mm}/{dd}/{HH}/",
        policy: OnOverwrite::Quarantine,
        lookback: Duration::hours(12),
        promised: Duration::hours(12),
        full_every: Duration::hours(48),
        limits: LIMITS,
    };
    let tally = History::new(&store, "arrivals", 20_260_101, habits).run().await.unwrap();
    let Tally { cut, moved, broken, doubled, .. } = tally;
    assert!(cut > 5 && moved > 5 && broken > 5 && doubled > 5, "the test has lost its power: {tally:?}");
}

/// A thousand files, and everything else as the seed says.
fn habits(seed: u64) -> Habits {
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    let mut hours = |from: i64, to: i64| Duration::hours(rng.random_range(from..to));
    let (lookback, full_every) = (hours(2, 36), hours(6, 400));
    let hours_a_step = rng.random_range(1..6);
    let layouts = ["{yyyy}/{mm}/{dd}/{HH}/", "day={yyyy}-{mm}-{dd}/hour={HH}/", "{yyyy}/{mm}/{dd}/"];
    let policies = [OnOverwrite::Quarantine, OnOverwrite::Reload, OnOverwrite::Ignore];
    let limits = JobLimits { size_max: rng.random_range(500..60_000), files_max: rng.random_range(1..200), ..LIMITS };
    Habits {
        files: 1_000,
        files_a_step: rng.random_range(10..120),
        rewrites_a_step: rng.random_range(0..4),
        hours_a_step,
        layout: layouts[rng.random_range(0..3)],
        policy: policies[rng.random_range(0..3)],
        lookback,
        promised: lookback,
        full_every,
        limits,
    }
}

async fn run(store: &dyn JobStore, name: &str, histories: u64) {
    store.migrate(None).await.unwrap();
    let (one, many) = (number("LOADLINE_HISTORY"), number("LOADLINE_HISTORIES").unwrap_or(histories));
    let (begun, mut all) = (Instant::now(), Tally::default());
    for seed in one.map_or(0..many, |seed| seed..seed + 1) {
        let habits = habits(seed);
        match History::new(store, &format!("history{seed}"), seed, habits.clone()).run().await {
            Ok(tally) => all.add(tally),
            Err(wrong) => panic!("LOADLINE_HISTORY={seed} on {name}: {wrong}\n{habits:?}"),
        }
    }
    say(&format!("arrivals: {many} histories on {name}: {all:?}, {:?}", begun.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_are_neither_missed_nor_taken_twice_on_sqlite() {
    let db = sqlite::Fresh::new();
    run(&db.jobs(), "SQLite", 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_are_neither_missed_nor_taken_twice_on_mariadb() {
    let Some(db) = mysql::Fresh::of(Kind::MariaDb) else { return };
    run(&db.jobs(), "MariaDB", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_are_neither_missed_nor_taken_twice_on_mysql() {
    let Some(db) = mysql::Fresh::of(Kind::MySql) else { return };
    run(&db.jobs(), "MySQL", 5).await;
}

/// The histories would notice a scanner that only looks behind the newest file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_look_back_late_files_are_missed() {
    let db = sqlite::Fresh::new();
    let store = db.jobs();
    store.migrate(None).await.unwrap();
    let mut missed = 0;
    for seed in 0..5 {
        let (lookback, promised, full_every) = (Duration::zero(), Duration::hours(12), Duration::days(10_000));
        let habits = Habits { lookback, promised, full_every, layout: "{yyyy}/{mm}/{dd}/{HH}/", ..habits(seed) };
        let history = History::new(&store, &format!("history{seed}"), seed, habits);
        missed += usize::from(history.run().await.is_err());
    }
    assert_eq!(missed, 5);
}
