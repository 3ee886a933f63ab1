//! Known files that come with other bytes, where the feed's `on_overwrite` says what becomes of them.

use super::project::{Db, Project, eventually, hour, kill};

const RELOAD: &str = "    on_overwrite: reload\n";
const IGNORE: &str = "    on_overwrite: ignore\n";

fn file(project: &Project, key: &str, columns: &str) -> String {
    project.row(Db::Metadata, &format!("SELECT {columns} FROM scanner_files WHERE key = CAST('{key}' AS BLOB)"))
}

fn key(number: usize) -> String {
    format!("{}/events.csv", hour(number))
}

/// `(what, rows)` of what was done to the table since it is watched.
fn witnessed(project: &Project) -> Vec<Vec<String>> {
    project.rows(Db::Reporting, "SELECT what, count(*) FROM witness GROUP BY what ORDER BY what")
}

#[test]
fn an_overwritten_file_takes_the_place_of_the_old_one_once() {
    let project = Project::events(RELOAD);
    project.write_events(&key(0), 1..=5);
    project.write_events(&key(1), 11..=12);
    project.scan_and_load();
    project.watch_table();
    project.write_events(&key(0), 101..=103);
    let plan = project.run(&["scan", "--dry-run"]).ok();
    assert!(plan.stdout.contains("1 changed file to be loaded") && plan.stdout.contains("1 job would be"), "{plan}");
    project.scan().ok().says(&["1 changed file to be loaded as they are now", "job 2 formed"]);
    assert_eq!(file(&project, &key(0), "state, rows_loaded, loaded_time"), "IN_JOB|NULL|NULL");
    project.etl().ok();
    let deleted_and_inserted = [["delete", "5"], ["insert", "3"]];
    assert_eq!(witnessed(&project), deleted_and_inserted);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(id) FROM events"), format!("5|{}", 23 + 306));
    let ledger = "SELECT sum(rows), sum(complete), count(*) FROM loadline_files";
    assert_eq!(project.row(Db::Reporting, ledger), "5|2|2");
    // The rows of each job are those that its files have now.
    let jobs = project.rows(Db::Metadata, "SELECT status, rows_loaded FROM scanner_jobs WHERE id > 0 ORDER BY id");
    assert_eq!(jobs, [["LOADED", "2"], ["LOADED", "3"]]);
    for _ in 0..2 {
        project.scan().ok().in_silence();
        project.etl().ok().in_silence();
    }
    assert_eq!(witnessed(&project), deleted_and_inserted);
}

#[test]
fn a_reload_that_is_killed_in_its_walk_back_ends_once() {
    let project = Project::events(RELOAD);
    project.write_events(&key(0), 1..=210_000);
    project.scan_and_load();
    // Takes longer when it is watched, so that the kill comes in between.
    project.watch_table();
    project.write_events(&key(0), 500_001..=500_007);
    project.scan().ok();
    let child = project.start(&["etl"]);
    let half_way = "SELECT count(*) FROM loadline_files WHERE plan_hash = '' AND complete = 0 AND records_done > 0";
    eventually("the walk back has begun", || project.row(Db::Reporting, half_way) == "1");
    assert!(kill(child), "the load ended before it could be killed");
    assert_eq!(project.row(Db::Reporting, half_way), "1", "the walk back ended before it could be killed");

    project.etl().ok();
    assert_eq!(witnessed(&project), [["delete", "210000"], ["insert", "7"]]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), min(id), max(id) FROM events"), "7|500001|500007");
    assert_eq!(project.row(Db::Reporting, "SELECT rows, complete FROM loadline_files"), "7|1");
    assert_eq!(project.statuses(), ["LOADED", "LOADED"]);
}

/// Between the take and the first step of the walk: nothing has changed yet, and the policy of whoever comes next counts.
#[test]
fn a_reload_that_is_killed_before_its_first_step_has_changed_nothing() {
    let killed = || {
        let project = Project::events(RELOAD);
        project.write_events(&key(0), 1..=5);
        project.scan_and_load();
        project.write_events(&key(0), 101..=103);
        project.scan().ok();
        project.tamper(Db::Reporting, "UPDATE loadline_files SET epoch = epoch + 1");
        project
    };
    let project = killed();
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(id) FROM events"), "3|306");
    assert_eq!(project.row(Db::Reporting, "SELECT rows, complete FROM loadline_files"), "3|1");

    let project = killed();
    project.configure("");
    project.etl().exits(3);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(id) FROM events"), "5|15");
    assert_eq!(project.row(Db::Reporting, "SELECT rows, complete FROM loadline_files"), "5|1");
    assert_eq!(file(&project, &key(0), "state"), "QUARANTINED");
}

#[test]
fn a_file_overwritten_under_its_waiting_job_is_reloaded_when_that_has_ended() {
    let project = Project::events(RELOAD);
    project.write_events(&key(0), 1..=5);
    project.write_events(&key(1), 11..=12);
    project.scan().ok();
    project.write_events(&key(0), 101..=103);
    project.scan().ok().says(&["1 file QUARANTINED"]);
    project.etl().exits(3).says(&["quarantined"]);
    project.scan().ok().says(&["1 changed file to be loaded"]);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(id) FROM events"), format!("5|{}", 23 + 306));
    // Its job has nothing left to load; a retry says so.
    assert_eq!(project.statuses(), ["FAILED", "LOADED"]);
    project.run(&["retry", "--failed"]).ok();
    project.etl().ok();
    assert_eq!(project.statuses(), ["LOADED", "LOADED"]);
    project.scan().ok().in_silence();
}

#[test]
fn a_failed_file_that_is_replaced_is_loaded_without_a_retry() {
    let project = Project::events(RELOAD);
    project.write(&key(0), "id\n1\n");
    project.scan().ok();
    project.etl().exits(3);
    project.write_events(&key(0), 1..=3);
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "3");
    assert_eq!(file(&project, &key(0), "state"), "LOADED");
}

#[test]
fn an_ignored_change_is_silent_and_stays_so() {
    let project = Project::events(IGNORE);
    project.write_events(&key(0), 1..=5);
    project.scan_and_load();
    project.write_events(&key(0), 101..=103);
    let before = project.dump();
    for _ in 0..3 {
        project.scan().ok().in_silence();
        project.etl().ok().in_silence();
    }
    let plan = project.run(&["scan", "--dry-run"]).ok();
    assert!(plan.stdout.contains("1 changed file ignored"), "{plan}");
    assert_eq!(project.dump(), before);

    // One that was never loaded is loaded as it is now.
    let project = Project::events("    on_overwrite: ignore\nscanner: {max_wait: 1h}");
    project.write_events(&key(0), 1..=5);
    project.scan().ok();
    project.write_events(&key(0), 101..=103);
    project.scan().ok().says(&["1 changed file to be loaded"]);
    project.configure(IGNORE);
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(id) FROM events"), "3|306");
}

#[test]
fn a_policy_that_does_not_exist_is_refused_with_those_that_do() {
    let project = Project::events("");
    project.configure("    on_overwrite: replace\n");
    project.scan().exits(2).says(&["on_overwrite", "quarantine", "reload", "ignore"]);
}
