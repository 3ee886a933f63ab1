//! kill -9 at any moment, of scans and of loads: afterwards a clean run makes everything whole. On a server too, beside
//! a `run` that is stopped at any moment.

use std::time::{Duration, Instant};

use super::project::{Db, Project, Seeded, hour, kill, stop_when_it_listens};
use crate::s3::server::S3Server;
use crate::servers::{Kind, Server};

const ROUNDS: u64 = 20;
const FILES: u64 = 6;
const RECORDS: u64 = 200;
/// At least so many of the kills must have hit a running process, or this test has shown nothing.
const HITS_MIN: usize = 8;

/// On a server there are fewer rounds, and at least so many of their kills must hit.
const SERVER_ROUNDS: u64 = 8;
const SERVER_HITS_MIN: usize = 3;

/// Whoever dies often enough over one job is given up on: not what this is about.
const SETTINGS: &str = "scanner: {frequency: 1s, max_job_files: 2}\netl: {max_expiries: 50}";

fn seeded() -> Seeded {
    let seed = std::env::var("LOADLINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101);
    println!("LOADLINE_TEST_SEED={seed}");
    Seeded(seed)
}

#[test]
fn scans_and_loads_killed_at_random_moments_lose_and_double_nothing() {
    let mut random = seeded();
    let project = Project::events(SETTINGS);
    write_round(&project, 0);
    let commands = ["scan", "etl"].map(|command| (command, took(&project, command)));
    let mut hits = 0;
    for round in 1..=ROUNDS {
        write_round(&project, round);
        for (command, longest) in commands {
            let moment = Duration::from_micros(random.below(longest.as_micros() as u64));
            let child = project.start(&[command]);
            std::thread::sleep(moment);
            let hit = kill(child);
            println!("round {round}: {command} killed after {moment:?}, running: {hit}");
            hits += usize::from(hit);
        }
    }
    assert!(hits >= HITS_MIN, "only {hits} kills hit a running process");
    project.scan_and_load();
    assert_all_once(&project, ROUNDS);
}

#[test]
fn loads_into_a_server_killed_and_stopped_at_random_moments_lose_and_double_nothing() {
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let mut random = seeded();
    let project = Project::in_production(&s3, [&metadata, &reporting], SETTINGS);
    write_round(&project, 0);
    project.scan().ok();
    let longest = took(&project, "etl").as_micros() as u64;
    let mut hits = 0;
    for round in 1..=SERVER_ROUNDS {
        write_round(&project, round);
        project.scan().ok();
        let run = ["run", "--workers", "2"];
        let [killed, stopped] = [&["etl", "--workers", "2"][..], &run].map(|arguments| project.start(arguments));
        let moment = Duration::from_micros(random.below(longest));
        std::thread::sleep(moment);
        let hit = kill(killed);
        std::thread::sleep(Duration::from_micros(random.below(longest)));
        stop_when_it_listens(&stopped);
        let stopped = project.finish(&run, stopped).ok();
        println!("round {round}: killed after {moment:?}, running: {hit}; stopped: {}", stopped.stderr);
        hits += usize::from(hit);
    }
    assert!(hits >= SERVER_HITS_MIN, "only {hits} kills hit a running process");
    project.scan_and_load();
    assert_all_once(&project, SERVER_ROUNDS);
}

/// Writes the files of a round, with ids of its own.
fn write_round(project: &Project, round: u64) {
    for file in 0..FILES {
        let number = round * FILES + file;
        project
            .write_events(&format!("{}/events.csv", hour(number as usize)), number * RECORDS..(number + 1) * RECORDS);
    }
}

fn took(project: &Project, command: &str) -> Duration {
    let begun = Instant::now();
    project.run(&[command]).ok();
    begun.elapsed()
}

fn assert_all_once(project: &Project, rounds: u64) {
    let all = (rounds + 1) * FILES * RECORDS;
    let sql = "SELECT count(*), count(DISTINCT id), min(id), max(id), sum(amount) FROM events";
    let sum = 10 * (all - 1) * all / 2;
    assert_eq!(project.row(Db::Reporting, sql), format!("{all}|{all}|0|{}|{sum}", all - 1));
    let sql = "SELECT count(*), sum(complete), sum(`rows`) FROM loadline_files";
    let files = (rounds + 1) * FILES;
    assert_eq!(project.row(Db::Reporting, sql), format!("{files}|{files}|{all}"));
    assert!(project.statuses().iter().all(|status| status == "LOADED"), "{:?}", project.statuses());
    let sql = "SELECT count(*), count(DISTINCT job_id) FROM scanner_files WHERE state = 'LOADED'";
    let jobs = project.statuses().len();
    assert_eq!(project.row(Db::Metadata, sql), format!("{files}|{jobs}"));
}
