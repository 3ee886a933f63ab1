//! What must hold: at any moment, and when everything has ended well.

use std::collections::BTreeMap;

use crate::e2e::project::{Db, Project};

/// Holds at any moment, whoever has died or stands still: rows and rejects of a file are those of its records up to
/// `records_done`, a FAILED file has none, and what is called LOADED is complete.
pub fn assert_sound(project: &Project, when: &str) {
    let empty = "SELECT count(*) FROM scanner_jobs j WHERE status IN ('SENT_FOR_ETL', 'PROCESSING') \
                 AND NOT EXISTS (SELECT 1 FROM scanner_files f WHERE f.job_id = j.id)";
    assert_eq!(project.row(Db::Metadata, empty), "0", "{when}: a job has no files");
    let states = "SELECT CAST(`key` AS CHAR), state FROM scanner_files";
    let states: BTreeMap<String, String> =
        project.rows(Db::Metadata, states).into_iter().map(|mut row| (row.remove(0), row.remove(0))).collect();
    // One statement: one picture, also while others write.
    let files = "SELECT CAST(l.`key` AS CHAR), l.complete, \
                 l.plan_hash <> '' AND l.unloaded_time IS NULL AND (l.`rows` <> t.n OR l.rejects <> r.n), \
                 t.n, r.n, t.behind + r.behind, t.n - t.records \
                 FROM loadline_files l \
                 JOIN (SELECT f.file, count(e._record) AS n, count(DISTINCT e._record) AS records, \
                       coalesce(sum(e._record > f.records_done), 0) AS behind \
                       FROM loadline_files f LEFT JOIN events e ON e._file = f.file GROUP BY f.file) t ON t.file = l.file \
                 JOIN (SELECT f.file, count(e.record) AS n, coalesce(sum(e.record > f.records_done), 0) AS behind \
                       FROM loadline_files f LEFT JOIN loadline_rejects e ON e.file = f.file GROUP BY f.file) r \
                 ON r.file = l.file";
    for row in project.rows(Db::Reporting, files) {
        let [key, complete, miscounted, rows, rejects, behind, doubled] = &row[..] else { panic!("{row:?}") };
        let state = states.get(key).map_or("", String::as_str);
        assert_eq!(miscounted, "0", "{when}: the ledger's counts are not those of the tables: {row:?}");
        assert_eq!(behind, "0", "{when}: {key} has rows behind where the ledger stands");
        assert_eq!(doubled, "0", "{when}: records of {key} are in the table twice");
        let is_empty = (rows.as_str(), rejects.as_str()) == ("0", "0");
        assert!(
            state != "FAILED" || is_empty,
            "{when}: {key} is FAILED, and {rows} rows and {rejects} rejects of it stand"
        );
        assert!(state != "LOADED" || complete == "1", "{when}: {key} is LOADED, and not complete");
    }
}

/// Everything that a load leaves in the reporting database, but for numbers of takes, times and names of versions: the
/// same whatever happened on the way.
pub fn picture(project: &Project) -> Vec<String> {
    let sqls = [
        "SELECT 'row', e.id, e.amount, e.note, CAST(l.`key` AS CHAR), e._record FROM events e \
         LEFT JOIN loadline_files l ON l.file = e._file ORDER BY e.id, e._record",
        "SELECT 'reject', CAST(l.`key` AS CHAR), r.record, r.line, r.byte_offset, r.column_name, r.reason \
         FROM loadline_rejects r LEFT JOIN loadline_files l ON l.file = r.file ORDER BY r.record",
        "SELECT 'file', CAST(`key` AS CHAR), records_done, `rows`, rejects, checksum, invalid, complete, \
         unloaded_time IS NULL FROM loadline_files ORDER BY key_hash",
    ];
    sqls.iter().flat_map(|sql| project.rows(Db::Reporting, sql)).map(|row| row.join("|")).collect()
}

/// What the metadata says of jobs and files, times aside.
pub fn registry(project: &Project) -> Vec<String> {
    let sqls = [
        "SELECT id, status, failure_msg, attempts, lease_owner, rows_loaded, rows_rejected FROM scanner_jobs ORDER BY id",
        "SELECT id, job_id, state, rows_loaded, rows_rejected, error FROM scanner_files ORDER BY id",
    ];
    sqls.iter().flat_map(|sql| project.rows(Db::Metadata, sql)).map(|row| row.join("|")).collect()
}

/// Both.
pub fn everything(project: &Project) -> Vec<String> {
    [registry(project), picture(project)].concat()
}

/// All that there is, is loaded, each record once, and both databases say so.
pub fn assert_whole(project: &Project, undisturbed: &[String], when: &str) {
    assert_sound(project, when);
    assert_eq!(picture(project), undisturbed, "{when}: the tables are not those of an undisturbed load");
    let statuses = project.statuses();
    assert!(!statuses.is_empty() && statuses.iter().all(|status| status == "LOADED"), "{when}: {statuses:?}");
    let loaded = "SELECT count(*), sum(state = 'LOADED'), coalesce(sum(rows_loaded), 0) FROM scanner_files";
    let rows = "SELECT count(*), sum(complete), sum(`rows`) FROM loadline_files";
    assert_eq!(project.row(Db::Metadata, loaded), project.row(Db::Reporting, rows), "{when}");
}
