//! Every answer to "why is this file loaded, or not?".

use std::fs;
use std::os::unix::net::UnixListener;

use super::project::{Db, Project, Ran, hour};

pub struct Asked {
    ran: Ran,
    pub json: serde_json::Value,
}

pub fn ask(project: &Project, file: &str) -> Asked {
    let ran = project.run(&["explain", file]);
    let json = project.run(&["explain", file, "-o", "json"]);
    assert_eq!(ran.code, json.code, "{ran}");
    Asked { json: json.json(), ran }
}

impl Asked {
    /// The first answer's word, which the page says as well.
    #[track_caller]
    pub fn is(self, word: &str) -> Self {
        assert_eq!(self.json["answers"][0]["answer"], word, "{}", self.ran);
        assert!(self.ran.stdout.contains(&word.replace('_', " ")), "{}", self.ran);
        self
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.ran.code, Some(code), "{}", self.ran);
        self
    }

    #[track_caller]
    fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.ran.stdout.contains(text), "`{text}` is not said: {}", self.ran);
        }
        self
    }
}

fn key(name: &str) -> String {
    format!("{}/{name}", hour(0))
}

fn uri(project: &Project, key: &str) -> String {
    format!("file://{}/{key}", fs::canonicalize(project.path("incoming")).unwrap().display())
}

/// Runs the commands that an answer names, in their order, as a shell would.
pub fn follow(project: &Project, asked: &Asked) {
    let steps = asked.json["answers"][0]["next"].as_array().unwrap();
    assert!(!steps.is_empty(), "{}", asked.ran);
    for step in steps {
        project.shell(step["command"].as_str().unwrap()).ok();
    }
}

#[test]
fn files_that_are_no_files_of_a_feed() {
    let project = Project::events("    prefix: in/\n    files: 'e*.csv'");
    ask(&project, "s3://elsewhere/a.csv").is("NOT_OF_THE_SOURCE").exits(0);
    for (key, why) in [
        ("other/2026/01/01/00/e.csv", "does not begin with the prefix `in/`"),
        ("in/2026/01/01/e.csv", "its folders are not those of the layout"),
        ("in/2026/01/01/00/x.csv", "does not match `e*.csv`"),
        ("in/2026/01/01/00/.e.csv", "begins with `.`"),
        ("in/2026/01/01/00/_SUCCESS", "begins with `_`"),
    ] {
        project.write_events(key, [1]);
        ask(&project, key).is("OF_NO_FEED").exits(0).says(&[why, "feed events: "]);
    }
}

#[test]
fn files_that_no_scan_has_seen() {
    let project = Project::events("scanner: {start_from: 2026-01-01, settle: 1s}");
    ask(&project, &key("nowhere.csv")).is("NOT_THERE").exits(0).says(&["nothing under this key"]);
    project.write_events(&key("new.csv"), [1]);
    ask(&project, &key("new.csv")).is("NOT_LISTED_YET").says(&["loadline scan --feed events"]);
    project.write(&key("empty.csv"), "");
    ask(&project, &key("empty.csv")).is("EMPTY");

    let early = "2025/12/31/23/early.csv";
    project.write_events(early, [2]);
    let asked = ask(&project, early).is("BEFORE_START_FROM");
    let asked = asked.says(&["loadline scan --feed events --from 2025-12-31T23 --to 2026-01-01T00"]);
    follow(&project, &asked);
    ask(&project, early).is("WAITING");

    project.configure("scanner: {settle: 876000h}");
    ask(&project, &key("new.csv")).is("NOT_SETTLED").says(&["scanner.settle"]);
}

#[test]
fn the_way_of_a_file_from_found_to_loaded() {
    let project = Project::events("scanner: {max_wait: 1h}");
    let key = key("a, 100%.csv");
    project.write(&key, "id,amount,note\n1,10,x\nbad,20,y\n");
    project.scan().ok();
    ask(&project, &key).is("FOUND").says(&["scanner.max_wait"]);
    project.configure("");
    project.scan().ok();
    let listed = project.row(Db::Metadata, "SELECT files FROM scanner_jobs WHERE id > 0");
    assert!(listed.ends_with("a%2C%20100%25.csv"), "{listed}");
    let asked = ask(&project, &listed).is("WAITING").says(&["loadline etl"]);
    project.tamper(
        Db::Metadata,
        "UPDATE scanner_jobs SET run_after = '2100-01-01 00:00:00.000000', attempts = 2, failure_msg = 'no route' \
         WHERE id > 0",
    );
    ask(&project, &listed)
        .is("WAITING")
        .says(&["put off after attempt 2: no route", "not before 2100-01-01T00:00:00Z"]);
    project.tamper(Db::Metadata, "UPDATE scanner_jobs SET run_after = '2000-01-01 00:00:00.000000'");
    follow(&project, &asked);

    let file = project.row(Db::Reporting, "SELECT file FROM loadline_files");
    let told = [
        "by job 1",
        "1 row and 1 reject",
        "in table events",
        &format!("WHERE _file = {file}"),
        "loadline rejects --job 1",
        &format!("unload --file {listed} --yes"),
    ];
    // By its full URI, by its path, and by its path percent-encoded.
    for named in [listed.as_str(), &key, &key.replace(' ', "%20").replace('%', "%25").replace("%2520", "%20")] {
        let asked = ask(&project, named).is("LOADED").exits(0).says(&told);
        assert_eq!(asked.json["answers"][0]["ledger"]["file"].to_string(), file);
        assert_eq!(asked.json["source"]["there"], true);
    }
    fs::remove_file(project.incoming(&key)).unwrap();
    ask(&project, &key).is("LOADED").says(&["it is gone from the source"]);
}

#[test]
fn a_name_that_may_be_two_files_is_refused() {
    let project = Project::events("");
    project.write_events(&key("a%20b.csv"), [1]);
    project.write_events(&key("a b.csv"), [2]);
    let ran = project.run(&["explain", &key("a%20b.csv")]).exits(2);
    assert!(ran.stderr.contains("a%2520b.csv") && ran.stderr.contains("a%20b.csv"), "{ran}");
}

#[test]
fn failed_changed_and_taken_out() {
    let project = Project::events("");
    let (bad, early) = (key("bad.csv"), key("early.csv"));
    project.write(&bad, "id\n1\n");
    project.scan().ok();
    project.etl().exits(3);
    let asked = ask(&project, &bad).is("FAILED").says(&["wrong header", "nothing of it is in the table", "retry 1"]);
    project.write_events(&bad, [1, 2]);
    ask(&project, &bad).is("FAILED").says(&["it has changed at the source"]);
    follow(&project, &asked);
    ask(&project, &bad).is("LOADED").says(&["2 rows and 0 rejects"]);

    project.write_events(&bad, [1, 2, 3]);
    ask(&project, &bad).is("LOADED").says(&["it has changed at the source: known version"]);
    project.scan().ok();
    let uri = uri(&project, &bad);
    let steps = [format!("unload --file {uri} --yes"), format!("retry --unloaded --file {uri}")];
    let asked = ask(&project, &bad).is("QUARANTINED").says(&["known version", ", now ", "the old version stay"]);
    let asked = asked.says(&[&steps[0], &steps[1]]);
    assert!(asked.ran.stdout.find(&steps[0]) < asked.ran.stdout.find(&steps[1]), "{}", asked.ran);

    project.tamper(Db::Metadata, "UPDATE scanner_files SET state = 'UNLOADED', loaded_time = NULL");
    ask(&project, &bad).is("UNLOADED").says(&[&steps[1]]);

    // In no job yet; and then in one that has not ended.
    project.configure("scanner: {max_wait: 1h}");
    project.write_events(&early, [7]);
    project.scan().ok();
    project.write_events(&early, [7, 8]);
    project.scan().ok();
    ask(&project, &early).is("QUARANTINED").says(&["before it was loaded", "loadline retry --quarantined"]);
    project.configure("");
    let asked = ask(&project, &early).is("QUARANTINED");
    follow(&project, &asked);
    project.write_events(&early, [7, 8, 9]);
    project.scan().ok();
    ask(&project, &early).is("QUARANTINED").says(&["ends as FAILED without it", "loadline retry 2"]);
    project.etl().exits(3);
    let asked = ask(&project, &early).is("QUARANTINED").says(&["loadline retry 2"]);
    follow(&project, &asked);
    ask(&project, &early).is("LOADED").says(&["3 rows"]);
}

#[test]
fn a_job_at_work_names_its_worker() {
    let project = Project::events("");
    project.write_events(&key("a.csv"), [1]);
    project.scan().ok();
    let claim = |until: &str| {
        project.tamper(
            Db::Metadata,
            &format!(
                "UPDATE scanner_jobs SET status = 'PROCESSING', claim_token = 'secret-token', lease_owner = 'there:7:0', \
                 attempts = 1, lease_until = '{until} 00:00:00.000000' WHERE id > 0"
            ),
        );
    };
    claim("2100-01-01");
    let asked = ask(&project, &key("a.csv")).is("AT_WORK").says(&["attempt 1, by there:7:0"]);
    assert!(!asked.ran.stdout.contains("secret-token") && !asked.json.to_string().contains("secret-token"));
    claim("2001-01-01");
    ask(&project, &key("a.csv")).is("AT_WORK").says(&["the worker is dead or cut off", "loadline etl"]);
}

#[test]
fn each_of_the_three_places_may_be_missing() {
    let project = Project::events("");
    project.write_events(&key("a.csv"), [1, 2]);
    project.scan_and_load();
    let uri = uri(&project, &key("a.csv"));

    fs::rename(project.path("incoming"), project.path("unmounted")).unwrap();
    let asked = ask(&project, &uri).is("LOADED").exits(4).says(&["2 rows and 0 rejects", "at the source: not known"]);
    assert_eq!(asked.json["out_of_reach"][0]["what"], "source");
    fs::rename(project.path("unmounted"), project.path("incoming")).unwrap();

    project.lose_metadata();
    ask(&project, &uri).is("LOADED").exits(2).says(&["the ledger says", "out of reach: the metadata database"]);
    project.run(&["setup"]).ok();
    ask(&project, &uri).is("LOADED").exits(0).says(&["scan and etl put it back, and load nothing twice"]);
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "2");

    fs::remove_file(project.db_path(Db::Reporting)).unwrap();
    let _socket = UnixListener::bind(project.db_path(Db::Reporting)).unwrap();
    ask(&project, &uri).is("LOADED").exits(4).says(&["2 rows and 0 rejects", "out of reach: the reporting database"]);
}
