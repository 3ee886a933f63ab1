//! Rows that leave the table by a person's will, and come back by it: by day, by job, by file, killed, and beside workers.

use super::project::{Db, EVENTS_SCHEMA, Project, events, eventually, everywhere, hour, kill};

const SUMS: &str = "SELECT count(*), coalesce(sum(id), 0), coalesce(sum(amount), 0) FROM events";

fn key(number: usize) -> String {
    format!("{}/events.csv", hour(number))
}

fn uri(project: &Project, key: &str) -> String {
    let files = project.rows(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status <> 'NONE'");
    let uris: Vec<&str> = files.iter().flat_map(|row| row[0].split(',')).collect();
    (*uris.iter().find(|uri| uri.ends_with(key)).unwrap()).to_owned()
}

fn states(project: &Project) -> Vec<String> {
    let rows = project.rows(Db::Metadata, "SELECT state FROM scanner_files ORDER BY id");
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

fn ledger(project: &Project) -> String {
    let sql = "SELECT sum(records_done), sum(`rows`), sum(complete), count(unloaded_time) FROM loadline_files";
    project.row(Db::Reporting, sql)
}

#[test]
fn a_day_of_one_of_two_feeds_leaves_and_comes_back_as_it_was() {
    let project = Project::events("    prefix: a\n  - {name: others, prefix: b, schema: schemas/events.yaml}\n");
    project.run(&["setup"]).ok();
    for number in 0..30 {
        let first = number as u64 * 10;
        project.write(&format!("a/{}", key(number)), events(first..first + 10) + "bad,1,x\n");
        project.write_events(&format!("b/{}", key(number)), first..first + 5);
    }
    project.scan_and_load();
    let tables = ["SELECT * FROM events ORDER BY _file, _record", "SELECT * FROM others ORDER BY _file, _record"];
    let rejects = "SELECT * FROM loadline_rejects ORDER BY file, record";
    let [before, others] = tables.map(|sql| project.rows(Db::Reporting, sql));
    let rejected = project.rows(Db::Reporting, rejects);
    assert_eq!((before.len(), others.len(), rejected.len()), (300, 150, 30));

    let day = ["unload", "--feed", "events", "--from", "2026-01-01", "--to", "2026-01-02"];
    let dump = project.dump();
    let plan = project.run(&[&day[..], &["-o", "json"]].concat()).ok().says(&["nothing was changed", "--yes"]);
    let expected = serde_json::json!([{
        "feed": "events", "table": "events", "files": 24, "rows": 240, "rejects": 24, "unfinished": 0,
        "first_hour": "2026-01-01T00:00:00Z", "last_hour": "2026-01-01T23:00:00Z",
    }]);
    assert_eq!(plan.json(), expected);
    assert_eq!(project.dump(), dump, "a dry run changed something");

    project.run(&[&day[..], &["--yes"]].concat()).ok().says(&["24 files UNLOADED: 240 rows and 24 rejects"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), min(id), max(id) FROM events"), "60|240|299");
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "6");
    assert!(project.rows(Db::Reporting, tables[1]) == others, "the other feed's rows changed");
    let sql = "SELECT sum(rows_loaded), sum(rows_rejected) FROM scanner_jobs WHERE feed = 'events'";
    assert_eq!(project.row(Db::Metadata, sql), "60|6", "the jobs' sums are those of what is loaded");
    let sql = "SELECT state, count(*), count(loaded_time) FROM scanner_files WHERE feed = 'events' GROUP BY state";
    assert_eq!(project.rows(Db::Metadata, sql), [["LOADED", "6", "6"], ["UNLOADED", "24", "0"]]);
    let job = project.run(&["jobs", &project.job(1)]).ok();
    assert!(job.stdout.contains("UNLOADED") && job.stdout.contains("loadline retry"), "{job}");
    let shown = project.run(&["rejects", "--feed", "events", "-o", "json"]).ok();
    assert_eq!(shown.json().as_array().unwrap().len(), 6);

    // Out, it stays out; and again is nothing.
    project.scan().ok().in_silence();
    project.etl().ok().in_silence();
    project.run(&[&day[..], &["--yes"]].concat()).ok().says(&["none of these files is loaded"]);

    project.run(&["retry", "--unloaded", "--feed", "events", "--from", "2026-01-01", "--to", "2026-01-02"]).ok();
    project.scan_and_load();
    assert!(tables.map(|sql| project.rows(Db::Reporting, sql)) == [before, others], "the rows are not what they were");
    assert_eq!(project.rows(Db::Reporting, rejects), rejected);
    project.scan().ok().in_silence();
}

#[test]
fn a_job_leaves_and_comes_back_under_the_schema_of_now() {
    let project = Project::events("scanner: {max_job_files: 1}");
    project.write_events(&key(0), 1..=7);
    project.write_events(&key(1), 11..=12);
    project.scan_and_load();
    let job = project.job(1);
    project.run(&["unload", "--job", &job, "--yes"]).ok().says(&["1 file UNLOADED: 7 rows", &format!("retry {job}")]);
    assert_eq!(project.row(Db::Reporting, SUMS), "2|23|230");
    assert_eq!(project.statuses(), ["LOADED", "LOADED"]);

    let schema = EVENTS_SCHEMA.replace("type: int64}", "type: int64, null_tokens: [\"\", \"70\"]}");
    assert_ne!(schema, EVENTS_SCHEMA);
    std::fs::write(project.path("schemas/events.yaml"), schema).unwrap();
    project.run(&["retry", &project.job(2)]).exits(2).says(&["is LOADED", "UNLOADED files"]);
    project.run(&["retry", &job]).ok().says(&["1 file to load"]);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, SUMS), format!("9|{}|{}", 28 + 23, 210 + 230));
    assert_eq!(states(&project), ["LOADED", "LOADED"]);
    assert_eq!(ledger(&project), "9|9|2|0");
    project.run(&["retry", &job]).exits(2);
}

#[test]
fn a_file_that_changed_after_its_load_is_replaced_by_hand() {
    let project = Project::events("");
    project.write_events(&key(0), 1..=5);
    project.write_events(&key(1), 11..=12);
    project.scan_and_load();
    let uri = uri(&project, &key(0));
    project.write_events(&key(0), 101..=103);
    project.scan().ok().says(&["QUARANTINED"]);
    project.run(&["retry", "--quarantined"]).ok().says(&["nothing was released", "loadline unload --file", &uri]);
    project.run(&["unload", "--file", &uri]).ok().says(&["nothing was changed"]);
    project.run(&["unload", "--file", &uri, "--yes"]).ok();
    assert_eq!(states(&project), ["UNLOADED", "LOADED"]);
    project.scan().ok().in_silence();
    project.run(&["unload", "--file", &uri, "--yes"]).ok().says(&["UNLOADED already"]);
    project.run(&["retry", "--unloaded", "--file", &uri]).ok().says(&["1 file released"]);
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, SUMS), format!("5|{}|{}", 23 + 306, 230 + 3060));
    assert_eq!(project.rows(Db::Metadata, "SELECT rows_loaded FROM scanner_jobs WHERE id > 0"), [["2"], ["3"]]);
    project.scan().ok().in_silence();
}

/// The metadata was lost and the file overwritten: the ledger holds rows of a version that the registry does not know.
#[test]
fn rows_of_a_version_that_nobody_remembers_can_be_unloaded() {
    let project = Project::events("");
    project.write_events(&key(0), 1..=5);
    project.scan_and_load();
    project.lose_metadata();
    project.write_events(&key(0), 101..=103);
    project.run(&["setup"]).ok();
    project.scan().ok();
    project.etl().exits(3).says(&["rows of another version"]);
    let uri = uri(&project, &key(0));
    project.run(&["retry", "--quarantined"]).ok().says(&["loadline unload --file"]);
    project.run(&["unload", "--file", &uri, "--yes"]).ok().says(&["1 file UNLOADED: 5 rows"]);
    project.run(&["retry", "--failed"]).ok();
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, SUMS), "3|306|3060");
}

#[test]
fn what_is_not_loaded_is_said_and_left_alone() {
    let project = Project::events("");
    project.write_events(&key(0), 1..=5);
    project.scan().ok();
    let uri = uri(&project, &key(0));
    let before = project.dump();
    project.run(&["unload", "--file", &uri, "--yes"]).ok().says(&["is not loaded (state IN_JOB)"]);
    project.run(&["unload", "--file", &format!("{uri}x")]).exits(2).says(&["no scan has ever found"]);
    project.run(&["unload", "--file", "s3://else/where.csv"]).exits(2).says(&["not under the source"]);
    project.run(&["unload", "--job", "99"]).exits(2);
    project.run(&["unload", "--feed", "event", "--from", "2026-01-01", "--to", "2026-01-02"]).exits(2);
    project.run(&["unload", "--feed", "events", "--from", "2026-01-02", "--to", "2026-01-02"]).exits(2);
    assert_eq!(project.dump(), before);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "5");
}

/// A file of 210,000 records whose unload is killed behind its first step.
fn half_unloaded(project: &Project) {
    project.write_events(&key(0), 1..=210_000);
    project.scan_and_load();
    // Takes longer when it is watched, so that the kill comes in between.
    project.watch_table();
    let job = project.job(1);
    let child = project.start(&["unload", "--job", &job, "--yes"]);
    let half_way = "SELECT count(*) FROM loadline_files WHERE records_done BETWEEN 1 AND 209999 AND complete = 0";
    eventually("the unload has begun", || project.row(Db::Reporting, half_way) == "1");
    assert!(kill(child), "the unload ended before it could be killed");
    assert_eq!(project.row(Db::Reporting, half_way), "1", "the unload ended before it could be killed");
    assert_ne!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "0");
    assert_eq!(states(project), ["UNLOADED"]);
}

const ALL_OUT_ONCE: &str = "SELECT count(*), count(DISTINCT record), min(what), max(what) FROM witness";

#[test]
fn an_unload_that_is_killed_goes_on_when_it_is_run_again() {
    everywhere("events", EVENTS_SCHEMA, "", |project| {
        half_unloaded(project);
        project.scan().ok().in_silence();
        project.etl().ok().in_silence();
        let job = project.job(1);
        let plan = project.run(&["unload", "--job", &job, "-o", "json"]).ok();
        assert_eq!((&plan.json()[0]["files"], &plan.json()[0]["unfinished"]), (&1.into(), &1.into()));
        project.run(&["unload", "--job", &job, "--yes"]).ok();
        assert_eq!(project.row(Db::Reporting, SUMS), "0|0|0");
        assert_eq!((ledger(project), states(project)), ("0|0|0|1".to_owned(), vec!["UNLOADED".to_owned()]));
        assert_eq!(project.row(Db::Reporting, ALL_OUT_ONCE), "210000|210000|delete|delete");
    });
}

#[test]
fn a_retry_ends_an_unload_that_was_killed_before_it_loads_again() {
    let project = Project::events("");
    half_unloaded(&project);
    project.run(&["retry", &project.job(1)]).ok();
    assert_eq!(project.row(Db::Reporting, SUMS), "0|0|0");
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "210000|210000");
    assert_eq!(ledger(&project), "210000|210000|1|0");
}

#[test]
fn a_worker_ends_an_unload_that_was_killed_and_loads_nothing() {
    let project = Project::events("");
    half_unloaded(&project);
    project.lose_metadata();
    project.run(&["setup"]).ok();
    project.scan_and_load();
    assert_eq!((project.statuses(), states(&project)), (vec!["LOADED".to_owned()], vec!["UNLOADED".to_owned()]));
    assert_eq!(project.row(Db::Reporting, ALL_OUT_ONCE), "210000|210000|delete|delete");
    assert_eq!(ledger(&project), "0|0|0|1");
}

/// Killed between the change of the metadata and the first step in the ledger.
#[test]
fn an_unload_that_only_revoked_is_ended_by_the_same_command_or_by_a_retry() {
    let revoke = "UPDATE scanner_files SET state = 'UNLOADED', rows_loaded = NULL, rows_rejected = NULL, \
                  loaded_time = NULL";
    for again in [vec!["unload", "--job", "1", "--yes"], vec!["retry", "--unloaded"], vec!["retry", "1"]] {
        let project = Project::events("");
        project.write_events(&key(0), 1..=5);
        project.scan_and_load();
        project.watch_table();
        project.tamper(Db::Metadata, revoke);
        project.scan().ok().in_silence();
        project.etl().ok().in_silence();
        project.run(&again).ok();
        assert_eq!(project.row(Db::Reporting, SUMS), "0|0|0", "{again:?}");
        project.scan_and_load();
        let loaded = if again[0] == "retry" { "5|15|150" } else { "0|0|0" };
        assert_eq!(project.row(Db::Reporting, SUMS), loaded, "{again:?}");
    }
}

/// Killed between the ledger, which lets the file in, and the metadata, where it is UNLOADED still.
#[test]
fn a_retry_that_is_killed_half_way_is_healed_by_running_it_again() {
    for again in [vec!["retry", "--unloaded"], vec!["retry", "1"]] {
        let project = Project::events("");
        project.write_events(&key(0), 1..=5);
        project.scan_and_load();
        project.run(&["unload", "--job", "1", "--yes"]).ok();
        project.tamper(Db::Reporting, "UPDATE loadline_files SET unloaded_time = NULL, epoch = epoch + 1");
        project.scan().ok().in_silence();
        project.etl().ok().in_silence();
        project.run(&again).ok();
        project.scan_and_load();
        assert_eq!(project.row(Db::Reporting, SUMS), "5|15|150", "{again:?}");
        assert_eq!(ledger(&project), "5|5|1|0");
    }
}

#[test]
fn lost_metadata_brings_no_unloaded_file_back() {
    let project = Project::events("");
    project.write_events(&key(0), 1..=5);
    project.write_events(&key(1), 11..=12);
    project.scan_and_load();
    let uri = uri(&project, &key(0));
    project.run(&["unload", "--file", &uri, "--yes"]).ok();
    project.lose_metadata();
    project.watch_table();
    project.run(&["setup"]).ok();
    project.scan_and_load();
    assert_eq!(project.statuses(), ["LOADED"]);
    assert_eq!(states(&project), ["UNLOADED", "LOADED"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM witness"), "0");
    assert_eq!(project.row(Db::Metadata, "SELECT rows_loaded FROM scanner_jobs WHERE id = 1"), "2");
    project.scan().ok().in_silence();
    project.run(&["retry", "1"]).ok();
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "7|7");
}

#[test]
fn a_worker_loads_on_while_other_files_are_unloaded() {
    let project = Project::events("scanner: {max_job_files: 1}");
    project.write_events(&key(0), 1..=1000);
    project.scan_and_load();
    project.write_events(&key(1), 2001..=252_000);
    project.scan().ok();
    project.watch_table();
    let child = project.start(&["etl"]);
    let begun = "SELECT count(*) FROM scanner_jobs WHERE status = 'PROCESSING'";
    eventually("a worker has the job", || project.row(Db::Metadata, begun) == "1");
    project.run(&["unload", "--job", &project.job(1), "--yes"]).ok();
    project.finish(&["etl"], child).ok();
    let sql = "SELECT count(*), min(id), max(id), count(DISTINCT id) FROM events";
    assert_eq!(project.row(Db::Reporting, sql), "250000|2001|252000|250000");
    assert_eq!(states(&project), ["UNLOADED", "LOADED"]);
}

/// Retried by somebody else between the change of the metadata and the take: the rows are theirs now.
#[test]
fn a_file_that_is_retried_under_an_unload_keeps_its_rows() {
    let project = Project::events("");
    project.write_events(&key(0), 1..=5);
    project.write_events(&key(1), 11..=12);
    project.scan_and_load();
    project.tamper(
        Db::Metadata,
        "CREATE TRIGGER retried AFTER UPDATE ON scanner_files WHEN NEW.state = 'UNLOADED' AND NEW.id = 1 BEGIN \
         UPDATE scanner_files SET state = 'IN_JOB' WHERE id = NEW.id; END",
    );
    project.run(&["unload", "--job", "1", "--yes"]).ok().says(&["1 file UNLOADED: 2 rows"]);
    assert_eq!(project.row(Db::Reporting, SUMS), "5|15|150");
    assert_eq!((ledger(&project).as_str(), states(&project).join(" ").as_str()), ("5|5|1|1", "IN_JOB UNLOADED"));
}

#[test]
fn files_whose_job_is_running_are_refused() {
    let project = Project::events("");
    project.write_events(&key(0), 1..=5);
    project.write(&key(1), "id\n1\n");
    project.scan().ok();
    project.etl().exits(3);
    // A worker of another machine has the job, in which one file is loaded already.
    project.run(&["retry", "1"]).ok();
    project.tamper(
        Db::Metadata,
        "UPDATE scanner_jobs SET status = 'PROCESSING', claim_token = 'x', lease_owner = 'elsewhere:1:1', \
         lease_until = '9999-01-01 00:00:00.000000' WHERE id = 1",
    );
    let before = project.dump();
    let uri = uri(&project, &key(0));
    let day = ["unload", "--feed", "events", "--from", "2026-01-01", "--to", "2026-01-02", "--yes"];
    for line in [&["unload", "--job", "1", "--yes"][..], &["unload", "--file", &uri, "--yes"], &day] {
        project.run(line).exits(4).says(&["a worker is loading job 1", "run the same command again"]);
    }
    project.run(&["unload", "--feed", "events", "--from", "2026-01-02", "--to", "2026-01-03", "--yes"]).ok();
    assert_eq!(project.dump(), before);
}
