//! What is deleted in time, and what never is; and what `setup` will not load into.

use super::project::{Db, EVENTS_SCHEMA, Project, hour};

#[test]
fn old_jobs_and_rejects_go_and_nothing_is_loaded_twice() {
    let project = Project::events("scanner: {max_job_files: 1}");
    for number in 0..3 {
        project.write(&format!("{}/a.csv", hour(number)), format!("id,amount,note\n{number},1,x\nbad,2,y\n"));
    }
    project.write(&format!("{}/failed.csv", hour(3)), "id\n1\n");
    project.scan().ok();
    project.etl().exits(3);
    let count = |sql: &str| project.row(Db::Metadata, sql);
    let newest = "SELECT max(latest_file_modified_time) FROM scanner_jobs WHERE status <> 'NONE'";
    let watermark = count(newest);
    let files = count("SELECT group_concat(state || key || coalesce(rows_loaded, '')) FROM scanner_files");

    // By default nothing goes, and a dry run deletes nothing.
    project.scan().ok();
    project.configure("retention: {jobs: 0s, rejects: 0s}");
    project.run(&["scan", "--dry-run"]).ok();
    assert_eq!(count("SELECT count(*) FROM scanner_jobs WHERE status = 'LOADED'"), "3");
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "3");

    project.scan().ok().in_silence();
    assert_eq!(project.statuses(), ["FAILED"], "the newest job is the failed one, and holds the watermark");
    assert_eq!(count(newest), watermark);
    assert_eq!(count("SELECT group_concat(state || key || coalesce(rows_loaded, '')) FROM scanner_files"), files);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "0");
    assert_eq!(project.row(Db::Reporting, "SELECT sum(rows), sum(rejects) FROM loadline_files"), "3|3");
    let asked = project.run(&["explain", &format!("{}/a.csv", hour(0))]).ok();
    assert!(asked.stdout.contains("LOADED") && asked.stdout.contains("by job 1"), "{asked}");

    project.watch_table();
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM witness"), "0");
}

#[test]
fn what_is_young_stays() {
    let project = Project::events("scanner: {max_job_files: 1}\nretention: {jobs: 1h, rejects: 1h}");
    for number in 0..2 {
        project.write(&format!("{}/a.csv", hour(number)), "id,amount,note\nbad,2,y\n");
    }
    project.scan_and_load();
    project.scan().ok();
    assert_eq!(project.statuses(), ["LOADED", "LOADED"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "2");
    let ran = project.run(&["status"]).ok();
    assert!(
        ran.stdout.contains("kept: rejects 60 min, LOADED jobs 60 min") || ran.stdout.contains("rejects 1 h"),
        "{ran}"
    );
}

/// Rejects wait where the reporting database is away: the scan is not for them.
#[test]
fn a_scan_does_not_fail_for_want_of_the_reporting_database() {
    let project = Project::events("retention: {rejects: 1h}");
    std::fs::remove_file(project.db_path(Db::Reporting)).unwrap();
    project.write_events(&format!("{}/a.csv", hour(0)), [1]);
    project.scan().ok().says(&["1 new file", "retention"]);
    assert_eq!(project.statuses(), ["SENT_FOR_ETL"]);
}

#[test]
fn setup_refuses_a_table_that_would_lose_rows_before_it_creates_anything() {
    let project = Project::new("events", EVENTS_SCHEMA, "");
    rusqlite::Connection::open(project.db_path(Db::Reporting))
        .unwrap()
        .execute_batch(
            "CREATE TABLE events (id INTEGER NOT NULL, amount INTEGER, note TEXT, _file INTEGER NOT NULL, \
             _record INTEGER NOT NULL, PRIMARY KEY (_file, _record), UNIQUE (id) ON CONFLICT REPLACE) \
             STRICT, WITHOUT ROWID",
        )
        .unwrap();
    project.run(&["setup"]).exits(2).says(&["table events has an ON CONFLICT clause", "setup --print"]);
    assert!(!project.db_path(Db::Metadata).exists(), "setup created something before it refused");
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'loadline%'"), "0");
    project.tamper(Db::Reporting, "DROP TABLE events");
    project.run(&["setup"]).ok();
    project.tamper(Db::Reporting, "DROP TABLE events; CREATE VIEW events AS SELECT 1 AS id");
    project.run(&["setup", "--check"]).exits(2).says(&["`events` is a view"]);
}
