//! `setup`, again and again, checked only, and printed.

use std::collections::BTreeSet;
use std::fs;

use rusqlite::Connection;

use super::project::{Db, EVENTS_SCHEMA, KEYED_EVENTS_SCHEMA, Project, hour};

/// Names below the project's folder.
fn files_of(project: &Project) -> BTreeSet<String> {
    let entries = fs::read_dir(project.path(".")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What the databases hold, as SQLite itself writes it down.
fn schema_of(path: &std::path::Path) -> Vec<Vec<String>> {
    super::project::rows_of(path, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
}

#[test]
fn a_second_setup_changes_nothing() {
    let project = Project::events("");
    project.write_events(&format!("{}/events.csv", hour(0)), [1]);
    project.scan_and_load();
    let (before, schema) = (project.dump(), schema_of(&project.db_path(Db::Reporting)));
    project.run(&["setup"]).ok();
    assert!(project.dump() == before, "a second setup changed data");
    assert_eq!(schema_of(&project.db_path(Db::Reporting)), schema);
    assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_jobs WHERE status = 'NONE'"), "1");
    project.run(&["setup", "--check"]).ok();
}

#[test]
fn a_check_creates_nothing_and_says_what_is_missing() {
    let project = Project::new("events", EVENTS_SCHEMA, "");
    let before = files_of(&project);
    project.run(&["setup", "--check"]).exits(2).says(&["metadata database", "not set up", "hint: run `loadline"]);
    assert_eq!(files_of(&project), before);

    project.run(&["setup"]).ok();
    project.tamper(Db::Reporting, "DROP TABLE events");
    project.run(&["setup", "--check"]).exits(2).says(&["table events of feed `events` is missing"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM sqlite_master WHERE name = 'events'"), "0");
    project.run(&["setup"]).ok();
    project.run(&["setup", "--check"]).ok();
}

#[test]
fn the_printed_ddl_makes_the_same_tables() {
    for schema in [EVENTS_SCHEMA, KEYED_EVENTS_SCHEMA] {
        let project = Project::new("events", schema, "");
        let before = files_of(&project);
        let printed = project.run(&["setup", "--print"]).ok().stdout;
        assert_eq!(files_of(&project), before);
        let (metadata, reporting) = printed.split_once("-- reporting database").unwrap();
        project.run(&["setup"]).ok();
        for (db, ddl) in [(Db::Metadata, metadata), (Db::Reporting, &format!("-- {reporting}"))] {
            let by_hand = project.path("by-hand.db");
            Connection::open(&by_hand).unwrap().execute_batch(ddl).unwrap();
            assert_eq!(schema_of(&by_hand), schema_of(&project.db_path(db)), "{db:?}");
            fs::remove_file(by_hand).unwrap();
        }
    }
}

#[test]
fn both_databases_may_be_one_file() {
    let project = Project::new("events", EVENTS_SCHEMA, "");
    let config = fs::read_to_string(project.path("config.yaml")).unwrap();
    fs::write(project.path("config.yaml"), config.replace("metadata.db", "reporting.db")).unwrap();
    project.write_events(&format!("{}/events.csv", hour(0)), [1, 2]);
    project.run(&["setup"]).ok();
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "2");
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM scanner_jobs WHERE status = 'LOADED'"), "1");
}

#[cfg(target_os = "linux")]
#[test]
fn a_source_with_nothing_but_a_name_that_is_no_text_can_be_used() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new("events", EVENTS_SCHEMA, "");
    fs::write(project.path("incoming").join(std::ffi::OsStr::from_bytes(b"m\xff.csv")), "").unwrap();
    project.run(&["setup"]).ok().says(&["nothing lies under"]);
}
