//! What is going on when a step is broken, and how it is brought to its end afterwards.

use std::sync::OnceLock;

use super::oracle::{assert_sound, picture};
use super::side_by_side;
use crate::e2e::project::{Db, EVENTS_HEADER, KEYED_EVENTS_SCHEMA, Project, events};
use crate::servers::{Database, Kind, Server};

pub const LONG: &str = "2026/01/01/00/long.csv";
pub const SHORT: &str = "2026/01/01/01/short.csv";
/// Records of a segment: the long file has four.
const SEGMENT_RECORDS: &str = "16";
/// Whoever dies, or is out of reach, often enough over one job is given up on: not what this is about. No lease ends by
/// itself, and no heartbeat comes in between.
pub const PATIENT: &str = "etl: {max_attempts: 50, max_expiries: 50, lease: 10m}";
/// The same, and one file after the other, the long one first.
pub const SERIAL: &str = "etl: {max_attempts: 50, max_expiries: 50, lease: 10m, connections: 1}";
/// A load by one worker: what another one of the same process did in between would not be part of the story.
pub const ETL: &[&str] = &["etl", "--workers", "1"];
/// Rounds after which everything must have come to its end.
const ROUNDS_MAX: usize = 6;

/// The command that is broken, and where things stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Nothing is there.
    Setup,
    /// Two files lie at the source.
    Scan,
    /// They are in a job; one record is a reject.
    Load,
    /// The same, but the long file fails in its last segment.
    Fail,
    /// They are loaded, and are to be unloaded.
    Unload,
    /// The long file has failed and was replaced.
    Retry,
}

/// Records 1 to 50, of which record 20 is no good.
pub fn long() -> String {
    let mut text = EVENTS_HEADER.to_owned();
    for id in 1..=50 {
        let bad = if id == 20 { "x" } else { "" };
        text.push_str(&format!("{bad}{id},{},n{id}\n", id * 10));
    }
    text
}

/// A key comes twice, in the last segment.
fn failing() -> String {
    format!("{}7,70,n7\n", long())
}

/// A project on SQLite, or on these databases, not set up.
pub fn project(databases: Option<[&Database<'_>; 2]>, settings: &str) -> Project {
    let variables = [("LOADLINE_SEGMENT_RECORDS".to_owned(), SEGMENT_RECORDS.to_owned())];
    let project = Project::over("{url: \"file:incoming\"}", &variables, "events", KEYED_EVENTS_SCHEMA, settings);
    match databases {
        Some([metadata, reporting]) => project.on(metadata, reporting, settings),
        None => project,
    }
}

/// Tells a story on SQLite, MariaDB and MySQL, as far as they are there, on all of them at the same time.
pub fn everywhere(settings: &str, story: impl Fn(&Project) + Sync) {
    tell(&["SQLite", "MariaDB", "MySQL"], settings, story);
}

/// The same on servers only.
pub fn on_servers(settings: &str, story: impl Fn(&Project) + Sync) {
    tell(&["MariaDB", "MySQL"], settings, story);
}

fn tell(backends: &[&str], settings: &str, story: impl Fn(&Project) + Sync) {
    side_by_side::all_hold(backends, |backend| {
        let kind = match *backend {
            "SQLite" => return story(&project(None, settings)),
            "MariaDB" => Kind::MariaDb,
            _ => Kind::MySql,
        };
        let Some(server) = Server::shared(kind) else { return };
        let (metadata, reporting) = (server.fresh(), server.fresh());
        story(&project(Some([&metadata, &reporting]), settings));
    });
}

/// What a load leaves that nothing has disturbed.
pub fn undisturbed() -> &'static [String] {
    static UNDISTURBED: OnceLock<Vec<String>> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let project = project(None, "");
        Story::Load.prepare(&project);
        project.etl().ok();
        let left = picture(&project);
        assert_eq!(left.len(), 49 + 5 + 1 + 2, "{left:#?}");
        left
    })
}

impl Story {
    pub fn command(self) -> &'static [&'static str] {
        match self {
            Self::Setup => &["setup"],
            Self::Scan => &["scan"],
            Self::Load | Self::Fail => ETL,
            Self::Unload => &["unload", "--feed", "events", "--from", "2026-01-01", "--to", "2026-01-02", "--yes"],
            Self::Retry => &["retry", "--failed"],
        }
    }

    /// Everything before the command.
    pub fn prepare(self, project: &Project) {
        let fails = matches!(self, Self::Fail | Self::Retry);
        project.write_at(LONG, if fails { failing() } else { long() }, 1);
        project.write_at(SHORT, events(101..=105), 2);
        if self == Self::Setup {
            return;
        }
        project.run(&["setup"]).ok();
        if self == Self::Scan {
            return;
        }
        project.scan().ok();
        match self {
            Self::Unload => drop(project.etl().ok()),
            Self::Retry => {
                project.etl().exits(3);
                project.write_at(LONG, long(), 3);
            }
            _ => {}
        }
    }

    /// What people and timers do afterwards, until everything is loaded.
    pub fn end(self, project: &Project) {
        if self == Self::Setup {
            project.run(&["setup"]).ok();
        }
        if self == Self::Unload {
            project.run(self.command()).ok();
            assert_sound(project, "unloaded");
            assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "0");
            project.run(&["retry", "--unloaded"]).ok();
        }
        // A replaced file is for `retry`: a scan would set it aside.
        let mut may_scan = self != Self::Retry;
        for _ in 0..ROUNDS_MAX {
            if may_scan {
                project.scan().ok();
            }
            no_waiting(project);
            let ran = project.etl();
            assert!(ran.code.is_some(), "{ran}");
            assert_sound(project, "after etl");
            let statuses = project.statuses();
            if statuses.iter().any(|status| status == "FAILED") {
                if self == Self::Fail {
                    project.write_at(LONG, long(), 3);
                    may_scan = false;
                }
                project.run(&["retry", "--failed"]).ok();
            } else if statuses.iter().all(|status| status == "LOADED") {
                return;
            }
        }
        panic!("not at an end after {ROUNDS_MAX} rounds: {:?}", project.dump());
    }
}

/// Jobs that were put off are due.
pub fn no_waiting(project: &Project) {
    project.tamper(Db::Metadata, "UPDATE scanner_jobs SET run_after = created_time");
}

/// The leases of whoever stands still are over, as if the time had passed.
pub fn end_leases(project: &Project) {
    project.tamper(Db::Metadata, "UPDATE scanner_jobs SET lease_until = created_time WHERE status = 'PROCESSING'");
}
