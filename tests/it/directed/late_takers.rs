//! Workers that wake up too late: with a claim that is over, a token of a database that is gone, a plan of yesterday.

use super::attempt::Attempt;
use super::oracle::{assert_sound, assert_whole, everything, picture};
use super::stories::{ETL, LONG, PATIENT, SHORT, Story, end_leases, everywhere, long, project, undisturbed};
use crate::e2e::project::{Db, KEYED_EVENTS_SCHEMA, Project, events, eventually};

/// Sum of the numbers of takes: it grows with every one.
fn takes(project: &Project) -> u64 {
    project.row(Db::Reporting, "SELECT coalesce(sum(epoch), 0) FROM loadline_files").parse().unwrap()
}

/// S4: it is the newest taker, and only the confirmation that follows every take tells it that it may do nothing.
#[test]
fn a_claimer_frozen_before_its_take_loads_nothing_into_a_job_that_has_failed() {
    everywhere(&PATIENT.replace("10m", "2s"), |project| {
        Story::Load.prepare(project);
        let mut frozen = Attempt::until(project, ETL, "claimed=stall,heartbeat=stall", "claimed");
        eventually("its lease ends, and another worker fails with the job", || {
            Attempt::start(project, ETL, "segment.rows=data@4").over().code == Some(3)
        });
        assert_eq!(project.statuses(), ["FAILED"]);
        assert_sound(project, "failed");
        let (before, taken) = (everything(project), takes(project));

        // Without the heartbeat, which would tell it too, sooner or later.
        frozen.release("claimed");
        let woken = frozen.over();
        assert!(takes(project) > taken, "it has not taken the files, and this shows nothing: {woken}");
        assert_eq!(everything(project), before, "{woken}");
        Story::Load.end(project);
        assert_whole(project, undisturbed(), "in the end");
    });
}

/// The same take shuts the owner out, whose claim still holds: it takes its files back, and ends.
#[test]
fn an_owner_whose_files_a_late_claimer_has_taken_takes_them_back() {
    everywhere(PATIENT, |project| {
        Story::Load.prepare(project);
        let frozen = Attempt::until(project, ETL, "claimed=stall", "claimed");
        end_leases(project);
        let owner = Attempt::until(project, ETL, "segment.encoded=stall@2", "segment.encoded");
        let taken = takes(project);
        let woken = frozen.go_on();
        assert!(takes(project) > taken, "it has not taken the files, and this shows nothing: {woken}");

        owner.go_on().ok();
        assert_eq!(project.statuses(), ["LOADED"]);
        assert_whole(project, undisturbed(), "in the end");
    });
}

/// S12: the metadata are lost and made anew, and job 2 is another job. A worker of the old one says that it is loaded.
#[test]
fn a_claim_of_metadata_that_are_gone_ends_no_job_of_the_new_ones() {
    everywhere(&format!("scanner: {{max_job_files: 1}}\n{PATIENT}"), |project| {
        project.write_at(SHORT, events(101..=105), 2);
        project.run(&["setup"]).ok();
        project.scan().ok();
        let job = project.job(1);
        let frozen = Attempt::until(project, ETL, "complete.untold=stall", "complete.untold");
        let tables = ["scanner_files", "scanner_jobs", "scanner_feeds", "loadline_schema"];
        project.tamper(Db::Metadata, &tables.map(|table| format!("DROP TABLE {table}")).join(";"));
        project.write_at(LONG, long(), 1);
        project.run(&["setup"]).ok();
        project.scan().ok();
        assert_eq!(project.job(1), job, "the ids do not come again, and this shows nothing");
        let owner = Attempt::until(project, ETL, "confirmed=stall@1", "confirmed");
        // Whoever wakes up finds nothing else to do.
        project.tamper(Db::Metadata, "UPDATE scanner_jobs SET run_after = '2099-01-01 00:00:00'");
        assert_eq!(project.statuses(), ["PROCESSING", "SENT_FOR_ETL"]);
        let before = everything(project);

        let woken = frozen.go_on();
        assert_eq!(everything(project), before, "{woken}");
        owner.go_on().ok();
        Story::Load.end(project);
        assert_whole(project, undisturbed(), "in the end");
    });
}

/// S7: another plan is no reason to claim and give back for ever, nor to go on under the old one.
#[test]
fn a_schema_edited_in_mid_load_loads_all_under_the_new_one_whoever_wakes_up() {
    let schema = KEYED_EVENTS_SCHEMA.replace("type: text", "type: text, null_tokens: [n7, n40]");
    let edit = |project: &Project| std::fs::write(project.path("schemas/events.yaml"), &schema).unwrap();
    let expected = {
        let project = project(None, "");
        edit(&project);
        Story::Load.prepare(&project);
        project.etl().ok();
        picture(&project)
    };
    assert_ne!(expected, undisturbed());
    everywhere(PATIENT, |project| {
        Story::Load.prepare(project);
        let claimed = Attempt::until(project, ETL, "claimed=stall", "claimed");
        end_leases(project);
        let loading = Attempt::until(project, ETL, "segment.committed=stall@3", "segment.committed");
        assert_ne!(project.row(Db::Reporting, "SELECT count(*) FROM events WHERE note = 'n7'"), "0");
        edit(project);
        end_leases(project);
        let new = Attempt::until(project, ETL, "segment.committed=stall@2", "segment.committed");
        let woken = [claimed.go_on(), loading.go_on()];
        new.go_on().ok();
        assert_whole(project, &expected, &format!("{woken:?}"));
    });
}
