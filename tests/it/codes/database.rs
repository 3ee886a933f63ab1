//! The codes of MariaDB and MySQL, raised in the middle of a segment by a trigger: at its rows, and where the ledger moves.
//!
//! Every code is the name of a file with one record whose id it is, in a job of its own.

use super::End::{self, Failed, Later, Outage};
use super::{assert_heals, ends};
use crate::e2e::project::{Db, EVENTS_SCHEMA, Project};
use crate::servers::{Kind, Server};

const CODES: &[(u16, End)] = &[
    // Somebody else was faster, or the server has no room or no time.
    (1020, Later),
    (1030, Later),
    (1037, Later),
    (1040, Later),
    (1053, Later),
    (1158, Later),
    (1180, Later),
    (1205, Later),
    (1206, Later),
    (1213, Later),
    (1226, Later),
    (1317, Later),
    (1927, Later),
    (1969, Later),
    (2006, Later),
    (2013, Later),
    (3024, Later),
    (4031, Later),
    // No job can be loaded.
    (1021, Outage),
    (1114, Outage),
    (1290, Outage),
    (1836, Outage),
    // Somebody must change the grants, the tables, the schema file or the file.
    (1044, Failed),
    (1045, Failed),
    (1048, Failed),
    (1062, Failed),
    (1142, Failed),
    (1146, Failed),
    (1153, Failed),
    (1264, Failed),
    (1366, Failed),
    (1390, Failed),
    (1406, Failed),
    (1452, Failed),
    (3819, Failed),
    (4025, Failed),
    // One that nobody knows.
    (9999, Failed),
];

/// Where the code is raised: a trigger that sets `code`, or leaves it 0.
const STEPS: [(&str, &str, &str); 2] = [
    ("rows", "BEFORE INSERT ON events", "SET code = NEW.id"),
    (
        "ledger",
        "BEFORE UPDATE ON loadline_files",
        "IF NEW.records_done > OLD.records_done THEN \
         SET code = substring_index(substring_index(CAST(NEW.`key` AS CHAR), '/', -1), '.', 1); END IF",
    ),
];
/// Whoever is put off for less than a second may have another attempt in the same run.
const SETTINGS: &str = "scanner: {max_job_files: 1}\netl: {max_attempts: 1000}";

fn assert_ends(server: &Server, (step, event, set): (&str, &str, &str), codes: &[u16], end: End) {
    let (metadata, reporting) = (server.fresh(), server.fresh());
    let project = Project::new("events", EVENTS_SCHEMA, SETTINGS).on(&metadata, &reporting, SETTINGS);
    project.run(&["setup"]).ok();
    for code in codes {
        project.write_events(&format!("2026/01/01/00/{code}.csv"), [u64::from(*code)]);
    }
    project.scan().ok();
    let trigger = format!(
        "CREATE TRIGGER refuses {event} FOR EACH ROW BEGIN DECLARE code INT DEFAULT 0; {set}; \
         IF code > 0 THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = code, MESSAGE_TEXT = 'a secret value'; END IF; END"
    );
    project.tamper(Db::Reporting, &trigger);
    let ran = project.run(&["etl", "--workers", "1"]).exits(end.exit());
    let what = format!("{:?}, {step}: {ran}", server.kind());
    let others: Vec<_> = ends(&project).into_iter().filter(|(_, found, _)| *found != Some(end)).collect();
    assert!(others.is_empty(), "not {end:?}: {others:#?}\n{what}");
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "0", "{what}");
    project.tamper(Db::Reporting, "DROP TRIGGER refuses");
    assert_heals(&project, codes.len());
}

/// Every code of the table that leads to this end, in the middle of both steps.
fn assert_all(kind: Kind, end: End) {
    let Some(server) = Server::shared(kind) else { return };
    let codes: Vec<u16> = CODES.iter().filter(|(_, of)| *of == end).map(|(code, _)| *code).collect();
    // An outage ends the run: one code each.
    let at_once = if end == Outage { 1 } else { codes.len() };
    for step in STEPS {
        codes.chunks(at_once).for_each(|codes| assert_ends(server, step, codes, end));
    }
}

#[test]
fn what_may_pass_on_mariadb_is_tried_again() {
    assert_all(Kind::MariaDb, Later);
}

#[test]
fn what_may_pass_on_mysql_is_tried_again() {
    assert_all(Kind::MySql, Later);
}

#[test]
fn what_keeps_all_jobs_from_mariadb_uses_no_attempt_up() {
    assert_all(Kind::MariaDb, Outage);
}

#[test]
fn what_keeps_all_jobs_from_mysql_uses_no_attempt_up() {
    assert_all(Kind::MySql, Outage);
}

#[test]
fn what_a_person_must_mend_on_mariadb_fails_the_job() {
    assert_all(Kind::MariaDb, Failed);
}

#[test]
fn what_a_person_must_mend_on_mysql_fails_the_job() {
    assert_all(Kind::MySql, Failed);
}
