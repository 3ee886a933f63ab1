//! Random schedules and small worlds, as tests.
//!
//! `LOADLINE_MODEL_SCHEDULES=1000000` runs so many; `LOADLINE_MODEL_SEED=N` runs one and prints it.

use std::time::Instant;

use loadline::job::OnOverwrite;

use super::exhaustive::{Place, explore};
use super::person::Wish;
use super::protocol::Protocol;
use super::schedule::{Schedule, random, replay, shrink};
use super::world::{Fate, Move, Setup, World};
use super::{FILES, VERSIONS_MAX};
use crate::skip::{number, say};

const SCHEDULES: u64 = 200_000;

/// What happened, and what stood where behind each move.
fn print(schedule: &Schedule, protocol: Protocol) {
    say(&format!("{:?}", schedule.setup));
    let end = replay(schedule, protocol, &mut |step, world| {
        say(&format!("{step:?}\n{}", world.shared));
    });
    say(&format!("{} moves, then quiet: {end:?}", schedule.moves.len()));
}

#[test]
fn random_schedules_load_everything_exactly_once() {
    let protocol = Protocol::default();
    if let Some(seed) = number("LOADLINE_MODEL_SEED") {
        let (schedule, end) = random(seed, protocol);
        print(&schedule, protocol);
        assert_eq!(end, Ok(()), "seed {seed}");
        return;
    }
    let (begun, schedules) = (Instant::now(), number("LOADLINE_MODEL_SCHEDULES").unwrap_or(SCHEDULES));
    let mut moves = 0;
    for seed in 0..schedules {
        let (mut schedule, end) = random(seed, protocol);
        moves += schedule.moves.len();
        if end.is_err() {
            shrink(&mut schedule, protocol);
            print(&schedule, protocol);
        }
        assert_eq!(
            end,
            Ok(()),
            "LOADLINE_MODEL_SEED={seed} prints the whole of it; above, what is left when it is cut"
        );
    }
    say(&format!("model: seeds 0 to {schedules}, {moves} moves, {:?}", begun.elapsed()));
}

/// One file of two segments in a job, and two workers.
fn small(faults: u8, rescues: u8, extras: &[Move]) -> Place {
    let setup = Setup {
        files: 1,
        sizes: [[2; VERSIONS_MAX]; FILES],
        bad: [[false; VERSIONS_MAX]; FILES],
        policy: OnOverwrite::Quarantine,
        job_files_max: 1,
        workers: 2,
        scanners: 1,
        people: 1,
    };
    let mut world = World::new(setup, Protocol::default());
    // Listed, registered, found, formed.
    (0..4).for_each(|_| assert_eq!(world.apply(Move::Scan(0, Fate::Fine)), Ok(true)));
    assert!(world.shared.has_waiting_job());
    Place { world, faults, rescues, extras: extras.to_vec() }
}

fn assert_every_way_is_right(what: &str, start: Place) {
    let begun = Instant::now();
    match explore(start) {
        Ok(explored) => say(&format!("model: {what}: {explored:?}, {:?}", begun.elapsed())),
        Err((wrong, way)) => panic!("{what}: {wrong:?} behind {way:#?}"),
    }
}

#[test]
fn every_way_of_two_workers_is_right() {
    assert_every_way_is_right("two workers, a fault, two leases that end", small(1, 2, &[]));
    assert_every_way_is_right("two workers, two faults, two leases that end", small(2, 2, &[]));
}

#[test]
fn every_way_of_two_workers_and_a_person_is_right() {
    let extras = [Move::Wish(0, Wish::Unload(0)), Move::Wish(0, Wish::Retry(1))];
    assert_every_way_is_right("a person who unloads and retries, a fault, a lease that ends", small(1, 1, &extras));
    let extras = [Move::NewPlan, Move::CrashWorker(0)];
    assert_every_way_is_right("a new schema, a crash, a fault, two leases that end", small(1, 2, &extras));
}

#[test]
fn every_way_of_two_workers_that_lose_the_metadata_is_right() {
    let scan = Move::Scan(0, Fate::Fine);
    let extras = [Move::LoseMetadata, scan, scan, scan, scan];
    assert_every_way_is_right("lost metadata and a scan, a fault, a lease that ends", small(1, 1, &extras));
}
