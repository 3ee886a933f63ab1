//! Weeks of work in one process: what it holds, and what it holds of a server, must not grow with the jobs it has done.
//!
//! The default only shows that nothing is opened per job. The real thing, with a release build measured by these tests:
//!
//! ```text
//! cargo build --release
//! LOADLINE_BIN=target/release/loadline LOADLINE_SOAK_JOBS=100000 cargo test --test it soak -- --nocapture --test-threads 1
//! ```
//!
//! `LOADLINE_SOAK_BACKEND=sqlite`, `mariadb` or `mysql` leaves it at that one.

use std::fs;
use std::process::Child;
use std::time::Duration;

use super::project::{Db, Project, events, hour, signal};
use crate::s3::server::S3Server;
use crate::servers::{Kind, Server};
use crate::skip;

const JOBS: u64 = 400;
/// Fewer jobs are over before the caches of the databases are full.
const STEADY_JOBS: u64 = 20_000;
const HOURS: u64 = 700;

/// What a process holds, and what it holds of its server: nothing, where it has none.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub resident_kib: u64,
    /// Of it, what is not pages of files, for the picture: those of the program come and go as the machine likes.
    pub private_kib: u64,
    pub open_files: u64,
    pub connections: u64,
    pub prepared_statements: u64,
}

impl Held {
    fn by(pid: u32, project: &Project) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kib_of = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        let (resident_kib, private_kib) = (kib_of("VmRSS:"), kib_of("RssAnon:"));
        let open_files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        let of_server = |name: &str| match project.address(Db::Metadata) {
            None => 0,
            Some(address) => {
                let rows = address.rows(&format!("SHOW GLOBAL STATUS LIKE '{name}'"));
                // This question has a connection and a statement of its own.
                rows[0][1].parse::<u64>().unwrap().saturating_sub(1)
            }
        };
        let [connections, prepared_statements] = ["Threads_connected", "Prepared_stmt_count"].map(of_server);
        Self { resident_kib, private_kib, open_files, connections, prepared_statements }
    }

    /// The most of each: how many connections are out at one moment depends on what a scan and the workers do just then.
    fn peak(samples: &[Self]) -> Self {
        let most = |of: fn(&Self) -> u64| samples.iter().map(of).max().unwrap_or(0);
        Self {
            resident_kib: most(|held| held.resident_kib),
            private_kib: most(|held| held.private_kib),
            open_files: most(|held| held.open_files),
            connections: most(|held| held.connections),
            prepared_statements: most(|held| held.prepared_statements),
        }
    }
}

/// What the process held at most from a tenth of the jobs to a fifth, and over the last tenth. `done` counts ended jobs.
pub fn held_early_and_late(process: &Child, project: &Project, jobs: u64, done: impl Fn() -> u64) -> (Held, Held) {
    let pause = Duration::from_millis(if jobs < STEADY_JOBS { 5 } else { 200 });
    let (mut early, mut late) = (Vec::new(), Vec::new());
    loop {
        let done = done();
        let held = Held::by(process.id(), project);
        if (jobs / 10..=jobs / 5).contains(&done) {
            early.push(held);
        }
        if done >= jobs - jobs / 10 {
            late.push(held);
        }
        if done >= jobs {
            break;
        }
        std::thread::sleep(pause);
    }
    assert!(!early.is_empty(), "no sample at a tenth of the jobs");
    (Held::peak(&early), Held::peak(&late))
}

/// Writes one file of two records for every job.
pub fn write_files(project: &Project, jobs: u64) {
    for number in 0..jobs {
        let ids = [2 * number, 2 * number + 1];
        project.write_at(&format!("{}/{number}.csv", hour((number % HOURS) as usize)), events(ids), number);
    }
}

/// Whether the databases of this name are the ones to be soaked.
fn is_asked_for(backend: &str) -> bool {
    let asked = std::env::var("LOADLINE_SOAK_BACKEND").ok().filter(|asked| !asked.is_empty());
    let is_asked_for = asked.as_ref().is_none_or(|asked| asked == backend);
    if !is_asked_for {
        skip::say(&format!("left out: the soak on {backend}"));
    }
    is_asked_for
}

fn jobs_asked_for() -> u64 {
    std::env::var("LOADLINE_SOAK_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS)
}

/// A `run` over as many jobs as are asked for, on a project that makes a job of every file.
fn soak(project: &Project) {
    let jobs = jobs_asked_for();
    write_files(project, jobs);
    project.scan().ok();
    let arguments = ["run", "--quiet"];
    let process = project.start(&arguments);
    let left = "SELECT count(*) FROM scanner_jobs WHERE status IN ('SENT_FOR_ETL', 'PROCESSING')";
    let done = || jobs - project.row(Db::Metadata, left).parse::<u64>().unwrap();
    let (early, late) = held_early_and_late(&process, project, jobs, done);
    println!("{jobs} jobs: early {early:?}, late {late:?}");
    signal(&process, "TERM");
    project.finish(&arguments, process).ok();

    let rows = project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events");
    assert_eq!(rows, format!("{0}|{0}", 2 * jobs));
    // A few more or fewer are whatever was being loaded at the time.
    assert!(late.open_files <= early.open_files + 4, "open files: {early:?}, then {late:?}");
    assert!(late.connections <= early.connections + 3, "connections: {early:?}, then {late:?}");
    // Every connection prepares every statement once, some of them late.
    assert!(late.prepared_statements < early.prepared_statements + jobs / 10, "{early:?}, then {late:?}");
    if jobs >= STEADY_JOBS {
        let kinds: [fn(&Held) -> u64; 4] = [
            |held| held.resident_kib,
            |held| held.open_files,
            |held| held.connections,
            |held| held.prepared_statements,
        ];
        for of in kinds {
            let (early_held, late_held) = (of(&early) as f64, of(&late) as f64);
            assert!(late_held <= 1.05 * early_held, "{early:?}, then {late:?}");
        }
    }
}

#[test]
fn a_run_holds_no_more_after_many_jobs_than_after_a_few() {
    if is_asked_for("sqlite") {
        soak(&Project::events("scanner: {frequency: 1h, max_job_files: 1}"));
    }
}

/// A server of its own, as it counts for all its databases.
fn soak_on_a_server(backend: &str, kind: Kind) {
    if !is_asked_for(backend) {
        return;
    }
    let Some(server) = Server::start(kind, &["--skip-log-bin"]) else { return };
    let (s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let settings = "scanner: {frequency: 10s, max_job_files: 1}";
    soak(&Project::in_production(&s3, [&metadata, &reporting], settings));
}

#[test]
fn a_run_holds_no_more_of_mariadb_after_many_jobs_than_after_a_few() {
    soak_on_a_server("mariadb", Kind::MariaDb);
}

#[test]
fn a_run_holds_no_more_of_mysql_after_many_jobs_than_after_a_few() {
    soak_on_a_server("mysql", Kind::MySql);
}
