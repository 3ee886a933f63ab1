//! The drills: a database is lost, or is put back as it was an hour ago, and one command says what is missing and gets it
//! back, nothing twice.

use std::path::PathBuf;
use std::process::Command;

use super::audit::{found, loaded};
use super::project::{Db, EVENTS_SCHEMA, Project, events, everywhere, hour};
use crate::s3::server::{Kind as S3Kind, S3Server};

fn key(number: usize) -> String {
    format!("{}/events.csv", hour(number))
}

const ROWS: &str = "SELECT id, amount, note, _record FROM events ORDER BY id, _record";
const STATES: &str = "SELECT state, count(*), count(loaded_time), sum(rows_loaded), sum(rows_rejected) FROM scanner_files \
                      GROUP BY state ORDER BY state";

fn witnessed(project: &Project) -> Vec<Vec<String>> {
    project.rows(Db::Reporting, "SELECT what, file, record FROM witness ORDER BY file, record")
}

/// Nothing is read of files that are not there: what is loaded needs no file.
fn hide_files(project: &Project, hidden: bool) {
    let (from, to) = (project.path("incoming"), project.path("elsewhere"));
    let (from, to) = if hidden { (from, to) } else { (to, from) };
    std::fs::rename(from, to).unwrap();
}

#[test]
fn a_lost_metadata_database_is_rebuilt_and_nothing_is_loaded_twice() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 2}", |project| {
        loaded(project, 6);
        project.run(&["unload", "--feed", "events", "--from", "2026-01-01T05", "--to", "2026-01-01T06", "--yes"]).ok();
        let before = project.rows(Db::Metadata, STATES);
        let files = "SELECT version, size_in_bytes, modified_time, hour, state, rows_loaded, rows_rejected FROM scanner_files ORDER BY hour";
        let registry = project.rows(Db::Metadata, files);
        project.watch_table();
        project.lose_metadata();
        project.run(&["setup"]).ok();

        let plan = project.run(&["audit", "--repair", "-o", "json"]).exits(5);
        assert_eq!(found(&plan).into_iter().collect::<Vec<_>>(), [("not_registered".to_owned(), 6)]);
        assert_eq!(project.rows(Db::Metadata, "SELECT count(*) FROM scanner_files"), [["0"]], "a dry run did it");
        let repaired = project.run(&["audit", "--repair", "--yes"]).ok();
        assert!(repaired.stdout.contains("6 files restored"), "{repaired}");
        project.run(&["audit", "--deep"]).ok();
        assert_eq!(project.rows(Db::Metadata, STATES), before);
        assert_eq!(project.rows(Db::Metadata, files), registry, "it is as it was");
        let again = project.run(&["audit", "--repair", "--yes", "-o", "json"]).ok().json();
        assert_eq!(again["repaired"]["restored"], 0, "{again:#}");

        // A whole scan and load later, still nothing has touched the table.
        project.scan_and_load();
        assert_eq!(project.statuses(), Vec::<String>::new(), "no job was needed");
        assert!(witnessed(project).is_empty(), "{:?}", witnessed(project));
        project.write_events(&key(7), [70]);
        project.scan_and_load();
        assert_eq!(witnessed(project).len(), 1, "only the new file");
        project.run(&["audit", "--deep"]).ok();
    });
}

#[test]
fn what_was_scanned_again_before_the_repair_is_recorded_without_being_read() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 2}", |project| {
        loaded(project, 4);
        project.watch_table();
        project.lose_metadata();
        project.run(&["setup"]).ok();
        project.scan().ok();
        project.run(&["audit"]).ok();
        project.run(&["audit", "--repair", "--yes"]).ok();
        hide_files(project, true);
        std::fs::create_dir(project.path("incoming")).unwrap();
        project.etl().ok();
        std::fs::remove_dir(project.path("incoming")).unwrap();
        hide_files(project, false);
        assert!(witnessed(project).is_empty());
        assert_eq!(project.statuses(), ["LOADED"; 2]);
        project.run(&["audit", "--deep"]).ok();
    });
}

#[test]
fn a_file_that_changed_or_went_since_is_restored_as_such() {
    let project = Project::events("");
    loaded(&project, 3);
    project.write_events(&key(0), [99]);
    std::fs::remove_file(project.incoming(&key(1))).unwrap();
    project.lose_metadata();
    project.run(&["setup"]).ok();
    let repaired = project.run(&["audit", "--repair", "--yes", "-o", "json"]).ok().json();
    assert_eq!(
        (&repaired["repaired"]["restored"], &repaired["repaired"]["restored_quarantined"]),
        (&3.into(), &1.into())
    );
    let states = project.rows(Db::Metadata, "SELECT state, size_in_bytes > 0 FROM scanner_files ORDER BY hour");
    assert_eq!(states, [["QUARANTINED", "1"], ["LOADED", "0"], ["LOADED", "1"]]);
    let error = project.row(Db::Metadata, "SELECT error FROM scanner_files WHERE state = 'QUARANTINED'");
    let loaded = project.row(Db::Reporting, "SELECT version FROM loadline_files ORDER BY hour");
    assert!(error.contains("after it was loaded") && error.contains(&loaded), "{error}");
    let notes = &project.run(&["audit", "-o", "json"]).ok().json()["feeds"][0]["notes"];
    assert_eq!((&notes["quarantined"], &notes["gone"]), (&1.into(), &1.into()));
}

#[test]
fn no_object_of_a_bucket_is_read_to_rebuild_what_was_known_of_it() {
    let server = S3Server::start();
    for number in 0..6 {
        server.bucket.put(&format!("in/{}", key(number)), events(10 * number as u64..10 * number as u64 + 3), 0);
    }
    let (source, variables) = (server.source("in"), server.variables());
    let project = Project::over(&source, &variables, "events", EVENTS_SCHEMA, "scanner: {max_job_files: 2}");
    project.run(&["setup"]).ok();
    project.scan_and_load();
    project.watch_table();
    project.lose_metadata();
    project.run(&["setup"]).ok();
    server.forget_seen();
    project.run(&["audit", "--repair", "--yes"]).ok();
    project.scan_and_load();
    let asked = [S3Kind::Get, S3Kind::Head, S3Kind::Other].map(|kind| server.count(kind));
    assert_eq!((asked, witnessed(&project)), ([0; 3], Vec::<Vec<String>>::new()));
    // What is older than it was asked for is not even listed.
    server.forget_seen();
    let since = project.run(&["audit", "--since", "2026-01-01T04", "-o", "json"]).ok().json();
    assert_eq!((&since["feeds"][0]["source"]["files"], &since["feeds"][0]["ledger"]["files"]), (&2.into(), &2.into()));
    let lists = server.seen(S3Kind::List);
    assert!(lists.iter().all(|list| list.query.contains("start-after=in%2F2026%2F01%2F01%2F04")), "{lists:?}");
}

/// The reporting database as it is now, to be put back later.
enum Copy {
    Sqlite(PathBuf),
    Server(String),
}

impl Copy {
    fn of(project: &Project) -> Self {
        let Some(address) = project.address(Db::Reporting) else {
            project.tamper(Db::Reporting, "PRAGMA wal_checkpoint(TRUNCATE)");
            let copy = project.path("reporting.copy");
            std::fs::copy(project.db_path(Db::Reporting), &copy).unwrap();
            return Self::Sqlite(copy);
        };
        let name = format!("{}_copy", address.name());
        address.execute(&format!("CREATE DATABASE {name}"));
        for table in ["events", "loadline_files", "loadline_rejects"] {
            address.execute(&format!("CREATE TABLE {name}.{table} AS SELECT * FROM {table}"));
        }
        Self::Server(name)
    }

    fn put_back(&self, project: &Project) {
        match self {
            Self::Sqlite(copy) => {
                project.tamper(Db::Reporting, "PRAGMA wal_checkpoint(TRUNCATE)");
                let path = project.db_path(Db::Reporting);
                for beside in ["-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
                }
                std::fs::copy(copy, path).unwrap();
            }
            Self::Server(name) => {
                for table in ["events", "loadline_files", "loadline_rejects"] {
                    let back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {name}.{table}");
                    project.tamper(Db::Reporting, &back);
                }
                project.tamper(Db::Reporting, &format!("DROP DATABASE {name}"));
            }
        }
    }
}

#[test]
fn exactly_what_a_restored_reporting_database_lacks_is_loaded_again() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 3}", |project| {
        loaded(project, 4);
        let copy = Copy::of(project);
        for number in 4..9 {
            project.write(&key(number), events(10 * number as u64..10 * number as u64 + 3) + "bad,1,x\n");
        }
        project.scan_and_load();
        let rows = project.rows(Db::Reporting, ROWS);
        copy.put_back(project);
        project.watch_table();
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "12");

        let jobs = project.statuses().len();
        let plan = project.run(&["audit", "--repair", "-o", "json"]).exits(5);
        assert_eq!(found(&plan).into_iter().collect::<Vec<_>>(), [("rows_lost".to_owned(), 5)]);
        assert_eq!(project.statuses().len(), jobs, "a dry run did it");
        let repaired = project.run(&["audit", "--repair", "--yes", "-o", "json"]).ok().json();
        assert_eq!((&repaired["repaired"]["requeued"], &repaired["repaired"]["jobs"]), (&5.into(), &2.into()));
        project.run(&["audit"]).ok();
        project.etl().ok();
        assert_eq!(project.rows(Db::Reporting, ROWS), rows);
        let touched = witnessed(project);
        assert!(touched.len() == 15 && touched.iter().all(|row| row[0] == "insert"), "{touched:?}");
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "9");
        project.run(&["audit", "--deep"]).ok();
        let sums = project.row(Db::Metadata, "SELECT sum(rows_loaded), sum(rows_rejected) FROM scanner_jobs");
        assert_eq!(sums, "27|9");
    });
}

#[test]
fn what_the_source_has_lost_too_is_said_and_left() {
    let project = Project::events("");
    loaded(&project, 3);
    project.tamper(Db::Reporting, "DELETE FROM loadline_rejects; DELETE FROM loadline_files; DELETE FROM events");
    std::fs::remove_file(project.incoming(&key(1))).unwrap();
    let repaired = project.run(&["audit", "--repair", "--yes"]).exits(5);
    assert!(repaired.stdout.contains("2 files queued again") && repaired.stdout.contains("1 left"), "{repaired}");
    assert!(repaired.stdout.contains("the source has it no more"), "{repaired}");
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "6");
    assert_eq!(found(&project.run(&["audit", "-o", "json"]).exits(5))["rows_lost"], 1);
}

#[test]
fn wrong_counts_are_taken_from_the_ledger_and_no_file_is_read() {
    let project = Project::events("");
    loaded(&project, 3);
    project.watch_table();
    project.tamper(Db::Metadata, "UPDATE scanner_files SET rows_loaded = 77, rows_rejected = 0 WHERE id = 1");
    assert_eq!(found(&project.run(&["audit", "-o", "json"]).exits(5))["counts_differ"], 1);
    project.run(&["audit", "--repair", "--yes"]).ok();
    hide_files(&project, true);
    std::fs::create_dir(project.path("incoming")).unwrap();
    project.etl().ok();
    std::fs::remove_dir(project.path("incoming")).unwrap();
    hide_files(&project, false);
    assert!(witnessed(&project).is_empty());
    assert_eq!(project.rows(Db::Metadata, STATES), [["LOADED", "3", "3", "9", "3"]]);
    project.run(&["audit", "--deep"]).ok();
}

#[test]
fn a_file_unloaded_in_the_ledger_is_unloaded_in_an_older_registry() {
    let project = Project::events("");
    loaded(&project, 2);
    let registry =
        "UPDATE scanner_files SET state = 'LOADED', loaded_time = found_time, rows_loaded = 3, rows_rejected = 1";
    project.run(&["unload", "--job", "1", "--yes"]).ok();
    project.tamper(Db::Metadata, registry);
    project.tamper(Db::Metadata, "UPDATE scanner_jobs SET rows_loaded = 6, rows_rejected = 2 WHERE id = 1");
    assert_eq!(found(&project.run(&["audit", "-o", "json"]).exits(5))["rows_lost"], 2);
    project.run(&["audit", "--repair", "--yes"]).ok();
    assert_eq!(project.rows(Db::Metadata, STATES), [["UNLOADED", "2", "0", "NULL", "NULL"]]);
    project.run(&["audit"]).ok();
}

#[test]
fn rows_that_are_there_twice_go_by_the_commands_that_are_named() {
    let project = Project::events("");
    loaded(&project, 3);
    let rows = project.rows(Db::Reporting, ROWS);
    project.tamper(
        Db::Reporting,
        "INSERT INTO events SELECT id, amount, note, _file, _record + 500 FROM events WHERE _file = 2",
    );
    let audit = project.run(&["audit", "--repair", "--yes", "-o", "json"]).exits(5);
    let next = audit.json()["findings"][0]["next_step"].as_str().unwrap().replace("`, then `", " && ").replace('`', "");
    project.shell(&next).ok();
    assert_eq!(project.rows(Db::Reporting, ROWS), rows);
    project.run(&["audit", "--deep"]).ok();
}

/// Killed behind every step, the same command goes on.
#[test]
#[cfg(feature = "failpoints")]
fn a_repair_that_is_killed_goes_on_where_it_was() {
    let killed = |project: &Project, failpoint: &str| {
        let mut command = Command::new(super::project::binary());
        command.args(["audit", "--repair", "--yes", "-q"]).current_dir(project.path("."));
        let status = command.env("LOADLINE_FAILPOINTS", format!("{failpoint}=crash")).output().unwrap().status;
        assert!(!status.success() && status.code() != Some(5), "it was not killed: {status}");
    };
    let project = Project::events("scanner: {max_job_files: 2}");
    loaded(&project, 4);
    let rows = project.rows(Db::Reporting, ROWS);
    project.tamper(Db::Reporting, "DELETE FROM events WHERE _file <= 3; DELETE FROM loadline_rejects WHERE file <= 3");
    project.tamper(Db::Reporting, "DELETE FROM loadline_files WHERE file <= 3");
    killed(&project, "repair.requeued");
    project.run(&["audit", "--repair", "--yes"]).ok();
    project.etl().ok();
    assert_eq!(project.rows(Db::Reporting, ROWS), rows);
    project.lose_metadata();
    project.run(&["setup"]).ok();
    killed(&project, "repair.restored");
    project.run(&["audit", "--repair", "--yes"]).ok();
    project.run(&["audit", "--deep"]).ok();
    assert_eq!(project.rows(Db::Metadata, STATES), [["LOADED", "4", "4", "12", "4"]]);
}

/// Audits, deep and repairing ones, while workers load, scans register and files arrive.
#[test]
fn an_audit_beside_workers_never_cries_wolf() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 3, settle: 0s}\netl: {lease: 5s}", |project| {
        for batch in 0..6 {
            for number in batch * 12..(batch + 1) * 12 {
                let first = 100 * number as u64;
                project.write(&key(number), events(first..first + 40) + "bad,1,x\n");
            }
            let works: [&[&str]; 3] = [&["scan"], &["etl", "--workers", "2"], &["etl"]];
            let mut loads = works.map(|work| project.start(work));
            let mut audits = 0;
            while audits == 0 || loads.iter_mut().any(|load| load.try_wait().unwrap().is_none()) {
                let arguments: &[&str] = match audits % 3 {
                    0 => &["audit"],
                    1 => &["audit", "--deep"],
                    _ => &["audit", "--repair", "--yes"],
                };
                project.run(arguments).ok();
                audits += 1;
            }
            for (work, load) in works.iter().zip(loads) {
                project.finish(work, load).ok();
            }
        }
        project.etl().ok();
        assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "2880|2880");
        let last = project.run(&["audit", "--deep", "-o", "json"]).ok().json();
        assert_eq!(last["feeds"][0]["target"], serde_json::json!({"files": 72, "rows": 2880, "rejects": 72}));
    });
}
