//! FAILED leaves nothing behind, whoever still loads.

use super::attempt::Attempt;
use super::oracle::{assert_sound, assert_whole, everything};
use super::stories::{ETL, LONG, PATIENT, SERIAL, Story, end_leases, everywhere, no_waiting, undisturbed};
use crate::e2e::project::{Db, Project, eventually};

/// Fails in the long file, which has segments behind it.
const FAILS: &str = "segment.rows=data@1";

fn rows_of_long(project: &Project) -> String {
    let sql =
        "SELECT count(e.id) FROM loadline_files f JOIN events e ON e._file = f.file WHERE CAST(f.`key` AS CHAR) = ";
    project.row(Db::Reporting, &format!("{sql}'{LONG}'"))
}

fn end(project: &Project) {
    Story::Load.end(project);
    assert_whole(project, undisturbed(), "in the end");
}

/// G: the loader of an earlier claim has a segment ready when the file is walked back.
#[test]
fn a_loader_frozen_with_a_segment_in_hand_adds_nothing_to_a_failed_file() {
    everywhere(PATIENT, |project| {
        Story::Load.prepare(project);
        let frozen = Attempt::until(project, ETL, "segment.encoded=stall@4", "segment.encoded");
        eventually("all but what stands still is committed", || {
            project.row(Db::Reporting, "SELECT sum(complete) FROM loadline_files") == "1"
        });
        assert_ne!(rows_of_long(project), "0");
        end_leases(project);
        Attempt::start(project, ETL, FAILS).over().exits(3);
        assert_eq!((project.statuses()[0].as_str(), rows_of_long(project).as_str()), ("FAILED", "0"));
        let failed = everything(project);

        let woken = frozen.go_on();
        assert_eq!(everything(project), failed, "{woken}");
        end(project);
    });
}

/// G: its COMMIT lands while the one that fails waits for the file: those rows are walked back too.
#[test]
fn a_commit_that_lands_before_the_last_take_is_walked_back_with_the_rest() {
    everywhere(SERIAL, |project| {
        Story::Load.prepare(project);
        let failpoints = "segment.moved=stall@3,segment.read=stall@3";
        let mut holder = Attempt::until(project, ETL, failpoints, "segment.moved");
        let token = project.row(Db::Metadata, "SELECT max(claim_token) FROM scanner_jobs");
        end_leases(project);
        let fails = Attempt::start(project, ETL, FAILS);
        let held = format!("SELECT count(*) FROM scanner_jobs WHERE claim_token = '{token}'");
        eventually("another worker has the job", || project.row(Db::Metadata, &held) == "0");
        holder.release("segment.moved");
        holder.reaches("segment.read");
        fails.go_on().exits(3);
        let woken = holder.go_on();
        assert_eq!((project.statuses()[0].as_str(), rows_of_long(project).as_str()), ("FAILED", "0"), "{woken}");
        assert_sound(project, "failed");
        end(project);
    });
}

/// A walk back that another worker has taken over leaves FAILED to that one.
#[test]
fn a_walk_back_frozen_half_way_takes_nothing_out_of_a_file_that_was_loaded_since() {
    everywhere(PATIENT, |project| {
        Story::Fail.prepare(project);
        let frozen = Attempt::until(project, ETL, "walk_back.step=stall@1", "walk_back.step");
        end_leases(project);
        Story::Fail.end(project);
        let loaded = everything(project);
        let woken = frozen.go_on();
        assert_eq!(everything(project), loaded, "{woken}");
        assert_whole(project, undisturbed(), "in the end");
    });
}

/// Its worker has not died: what goes back to the queue keeps its reason, and is not given up for that.
#[test]
fn a_job_that_cannot_be_walked_back_now_is_put_off() {
    everywhere(PATIENT, |project| {
        Story::Fail.prepare(project);
        let ran = Attempt::start(project, ETL, "walk_back.deleted=unavailable@2").over();
        let sql = "SELECT status, attempts, expiries, failure_msg FROM scanner_jobs WHERE status <> 'NONE'";
        let put_off = project.row(Db::Metadata, sql);
        assert!(put_off.starts_with("SENT_FOR_ETL|1|0|") && put_off.contains("walk_back.deleted"), "{put_off}: {ran}");
        assert_sound(project, "put off");
        no_waiting(project);
        project.etl().exits(3).says(&["duplicate key"]);
        assert_eq!((project.statuses()[0].as_str(), rows_of_long(project).as_str()), ("FAILED", "0"));
        Story::Fail.end(project);
        assert_whole(project, undisturbed(), "in the end");
    });
}
