//! What a script sees when something is not as it should be, and what a person reads.

use std::fs;

use rusqlite::Connection;

use super::project::{Db, EVENTS_SCHEMA, Project, hour};

fn with_a_file() -> Project {
    let project = Project::events("");
    project.write_events(&format!("{}/events.csv", hour(0)), [1]);
    project
}

#[test]
fn a_wrong_config_is_2() {
    let project = Project::new("events", EVENTS_SCHEMA, "scanner: {max_job_file: 3}");
    for command in ["config", "setup", "scan", "etl", "jobs"] {
        project.run(&[command]).exits(2).says(&["config.yaml:6:11: ", "max_job_file", "did you mean `max_job_files`?"]);
    }
    let ran = project.run(&["-c", "elsewhere.yaml", "scan"]).exits(2).says(&["elsewhere.yaml", "hint: "]);
    assert!(ran.stdout.is_empty(), "{ran}");
    project.configure("etl: {workers: many}");
    project.run(&["config"]).exits(2).says(&["workers"]);
    project.configure("");
    fs::remove_file(project.path("schemas/events.yaml")).unwrap();
    project.run(&["config"]).exits(2).says(&["schemas/events.yaml"]);
    fs::write(project.path("schemas/events.yaml"), EVENTS_SCHEMA.replace("int64}", "int46}")).unwrap();
    project.run(&["config"]).exits(2).says(&["schemas/events.yaml:3:", "int46", "int64"]);
}

#[test]
fn a_wrong_command_line_is_2() {
    let project = with_a_file();
    for line in [["scan", "--ful"], ["etl", "--workers=0"], ["jobs", "--status=NONE"], ["jobs", "99"], ["retry", "99"]]
    {
        project.run(&line).exits(2);
    }
    let backwards = ["scan", "--from", "2026-01-02", "--to", "2026-01-02"];
    project.run(&backwards).exits(2).says(&["--to is not later than --from"]);
    project.run(&["scan", "--feed", "event"]).exits(2).says(&["event", "events"]);
    project.scan().ok();
    project.run(&["retry", &project.job(1)]).exits(2).says(&["SENT_FOR_ETL"]);
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    let project = with_a_file();
    fs::rename(project.path("config.yaml"), project.path("other.yaml")).unwrap();
    project.run(&["-c", "other.yaml", "-q", "scan"]).ok().in_silence();
    project.run(&["etl", "--config", "other.yaml", "-q"]).ok().in_silence();
    assert_eq!(project.statuses(), ["LOADED"]);
}

#[test]
fn a_database_that_is_not_set_up_is_2_and_is_not_created() {
    let project = Project::new("events", EVENTS_SCHEMA, "");
    for command in ["scan", "etl", "jobs", "rejects"] {
        project.run(&[command]).exits(2).says(&["metadata", "not set up", "setup`"]);
    }
    assert!(!project.db_path(Db::Metadata).exists() && !project.db_path(Db::Reporting).exists());
}

#[test]
fn another_schema_version_is_2_and_nothing_is_touched() {
    for (db, role) in [(Db::Metadata, "metadata"), (Db::Reporting, "reporting")] {
        let project = with_a_file();
        project.scan().ok();
        project.tamper(db, "UPDATE loadline_schema SET version = version + 1");
        let before = project.dump();
        project.etl().exits(2).says(&[role, "schema version", "hint: use the newer loadline"]);
        project.run(&["setup"]).exits(2).says(&[role, "schema version"]);
        assert!(project.dump() == before, "{role}");
        project.tamper(db, "UPDATE loadline_schema SET version = version - 2");
        project.etl().exits(2).says(&[role, "schema version", "setup`"]);
        project.run(&["setup"]).ok();
        project.etl().ok();
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "1");
    }
}

#[test]
fn a_recorded_feed_that_the_config_has_lost_is_2() {
    let project = with_a_file();
    let config = fs::read_to_string(project.path("config.yaml")).unwrap();
    fs::write(project.path("config.yaml"), config.replace("name: events", "name: others")).unwrap();
    fs::copy(project.path("schemas/events.yaml"), project.path("schemas/others.yaml")).unwrap();
    for command in ["setup", "scan", "etl", "jobs"] {
        project.run(&[command]).exits(2).says(&["feed `events` is recorded", "hint: "]);
    }
}

#[test]
fn two_feeds_with_one_table_and_overlapping_prefixes_are_2() {
    let project = Project::new(
        "events",
        EVENTS_SCHEMA,
        "  - {name: more, prefix: more/, table: events, schema: schemas/events.yaml}",
    );
    for command in ["config", "setup"] {
        project.run(&[command]).exits(2).says(&["events", "more"]);
    }
    assert!(!project.db_path(Db::Metadata).exists());
}

#[test]
fn a_table_with_other_columns_is_2_and_is_not_altered() {
    let project = with_a_file();
    let wider =
        EVENTS_SCHEMA.replace("amount, type: int64", "amount, type: double") + "  - {name: extra, type: text}\n";
    fs::write(project.path("schemas/events.yaml"), wider).unwrap();
    let differences = ["column amount is INTEGER, not REAL", "column extra (TEXT) is missing", "never alters"];
    for arguments in [&["setup"][..], &["setup", "--check"]] {
        project.run(arguments).exits(2).says(&differences);
    }
    let sql = "SELECT count(*) FROM pragma_table_info('events') WHERE name = 'extra' OR type = 'REAL'";
    assert_eq!(project.row(Db::Reporting, sql), "0");
}

#[test]
fn a_missing_source_is_4_and_consumes_nothing() {
    let project = with_a_file();
    project.scan().ok();
    fs::rename(project.path("incoming"), project.path("away")).unwrap();
    project.scan().exits(4).says(&["incoming", "hint: "]);
    project.etl().exits(4).says(&["incoming", "hint: "]);
    project.run(&["setup", "--check"]).exits(4).says(&["incoming"]);
    fs::rename(project.path("away"), project.path("incoming")).unwrap();
    project.etl().ok();
    assert_eq!(project.statuses(), ["LOADED"]);
}

#[test]
fn a_locked_database_is_4_and_the_same_command_succeeds_later() {
    let project = with_a_file();
    let lock = Connection::open(project.db_path(Db::Metadata)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    project.scan().exits(4).says(&["metadata", "another process holds its lock", "hint: "]);
    lock.execute_batch("ROLLBACK").unwrap();
    project.scan_and_load();
    assert_eq!(project.statuses(), ["LOADED"]);
}

#[test]
fn a_failed_job_is_3_in_its_run_and_0_in_the_next() {
    let project = with_a_file();
    project.write(&format!("{}/bad.csv", hour(1)), "id\n1\n");
    project.scan().ok();
    project.etl().exits(3).says(&["bad.csv"]);
    project.etl().ok().in_silence();
}

#[test]
fn errors_are_one_json_object_a_line_where_that_was_asked_for() {
    let project = Project::new("events", EVENTS_SCHEMA, "");
    let ran = project.run(&["--log-format", "json", "scan"]).exits(2);
    for line in ran.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {ran}"));
    }
    let error: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((error["event"].as_str(), error["exit_code"].as_u64()), (Some("error"), Some(2)));
    assert!(error["hint"].as_str().unwrap().contains("setup"));
}

#[test]
fn the_config_is_printed_so_that_it_loads_again() {
    let project =
        Project::new("events", EVENTS_SCHEMA, "scanner: {max_job_size: 3MiB, start_from: 2026-01-01T00:00:00Z}");
    let printed = project.run(&["config"]).ok().stdout;
    assert!(printed.contains("max_attempts: 5"), "defaults are filled in: {printed}");
    fs::write(project.path("printed.yaml"), &printed).unwrap();
    assert_eq!(project.run(&["config", "-c", "printed.yaml"]).ok().stdout, printed);
    fs::remove_file(project.path("config.yaml")).unwrap();
    for which in ["--schema", "--schema=feed"] {
        let schema = project.run(&["config", which]).ok().json();
        assert!(schema["properties"].is_object(), "{which}: {schema}");
    }
}
