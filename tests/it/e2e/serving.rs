//! Processes that stay, and processes that are told to stop: `run`, signals, freezes and outages.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::project::{Db, EVENTS_HEADER, Project, eventually, hour, signal, stop_when_it_listens};

/// Segments of 1 MiB, so that a file of 8 MiB has several.
pub const SMALL_SEGMENTS: &str = "scanner: {frequency: 1s}\netl: {connections: 64, lease: 2s}";
const RECORDS: u64 = 40_000;

/// A process whose words are heard while it runs.
pub struct Heard {
    pub child: Child,
    said: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
}

impl Heard {
    pub fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut child = project.start(arguments);
        let (stderr, said) = (BufReader::new(child.stderr.take().unwrap()), Arc::<Mutex<String>>::default());
        let told = said.clone();
        let listener = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                told.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
        Self { child, said, listener }
    }

    pub fn hear(&self, text: &str) {
        eventually(text, || self.said.lock().unwrap().contains(text));
    }

    /// Its exit code, and all that it said.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        self.listener.join().unwrap();
        (status.code(), self.said.lock().unwrap().clone())
    }
}

/// Holds the writer's place of a database until dropped.
fn lock(project: &Project, db: Db) -> Connection {
    let connection = Connection::open(project.db_path(db)).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

pub fn write_long(project: &Project) {
    let note = "n".repeat(190);
    let text = (0..RECORDS).fold(EVENTS_HEADER.to_owned(), |text, id| text + &format!("{id},1,{note}\n"));
    project.write(&format!("{}/long.csv", hour(0)), text);
}

pub fn half_loaded(project: &Project) -> bool {
    project.row(Db::Reporting, "SELECT records_done > 0 AND complete = 0 FROM loadline_files") == "1"
}

pub fn assert_all_once(project: &Project) {
    let rows = project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events");
    assert_eq!(rows, format!("{RECORDS}|{RECORDS}"));
    assert_eq!(project.statuses(), ["LOADED"]);
}

pub fn loaded(project: &Project) -> usize {
    project.statuses().iter().filter(|status| *status == "LOADED").count()
}

#[test]
fn a_run_loads_what_arrives_until_it_is_stopped() {
    assert_loads_what_arrives(&Project::events("scanner: {frequency: 1s}"));
}

/// On a project that scans every second.
pub fn assert_loads_what_arrives(project: &Project) {
    project.write_events(&format!("{}/events.csv", hour(0)), [1, 2]);
    let arguments = ["run", "--workers", "1", "--log-format", "json"];
    let run = project.start(&arguments);
    eventually("the first file is loaded", || loaded(project) == 1);
    project.write(&format!("{}/bad.csv", hour(1)), "id\n1\n");
    eventually("the bad one has failed", || project.statuses() == ["LOADED", "FAILED"]);
    project.write_events(&format!("{}/events.csv", hour(2)), [3]);
    eventually("the last file is loaded", || loaded(project) == 2);
    signal(&run, "TERM");
    let ran = project.finish(&arguments, run).ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "3|3");
    let events: Vec<serde_json::Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended = |event: &str| events.iter().filter(|line| line["event"] == event).count();
    assert_eq!((ended("scan_ended"), ended("job_ended")), (3, 3), "{ran}");
}

#[test]
fn two_runs_side_by_side_load_every_row_once() {
    const FILES: u64 = 40;
    let project = Project::events("scanner: {frequency: 1s, max_job_files: 1}");
    let runs = [(); 2].map(|()| project.start(&["run", "--workers", "2"]));
    for file in 0..FILES {
        project.write_events(&format!("{}/events.csv", hour(file as usize)), file * 50..(file + 1) * 50);
    }
    eventually("all is loaded", || loaded(&project) as u64 == FILES);
    for run in runs {
        signal(&run, "INT");
        project.finish(&["run"], run).ok();
    }
    let all = 50 * FILES;
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), format!("{all}|{all}"));
}

#[test]
fn a_stop_in_the_middle_of_a_file_gives_the_job_back() {
    for (command, code) in [("run", 0), ("etl", 143)] {
        assert_gives_the_job_back(&Project::events(SMALL_SEGMENTS), command, code);
    }
}

/// On a project of [`SMALL_SEGMENTS`].
pub fn assert_gives_the_job_back(project: &Project, command: &str, code: i32) {
    write_long(project);
    project.scan().ok();
    project.watch_table();
    let process = Heard::start(project, &[command]);
    eventually("a segment is committed", || half_loaded(project));
    signal(&process.child, "TERM");
    let (exit, said) = process.finish();
    assert_eq!(exit, Some(code), "{said}");
    assert!(said.contains("given back to the queue: stopped by SIGTERM"), "{said}");
    assert!(half_loaded(project), "what is committed stays");
    let sql = "SELECT status, attempts, expiries, lease_owner FROM scanner_jobs WHERE status <> 'NONE'";
    assert_eq!(project.row(Db::Metadata, sql), "SENT_FOR_ETL|0|0|NULL");
    project.etl().ok();
    assert_all_once(project);
    let sql = "SELECT count(*), min(what), max(what) FROM witness";
    assert_eq!(project.row(Db::Reporting, sql), format!("{RECORDS}|insert|insert"), "the load went on where it stood");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let project = Project::events(SMALL_SEGMENTS);
    write_long(&project);
    project.scan().ok();
    let run = Heard::start(&project, &["run"]);
    eventually("a segment is committed", || half_loaded(&project));
    // Nothing can be committed any more, and no job given back.
    let held = [Db::Reporting, Db::Metadata].map(|db| lock(&project, db));
    signal(&run.child, "TERM");
    run.hear("SIGTERM: stopping");
    let begun = Instant::now();
    signal(&run.child, "INT");
    let (exit, said) = run.finish();
    assert_eq!(exit, Some(130), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(held);
    project.etl().ok();
    assert_all_once(&project);
}

#[test]
fn a_scan_that_is_stopped_leaves_the_rest_to_the_next() {
    let project = Project::events("");
    for file in 0..50 {
        project.write_events(&format!("{}/events.csv", hour(file)), [file as u64]);
    }
    let held = lock(&project, Db::Metadata);
    let scan = Heard::start(&project, &["scan"]);
    stop_when_it_listens(&scan.child);
    let (exit, said) = scan.finish();
    assert_eq!(exit, Some(143), "{said}");
    drop(held);
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "50|50");
}

#[test]
fn a_frozen_worker_that_wakes_up_changes_nothing() {
    let project = Project::events(SMALL_SEGMENTS);
    write_long(&project);
    project.scan().ok();
    let frozen = Heard::start(&project, &["etl"]);
    eventually("a segment is committed", || half_loaded(&project));
    // Frozen while it has no transaction open, or SQLite would keep everybody else out.
    let locks = [Db::Reporting, Db::Metadata].map(|db| lock(&project, db));
    signal(&frozen.child, "STOP");
    drop(locks);
    assert!(half_loaded(&project), "frozen too late");
    eventually("another worker has loaded it", || {
        project.etl().ok();
        loaded(&project) == 1
    });
    assert_all_once(&project);
    let before = project.dump();
    signal(&frozen.child, "CONT");
    let (exit, said) = frozen.finish();
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("was taken over by another worker"), "{said}");
    assert!(project.dump() == before, "the frozen worker changed something");
    assert_eq!(project.row(Db::Metadata, "SELECT expiries FROM scanner_jobs WHERE status = 'LOADED'"), "1");
}

#[test]
fn an_outage_of_the_source_uses_no_attempt_up_and_is_said_once() {
    let project = Project::events("scanner: {frequency: 1s, max_job_files: 1}");
    for file in 0..12 {
        project.write_events(&format!("{}/events.csv", hour(file)), [file as u64]);
    }
    project.scan().ok();
    let at =
        |time: &str| format!("UPDATE scanner_jobs SET run_after = '{time}' WHERE status = 'SENT_FOR_ETL' AND id > 1");
    project.tamper(Db::Metadata, &at("9999-12-31 00:00:00.000000"));
    let run = Heard::start(&project, &["run"]);
    eventually("the first job is loaded", || loaded(&project) == 1);
    fs::rename(project.path("incoming"), project.path("away")).unwrap();
    project.tamper(Db::Metadata, &at("1970-01-01 00:00:00.000000"));
    run.hear("out of reach: no job is claimed");
    run.hear("the scan failed");
    fs::rename(project.path("away"), project.path("incoming")).unwrap();
    eventually("all is loaded", || loaded(&project) == 12);
    run.hear("the scan works again");
    signal(&run.child, "TERM");
    let (exit, said) = run.finish();
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(project.row(Db::Metadata, "SELECT max(attempts), max(expiries) FROM scanner_jobs"), "1|0");
    for text in ["out of reach: no job is claimed", "back in reach", "the scan failed", "the scan works again"] {
        assert_eq!(said.matches(text).count(), 1, "{text}: {said}");
    }
}
