//! One story of a feed, told on SQLite, MariaDB and MySQL: what a person asks and does, and what every command answers
//! and both databases hold after each step, must be the same, value by value.
//!
//! Times of day, ages and the project's folder are left out of the comparison; everything else is in it.

use std::sync::OnceLock;

use serde_json::Value;

use super::explain::{ask, follow};
use super::project::{Db, EVENTS_HEADER, EVENTS_SCHEMA, Project, events, hour};
use crate::servers::{Kind, Server};

/// What was said and held, step by step.
struct Transcript<'a> {
    project: &'a Project,
    entries: Vec<(String, String)>,
}

const TABLES: [(Db, &str); 5] = [
    (Db::Metadata, JOBS),
    (Db::Metadata, FILES),
    (Db::Reporting, "SELECT id, amount, note, _file, _record FROM events ORDER BY _file, _record"),
    (Db::Reporting, LEDGER),
    (Db::Reporting, REJECTS),
];
const JOBS: &str = "SELECT id, feed, files, latest_file_modified_time, total_size_in_bytes, status, failure_msg, \
                    attempts, expiries, lease_owner, rows_loaded, rows_rejected, finished_time IS NULL \
                    FROM scanner_jobs ORDER BY id";
const FILES: &str = "SELECT id, feed, hex(`key`), hex(key_hash), version, size_in_bytes, modified_time, hour, job_id, \
                     state, rows_loaded, rows_rejected, error, loaded_time IS NULL FROM scanner_files ORDER BY id";
const LEDGER: &str = "SELECT file, feed, hex(`key`), hex(key_hash), version, hour, job, epoch, target_table, plan_hash, \
                      records_done, `rows`, rejects, checksum, invalid, complete, completed_time IS NULL, \
                      unloaded_time IS NULL FROM loadline_files ORDER BY file";
const REJECTS: &str = "SELECT file, record, line, byte_offset, column_name, reason, hex(raw) FROM loadline_rejects \
                       ORDER BY file, record";

impl Transcript<'_> {
    /// Runs a command that ends so, and notes what it says.
    fn run(&mut self, arguments: &[&str], code: i32) {
        let ran = self.project.run(arguments).exits(code);
        self.note(ran.line, &format!("{}\n---\n{}", ran.stdout, ran.stderr));
    }

    /// Asks about a file, whose first answer has this word.
    fn explain(&mut self, key: &str, word: &str) {
        let asked = ask(self.project, key).is(word);
        self.note(format!("explain {key}"), &asked.json.to_string());
    }

    /// Does what the answer about a file says.
    fn follow(&mut self, key: &str) {
        follow(self.project, &ask(self.project, key));
        self.look(&format!("followed what was said of {key}"));
    }

    /// Notes what every picture shows and every table holds.
    fn look(&mut self, when: &str) {
        for picture in [&["status"][..], &["jobs"], &["rejects"]] {
            let arguments = [picture, &["-o", "json"]].concat();
            let ran = self.project.run(&arguments);
            self.note(format!("{when}: {} exits {:?}", ran.line, ran.code), &ran.json().to_string());
        }
        for (db, sql) in TABLES {
            let rows: Vec<String> = self.project.rows(db, sql).iter().map(|row| row.join("|")).collect();
            self.note(format!("{when}: {sql}"), &rows.join("\n"));
        }
    }

    fn note(&mut self, what: String, said: &str) {
        let folder = self.project.path("");
        let folder = std::fs::canonicalize(folder).unwrap().display().to_string();
        let said = match serde_json::from_str(said) {
            Ok(json) => serde_json::to_string_pretty(&without_seconds(json)).unwrap(),
            Err(_) => said.to_owned(),
        };
        let [what, said] = [what, said].map(|text| without_times(&text.replace(&folder, "FOLDER")));
        self.entries.push((what, said));
    }
}

/// Numbers that grow while the story is told.
fn without_seconds(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let steady = |(key, value): (String, Value)| {
                let grows = key == "lag_seconds" && value.is_number();
                (key, if grows { "GROWS".into() } else { without_seconds(value) })
            };
            Value::Object(members.into_iter().map(steady).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_seconds).collect()),
        other => other,
    }
}

/// Ages, rates and times of day become `NOW`, but for the times of the files, which are written as of 2025-01-01 and for
/// the hours of 2026-01.
fn without_times(text: &str) -> String {
    let mut steady = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        steady.push_str(before);
        let of_files = number.starts_with("2025-01-01") || number.starts_with("2026-01-");
        let time = if is_time(number) { 19 } else { 0 };
        let goes_on = |(at, c): (usize, char)| {
            let thousands = time == 0 && c == ',' && !is_time(&number[at + 1..]);
            c.is_ascii_digit() || c == '.' || thousands
        };
        let end = number.char_indices().skip(time).find(|at| !goes_on(*at)).map_or(number.len(), |(end, _)| end);
        let behind = &number[end..];
        let changes = if time > 0 { !of_files } else { is_measured_in(behind) };
        steady.push_str(if changes { "NOW" } else { &number[..end] });
        rest = behind;
    }
    steady + rest
}

/// `2026-01-31T05:30:00`, or with a space in it.
fn is_time(text: &str) -> bool {
    let form = "0000-00-00T00:00:00".bytes();
    let fits = |(form, byte): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => byte == b'T' || byte == b' ',
        other => byte == other,
    };
    text.len() >= form.len() && form.zip(text.bytes()).all(fits)
}

/// Seconds, and what is counted by them.
fn is_measured_in(behind: &str) -> bool {
    let unit = behind.trim_start().split(|c: char| !(c.is_ascii_alphabetic() || c == '/')).next();
    unit == Some("s") || unit == Some("min") || unit == Some("rows/s")
}

fn key(name: &str, number: usize) -> String {
    format!("{}/{name}.csv", hour(number))
}

/// The whole story.
fn tell(project: &Project) -> Vec<(String, String)> {
    project.run(&["setup"]).ok();
    let mut told = Transcript { project, entries: Vec::new() };
    let [a, b, bad] = [key("a, 100%", 0), key("b", 1), key("bad", 2)];
    project.write(&a, format!("{EVENTS_HEADER}1,10,\"x,y\"\n2,many,\nthree,30,\u{fc}\u{1f69a}\n"));
    project.write_events(&b, 11..=15);
    project.write(&bad, "id\n1\n");
    failing_and_mending(&mut told, [&a, &b, &bad]);
    overwriting(&mut told, &a);
    unloading(&mut told, [&a, &b]);
    policies(&mut told, &b);
    told.entries
}

fn failing_and_mending(told: &mut Transcript<'_>, [a, b, bad]: [&str; 3]) {
    told.explain(a, "NOT_LISTED_YET");
    told.run(&["scan", "--dry-run"], 0);
    told.run(&["scan"], 0);
    told.look("scanned");
    told.explain(a, "WAITING");
    let ask_files = |told: &mut Transcript<'_>| {
        let job = told.project.job(1);
        let source = "SELECT id, amount, note, _record, _line FROM source WHERE _uri LIKE '%a%' ORDER BY _uri, _record";
        told.run(&["sql", "--job", &job, "-o", "csv", source], 3);
        let uri = ask(told.project, a).json["uri"].as_str().unwrap().to_owned();
        told.run(&["sql", "--uri", &uri, "-o", "json", "SELECT id, amount, _reject FROM clean ORDER BY _record"], 0);
    };
    ask_files(told);
    told.run(&["etl", "--workers", "1"], 3);
    told.look("loaded but for one");
    let job = told.project.job(1);
    told.run(&["jobs", &job, "-o", "json"], 0);
    told.run(&["jobs", "--status", "FAILED", "-o", "csv"], 0);
    told.run(&["rejects", "--job", &job, "-o", "csv"], 0);
    for (file, word) in [(a, "LOADED"), (b, "LOADED"), (bad, "FAILED")] {
        told.explain(file, word);
    }
    told.project.write_events(bad, 21..=22);
    told.follow(bad);
    told.explain(bad, "LOADED");
    let sql = "SELECT count(*) AS n, sum(amount) AS s FROM clean WHERE _reject IS NULL";
    told.run(&["sql", "--job", &job, "-o", "json", sql], 0);
}

/// A loaded file changes: quarantine, and out and in again by the commands that are printed.
fn overwriting(told: &mut Transcript<'_>, a: &str) {
    told.project.write(a, events(101..=103));
    told.run(&["scan"], 0);
    told.look("overwritten");
    told.explain(a, "QUARANTINED");
    told.run(&["retry", "--quarantined"], 0);
    told.follow(a);
    told.explain(a, "LOADED");
}

fn unloading(told: &mut Transcript<'_>, [a, b]: [&str; 2]) {
    let job = told.project.job(1);
    told.run(&["unload", "--job", &job, "-o", "json"], 0);
    told.run(&["unload", "--job", &job, "--yes"], 0);
    told.look("a job is unloaded");
    told.explain(b, "UNLOADED");
    told.run(&["scan"], 0);
    told.run(&["etl"], 0);
    told.run(&["retry", &job], 0);
    told.run(&["etl", "--workers", "1"], 0);
    told.look("and loaded again");

    let hour = ["unload", "--feed", "events", "--from", "2026-01-01T00", "--to", "2026-01-01T01"];
    told.run(&[&hour[..], &["-o", "json"]].concat(), 0);
    told.run(&[&hour[..], &["--yes"]].concat(), 0);
    told.explain(a, "UNLOADED");
    told.look("an hour is unloaded");
    told.follow(a);
    told.run(&["retry", "--unloaded"], 0);
    told.explain(a, "LOADED");
}

/// `on_overwrite: reload` and `ignore`.
fn policies(told: &mut Transcript<'_>, b: &str) {
    told.project.configure("    on_overwrite: reload");
    told.project.write_events(b, 201..=204);
    told.run(&["scan", "--dry-run"], 0);
    told.run(&["scan"], 0);
    told.explain(b, "WAITING");
    told.look("to be reloaded");
    told.run(&["etl", "--workers", "1"], 0);
    told.explain(b, "LOADED");
    told.look("reloaded");
    told.project.configure("    on_overwrite: ignore");
    told.project.write_events(b, [301]);
    told.run(&["scan"], 0);
    told.run(&["etl"], 0);
    told.explain(b, "LOADED");
    told.look("ignored");
}

fn assert_told_alike(kind: Kind) {
    let Some(server) = Server::shared(kind) else { return };
    let (metadata, reporting) = (server.fresh(), server.fresh());
    static HERE: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let here = HERE.get_or_init(|| tell(&Project::new("events", EVENTS_SCHEMA, "")));
    let there = tell(&Project::new("events", EVENTS_SCHEMA, "").on(&metadata, &reporting, ""));
    let pairs = here.iter().zip(&there).filter(|(here, there)| here != there);
    let differences: Vec<String> = pairs
        .map(|((what, here), (_, there))| format!("=== {what}\n--- SQLite\n{here}\n--- {kind:?}\n{there}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(here.len(), there.len());
    assert!(here.len() > 100, "{}", here.len());
}

#[test]
fn a_story_is_told_on_mariadb_as_on_sqlite() {
    assert_told_alike(Kind::MariaDb);
}

#[test]
fn a_story_is_told_on_mysql_as_on_sqlite() {
    assert_told_alike(Kind::MySql);
}
