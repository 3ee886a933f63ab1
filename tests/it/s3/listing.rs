//! Listing a bucket: which keys, how many requests, how much memory.

use std::time::Duration;

use super::bucket::MemoryBucket;
use super::server::{Kind, S3Server};
use super::whole_path::project;
use crate::e2e::project::{Db, Project, events, hour};

/// Seconds from the time that the bucket counts from to 2026-01-01.
const FIRST_HOUR: u64 = 31_536_000;

/// So many files in each of these hours, written when it begins.
fn fill(bucket: &MemoryBucket, hours: std::ops::Range<usize>, per_hour: usize) {
    for number in hours {
        for file in 0..per_hour {
            bucket.put(
                &format!("in/{}/{file:05}.csv", hour(number)),
                "id,amount,note\n1,2,x\n",
                FIRST_HOUR + number as u64 * 3600,
            );
        }
    }
}

#[test]
fn odd_keys_are_registered_or_reported_and_stop_nothing() {
    let server = S3Server::start();
    let names = [
        "plain.csv",
        "a,b.csv",
        "100%2F.csv",
        "snail 🐌.csv",
        "UPPER.csv",
        "upper.csv",
        "tail.csv ",
        "a+b&c=d.csv",
        "#?.csv",
    ];
    for (number, name) in names.iter().enumerate() {
        let id = number as u64;
        server.bucket.put(&format!("in/{}/{name}", hour(0)), events(id..id + 1), id);
    }
    let unaddressable = [
        format!("in/{}//b.csv", hour(0)),
        format!("in/{}/../b.csv", hour(0)),
        "in//x.csv".to_owned(),
        format!("in/{}/a\u{7}.csv", hour(0)),
    ];
    for key in &unaddressable {
        server.bucket.put(key, events(90..99), 50);
    }
    let project = project(&server, "in", "");
    project.run(&["-v", "scan"]).ok().says(&["9 new files", "keys that can't be addressed: 4", "//b.csv", "../b.csv"]);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id), max(id) FROM events"), "9|9|8");
    let uris = project.row(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status = 'LOADED'");
    for part in ["a%2Cb.csv", "100%252F.csv", "snail%20%F0%9F%90%8C.csv", "tail.csv%20", "UPPER.csv", "upper.csv"] {
        assert!(uris.split(',').any(|uri| uri.ends_with(part)), "{part} is not in {uris}");
    }
    for uri in uris.split(',') {
        let asked = project.run(&["sql", "--uri", uri, "-o", "csv", "SELECT count(*) AS n FROM source"]).ok();
        assert_eq!(asked.stdout, "n\n1\n", "{uri}");
    }
    project.scan().ok().in_silence();
}

#[test]
fn a_scan_asks_for_the_pages_of_its_window_only() {
    let server = S3Server::start();
    fill(&server.bucket, 0..110, 50);
    // Two days before the newest file: 49 folders, 2450 keys.
    let project = project(&server, "in", "scanner: {lookback: 48h}");
    server.forget_seen();
    project.scan().ok().says(&["5,500 new files"]);
    assert_eq!(server.count(Kind::List), 6);
    server.forget_seen();
    fill(&server.bucket, 110..111, 50);
    project.scan().ok().says(&["50 new files"]);
    let lists = server.seen(Kind::List);
    assert!(lists.len() <= 2450 / 1000 + 2, "{} requests", lists.len());
    assert!(lists[0].query.contains("start-after=in%2F2026%2F01%2F"), "{}", lists[0].query);

    server.forget_seen();
    project.run(&["scan", "--full"]).ok().in_silence();
    assert_eq!(server.count(Kind::List), 6);

    server.forget_seen();
    let backfill = ["scan", "--from", "2026-01-02T00", "--to", "2026-01-02T20"];
    project.run(&backfill).ok();
    assert!(server.count(Kind::List) <= 2, "{} requests", server.count(Kind::List));
}

#[test]
fn a_server_that_ignores_start_after_is_listed_whole() {
    let server = S3Server::start();
    fill(&server.bucket, 0..110, 30);
    let project = project(&server, "in", "scanner: {lookback: 1h}");
    project.scan().ok().says(&["3,300 new files"]);
    server.bucket.ignore_start_after();
    fill(&server.bucket, 110..111, 30);
    server.forget_seen();
    let ran = project.run(&["-v", "scan"]).ok().says(&["30 new files"]);
    assert_eq!(ran.stderr.matches("can't be listed from the middle").count(), 1, "{ran}");
    assert_eq!(server.count(Kind::List), 4);
}

#[test]
fn a_listing_that_begins_anew_with_every_token_ends() {
    let server = S3Server::start();
    fill(&server.bucket, 0..3, 500);
    let project = project(&server, "in", "");
    server.bucket.ignore_tokens();
    project.scan().exits(4).says(&["does not advance"]);
    assert!(server.count(Kind::List) <= 3, "{} requests", server.count(Kind::List));
}

/// The most memory that the process had, in KiB, and how it ended.
fn peak_of(project: &Project, arguments: &[&str]) -> u64 {
    let mut child = project.start(arguments);
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(high.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    project.finish(arguments, child).ok();
    peak
}

#[test]
fn two_hundred_thousand_new_keys_are_scanned_in_little_memory() {
    let server = S3Server::start();
    fill(&server.bucket, 0..200, 1000);
    let project = project(&server, "in", "");
    server.forget_seen();
    let peak = peak_of(&project, &["-q", "scan"]);
    assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_files WHERE state = 'IN_JOB'"), "200000");
    assert!(peak > 0 && peak < 200 * 1024, "{peak} KiB");
    assert!(server.count(Kind::List) <= 202, "{} requests", server.count(Kind::List));
    println!("200,000 keys: {} MiB", peak / 1024);
}
