//! What passes at once costs no attempt, and what breaks down takes nobody with it.

use super::attempt::Attempt;
use super::oracle::{assert_sound, assert_whole};
use super::stories::{ETL, PATIENT, Story, everywhere, no_waiting, undisturbed};
use crate::e2e::project::{Db, Project};

const JOB: &str = "SELECT status, attempts FROM scanner_jobs WHERE status <> 'NONE'";
/// Longer than any of its parts may take: no other place says how often a file was read.
const READS: &str = "file.opened=unavailable@3";

/// The load goes through although one segment fails so, once, and reads each file once.
fn goes_through(failpoints: &str) {
    everywhere(PATIENT, |project| {
        Story::Load.prepare(project);
        let failpoints = format!("{failpoints},{READS}");
        Attempt::start(project, ETL, &failpoints).over().ok().says(&["1 job loaded"]);
        assert_eq!(project.row(Db::Metadata, JOB), "LOADED|1", "{failpoints}");
        assert_whole(project, undisturbed(), &failpoints);
    });
}

#[test]
fn a_segment_that_was_in_the_way_of_another_is_begun_again_on_the_spot() {
    goes_through("segment.rows=unavailable@2");
}

/// The ledger says that it has landed; nothing is read or written again.
#[test]
fn a_segment_whose_commit_had_no_answer_is_done() {
    goes_through("segment.committed=unavailable@2");
}

#[test]
fn a_segment_that_fails_again_and_again_puts_its_job_off() {
    let project = super::stories::project(None, PATIENT);
    Story::Load.prepare(&project);
    let ran = Attempt::start(&project, ETL, "segment.rows=unavailable").over();
    let put_off = project.row(Db::Metadata, JOB);
    assert_eq!(put_off, "SENT_FOR_ETL|1", "{ran}");
    assert_sound(&project, "put off");
    no_waiting(&project);
    project.etl().ok();
    assert_whole(&project, undisturbed(), "in the end");
}

/// What a panic says may hold a value: it stays out of the databases.
#[test]
fn a_load_that_breaks_down_fails_its_file_and_says_where_to_look() {
    let project = super::stories::project(None, PATIENT);
    Story::Load.prepare(&project);
    Attempt::start(&project, ETL, "segment.rows=panic@1").over().exits(3);
    let failed = project.row(Db::Metadata, "SELECT status, failure_msg FROM scanner_jobs WHERE status <> 'NONE'");
    assert!(failed.starts_with("FAILED|") && failed.contains("the load broke down"), "{failed}");
    assert!(!failed.contains("failpoint"), "what the panic said is in the database: {failed}");
    project.run(&["retry", "--failed"]).ok();
    project.etl().ok();
    assert_whole(&project, undisturbed(), "in the end");
}

#[test]
fn a_worker_that_breaks_down_lets_the_others_end_and_its_job_is_rescued() {
    let project = super::stories::project(None, &format!("{PATIENT}\nscanner: {{max_job_files: 1}}"));
    Story::Load.prepare(&project);
    let ran = Attempt::start(&project, &["etl", "--workers", "2"], "taken=panic@1").over().exits(1);
    assert!(!ran.stderr.contains("1 failed"), "{ran}");
    assert_eq!(statuses(&project, "FAILED"), 0, "{ran}");
    assert_sound(&project, "broken down");
    project.etl().ok();
    assert_eq!(statuses(&project, "LOADED"), 2);
    assert_whole(&project, undisturbed(), "in the end");
}

fn statuses(project: &Project, status: &str) -> usize {
    project.statuses().iter().filter(|found| *found == status).count()
}
