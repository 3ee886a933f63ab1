//! Whether all is well, as a person and as cron ask it.

use std::fs;
use std::os::unix::net::UnixListener;

use super::project::{Db, Project, hour};

/// Longer than the program will live.
const FOR_EVER: &str = "    fresh_within: 876000h";

fn stale(project: &Project) -> (bool, String) {
    let ran = project.run(&["status", "-o", "json"]);
    let json = ran.json();
    let feed = &json["feeds"][0];
    assert_eq!(ran.code, Some(if json["needs_a_person"].as_bool().unwrap() { 3 } else { 0 }), "{ran}");
    (feed["stale"].as_bool().unwrap(), feed["stale_because"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_feed_is_stale_until_what_is_loaded_is_new_enough() {
    let project = Project::events(FOR_EVER);
    assert_eq!(stale(&project), (true, "nothing of it is loaded".to_owned()));
    project.write_events(&format!("{}/a.csv", hour(0)), [1]);
    project.scan_and_load();
    assert_eq!(stale(&project), (false, String::new()));

    // The same rows, asked for more.
    project.configure("    fresh_within: 1s");
    let (is_stale, why) = stale(&project);
    assert!(is_stale && why.starts_with("its newest loaded hour ended"), "{why}");
    let ran = project.run(&["status"]).exits(3);
    assert!(ran.stdout.contains("STALE") && ran.stdout.contains("fresh_within is 1 s"), "{ran}");

    // Without the key nobody is woken.
    project.configure("");
    assert_eq!(stale(&project), (false, String::new()));
}

#[test]
fn a_file_that_waits_too_long_makes_its_feed_stale() {
    let project = Project::events("    fresh_within: 876000h\nscanner: {max_wait: 876000h, max_job_files: 9}");
    project.write_events("2100/01/01/00/ahead.csv", [1]);
    project.configure("    fresh_within: 1h");
    project.scan_and_load();
    assert_eq!(stale(&project), (false, String::new()), "an hour that is still to come");
    project.configure("    fresh_within: 1h\nscanner: {max_wait: 876000h, max_job_files: 9}");
    project.write_events("2100/01/01/01/b.csv", [2]);
    project.scan().ok();
    assert_eq!(stale(&project), (false, String::new()));
    project.tamper(Db::Metadata, "UPDATE scanner_files SET found_time = '2001-01-01 00:00:00.000000'");
    let (is_stale, why) = stale(&project);
    assert!(is_stale && why.starts_with("a file has waited for"), "{why}");
    let json = project.run(&["status", "-o", "json"]).json();
    assert_eq!((&json["backlog_files"], &json["feeds"][0]["backlog_files"]), (&1.into(), &1.into()));
    assert_eq!(json["oldest_unloaded_hour"], "2100-01-01T01:00:00.000000Z");
}

#[test]
fn what_failed_and_what_changed_too_early_need_a_person() {
    let project = Project::events("");
    project.run(&["status"]).ok();
    let bad = format!("{}/bad.csv", hour(0));
    project.write(&bad, "id\n1\n");
    project.scan().ok();
    project.etl().exits(3);
    let ran = project.run(&["status"]).exits(3);
    let job = project.job(1);
    for said in [format!("job {job} (events, "), format!("loadline retry {job}\n"), "wrong header".to_owned()] {
        assert!(ran.stdout.contains(&said), "{said}: {ran}");
    }
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{ran}");
    let json = project.run(&["status", "-o", "json"]).exits(3).json();
    assert_eq!(json["failed"][0]["next_step"], format!("loadline retry {job}"));
    assert_eq!((&json["jobs"]["FAILED"], &json["jobs"]["LOADED"]), (&1.into(), &0.into()));

    project.write_events(&bad, [1, 2]);
    project.run(&["retry", &job]).ok();
    project.etl().ok();
    project.run(&["status"]).ok();

    // Changed after it was loaded: nothing is missing, but it is told. Changed before: a person must decide.
    project.write_events(&bad, [1, 2, 3]);
    project.scan().ok();
    let ran = project.run(&["status"]).exits(0);
    assert!(ran.stdout.contains("changed after they were loaded"), "{ran}");
    project.tamper(Db::Metadata, "UPDATE scanner_files SET loaded_time = NULL, job_id = NULL");
    let ran = project.run(&["status"]).exits(3);
    assert!(ran.stdout.contains("loadline retry --quarantined"), "{ran}");
}

#[test]
fn a_job_whose_worker_died_is_shown_with_its_owner() {
    let project = Project::events("");
    project.write_events(&format!("{}/a.csv", hour(0)), [1]);
    project.scan().ok();
    project.tamper(
        Db::Metadata,
        "UPDATE scanner_jobs SET status = 'PROCESSING', claim_token = 'secret-token', lease_owner = 'elsewhere:7:0', \
         lease_until = '2001-01-01 00:00:00.000000', started_time = created_time, expiries = 1 WHERE id > 0",
    );
    let ran = project.run(&["status"]).ok();
    for said in ["At work:", "by elsewhere:7:0", "its lease ended", "1 worker died on it"] {
        assert!(ran.stdout.contains(said), "{said}: {ran}");
    }
    assert!(!ran.stdout.contains("secret-token"));
    let json = project.run(&["status", "-o", "json"]).ok();
    assert!(!json.stdout.contains("secret-token"));
    assert_eq!(json.json()["at_work"][0]["lease_expired"], true);
}

#[test]
fn one_feed_can_be_asked_for_and_others_do_not_matter() {
    let project = Project::events("");
    let config = fs::read_to_string(project.path("config.yaml")).unwrap();
    let quiet = "  - {name: quiet, prefix: q/, schema: schemas/events.yaml, fresh_within: 1h}\n";
    fs::write(project.path("config.yaml"), format!("{}{quiet}", config.trim_end().to_owned() + "\n")).unwrap();
    // Written into the config and not set up yet.
    project.run(&["status", "--feed", "quiet"]).exits(3);
    project.run(&["setup"]).ok();
    project.run(&["status", "--feed", "events"]).ok();
    project.run(&["status", "--feed", "event"]).exits(2).says(&["events"]);
    let ran = project.run(&["status"]).exits(3);
    assert!(ran.stdout.contains("│ all "), "{ran}");
}

#[test]
fn a_database_out_of_reach_is_4_and_the_other_is_shown_all_the_same() {
    let project = Project::events("");
    project.write_events(&format!("{}/a.csv", hour(0)), [1]);
    project.scan().ok();
    for db in [Db::Reporting, Db::Metadata] {
        // A socket in the place of the file: it is there, and can't be opened.
        let (path, aside) = (project.db_path(db), project.path("aside.db"));
        fs::rename(&path, &aside).unwrap();
        let socket = UnixListener::bind(&path).unwrap();
        let ran = project.run(&["status"]).exits(4).says(&["can't be opened"]);
        assert_eq!(ran.stdout.contains("1 waiting"), db == Db::Reporting, "{ran}");
        drop(socket);
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    project.run(&["status"]).ok();
}
