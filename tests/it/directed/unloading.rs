//! A person takes files out while workers stand still with them.

use super::attempt::Attempt;
use super::oracle::{assert_sound, assert_whole, everything};
use super::stories::{ETL, PATIENT, Story, end_leases, everywhere, undisturbed};
use crate::e2e::project::{Db, Project};

fn rows(project: &Project) -> String {
    project.row(Db::Reporting, "SELECT count(*) FROM events")
}

fn unload(project: &Project) {
    project.run(Story::Unload.command()).ok();
    assert_eq!(rows(project), "0");
}

/// Claimed once, finished by another, unloaded since.
#[test]
fn a_worker_frozen_at_any_step_brings_nothing_back_of_what_was_unloaded() {
    for point in ["claimed", "taken", "segment.committed", "complete.untold"] {
        everywhere(PATIENT, |project| {
            Story::Load.prepare(project);
            let frozen = Attempt::until(project, ETL, &format!("{point}=stall@1"), point);
            project.run(Story::Unload.command()).exits(4);
            end_leases(project);
            project.etl().ok();
            assert_whole(project, undisturbed(), "loaded by another");
            unload(project);
            let unloaded = everything(project);
            let woken = frozen.go_on();
            assert_eq!(everything(project), unloaded, "{point}: {woken}");
            project.run(&["retry", "--unloaded"]).ok();
            Story::Load.end(project);
            assert_whole(project, undisturbed(), point);
        });
    }
}

/// UNLOADED stands in the ledger too, also where the unload was cut short and the metadata are lost behind it.
#[test]
fn what_was_unloaded_stays_out_when_the_metadata_are_lost() {
    // Cut short in the long file, the unload has not come to the short one.
    for (failpoints, left) in [("", "0"), ("walk_back.step=crash@2", "5")] {
        everywhere(PATIENT, |project| {
            Story::Unload.prepare(project);
            let unloading = Attempt::start(project, Story::Unload.command(), failpoints).over();
            assert_eq!(unloading.code.is_none(), !failpoints.is_empty(), "{unloading}");
            project.lose_metadata();
            project.run(&["setup"]).ok();
            project.scan_and_load();
            assert_eq!(rows(project), left, "{failpoints}");
            assert_sound(project, "with the metadata made anew");
        });
    }
}
