//! Records that can't be loaded: kept with their place, their reason and their bytes, while the file is LOADED.

use super::project::{Db, EVENTS_HEADER, Project, hour};

/// Writes records and keeps their places: an account of its own, beside the program's.
struct Script {
    bytes: Vec<u8>,
    record: u64,
    line: u64,
    /// (record, line, byte offset, part of the reason, start of the raw bytes) of what must be rejected.
    rejects: Vec<(u64, u64, u64, &'static str, Vec<u8>)>,
}

impl Script {
    fn new(header: &str) -> Self {
        Self { bytes: header.as_bytes().to_vec(), record: 0, line: 2, rejects: Vec::new() }
    }

    fn good(&mut self, record: &str) {
        self.push(record.as_bytes());
    }

    fn bad(&mut self, record: &[u8], reason: &'static str) {
        let place = (self.record + 1, self.line, self.bytes.len() as u64);
        let raw = record[..record.len().min(64)].to_vec();
        self.rejects.push((place.0, place.1, place.2, reason, raw));
        self.push(record);
    }

    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.bytes.extend_from_slice(b"\r\n");
        self.record += 1;
        self.line += 1 + record.iter().filter(|byte| **byte == b'\n').count() as u64;
    }

    fn blank_line(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
        self.line += 1;
    }
}

fn script() -> Script {
    let mut script = Script::new(&EVENTS_HEADER.replace('\n', "\r\n"));
    script.good("1,10,\"two\nlines\"");
    script.good("2,20,\"three\r\nmore\nlines\"");
    script.bad(b"3,30,n,more", "has 4 fields, the header has 3");
    script.blank_line();
    script.bad(b"4,40,caf\xe9", "is not valid UTF-8");
    script.good("5,50,\"a quoted \"\"word\"\"\"");
    script.bad(format!("6,60,\"{}\"", "long\n".repeat(220_000)).as_bytes(), "longer than 1048576 bytes");
    script.bad(b"seven,70,n", "int64");
    script.good("8,80,last");
    script
}

#[test]
fn rejects_keep_their_places_and_the_file_is_loaded() {
    let script = script();
    let project = Project::events("");
    let key = format!("{}/events.csv", hour(0));
    project.write(&key, &script.bytes);
    project.scan_and_load();
    assert_eq!(project.statuses(), ["LOADED"]);
    let sql = "SELECT group_concat(id), group_concat(_record) FROM (SELECT * FROM events ORDER BY _record)";
    assert_eq!(project.row(Db::Reporting, sql), "1,2,5,8|1,2,5,8");
    assert_eq!(project.row(Db::Reporting, "SELECT note FROM events WHERE id = 2"), "three\r\nmore\nlines");

    let counts = "SELECT rows, rejects, records_done, complete FROM loadline_files";
    assert_eq!(project.row(Db::Reporting, counts), "4|4|8|1");
    let job = project.run(&["jobs", &project.job(1), "-o", "json"]).ok().json();
    assert_eq!((job["rows_loaded"].as_u64(), job["rows_rejected"].as_u64()), (Some(4), Some(4)));
    assert_eq!(job["scanner_files"][0]["records"], 8);
    assert_eq!(job["reject_reasons"].as_array().unwrap().len(), 4, "{job}");
    assert_places(&project, &script, &key);
}

fn assert_places(project: &Project, script: &Script, key: &str) {
    let rejects = project.run(&["rejects", "--job", &project.job(1), "-o", "json"]).ok().json();
    let rejects = rejects.as_array().unwrap();
    assert_eq!(rejects.len(), script.rejects.len());
    for (reject, (record, line, offset, reason, raw)) in rejects.iter().zip(&script.rejects) {
        let place = [&reject["record"], &reject["line"], &reject["byte_offset"]].map(|value| value.as_u64().unwrap());
        assert_eq!(place, [*record, *line, *offset], "{}", reject["reason"]);
        assert_eq!(reject["key"], key);
        assert!(reject["reason"].as_str().unwrap().contains(reason), "{reason}: {}", reject["reason"]);
        let kept =
            project.rows(Db::Reporting, &format!("SELECT hex(raw) FROM loadline_rejects WHERE record = {record}"));
        let expected: String = raw.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(kept[0][0].starts_with(&expected), "{reason}: {}", &kept[0][0][..kept[0][0].len().min(80)]);
    }
    let columns: Vec<&serde_json::Value> = rejects.iter().map(|reject| &reject["column_name"]).collect();
    assert_eq!(columns[3], "id");
    assert!(columns[..3].iter().all(|column| column.is_null()));
}
