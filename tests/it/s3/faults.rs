//! What breaks on the way and mends itself; what doesn't; files that change.

use super::server::{Effect, Kind, S3Server};
use super::whole_path::{SUMS, project};
use crate::e2e::project::{Db, Project, events, hour};

/// A file of several chunks: about 90 KB.
const IDS: std::ops::Range<u64> = 0..6000;
const IDS_SUM: u64 = 179_970_000;

#[test]
fn what_passes_is_tried_again_where_it_stopped() {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/long.csv", hour(0)), events(IDS), 0);
    let project = project(&server, "", "");
    server.forget_seen();
    for effect in
        [Effect::Status(500, "InternalError"), Effect::Status(503, "SlowDown"), Effect::Reset, Effect::Cut(20)]
    {
        server.inject(Kind::List, 0, 1, effect);
    }
    project.scan().ok().says(&["1 new file"]);
    let effects = [
        Effect::Status(500, "InternalError"),
        Effect::Status(503, "SlowDown"),
        Effect::Reset,
        Effect::Cut(0),
        Effect::Cut(40_000),
        Effect::Status(503, "SlowDown"),
        Effect::Cut(1),
        Effect::Cut(10_000),
    ];
    for effect in effects {
        server.inject(Kind::Get, 0, 1, effect);
    }
    project.etl().ok();
    assert_eq!(server.faults_left(), 0);
    assert_eq!(project.row(Db::Reporting, SUMS), format!("6000|6000|{IDS_SUM}"));
    let gets = server.seen(Kind::Get);
    assert!(gets.iter().all(|get| get.if_match.is_some()), "{gets:?}");
    let ranges: Vec<_> = gets.iter().map(|get| get.range.as_deref().unwrap_or("all")).collect();
    assert_eq!(ranges[..4], ["all"; 4]);
    assert_eq!(ranges[5..], ["bytes=40000-", "bytes=40000-", "bytes=40001-", "bytes=50001-"]);
    assert_eq!(project.row(Db::Metadata, "SELECT attempts FROM scanner_jobs WHERE status = 'LOADED'"), "1");
}

#[test]
fn what_does_not_pass_puts_the_job_off() {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/long.csv", hour(0)), events(IDS), 0);
    let project = project(&server, "", "");
    project.scan().ok();
    server.inject(Kind::Get, 0, 1000, Effect::Status(503, "SlowDown"));
    project.etl().exits(4).says(&["SlowDown"]);
    assert_eq!(project.statuses(), ["SENT_FOR_ETL"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "0");
    server.inject(Kind::List, 0, 1000, Effect::Reset);
    project.scan().exits(4).says(&["can't be reached"]);
}

#[test]
fn a_listing_that_breaks_off_keeps_what_it_found_and_the_next_scan_goes_on() {
    let server = S3Server::start();
    for number in 0..1500_u64 {
        server.bucket.put(&format!("{}/{number:04}.csv", hour(0)), events(number..number + 1), number);
    }
    let project = project(&server, "", "");
    // As many as a request bears, on the second page.
    server.inject(Kind::List, 1, 6, Effect::Status(503, "SlowDown"));
    project.scan().exits(4).says(&["broke off", "SlowDown"]);
    assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_files WHERE state = 'IN_JOB'"), "1000");
    assert_eq!(server.faults_left(), 0);
    project.scan().ok().says(&["500 new files"]);
    assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_files WHERE state = 'IN_JOB'"), "1500");
}

fn assert_not_loaded(project: &Project) {
    project.etl().exits(3).says(&["changed since the scan"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "0");
}

#[test]
fn a_file_overwritten_before_its_load_is_not_loaded() {
    let server = S3Server::start();
    let key = format!("{}/x.csv", hour(0));
    server.bucket.put(&key, events(10..20), 0);
    let project = project(&server, "", "");
    project.scan().ok();
    // Of the same size.
    server.bucket.put(&key, events(20..30), 1);
    assert_not_loaded(&project);
}

#[test]
fn a_file_in_quarantine_is_loaded_in_its_new_version_when_a_person_says_so() {
    let server = S3Server::start();
    let key = format!("{}/x.csv", hour(0));
    server.bucket.put(&key, events(10..20), 0);
    let project = project(&server, "", "");
    project.scan().ok();
    server.bucket.put(&key, events(20..30), 1);
    project.scan().ok().says(&["1 file QUARANTINED", &key]);
    project.etl().exits(3);
    project.run(&["retry", &project.job(1)]).ok();
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, SUMS), "10|10|2450");
    project.scan().ok().in_silence();
    assert!(server.count(Kind::Head) > 0);
}

#[test]
fn a_file_overwritten_while_it_is_read_is_never_half_old_half_new() {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/x.csv", hour(0)), events(IDS), 0);
    let project = project(&server, "", "");
    project.scan().ok();
    server.inject(Kind::Get, 0, 1, Effect::Cut(40_000));
    let other = events(IDS).replace(",n", ",m");
    server.inject(Kind::Get, 0, 1, Effect::Replace(other.into()));
    assert_not_loaded(&project);
    assert_eq!(server.faults_left(), 0);
}

#[test]
fn a_file_that_is_gone_fails_by_itself() {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/gone.csv", hour(0)), events(0..10), 0);
    server.bucket.put(&format!("{}/stays.csv", hour(0)), events(10..30), 0);
    let project = project(&server, "", "");
    project.scan().ok();
    server.bucket.remove(&format!("{}/gone.csv", hour(0)));
    project.etl().exits(3).says(&["gone.csv", "it was there at the scan"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "20");
}
