//! Every answer of a server that is no success, one by one: what becomes of the job, what the exit code says, and that
//! everything is loaded once when the server has come to its senses.
//!
//! The tables in here are the contract: code or answer, and the end that it leads to.

mod database;
mod s3;

use crate::e2e::project::{Db, Project};

/// What becomes of a job that meets the answer again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is tried again later; this attempt counts. Exit code 4.
    Later,
    /// The same, but the attempt does not count, as no job can be loaded now. Exit code 4.
    Outage,
    /// A person must do something about it. Exit code 3.
    Failed,
    /// The file is not the one that was found. Exit code 3.
    Quarantined,
    /// It passes within the attempt, as often as it comes here.
    Loaded,
}

impl End {
    fn exit(self) -> i32 {
        match self {
            Self::Later | Self::Outage => 4,
            Self::Failed | Self::Quarantined => 3,
            Self::Loaded => 0,
        }
    }

    /// Of a job with this status and so many attempts, whose one file has this state.
    fn of(status: &str, attempts: &str, state: &str) -> Option<Self> {
        match (status, attempts, state) {
            ("SENT_FOR_ETL", "0", _) => Some(Self::Outage),
            ("SENT_FOR_ETL", ..) => Some(Self::Later),
            ("FAILED", _, "QUARANTINED") => Some(Self::Quarantined),
            ("FAILED", ..) => Some(Self::Failed),
            ("LOADED", ..) => Some(Self::Loaded),
            _ => None,
        }
    }
}

/// The end of every job so far, by the key of its one file, with what it said.
fn ends(project: &Project) -> Vec<(String, Option<End>, String)> {
    let sql = "SELECT CAST(f.`key` AS CHAR), j.status, j.attempts, f.state, coalesce(j.failure_msg, '') \
               FROM scanner_jobs j JOIN scanner_files f ON f.job_id = j.id ORDER BY f.id";
    let rows = project.rows(Db::Metadata, sql).into_iter();
    rows.map(|row| (row[0].clone(), End::of(&row[1], &row[2], &row[3]), row[4].clone())).collect()
}

/// After the cause is gone: what people and timers do, and then everything is loaded, each record once.
fn assert_heals(project: &Project, records: usize) {
    project.run(&["retry", "--failed"]);
    project.tamper(Db::Metadata, "UPDATE scanner_jobs SET run_after = created_time");
    project.etl().ok();
    let sql = "SELECT count(*), count(DISTINCT id) FROM events";
    assert_eq!(project.row(Db::Reporting, sql), format!("{records}|{records}"));
    assert!(project.statuses().iter().all(|status| status == "LOADED"), "{:?}", ends(project));
}
