//! The metadata database is a queue and a cache: without it nothing is loaded twice.

use super::project::{Db, EVENTS_SCHEMA, everywhere, hour};

#[test]
fn a_deleted_metadata_database_doubles_nothing() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 2}", |project| {
        for number in 0..5 {
            project.write_events(&format!("{}/events.csv", hour(number)), [number as u64, 100 + number as u64]);
        }
        project.scan_and_load();
        let rows = project.rows(Db::Reporting, "SELECT * FROM events");
        project.lose_metadata();
        project.watch_table();
        project.write_events(&format!("{}/events.csv", hour(5)), [5]);
        project.run(&["setup"]).ok();
        project.scan_and_load();
        assert_eq!(project.statuses(), vec!["LOADED"; 3]);
        let sql = "SELECT sum(rows_loaded), sum(rows_rejected) FROM scanner_jobs WHERE status = 'LOADED'";
        assert_eq!(project.row(Db::Metadata, sql), "11|0");
        let sql = "SELECT count(*), min(what), min(record) FROM witness";
        assert_eq!(project.row(Db::Reporting, sql), "1|insert|1", "only the new file may touch the table");
        let now = project.rows(Db::Reporting, "SELECT * FROM events");
        assert_eq!(now.len(), rows.len() + 1);
        assert!(rows.iter().all(|row| now.contains(row)));
    });
}
