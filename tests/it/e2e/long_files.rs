//! Files of several segments: killed between two of them, failing in the third, and a schema that changes half way.

use std::fmt::Write as _;

use super::project::{Db, Project, eventually, everywhere, kill};

const KEY: &str = "2026/01/01/00/long.csv";
const SCHEMA: &str = "\
columns:
  - {name: id, type: int64, required: true, on_invalid: reject}
  - {name: amount, type: int64, null_tokens: [\"\"]}
";
const KEYED_SCHEMA: &str = "\
primary_key: [id]
columns:
  - {name: id, type: int64, required: true, on_invalid: reject}
  - {name: amount, type: int64, null_tokens: [\"\"]}
";

/// Records 1 to `records`; the amount is the last digit of the id.
fn long_file(records: u64) -> String {
    let mut text = "id,amount\n".to_owned();
    for id in 1..=records {
        let _ = writeln!(text, "{id},{}", id % 10);
    }
    text
}

fn records_done(project: &Project) -> u64 {
    project.row(Db::Reporting, "SELECT records_done FROM loadline_files").parse().unwrap_or(0)
}

/// Starts a load and kills it when so many records were committed.
fn kill_after(project: &Project, records: u64) {
    let child = project.start(&["etl"]);
    eventually("the segment is committed", || records_done(project) >= records);
    assert!(kill(child), "the load ended before it could be killed");
    assert_eq!(records_done(project), records, "the load was killed a segment too late");
}

#[test]
fn a_load_killed_after_its_second_segment_goes_on_at_the_record_behind_it() {
    let project = Project::set_up("long", SCHEMA, "");
    project.write(KEY, long_file(300_000));
    project.scan().ok();
    kill_after(&project, 200_000);
    let sql = "SELECT count(*), max(_record) FROM `long`";
    assert_eq!(project.row(Db::Reporting, sql), "200000|200000");

    project.watch_table();
    project.run(&["-v", "etl"]).ok().says(&["200001"]);
    let sql = "SELECT min(what), max(what), count(*), min(record), max(record) FROM witness";
    assert_eq!(project.row(Db::Reporting, sql), "insert|insert|100000|200001|300000");
    let sql = "SELECT count(*), count(DISTINCT id), min(id), max(id), sum(id = _record), sum(amount) FROM `long`";
    assert_eq!(project.row(Db::Reporting, sql), "300000|300000|1|300000|300000|1350000");
    assert_eq!(project.row(Db::Reporting, "SELECT `rows`, complete FROM loadline_files"), "300000|1");
    assert_eq!(project.statuses(), ["LOADED"]);
}

#[test]
fn a_file_half_loaded_when_the_metadata_is_lost_is_finished_and_not_begun_anew() {
    everywhere("long", SCHEMA, "", |project| {
        project.write(KEY, long_file(150_000));
        project.scan().ok();
        kill_after(project, 100_000);
        project.lose_metadata();
        project.watch_table();
        project.run(&["setup"]).ok();
        project.scan_and_load();
        let sql = "SELECT min(what), max(what), count(*), min(record) FROM witness";
        assert_eq!(project.row(Db::Reporting, sql), "insert|insert|50000|100001");
        assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM `long`"), "150000|150000");
        assert_eq!(project.statuses(), ["LOADED"]);
    });
}

#[test]
fn a_job_that_keeps_killing_its_workers_is_given_up_and_leaves_nothing() {
    everywhere("long", SCHEMA, "etl: {max_expiries: 1}", |project| {
        project.write(KEY, long_file(150_000));
        project.scan().ok();
        kill_after(project, 100_000);
        project.etl().exits(3).says(&["given up: its worker died once", KEY]);
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM `long`"), "0");
        assert_eq!(project.row(Db::Reporting, "SELECT records_done, `rows`, complete FROM loadline_files"), "0|0|0");
        assert_eq!(project.statuses(), ["FAILED"]);
        project.run(&["retry", "--failed"]).ok();
        project.etl().ok();
        assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM `long`"), "150000|150000");
    });
}

#[test]
fn a_walk_back_that_is_killed_is_ended_by_the_next_run() {
    everywhere("long", KEYED_SCHEMA, "", |project| {
        project.write(KEY, format!("{}7,7\n", long_file(310_000)));
        project.scan().ok();
        // Takes longer when it is watched, so that the kill comes in between.
        project.watch_table();
        let child = project.start(&["etl"]);
        let half_way = "SELECT count(*) FROM loadline_files WHERE plan_hash = '' AND records_done > 0";
        eventually("the walk back has begun", || project.row(Db::Reporting, half_way) == "1");
        assert!(kill(child), "the load ended before it could be killed");
        assert_eq!(project.row(Db::Reporting, half_way), "1", "the walk back ended before it could be killed");
        assert_ne!(project.row(Db::Reporting, "SELECT count(*) FROM `long`"), "0");

        project.etl().exits(3).says(&["record 310001 (line 310002)", "duplicate key"]);
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM `long`"), "0");
        assert_eq!(project.row(Db::Reporting, "SELECT records_done, `rows`, complete FROM loadline_files"), "0|0|0");
        assert_eq!(project.statuses(), ["FAILED"]);
    });
}

#[test]
fn a_schema_changed_half_way_loads_the_whole_file_under_the_new_one() {
    everywhere("long", SCHEMA, "", |project| {
        project.write(KEY, long_file(150_000));
        project.scan().ok();
        kill_after(project, 100_000);
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) - count(amount) FROM `long`"), "0");

        std::fs::write(project.path("schemas/long.yaml"), SCHEMA.replace("[\"\"]", "[\"\", \"7\"]")).unwrap();
        project.etl().ok();
        let sql = "SELECT count(*), count(DISTINCT id), count(*) - count(amount), sum(amount IS NULL AND id % 10 = 7) FROM `long`";
        assert_eq!(project.row(Db::Reporting, sql), "150000|150000|15000|15000");
        assert_eq!(project.row(Db::Reporting, "SELECT `rows`, complete FROM loadline_files"), "150000|1");
        assert_eq!(project.statuses(), ["LOADED"]);
    });
}

#[test]
fn a_file_that_fails_in_its_third_segment_leaves_nothing_and_its_sibling_stays() {
    let project = Project::set_up("long", KEYED_SCHEMA, "");
    let good = long_file(210_000);
    project.write(KEY, format!("{good}7,7\n"));
    project.write("2026/01/01/01/short.csv", "id,amount\n900001,1\n");
    project.scan().ok();
    project.watch_table();
    project.etl().exits(3).says(&[KEY, "record 210001 (line 210002)", "duplicate key"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), min(id) FROM `long`"), "1|900001");
    let sql = "SELECT count(*) FROM witness WHERE what = 'delete'";
    assert_eq!(project.row(Db::Reporting, sql), "200000", "it did not fail behind its second segment");
    let sql =
        "SELECT `rows`, records_done, complete FROM loadline_files WHERE key = CAST('2026/01/01/00/long.csv' AS BLOB)";
    assert_eq!(project.row(Db::Reporting, sql), "0|0|0");
    assert_eq!(project.statuses(), ["FAILED"]);

    project.write(KEY, good);
    project.run(&["retry", "--failed"]).ok();
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM `long`"), "210001|210001");
    assert_eq!(project.statuses(), ["LOADED"]);
}
