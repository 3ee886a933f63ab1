//! `jobs` and `rejects` as people and programs read them.

use std::collections::BTreeSet;

use super::project::{Db, EVENTS_HEADER, Project, hour};

/// The first job LOADED with a reject, the second FAILED, the third waiting.
fn three_jobs() -> Project {
    let project = Project::events("scanner: {max_job_files: 1}");
    project.write(
        &format!("{}/events.csv", hour(0)),
        format!("{EVENTS_HEADER}1,10,n\nx,20,\"a \"\"b\"\", c\"\n3,many,n\n"),
    );
    project.write(&format!("{}/events.csv", hour(1)), "id\n");
    project.scan().ok();
    project.etl().exits(3);
    project.write_events(&format!("{}/events.csv", hour(2)), [9]);
    project.scan().ok();
    project
}

#[test]
fn jobs_as_json_and_csv_have_the_columns_of_their_table() {
    let project = three_jobs();
    let jobs = project.run(&["jobs", "-o", "json"]).ok().json();
    let statuses: Vec<&str> = jobs.as_array().unwrap().iter().map(|job| job["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["LOADED", "FAILED", "SENT_FOR_ETL"], "NONE is not shown");
    let columns = project.rows(Db::Metadata, "SELECT name FROM pragma_table_info('scanner_jobs')");
    let mut columns: BTreeSet<String> = columns.into_iter().map(|mut row| row.remove(0)).collect();
    assert!(columns.remove("claim_token"));
    let keys: BTreeSet<String> = jobs[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, columns);
    let csv = project.run(&["jobs", "-o", "csv"]).ok().stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers: BTreeSet<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(headers, columns);
    assert_eq!(reader.records().count(), 3);
}

#[test]
fn jobs_are_narrowed_by_status_and_feed() {
    let project = three_jobs();
    let ids = |arguments: &[&str]| -> Vec<u64> {
        let jobs = project.run(arguments).ok().json();
        jobs.as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    let all = ids(&["jobs", "-o", "json"]);
    assert_eq!(ids(&["jobs", "-o", "json", "--status", "FAILED"]), all[1..2]);
    assert_eq!(ids(&["jobs", "-o", "json", "--status", "processing"]), Vec::<u64>::new());
    assert_eq!(ids(&["jobs", "-o", "json", "--feed", "events"]), all);
}

#[test]
fn tables_tell_the_same_to_people() {
    let project = three_jobs();
    let overview = project.run(&["jobs"]).ok().stdout;
    for part in ["LOADED", "FAILED", "SENT_FOR_ETL", "wrong header"] {
        assert!(overview.contains(part), "{part}: {overview}");
    }
    assert!(!overview.contains("NONE"), "{overview}");
    let failed = project.run(&["jobs", &project.job(2)]).ok().stdout;
    for part in ["FAILED", &hour(1), "wrong header", &format!("loadline retry {}", project.job(2))] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    let loaded = project.run(&["jobs", &project.job(1)]).ok().stdout;
    for part in ["LOADED", "Why records were rejected", "amount"] {
        assert!(loaded.contains(part), "{part}: {loaded}");
    }
    let job = project.run(&["jobs", &project.job(1), "-o", "json"]).ok().json();
    assert_eq!(job["invalid_values"]["amount"], 1);
    assert_eq!(job["scanner_files"][0]["records"], 3);
}

#[test]
fn rejects_as_json_and_csv_hold_the_raw_text() {
    let project = three_jobs();
    let rejects = project.run(&["rejects", "-o", "json"]).ok().json();
    assert_eq!(rejects.as_array().unwrap().len(), 1);
    let raw = rejects[0]["raw"].as_str().unwrap();
    assert_eq!(raw.trim_end(), "x,20,\"a \"\"b\"\", c\"");
    assert_eq!((rejects[0]["feed"].as_str(), rejects[0]["column_name"].as_str()), (Some("events"), Some("id")));
    let csv = project.run(&["rejects", "-o", "csv"]).ok().stdout;
    let records: Vec<csv::StringRecord> =
        csv::Reader::from_reader(csv.as_bytes()).records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1);
    assert!(records[0].iter().any(|cell| cell == raw), "{csv}");
    assert!(project.run(&["rejects"]).ok().stdout.contains("int64"));
    assert_eq!(project.run(&["rejects", "--job", &project.job(2), "-o", "json"]).ok().json(), serde_json::json!([]));
}
