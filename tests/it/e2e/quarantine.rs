//! Known keys with new content: between scan and load, between failure and retry, before any job took them.

use super::project::{Db, Project, events, hour};

fn state_of(project: &Project, key: &str) -> String {
    project.row(Db::Metadata, &format!("SELECT state FROM scanner_files WHERE key = CAST('{key}' AS BLOB)"))
}

#[test]
fn a_scan_between_repair_and_retry_gets_in_nobodys_way() {
    let project = Project::events("");
    let key = format!("{}/bad.csv", hour(0));
    project.write(&key, "id\n1\n");
    project.write_events(&format!("{}/good.csv", hour(1)), [10, 11]);
    project.scan().ok();
    project.etl().exits(3);
    project.write_events(&key, [1, 2, 3]);
    project.scan().ok();
    project.etl().ok();
    project.watch_table();
    project.run(&["retry", "--failed"]).ok();
    project.etl().ok();
    assert_eq!(project.statuses(), ["LOADED"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "5|5");
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT file) FROM witness"), "3|1");
    assert_eq!(state_of(&project, &key), "LOADED");
    project.scan().ok().in_silence();
}

#[test]
fn a_file_that_changed_before_its_load_is_held_back_until_a_retry() {
    let project = Project::events("");
    let key = format!("{}/changed.csv", hour(0));
    project.write_events(&key, [1, 2]);
    project.write_events(&format!("{}/good.csv", hour(1)), [10]);
    project.scan().ok();
    project.write_events(&key, [1, 2, 3]);
    project.scan().ok().says(&["1 file QUARANTINED", &key]);
    project.etl().exits(3).says(&[&key, "quarantined"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), min(id) FROM events"), "1|10");
    project.run(&["retry", &project.job(1)]).ok();
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "4|4");
    assert_eq!(project.statuses(), ["LOADED"]);
}

#[test]
fn a_file_that_changed_before_a_job_took_it_is_released_by_hand() {
    let project = Project::events("scanner: {max_job_files: 2, max_wait: 1h}");
    let key = format!("{}/changed.csv", hour(0));
    project.write_events(&key, [1, 2]);
    project.scan().ok().says(&["1 file waiting"]);
    project.write_events(&key, [1, 2, 3]);
    project.scan().ok().says(&["QUARANTINED"]);
    project.configure("");
    project.scan_and_load();
    assert!(project.statuses().is_empty());
    project.run(&["retry", "--quarantined"]).ok();
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "3");
    assert_eq!(project.statuses(), ["LOADED"]);
}

#[test]
fn the_same_bytes_and_time_in_a_new_inode_are_the_same_file() {
    let project = Project::events("");
    let key = format!("{}/events.csv", hour(0));
    project.write_at(&key, events([1, 2]), 5);
    project.scan_and_load();
    std::fs::remove_file(project.incoming(&key)).unwrap();
    project.write_at(&key, events([1, 2]), 5);
    project.scan().ok().in_silence();
    assert_eq!(state_of(&project, &key), "LOADED");
}
