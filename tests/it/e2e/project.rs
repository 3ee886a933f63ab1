//! A project in a temporary folder: incoming/ (or a bucket elsewhere), config.yaml, schemas/ and two SQLite files (or
//! databases on servers), and the binary run in it.
//!
//! `LOADLINE_BIN` names another binary than the one that was built with the tests, such as a release build.
//!
//! Invariant: files get modified times in the past, one second apart in the order in which they are written, so that
//! nothing waits for a clock and jobs come out the same in every run.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::s3::bucket::MemoryBucket;
use crate::s3::server::S3Server;
use crate::servers::{Address, Database, Kind, Server};

/// How long a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// Feed `events`: an id that must be there, a number, a text.
pub const EVENTS_SCHEMA: &str = "\
columns:
  - {name: id, type: int64, required: true, on_invalid: reject}
  - {name: amount, type: int64}
  - {name: note, type: text}
";

/// The same with a key of its own.
pub const KEYED_EVENTS_SCHEMA: &str = "\
primary_key: [id]
columns:
  - {name: id, type: int64, required: true, on_invalid: reject}
  - {name: amount, type: int64}
  - {name: note, type: text}
";

pub const EVENTS_HEADER: &str = "id,amount,note\n";

/// Which of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Db {
    Metadata,
    Reporting,
}

pub struct Project {
    folder: TempDir,
    feed: String,
    /// The `source:` of the config.
    source: String,
    /// What the environment of the binary has besides this one's.
    variables: Vec<(String, String)>,
    /// Metadata and reporting, where they are not the two SQLite files.
    on_servers: Option<[Address; 2]>,
    /// Where the files are, if not in incoming/.
    bucket: Option<MemoryBucket>,
    written: Cell<u64>,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    /// A project with one feed of that name and schema, not set up yet. `settings` ends the config.
    pub fn new(feed: &str, schema: &str, settings: &str) -> Self {
        Self::over("{url: \"file:incoming\"}", &[], feed, schema, settings)
    }

    /// The same over any source, a YAML mapping, with these variables in the environment of the binary.
    pub fn over(source: &str, variables: &[(String, String)], feed: &str, schema: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (feed_name, source, variables) = (feed.to_owned(), source.to_owned(), variables.to_vec());
        let written = Cell::new(0);
        let project = Self { folder, feed: feed_name, source, variables, on_servers: None, bucket: None, written };
        fs::create_dir(project.path("incoming")).unwrap();
        fs::create_dir(project.path("schemas")).unwrap();
        fs::write(project.path(&format!("schemas/{feed}.yaml")), schema).unwrap();
        project.configure(settings);
        project
    }

    /// The same with its databases on servers, not set up yet; `settings` ends the config.
    pub fn on(mut self, metadata: &Database<'_>, reporting: &Database<'_>, settings: &str) -> Self {
        self.on_servers = Some([metadata.address(), reporting.address()]);
        self.configure(settings);
        self
    }

    /// Feed `events` of a bucket, its databases on servers, set up.
    pub fn in_production(s3: &S3Server, [metadata, reporting]: [&Database<'_>; 2], settings: &str) -> Self {
        let project = Self::over(&s3.source(""), &s3.variables(), "events", EVENTS_SCHEMA, settings);
        let project = Self { bucket: Some(s3.bucket.clone()), ..project.on(metadata, reporting, settings) };
        project.run(&["setup"]).ok();
        project
    }

    /// Feed `events`, set up.
    pub fn events(settings: &str) -> Self {
        Self::set_up("events", EVENTS_SCHEMA, settings)
    }

    pub fn set_up(feed: &str, schema: &str, settings: &str) -> Self {
        let project = Self::new(feed, schema, settings);
        project.run(&["setup"]).ok();
        project
    }

    /// Writes the config anew.
    pub fn configure(&self, settings: &str) {
        let [metadata, reporting] = match &self.on_servers {
            None => ["metadata", "reporting"].map(|name| format!("sqlite:{name}.db")),
            Some(addresses) => [0, 1].map(|index| addresses[index].url()),
        };
        let config = format!(
            "source: {}\n\
             metadata_database: {{url: \"{metadata}\"}}\n\
             reporting_database: {{url: \"{reporting}\"}}\n\
             feeds:\n  - name: {}\n{settings}\n",
            self.source, self.feed
        );
        fs::write(self.path("config.yaml"), config).unwrap();
    }

    /// A path below the project's folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn incoming(&self, key: &str) -> PathBuf {
        self.path("incoming").join(key)
    }

    /// Writes a file of the source, a second after the one before it.
    pub fn write(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let second = self.written.get();
        self.written.set(second + 1);
        self.write_at(key, bytes, second);
    }

    /// Writes a file of the source whose modified time is so many seconds after a fixed time.
    pub fn write_at(&self, key: &str, bytes: impl AsRef<[u8]>, second: u64) {
        if let Some(bucket) = &self.bucket {
            return bucket.put(key, bytes.as_ref().to_vec(), second);
        }
        let path = self.incoming(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Replaced as a whole, so that a scan at the same time never sees half of it.
        let partial = path.with_file_name(".partial");
        fs::write(&partial, bytes).unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600);
        File::options().write(true).open(&partial).unwrap().set_modified(start + Duration::from_secs(second)).unwrap();
        fs::rename(&partial, &path).unwrap();
    }

    /// Writes a file of events with these ids; the amount of each is ten times its id.
    pub fn write_events(&self, key: &str, ids: impl IntoIterator<Item = u64>) {
        self.write(key, events(ids));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.prepared(command)
    }

    fn prepared(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        let of_aws = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"));
        for (name, _) in of_aws {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned());
        // As from a shell, not as from `cargo run`, which `demo` repeats in the commands it prints.
        command.env_remove("CARGO").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a line as a person's shell would, in which `loadline` is the program under test.
    pub fn shell(&self, line: &str) -> Ran {
        let programs = binary().parent().unwrap().display().to_string();
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()));
        let child = self.prepared(shell).spawn().unwrap();
        self.finish(&["in a shell:", line], child)
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.finish(arguments, self.start(arguments))
    }

    /// Starts a command.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Starts a command with more in its environment.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        self.command(arguments).envs(variables.iter().copied()).spawn().unwrap()
    }

    /// The same behind another command that becomes it, such as `ip netns exec NAME`.
    pub fn start_behind(&self, wrapper: &[String], arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(binary()).args(arguments);
        self.prepared(command).envs(variables.iter().copied()).spawn().unwrap()
    }

    /// Waits for the end of a command that was started.
    pub fn finish(&self, arguments: &[&str], child: Child) -> Ran {
        let output = child.wait_with_output().unwrap();
        Ran {
            line: format!("loadline {}", arguments.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn scan(&self) -> Ran {
        self.run(&["scan"])
    }

    pub fn etl(&self) -> Ran {
        self.run(&["etl"])
    }

    pub fn scan_and_load(&self) {
        self.scan().ok();
        self.etl().ok();
    }

    /// The database on a server, where it is on one.
    pub fn address(&self, db: Db) -> Option<&Address> {
        self.on_servers.as_ref().map(|addresses| &addresses[usize::from(db == Db::Reporting)])
    }

    pub fn db_path(&self, db: Db) -> PathBuf {
        self.path(match db {
            Db::Metadata => "metadata.db",
            Db::Reporting => "reporting.db",
        })
    }

    /// Every row of the query, each value as text.
    pub fn rows(&self, db: Db, sql: &str) -> Vec<Vec<String>> {
        match self.address(db) {
            None => rows_of(&self.db_path(db), sql),
            Some(address) => address.rows(sql),
        }
    }

    /// The values of the first row, joined by `|`.
    pub fn row(&self, db: Db, sql: &str) -> String {
        self.rows(db, sql).first().map(|row| row.join("|")).unwrap_or_default()
    }

    /// Changes a database behind the program's back.
    pub fn tamper(&self, db: Db, sql: &str) {
        if let Some(address) = self.address(db) {
            return address.execute(sql);
        }
        let connection = Connection::open(self.db_path(db)).unwrap();
        connection.busy_timeout(Duration::from_secs(30)).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Deletes the metadata database; on a server, makes it anew and empty.
    pub fn lose_metadata(&self) {
        if let Some(address) = self.address(Db::Metadata) {
            let name = address.name();
            return address.execute(&format!("DROP DATABASE {name}; CREATE DATABASE {name}"));
        }
        fs::remove_file(self.path("metadata.db")).unwrap();
        for beside in ["metadata.db-wal", "metadata.db-shm"].map(|name| self.path(name)) {
            if beside.exists() {
                fs::remove_file(beside).unwrap();
            }
        }
    }

    /// Every row of every table of both databases, but for when the source was last listed, which every scan notes.
    pub fn dump(&self) -> Vec<String> {
        let mut dump = Vec::new();
        for db in [Db::Metadata, Db::Reporting] {
            let tables = self.rows(
                db,
                match self.address(db) {
                    None => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
                    Some(_) => {
                        "SELECT table_name FROM information_schema.tables WHERE table_schema = database() ORDER BY 1"
                    }
                },
            );
            for table in tables.iter().map(|row| row[0].as_str()) {
                let columns = if table == "scanner_feeds" { "feed, recorded_time" } else { "*" };
                let rows = self.rows(db, &format!("SELECT {columns} FROM `{table}`"));
                let mut rows: Vec<String> =
                    rows.iter().map(|row| format!("{db:?} {table}: {}", row.join("|"))).collect();
                rows.sort();
                dump.extend(rows);
            }
        }
        dump
    }

    /// Id of the job that was formed as the `number`th, from 1; the row of setup has an id too.
    pub fn job(&self, number: usize) -> String {
        let sql = "SELECT id FROM scanner_jobs WHERE status <> 'NONE' ORDER BY id";
        self.rows(Db::Metadata, sql)[number - 1][0].clone()
    }

    /// Statuses of the jobs, in the order of their ids, the row of setup left out.
    pub fn statuses(&self) -> Vec<String> {
        let sql = "SELECT status FROM scanner_jobs WHERE status <> 'NONE' ORDER BY id";
        self.rows(Db::Metadata, sql).into_iter().map(|mut row| row.remove(0)).collect()
    }

    /// Writes every row that is put into, changed in or taken out of the feed's table from now on into `witness`.
    pub fn watch_table(&self) {
        let feed = &self.feed;
        let events = [("insert", "NEW"), ("update", "NEW"), ("delete", "OLD")];
        let begin_and_end = if self.on_servers.is_some() { ("FOR EACH ROW", "") } else { ("BEGIN", "; END") };
        let triggers = events.map(|(event, row)| {
            let (begin, end) = begin_and_end;
            format!(
                "CREATE TRIGGER watch_{event} AFTER {event} ON `{feed}` {begin} \
                 INSERT INTO witness VALUES ('{event}', {row}._file, {row}._record){end};\n"
            )
        });
        let witness = "CREATE TABLE witness (what VARCHAR(6), file BIGINT, record BIGINT);\n";
        self.tamper(Db::Reporting, &format!("{witness}{}", triggers.concat()));
    }
}

impl Ran {
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Holds all of these texts on stderr.
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not said: {self}");
        }
        self
    }

    pub fn in_silence(self) -> Self {
        assert!(self.stdout.is_empty() && self.stderr.is_empty(), "{self}");
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {:?}\n--- stdout\n{}\n--- stderr\n{}", self.line, self.code, self.stdout, self.stderr)
    }
}

/// Tells a story on SQLite and, where there is one, on MariaDB: a project with one feed of that name and schema, set up.
pub fn everywhere(feed: &str, schema: &str, settings: &str, story: impl Fn(&Project)) {
    story(&Project::set_up(feed, schema, settings));
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (metadata, reporting) = (server.fresh(), server.fresh());
    let project = Project::new(feed, schema, settings).on(&metadata, &reporting, settings);
    project.run(&["setup"]).ok();
    story(&project);
}

/// The program under test.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("LOADLINE_BIN").filter(|named| !named.is_empty());
    named.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_loadline")), |named| fs::canonicalize(named).unwrap())
}

/// A file of events with these ids; the amount of each is ten times its id.
pub fn events(ids: impl IntoIterator<Item = u64>) -> String {
    let mut text = EVENTS_HEADER.to_owned();
    for id in ids {
        text.push_str(&format!("{id},{},n{id}\n", id * 10));
    }
    text
}

/// The folder of an hour, counted from 2026-01-01T00.
pub fn hour(number: usize) -> String {
    format!("2026/01/{:02}/{:02}", 1 + number / 24, number % 24)
}

pub fn rows_of(path: &Path, sql: &str) -> Vec<Vec<String>> {
    try_rows_of(path, sql).unwrap()
}

/// The same of a file that may not be there yet, or that somebody may hold.
pub fn try_rows_of(path: &Path, sql: &str) -> rusqlite::Result<Vec<Vec<String>>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    let mut statement = connection.prepare(sql)?;
    let width = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..width).map(|i| row.get_ref(i).map(text)).collect();
    statement.query_map([], row)?.collect()
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Waits until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal, such as `TERM`.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "SIG{name} was not sent");
}

/// SIGTERM, once the process catches it: bit 14 of the mask in its status.
pub fn stop_when_it_listens(child: &Child) {
    eventually("it listens to SIGTERM", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
    });
    signal(child, "TERM");
}

/// Kills it as a power cut would. True where it was still running.
pub fn kill(mut child: Child) -> bool {
    let was_running = child.try_wait().unwrap().is_none();
    if was_running {
        child.kill().unwrap();
    }
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut said).unwrap();
    }
    child.wait().unwrap();
    was_running
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use tokio::io::AsyncWriteExt;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
        encoder.write_all(bytes).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    })
}

/// SplitMix64: numbers that look random and are the same for a seed.
pub struct Seeded(pub u64);

impl Seeded {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}
