//! The proof in users' hands: books that agree, and each way in which they can disagree, brought about behind the
//! program's back.

use std::collections::BTreeMap;

use super::project::{Db, EVENTS_SCHEMA, Project, Ran, events, everywhere, hour};

fn key(number: usize) -> String {
    format!("{}/events.csv", hour(number))
}

/// Files of three rows and a reject each, loaded as jobs of two.
pub fn loaded(project: &Project, files: usize) {
    for number in 0..files {
        let first = 10 * number as u64;
        project.write(&key(number), events(first..first + 3) + "bad,1,x\n");
    }
    project.scan_and_load();
}

/// How many of each kind an audit finds.
pub fn found(audit: &Ran) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for finding in audit.json()["findings"].as_array().unwrap() {
        for text in ["expected", "found", "next_step"] {
            assert!(!finding[text].as_str().unwrap().is_empty(), "no {text}: {finding:#}");
        }
        *found.entry(finding["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

fn audit(project: &Project, arguments: &[&str]) -> Ran {
    project.run(&[&["audit", "-o", "json"], arguments].concat())
}

#[test]
fn books_that_agree_are_said_to_agree() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 2}", |project| {
        project.run(&["audit"]).ok();
        loaded(project, 5);
        let dump = project.dump();
        let text = project.run(&["audit", "--deep"]).ok().stdout;
        let said = "events: 5 files at the source; 5 loaded, 20 records = 15 rows + 5 rejects, in registry, ledger and table\n\
                    source, registry, ledger and table agree, and so do the checksums; ";
        assert!(text.starts_with(said), "{text}");
        let json = audit(project, &["--repair"]).ok().json();
        let books = serde_json::json!({"files": 5, "rows": 15, "rejects": 5});
        let feed = &json["feeds"][0];
        assert_eq!((&feed["registry"], &feed["ledger"], &feed["target"]), (&books, &books, &books));
        assert_eq!((&json["agree"], feed["source"]["files"].as_u64()), (&true.into(), Some(5)));
        assert!(project.dump() == dump, "an audit changed something");
        // A file that nobody has looked for yet, one that waits, and one that is gone.
        project.write_events(&key(6), [60]);
        project.scan().ok();
        project.write_events(&key(7), [70]);
        std::fs::remove_file(project.incoming(&key(0))).unwrap();
        let notes = &audit(project, &[]).ok().json()["feeds"][0]["notes"];
        let noted = |note: &str| notes[note].as_u64().unwrap();
        assert_eq!((noted("unregistered"), noted("on_the_way"), noted("gone")), (1, 1, 1), "{notes}");
    });
}

#[test]
fn each_way_to_disagree_is_found() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 2}", |project| {
        loaded(project, 4);
        let first = project.row(Db::Metadata, "SELECT id FROM scanner_files ORDER BY hour");
        let first = format!("WHERE id = {first}");
        let job = project.job(1);
        let file_of = |what: &str| format!("UPDATE scanner_files SET {what} {first}");
        let job_of = |what: &str| format!("UPDATE scanner_jobs SET {what} WHERE id = {job}");
        let number = project.row(Db::Reporting, "SELECT file FROM loadline_files ORDER BY hour");
        let lost = format!("UPDATE loadline_files SET complete = 0 WHERE file = {number}");
        let complete = format!("UPDATE loadline_files SET complete = 1 WHERE file = {number}");
        let (metadata, reporting) = (Db::Metadata, Db::Reporting);
        // Where, what is done to it, how it is undone, what is found.
        let tampering: Vec<(Db, String, String, &[&str])> = vec![
            (reporting, lost.clone(), complete.clone(), &["rows_lost"]),
            (metadata, file_of("feed = 'other'"), file_of("feed = 'events'"), &["not_registered"]),
            (metadata, file_of("rows_loaded = 7"), file_of("rows_loaded = 3"), &["counts_differ", "job_differs"]),
            (metadata, file_of("rows_rejected = 2"), file_of("rows_rejected = 1"), &["counts_differ", "job_differs"]),
            (metadata, file_of("state = 'FAILED'"), file_of("state = 'LOADED'"), &["job_differs", "state_differs"]),
            (metadata, file_of("state = 'UNLOADED'"), file_of("state = 'LOADED'"), &["job_differs", "state_differs"]),
            (metadata, file_of("state = 'IN_JOB'"), file_of("state = 'LOADED'"), &["job_differs", "state_differs"]),
            (metadata, job_of("rows_loaded = 7"), job_of("rows_loaded = 6"), &["job_differs"]),
            (
                metadata,
                job_of("status = 'PROCESSING', lease_until = '2020-01-01 00:00:00.000000'"),
                job_of("status = 'LOADED', lease_until = NULL"),
                &["job_stuck"],
            ),
            (
                reporting,
                "UPDATE loadline_files SET version = 'another' WHERE file = 1".to_owned(),
                format!(
                    "UPDATE loadline_files SET version = '{}' WHERE file = 1",
                    project.row(reporting, "SELECT version FROM loadline_files WHERE file = 1")
                ),
                &["version_differs"],
            ),
            (
                reporting,
                "UPDATE loadline_files SET records_done = 5 WHERE file = 1".to_owned(),
                "UPDATE loadline_files SET records_done = 4 WHERE file = 1".to_owned(),
                &["records_differ"],
            ),
            (
                reporting,
                "UPDATE events SET _file = 99 WHERE _file = 1 AND _record = 1".to_owned(),
                "UPDATE events SET _file = 1 WHERE _file = 99".to_owned(),
                &["rows_differ", "rows_stray"],
            ),
            (
                reporting,
                "INSERT INTO events SELECT id, amount, note, _file, _record + 1000 FROM events WHERE _file = 1 AND _record = 1"
                    .to_owned(),
                "DELETE FROM events WHERE _record > 1000".to_owned(),
                &["rows_doubled"],
            ),
            (
                reporting,
                "UPDATE loadline_rejects SET file = 2, record = 77 WHERE file = 1".to_owned(),
                "UPDATE loadline_rejects SET file = 1, record = 4 WHERE record = 77".to_owned(),
                &["rejects_differ", "rejects_differ"],
            ),
        ];
        for (db, done, undone, kinds) in tampering {
            project.tamper(db, &done);
            let audit = audit(project, &[]).exits(5);
            let mut expected = BTreeMap::new();
            kinds.iter().for_each(|kind| *expected.entry((*kind).to_owned()).or_default() += 1);
            assert_eq!(found(&audit), expected, "{done}: {audit}");
            let text = project.run(&["audit"]).exits(5).stdout;
            assert!(kinds.iter().all(|kind| text.contains(&format!("{kind}: "))), "{text}");
            project.tamper(db, &undone);
            project.run(&["audit"]).ok();
        }
        // A value that somebody has changed.
        project.tamper(reporting, "UPDATE events SET amount = amount + 1 WHERE _file = 1 AND _record = 1");
        project.run(&["audit"]).ok();
        assert_eq!(found(&audit(project, &["--deep"]).exits(5)), BTreeMap::from([("checksum_differs".to_owned(), 1)]));
        project.tamper(reporting, "UPDATE events SET amount = amount - 1 WHERE _file = 1 AND _record = 1");
        project.run(&["audit", "--deep"]).ok();
        // A part of a file that nobody knows any more.
        project.tamper(reporting, &lost);
        project.tamper(metadata, &file_of("feed = 'other'"));
        let kinds = found(&audit(project, &[]).exits(5));
        assert_eq!(kinds.into_keys().collect::<Vec<_>>(), ["unfinished"]);
        project.tamper(metadata, &file_of("feed = 'events'"));
        project.tamper(reporting, &complete);
        project.run(&["audit"]).ok();
    });
}

#[test]
fn what_the_source_has_lost_or_changed_is_found() {
    let project = Project::events("");
    loaded(&project, 3);
    project.write_events(&key(0), [7]);
    assert_eq!(found(&audit(&project, &[]).exits(5)), BTreeMap::from([("changed".to_owned(), 1)]));
    // Once a scan has noticed it, people know: what is loaded is what is registered.
    project.scan().ok();
    let quarantined = audit(&project, &[]).ok().json();
    assert_eq!(quarantined["feeds"][0]["notes"]["quarantined"], 1, "{quarantined:#}");
    project.write_events(&key(4), [40]);
    project.scan().ok();
    std::fs::remove_file(project.incoming(&key(4))).unwrap();
    assert_eq!(found(&audit(&project, &[]).exits(5)), BTreeMap::from([("missing".to_owned(), 1)]));
}

#[test]
fn only_what_was_asked_for_is_compared() {
    let project = Project::events("  - {name: others, prefix: b, schema: schemas/events.yaml}\n");
    project.run(&["setup"]).ok();
    for number in 0..4 {
        project.write_events(&key(number), [number as u64]);
        project.write_events(&format!("b/{}", key(number)), [number as u64]);
    }
    project.scan_and_load();
    project.tamper(Db::Reporting, "DELETE FROM others");
    project.run(&["audit"]).exits(5);
    project.run(&["audit", "--feed", "events"]).ok();
    let lost = |arguments: &[&str]| found(&audit(&project, arguments).exits(5))["rows_differ"];
    assert_eq!((lost(&[]), lost(&["--since", "2026-01-01T03"])), (4, 1));
    let since = audit(&project, &["--since", "2026-01-01T03", "--feed", "events"]).ok().json();
    assert_eq!((&since["feeds"][0]["ledger"]["files"], &since["feeds"][0]["source"]["files"]), (&1.into(), &1.into()));
    project.run(&["audit", "--since", "2026-01-02"]).ok();
    project.run(&["audit", "--feed", "nobody"]).exits(2);
}

#[test]
fn rejects_that_retention_has_deleted_are_not_missed() {
    let project = Project::events("retention: {rejects: 1d}");
    loaded(&project, 2);
    project.tamper(
        Db::Reporting,
        "UPDATE loadline_files SET completed_time = '2026-01-01 00:00:00.000000' WHERE file = 1",
    );
    project.scan().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "1");
    project.run(&["audit"]).ok();
    project.tamper(Db::Reporting, "DELETE FROM loadline_rejects");
    assert_eq!(found(&audit(&project, &[]).exits(5)), BTreeMap::from([("rejects_differ".to_owned(), 1)]));
}

#[test]
fn an_audit_that_cannot_be_made_is_no_proof() {
    let project = Project::events("");
    loaded(&project, 1);
    std::fs::rename(project.path("incoming"), project.path("elsewhere")).unwrap();
    project.run(&["audit"]).exits(4);
    std::fs::rename(project.path("elsewhere"), project.path("incoming")).unwrap();
    project.run(&["audit"]).ok();
    project.lose_metadata();
    project.run(&["audit"]).exits(2).says(&["is not set up", "setup"]);
}
