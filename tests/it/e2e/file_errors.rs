//! What makes a file fail as a whole: nothing of it stays, its siblings load, people are told where and why, and after
//! a repair only what is missing is loaded.

use super::project::{Db, EVENTS_HEADER, KEYED_EVENTS_SCHEMA, Project, events, gzip, hour};

/// A way in which a file can be bad.
struct Fault {
    name: &'static str,
    file: &'static str,
    bytes: Vec<u8>,
    /// What becomes of it between scan and load.
    meanwhile: fn(&Project, &str),
    says: &'static [&'static str],
}

/// Ids of the bad file, once it is repaired.
const IDS: std::ops::Range<u64> = 0..40;

fn nothing(_: &Project, _: &str) {}

fn change(project: &Project, key: &str) {
    project.write_events(key, 0..41);
}

fn remove(project: &Project, key: &str) {
    std::fs::remove_file(project.incoming(key)).unwrap();
}

/// Twenty records, half of which are of the first kind.
fn half_and_half(bad: impl Fn(u64) -> String) -> Vec<u8> {
    let record = |id: u64| if id.is_multiple_of(2) { bad(id) } else { format!("{id},{id},n\n") };
    let records: String = (0..20).map(record).collect();
    format!("{EVENTS_HEADER}{records}").into_bytes()
}

fn corrupt_gzip() -> Vec<u8> {
    let mut bytes = gzip(events(IDS).as_bytes());
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 0xff;
    bytes
}

fn truncated_gzip() -> Vec<u8> {
    let mut bytes = gzip(events(IDS).as_bytes());
    bytes.truncate(bytes.len() / 2);
    bytes
}

fn faults() -> Vec<Fault> {
    let plain = |name, bytes: Vec<u8>, says| Fault { name, file: "bad.csv", bytes, meanwhile: nothing, says };
    let zipped = |name, bytes: Vec<u8>, says| Fault { name, file: "bad.csv.gz", bytes, meanwhile: nothing, says };
    let good = || events(IDS).into_bytes();
    vec![
        plain(
            "unterminated quote",
            format!("{EVENTS_HEADER}0,0,fine\n1,1,\"two\nlines\"\n2,2,\"open\n3,3,n\n").into_bytes(),
            &["unterminated quote", "field 3 of record 3 (line 5, byte 40)", "byte 44"],
        ),
        plain(
            "wrong header",
            b"id,amt,note\n1,1,n\n".to_vec(),
            &["wrong header", "expected: \"id\", \"amount\", \"note\"; found: \"id\", \"amt\", \"note\""],
        ),
        zipped("corrupt gzip", corrupt_gzip(), &["corrupt gzip"]),
        zipped("truncated gzip", truncated_gzip(), &["truncated gzip"]),
        Fault {
            name: "changed since the scan",
            file: "bad.csv",
            bytes: good(),
            meanwhile: change,
            says: &["changed since the scan"],
        },
        Fault { name: "gone", file: "bad.csv", bytes: good(), meanwhile: remove, says: &["gone"] },
        plain(
            "too many rejects",
            half_and_half(|id| format!("x{id},{id},n\n")),
            &["10 of 20 records are rejects (50.0%)", "etl.max_reject_ratio = 0.05"],
        ),
        plain(
            "too many invalid values",
            half_and_half(|id| format!("{id},many,n\n")),
            &["column amount: 10 of 20 values do not convert (50.0%)", "etl.max_invalid_ratio = 0.05"],
        ),
        plain(
            "duplicate primary key",
            format!("{EVENTS_HEADER}0,0,n\n1,1,n\n\n0,2,n\n").into_bytes(),
            &["record 3 (line 5)", "duplicate key", "(id)"],
        ),
    ]
}

/// Lets the file fail with these siblings in its job, repairs it and loads it.
fn fails_and_recovers(fault: &Fault, siblings: usize) {
    println!("{} with {siblings} siblings", fault.name);
    let project = Project::set_up("events", KEYED_EVENTS_SCHEMA, "");
    let key = format!("{}/{}", hour(0), fault.file);
    project.write(&key, &fault.bytes);
    for sibling in 1..=siblings {
        let first = 1000 * sibling as u64;
        project.write_events(&format!("{}/good.csv", hour(sibling)), first..first + 5);
    }
    project.scan().ok();
    (fault.meanwhile)(&project, &key);
    project.etl().exits(3).says(&[&key]).says(fault.says);
    assert_failed(&project, fault, &key, siblings);

    let rows = project.rows(Db::Reporting, "SELECT * FROM events");
    project.watch_table();
    let repaired = events(IDS).into_bytes();
    project.write(&key, if fault.file.ends_with(".gz") { gzip(&repaired) } else { repaired });
    project.run(&["retry", &project.job(1)]).ok();
    project.etl().ok();
    assert_recovered(&project, fault, siblings, &rows);
}

fn assert_failed(project: &Project, fault: &Fault, key: &str, siblings: usize) {
    let name = fault.name;
    assert_eq!(
        project.row(Db::Reporting, "SELECT count(*), min(id) > 999 FROM events"),
        match siblings {
            0 => "0|NULL".to_owned(),
            _ => format!("{}|1", 5 * siblings),
        }
    );
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM loadline_rejects"), "0", "{name}");
    let job = &project.run(&["jobs", "-o", "json"]).ok().json()[0];
    assert_eq!(job["status"], "FAILED", "{name}");
    let message = job["failure_msg"].as_str().unwrap();
    assert!(message.contains(key) && fault.says.iter().all(|part| message.contains(part)), "{name}: {message}");
    let job = project.run(&["jobs", &project.job(1), "-o", "json"]).ok().json();
    let files = job["scanner_files"].as_array().unwrap();
    let states: Vec<&str> = files.iter().map(|file| file["state"].as_str().unwrap()).collect();
    let state = if name == "changed since the scan" { "QUARANTINED" } else { "FAILED" };
    assert_eq!((states[0], &states[1..]), (state, vec!["LOADED"; siblings].as_slice()), "{name}");
    assert!(files[0]["error"].as_str().unwrap().contains(fault.says[0]), "{name}: {}", files[0]);
}

fn assert_recovered(project: &Project, fault: &Fault, siblings: usize, before: &[Vec<String>]) {
    let name = fault.name;
    let rows = project.rows(Db::Reporting, "SELECT * FROM events");
    assert!(before.iter().all(|row| rows.contains(row)), "{name}");
    let sql = "SELECT what, count(*), count(DISTINCT file) FROM witness GROUP BY what";
    assert_eq!(project.rows(Db::Reporting, sql), [["insert", "40", "1"]], "{name}: siblings were touched");
    let all = 40 + 5 * siblings;
    let job = &project.run(&["jobs", "-o", "json"]).ok().json()[0];
    assert_eq!((job["status"].as_str(), job["rows_loaded"].as_u64()), (Some("LOADED"), Some(all as u64)), "{name}");
    assert_eq!(job["failure_msg"], serde_json::Value::Null, "{name}");
    assert_eq!(project.row(Db::Reporting, "SELECT sum(rows), min(complete) FROM loadline_files"), format!("{all}|1"));
}

#[test]
fn a_bad_file_alone_fails_and_loads_when_it_is_repaired() {
    for fault in faults() {
        fails_and_recovers(&fault, 0);
    }
}

#[test]
fn a_bad_file_between_good_ones_fails_alone() {
    for fault in faults() {
        fails_and_recovers(&fault, 2);
    }
}

#[test]
fn a_repaired_file_that_is_still_bad_fails_again() {
    let project = Project::events("");
    let key = format!("{}/bad.csv", hour(0));
    project.write(&key, "id,amt,note\n");
    project.scan().ok();
    project.etl().exits(3);
    project.write(&key, "id,amount,remark\n");
    project.run(&["retry", "--failed"]).ok();
    project.etl().exits(3).says(&["found: \"id\", \"amount\", \"remark\""]);
    assert_eq!(project.statuses(), ["FAILED"]);
}
