//! The places, and what has to be known of each to break it.

use std::collections::BTreeSet;
use std::path::Path;

use loadline::failpoint::POINTS;

use super::stories::Story;

/// What a process that stands still there keeps from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Nothing,
    /// A transaction on the metadata.
    Metadata,
    /// A transaction on the rows; of MySQL, on those of the file.
    Reporting,
    /// Only SQLite, where a writer holds the whole database.
    MetadataOnSqlite,
    ReportingOnSqlite,
}

#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub name: &'static str,
    pub story: Story,
    pub holds: Holds,
    /// Which time that it is reached.
    pub time: u64,
    /// What else has to happen for the step to be reached.
    pub beside: &'static str,
}

const fn point(name: &'static str, story: Story, holds: Holds) -> Point {
    Point { name, story, holds, time: 1, beside: "" }
}

const fn later(name: &'static str, story: Story, holds: Holds, time: u64) -> Point {
    Point { time, ..point(name, story, holds) }
}

const OUT_OF_REACH: &str = "confirmed=unavailable@1";

#[rustfmt::skip]
pub const ALL: &[Point] = {
    use Holds::{Metadata, MetadataOnSqlite, Nothing, Reporting, ReportingOnSqlite};
    use Story::{Fail, Load, Retry, Scan, Setup, Unload};
    &[
        point("setup.statement", Setup, MetadataOnSqlite),
        later("setup.statement", Setup, MetadataOnSqlite, 2),
        point("setup.step", Setup, Nothing),
        later("setup.step", Setup, Nothing, 4),
        point("setup.table", Setup, Nothing),
        point("setup.feeds", Setup, Nothing),
        point("register.inserted", Scan, Metadata),
        point("registered", Scan, Nothing),
        point("scanned", Scan, Nothing),
        point("job.planned", Scan, Nothing),
        point("job.inserted", Scan, Metadata),
        point("job.formed", Scan, Nothing),
        point("rescue.looked", Load, Nothing),
        point("rescued", Load, Nothing),
        point("claim.marked", Load, Metadata),
        point("claimed", Load, Nothing),
        Point { beside: "confirmed=stall", ..point("heartbeat", Load, Nothing) },
        point("take.made", Load, ReportingOnSqlite),
        point("take.counted", Load, Reporting),
        point("taken", Load, Nothing),
        point("confirmed", Load, Nothing),
        point("file.opened", Load, Nothing),
        point("file.validated", Load, Nothing),
        point("segment.encoded", Load, Nothing),
        later("segment.encoded", Load, Nothing, 3),
        point("segment.begun", Load, Reporting),
        later("segment.begun", Load, Reporting, 3),
        point("segment.rows", Load, Reporting),
        later("segment.rows", Load, Reporting, 3),
        later("segment.rejects", Load, Reporting, 2),
        later("segment.rejects", Load, Reporting, 4),
        point("segment.moved", Load, Reporting),
        later("segment.moved", Load, Reporting, 3),
        Point { beside: "segment.rows=unavailable@1", ..point("segment.again", Load, Nothing) },
        point("segment.committed", Load, Nothing),
        later("segment.committed", Load, Nothing, 3),
        later("segment.committed", Load, Nothing, 5),
        point("segment.read", Load, Nothing),
        later("segment.read", Load, Nothing, 3),
        point("file.complete", Load, Nothing),
        later("file.complete", Load, Nothing, 2),
        point("complete.untold", Load, Nothing),
        point("end.marked", Load, Metadata),
        point("complete.told", Load, Nothing),
        Point { beside: OUT_OF_REACH, ..point("postpone.untold", Load, Nothing) },
        Point { beside: OUT_OF_REACH, ..point("postpone.told", Load, Nothing) },
        later("segment.rows", Fail, Reporting, 4),
        point("fail.confirmed", Fail, Nothing),
        point("walk_back.begun", Fail, Nothing),
        point("walk_back.deleted", Fail, Reporting),
        later("walk_back.deleted", Fail, Reporting, 3),
        point("walk_back.step", Fail, Nothing),
        later("walk_back.step", Fail, Nothing, 2),
        point("fail.walked_back", Fail, Nothing),
        point("fail.untold", Fail, Nothing),
        point("end.marked", Fail, Metadata),
        point("fail.told", Fail, Nothing),
        point("unload.revoked", Unload, Nothing),
        point("take.counted", Unload, Reporting),
        point("unload.taken", Unload, Nothing),
        point("unload.looked", Unload, Nothing),
        point("walk_back.begun", Unload, Nothing),
        point("walk_back.deleted", Unload, Reporting),
        point("walk_back.step", Unload, Nothing),
        later("walk_back.step", Unload, Nothing, 3),
        point("unload.walked_back", Unload, Nothing),
        point("retry.readmitted", Retry, Nothing),
        point("retry.sent", Retry, Nothing),
    ]
};

/// The text of everything but the list itself.
fn sources() -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("src/failpoint.rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    text
}

#[test]
fn every_place_is_listed_stands_in_the_code_and_is_broken() {
    let listed: BTreeSet<String> = POINTS.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(listed.len(), POINTS.len(), "a place is listed twice");
    let sources = sources();
    for name in POINTS {
        assert!(sources.contains(&format!("\"{name}\"")), "{name} is not in the code");
    }
    for call in ["failpoint::reach(\"", "failpoint::reach_blocking(\""] {
        for name in sources.split(call).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(listed.contains(name), "{name} is not listed");
        }
    }
    let broken: BTreeSet<String> = ALL.iter().map(|point| point.name.to_owned()).collect();
    // A repair is killed in its drills, in `e2e::audit_repair`.
    let listed: BTreeSet<String> = listed.into_iter().filter(|name| !name.starts_with("repair.")).collect();
    assert_eq!(broken, listed, "the table and the list differ");
}
