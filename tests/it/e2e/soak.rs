//! Weeks of work in one process: what it holds must not grow with the jobs it has done.
//!
//! `LOADLINE_SOAK_JOBS=100000 cargo test --test it soak -- --nocapture` for the real thing; the default only shows that
//! nothing is opened per job.

use std::fs;
use std::process::Child;
use std::time::Duration;

use super::project::{Db, Project, events, hour, signal};

const JOBS: u64 = 400;
/// Fewer jobs are over before the caches of the databases are full.
const STEADY_JOBS: u64 = 20_000;
const HOURS: u64 = 700;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub resident_kib: u64,
    pub open_files: u64,
}

impl Held {
    fn by(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { resident_kib, open_files: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64 }
    }

    fn median(samples: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> u64| {
            let mut values: Vec<u64> = samples.iter().map(of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Self { resident_kib: middle(|held| held.resident_kib), open_files: middle(|held| held.open_files) }
    }
}

/// What the process held when a tenth of the jobs was done, and at the end. `done` counts ended jobs.
pub fn held_early_and_late(process: &Child, jobs: u64, done: impl Fn() -> u64) -> (Held, Held) {
    let pause = Duration::from_millis(if jobs < STEADY_JOBS { 5 } else { 200 });
    let (mut early, mut late) = (Vec::new(), Vec::new());
    loop {
        let done = done();
        let held = Held::by(process.id());
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
    (Held::median(&early), Held::median(&late))
}

/// Writes one file of two records for every job.
pub fn write_files(project: &Project, jobs: u64) {
    for number in 0..jobs {
        let ids = [2 * number, 2 * number + 1];
        project.write_at(&format!("{}/{number}.csv", hour((number % HOURS) as usize)), events(ids), number);
    }
}

#[test]
fn a_run_holds_no_more_after_many_jobs_than_after_a_few() {
    let jobs = std::env::var("LOADLINE_SOAK_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS);
    let project = Project::events("scanner: {frequency: 1h, max_job_files: 1}");
    write_files(&project, jobs);
    project.scan().ok();
    let arguments = ["run", "--quiet"];
    let process = project.start(&arguments);
    let left = "SELECT count(*) FROM scanner_jobs WHERE status IN ('SENT_FOR_ETL', 'PROCESSING')";
    let done = || jobs - project.row(Db::Metadata, left).parse::<u64>().unwrap();
    let (early, late) = held_early_and_late(&process, jobs, done);
    println!("{jobs} jobs: early {early:?}, late {late:?}");
    signal(&process, "TERM");
    project.finish(&arguments, process).ok();

    let rows = project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events");
    assert_eq!(rows, format!("{0}|{0}", 2 * jobs));
    // A few more or fewer are whatever was being loaded at the time.
    assert!(late.open_files <= early.open_files + 4, "open files: {early:?}, then {late:?}");
    if jobs >= STEADY_JOBS {
        let grown = late.resident_kib as f64 / early.resident_kib as f64;
        assert!(grown < 1.05, "memory: {early:?}, then {late:?}");
    }
}
