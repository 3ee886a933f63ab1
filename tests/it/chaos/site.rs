//! The folder that everything happens in: config, schema file, logs; and direct looks into both databases, past the
//! proxies.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::e2e::project::{Db, EVENTS_SCHEMA, binary, try_rows_of};
use crate::servers::Address;

/// How the program is set up, beside its databases.
pub struct Setup {
    /// `source:`, a YAML mapping.
    pub source: String,
    /// URLs of metadata and reporting, as the program sees them.
    pub urls: [String; 2],
    /// The same of two more databases, which come and go.
    pub side_urls: Option<[String; 2]>,
    pub variables: Vec<(String, String)>,
    /// `etl.lease`.
    pub lease: f64,
    /// `on_overwrite: reload` instead of the default.
    pub reloads: bool,
}

/// Where the two databases really are.
pub enum Databases {
    /// Files below the folder.
    Sqlite,
    Servers {
        addresses: [Address; 2],
        side: [Address; 2],
    },
}

pub struct Site {
    folder: Folder,
    pub databases: Databases,
    pub reloads: bool,
    variables: Vec<(String, String)>,
}

/// Deleted with the value, or kept.
enum Folder {
    Deleted(TempDir),
    Kept(PathBuf),
}

pub const SIDE_CONFIG: &str = "side.yaml";

/// How a command ended.
pub struct Ended {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    pub fn new(folder: TempDir, databases: Databases, setup: Setup) -> Self {
        let (folder, reloads) = (Folder::Deleted(folder), setup.reloads);
        let site = Self { folder, databases, reloads, variables: setup.variables };
        fs::create_dir_all(site.path("schemas")).unwrap();
        fs::create_dir_all(site.path("logs")).unwrap();
        fs::write(site.path("schemas/events.yaml"), EVENTS_SCHEMA).unwrap();
        let config = |[metadata, reporting]: &[String; 2]| {
            format!(
                "source: {}\n\
                 metadata_database: {{url: \"{metadata}\"}}\n\
                 reporting_database: {{url: \"{reporting}\"}}\n\
                 feeds:\n  - name: events\n    on_overwrite: {}\n\
                 scanner: {{frequency: 1s, settle: 0s, max_job_files: 5, full_every: 1h}}\n\
                 etl: {{lease: \"{}ms\", connections: 2, max_expiries: 1000, max_attempts: 1000, max_reject_ratio: 1, \
                 max_invalid_ratio: 1}}\n",
                setup.source,
                if reloads { "reload" } else { "quarantine" },
                setup.lease * 1000.0
            )
        };
        fs::write(site.path("config.yaml"), config(&setup.urls)).unwrap();
        if let Some(urls) = &setup.side_urls {
            fs::write(site.path(SIDE_CONFIG), config(urls)).unwrap();
        }
        site
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    fn root(&self) -> &Path {
        match &self.folder {
            Folder::Deleted(folder) => folder.path(),
            Folder::Kept(path) => path,
        }
    }

    /// Leaves the folder where it is, for whoever wants to know what happened.
    pub fn keep(&mut self) -> PathBuf {
        let path = self.root().to_owned();
        if self.is_sqlite() {
            // What lies on a disk of memory goes with it.
            let _ = Command::new("cp").arg("-r").args([path.join("db"), path.join("db-kept")]).status();
        }
        if let Folder::Deleted(folder) = std::mem::replace(&mut self.folder, Folder::Kept(path.clone())) {
            let _ = folder.keep();
        }
        path
    }

    fn command(&self, arguments: &[String], variables: &[(String, String)]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.root()).stdin(Stdio::null());
        let of_aws = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"));
        for (name, _) in of_aws {
            command.env_remove(name);
        }
        command.env_remove("CARGO").envs(self.variables.iter().chain(variables).cloned());
        command
    }

    /// Starts a command that logs into `logs/NAME`, behind a line that says when and as which process.
    pub fn start(&self, name: &str, arguments: &[String], variables: &[(String, String)], since: f64) -> Child {
        let mut log = self.log(name);
        let (out, err) = (log.try_clone().unwrap(), log.try_clone().unwrap());
        let child = self.command(arguments, variables).stdout(out).stderr(err).spawn().unwrap();
        writeln!(log, "--- {since:.1}s: process {}: {} {variables:?}", child.id(), arguments.join(" ")).unwrap();
        child
    }

    fn log(&self, name: &str) -> File {
        OpenOptions::new().create(true).append(true).open(self.path("logs").join(name)).unwrap()
    }

    /// A remark of the harness itself.
    pub fn note(&self, text: &str) {
        writeln!(self.log("attack"), "{text}").unwrap();
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let output = self.command(&arguments, &[]).output().unwrap();
        let line = format!("loadline {}", arguments.join(" "));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended =
            Ended { line, code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        writeln!(self.log("drain"), "{} -> {:?}\n{}{}", ended.line, ended.code, ended.stdout, ended.stderr).unwrap();
        ended
    }

    /// Every row of the query; `None` where the database does not answer.
    pub fn try_rows(&self, db: Db, sql: &str) -> Option<Vec<Vec<String>>> {
        match &self.databases {
            Databases::Sqlite => try_rows_of(&self.sqlite_path(db), sql).ok(),
            Databases::Servers { addresses, .. } => addresses[db as usize].try_rows(sql).ok(),
        }
    }

    /// The same of a database that must answer.
    pub fn rows(&self, db: Db, sql: &str) -> Vec<Vec<String>> {
        self.try_rows(db, sql).unwrap_or_else(|| panic!("no answer to {sql}"))
    }

    /// The first value of the first row as a number.
    pub fn number(&self, db: Db, sql: &str) -> u64 {
        self.rows(db, sql)[0][0].parse().unwrap_or(0)
    }

    /// Runs one statement.
    pub fn execute(&self, db: Db, sql: &str) {
        match &self.databases {
            Databases::Sqlite => {
                let connection = Connection::open(self.sqlite_path(db)).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            Databases::Servers { addresses, .. } => addresses[db as usize].execute(sql),
        }
    }

    pub fn sqlite_path(&self, db: Db) -> PathBuf {
        self.path(match db {
            Db::Metadata => "db/metadata.db",
            Db::Reporting => "db/reporting.db",
        })
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.databases, Databases::Sqlite)
    }
}
