//! Feeds and their files in the shapes that people have them.

use std::fs;

use super::project::{Db, EVENTS_HEADER, EVENTS_SCHEMA, Project, events, gzip, hour};

#[test]
fn files_come_in_all_shapes() {
    let project = Project::events("");
    let write = |number: usize, name: &str, bytes: &[u8]| project.write(&format!("{}/{name}", hour(number)), bytes);
    write(0, "empty.csv", b"");
    write(1, "header-only.csv", EVENTS_HEADER.as_bytes());
    write(2, "header-without-line-end.csv", EVENTS_HEADER.trim_end().as_bytes());
    write(3, "other-order.csv", b"note,id,amount\nn,1,10\n");
    write(4, "bom-and-crlf.csv", b"\xef\xbb\xbfid,amount,note\r\n2,20,n\r\n");
    write(5, "quoted-header.csv", b"\"id\",\"amount\",\"note\"\n3,30,\"\"\n");
    write(6, "no-last-line-end.csv", b"id,amount,note\n4,40,n");
    write(7, "blank-lines.csv", b"id,amount,note\n\n5,50,n\n\n\n");
    let members = [gzip(events([6]).as_bytes()), gzip(b"7,70,n\n")].concat();
    write(8, "members.csv.gz", &members);
    write(9, "empty.csv.gz", &gzip(b""));
    project.scan().ok().says(&["without a byte: 1"]);
    project.etl().ok();
    let sql = "SELECT group_concat(id), group_concat(amount) FROM (SELECT * FROM events ORDER BY id)";
    assert_eq!(project.row(Db::Reporting, sql), "1,2,3,4,5,6,7|10,20,30,40,50,60,70");
    let sql = "SELECT count(*), sum(complete), sum(rows), sum(rejects) FROM loadline_files";
    assert_eq!(project.row(Db::Reporting, sql), "9|9|7|0");
    assert_eq!(project.statuses(), ["LOADED"]);
    // A file that was only just begun is found once it holds something.
    write(0, "empty.csv", events([8]).as_bytes());
    project.scan_and_load();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(rows) FROM loadline_files"), "10|8");
}

/// A project with these feeds, each of events.
fn with_feeds(feeds: &[(&str, &str, &str)]) -> Project {
    let project = Project::new("events", EVENTS_SCHEMA, "");
    let mut config = fs::read_to_string(project.path("config.yaml")).unwrap();
    config = config.split("feeds:").next().unwrap().to_owned() + "feeds:\n";
    for (name, prefix, layout) in feeds {
        config.push_str(&format!(
            "  - {{name: {name}, prefix: '{prefix}', layout: '{layout}', schema: schemas/events.yaml}}\n"
        ));
    }
    fs::write(project.path("config.yaml"), config).unwrap();
    project
}

#[test]
fn feeds_keep_to_their_prefixes_and_layouts() {
    let project = with_feeds(&[
        ("hourly", "a/hourly/", "dt={yyyy}-{mm}-{dd}/hour={HH}/"),
        ("daily", "a/daily/", "{yyyy}{mm}{dd}/"),
        ("odd", "b b, 100%/ü/", "{yyyy}/{mm}/{dd}/{HH}/"),
    ]);
    project.write_events("a/hourly/dt=2026-01-31/hour=05/x.csv", [1]);
    project.write_events("a/hourly/dt=2026-01-31/hour=24/x.csv", [91]);
    project.write_events("a/daily/20260131/x.csv", [2, 3]);
    project.write_events("a/daily/20260230/x.csv", [92]);
    project.write_events("b b, 100%/ü/2026/01/31/05/x.csv", [4, 5, 6]);
    project.run(&["setup"]).ok();
    project.scan_and_load();
    let hours = "SELECT feed, hour FROM scanner_files ORDER BY feed";
    let hours = project.rows(Db::Metadata, hours);
    let hours: Vec<String> = hours.iter().map(|row| format!("{} {}", row[0], &row[1][..13])).collect();
    assert_eq!(hours, ["daily 2026-01-31 00", "hourly 2026-01-31 05", "odd 2026-01-31 05"]);
    for (feed, ids) in [("hourly", "1"), ("daily", "2,3"), ("odd", "4,5,6")] {
        let sql = format!("SELECT group_concat(id) FROM (SELECT id FROM {feed} ORDER BY id)");
        assert_eq!(project.row(Db::Reporting, &sql), ids, "{feed}");
        let jobs = project.run(&["jobs", "--feed", feed, "-o", "json"]).ok().json();
        assert_eq!(jobs.as_array().unwrap().len(), 1, "{feed}: {jobs}");
    }
}

#[test]
fn one_feed_at_a_time_is_scanned_and_loaded_on_request() {
    let layout = "{yyyy}/{mm}/{dd}/{HH}/";
    let project = with_feeds(&[("left", "left/", layout), ("right", "right/", layout)]);
    project.write_events(&format!("left/{}/x.csv", hour(0)), [1]);
    project.write_events(&format!("right/{}/x.csv", hour(0)), [2]);
    project.run(&["setup"]).ok();
    project.run(&["scan", "--feed", "left"]).ok();
    assert_eq!(project.statuses().len(), 1);
    project.scan().ok();
    project.run(&["etl", "--feed", "right"]).ok();
    assert_eq!(project.statuses(), ["SENT_FOR_ETL", "LOADED"]);
    project.etl().ok();
    assert_eq!(project.statuses(), ["LOADED", "LOADED"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = Project::events("");
    project.write_events(&format!("{}/events.csv", hour(0)), 0..50_000);
    project.scan().ok();
    let mut child = project.start(&["sql", "--job", &project.job(1), "-o", "csv", "SELECT * FROM source"]);
    drop(child.stdout.take());
    let ran = project.finish(&["sql"], child).ok();
    assert!(ran.stderr.is_empty(), "{ran}");
}
