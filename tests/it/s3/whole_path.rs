//! From a bucket into SQLite.

use super::server::{Kind, S3Server};
use crate::e2e::project::{Db, EVENTS_SCHEMA, Project, events, gzip, hour};

/// A project over the prefix of a bucket, set up, with one feed `events`.
pub fn project(server: &S3Server, prefix: &str, settings: &str) -> Project {
    let project = Project::over(&server.source(prefix), &server.variables(), "events", EVENTS_SCHEMA, settings);
    project.run(&["setup"]).ok();
    project
}

pub const SUMS: &str = "SELECT count(*), count(DISTINCT id), sum(amount) FROM events";

#[test]
fn files_of_a_bucket_reach_the_table_once() {
    let server = S3Server::start();
    for number in 0..4_u64 {
        let text = events(number * 100..number * 100 + 50);
        server.bucket.put(&format!("in/eu/{}/events.csv", hour(number as usize)), text, number);
    }
    let packed = gzip(events(400..450).as_bytes());
    server.bucket.put(&format!("in/eu/{}/more.csv.gz", hour(3)), packed, 9);
    server.bucket.put(&format!("in/us/{}/elsewhere.csv", hour(0)), events(0..9), 0);
    server.bucket.put("in/eu/", "", 0);
    let project = project(&server, "in/eu", "");
    project.scan().ok().says(&["5 new files"]);
    project.etl().ok();
    assert_eq!(
        project.row(Db::Reporting, SUMS),
        format!("250|250|{}", (0..5).map(|n| n * 1000 * 50 + 12250).sum::<u64>())
    );
    assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_files WHERE key LIKE '2026/01/01/%'"), "5");
    let files = project.row(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status = 'LOADED'");
    let uri = format!("s3://hourly-files/in/eu/{}/events.csv", hour(0));
    assert!(files.starts_with(&uri), "{files}");
    let asked = project.run(&["sql", "--uri", &uri, "-o", "csv", "SELECT count(*) AS n FROM clean"]).ok();
    assert_eq!(asked.stdout, "n\n50\n");
    project.scan().ok().in_silence();
    project.etl().ok().in_silence();
    project.run(&["setup", "--check"]).ok();
}

#[test]
fn every_feed_lists_its_prefix_only() {
    let server = S3Server::start();
    for (feed, ids) in [("a", 0..10), ("b", 10..30)] {
        server.bucket.put(&format!("in/{feed}/{}/x.csv", hour(0)), events(ids), 0);
    }
    let settings = "    prefix: a\n  - {name: others, prefix: b, schema: schemas/events.yaml}\n";
    let project = project(&server, "in/", settings);
    server.forget_seen();
    project.scan_and_load();
    assert_eq!(
        project.row(Db::Reporting, "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM others)"),
        "10|20"
    );
    let lists = server.seen(Kind::List);
    assert_eq!(lists.len(), 2, "{lists:?}");
    assert!(lists[0].query.contains("prefix=in%2Fa%2F&") && lists[1].query.contains("prefix=in%2Fb%2F&"), "{lists:?}");
}

#[test]
fn a_bucket_that_moves_loads_nothing_twice() {
    let server = S3Server::start();
    for prefix in ["old", "new/place"] {
        server.bucket.put(&format!("{prefix}/{}/x.csv", hour(0)), events(0..10), 7);
    }
    let before = project(&server, "old", "");
    before.scan_and_load();
    let config = std::fs::read_to_string(before.path("config.yaml")).unwrap();
    std::fs::write(before.path("config.yaml"), config.replace("/old\"", "/new/place\"")).unwrap();
    before.scan().ok().in_silence();
    before.etl().ok().in_silence();
    assert_eq!(before.row(Db::Reporting, "SELECT count(*) FROM events"), "10");
}

/// The same path over another implementation, whose objects are files.
#[test]
fn files_served_by_s3s_fs_are_loaded() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start_in(root.path());
    for number in 0..3_u64 {
        let folder = root.path().join("hourly-files/in").join(hour(number as usize));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a, b.csv"), events(number * 10..number * 10 + 10)).unwrap();
    }
    let project = project(&server, "in", "");
    project.scan().ok().says(&["3 new files"]);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, SUMS), "30|30|4350");
    project.scan().ok().in_silence();
    // It lists no ETags and does not know If-Match: sizes and times are compared.
    let key = format!("{}/new.csv", hour(3));
    let path = root.path().join("hourly-files/in").join(&key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, events(40..50)).unwrap();
    project.run(&["scan", "--full"]).ok().says(&["1 new file"]);
    std::fs::write(&path, events(60..75)).unwrap();
    project.etl().exits(3).says(&[&key, "changed since the scan"]);
    assert_eq!(project.row(Db::Reporting, SUMS), "30|30|4350");
}
