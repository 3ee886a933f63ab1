//! Every place × everything that can happen there: afterwards a clean run makes everything whole.

use std::fmt;

use super::attempt::Attempt;
use super::oracle::{assert_sound, assert_whole, everything};
use super::points::{ALL, Holds, Point};
use super::side_by_side;
use super::stories::{PATIENT, Story, end_leases, no_waiting, project, undisturbed};
use crate::e2e::project::{Db, Project, eventually};
use crate::servers::{Kind, Server};

/// On a server only where it is the server's transaction that is broken.
const ON_A_SERVER: &[&str] = &[
    "setup.statement",
    "register.inserted",
    "job.inserted",
    "claim.marked",
    "take.made",
    "take.counted",
    "segment.begun",
    "segment.rows",
    "segment.rejects",
    "segment.moved",
    "segment.committed",
    "end.marked",
    "walk_back.deleted",
    "walk_back.step",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Crash,
    Unavailable,
    Data,
    Stall,
}

struct Case {
    point: Point,
    effect: Effect,
    on_server: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { name, story, time, .. } = self.point;
        write!(f, "{:?} at {name}@{time} of {story:?}", self.effect)
    }
}

impl Case {
    fn failpoints(&self) -> String {
        let effect = format!("{:?}", self.effect).to_lowercase();
        let Point { name, time, beside, .. } = self.point;
        format!("{name}={effect}@{time},{beside}")
    }

    /// On a server each kind of transaction holds what it holds; SQLite has one writer.
    fn holds(&self) -> Holds {
        match self.point.holds {
            Holds::MetadataOnSqlite | Holds::ReportingOnSqlite if self.on_server => Holds::Nothing,
            Holds::MetadataOnSqlite => Holds::Metadata,
            Holds::ReportingOnSqlite => Holds::Reporting,
            holds => holds,
        }
    }

    fn run(&self) {
        let server = if self.on_server { Server::shared(Kind::MariaDb) } else { None };
        let databases = server.map(|server| [server.fresh(), server.fresh()]);
        let settings = if self.point.name == "heartbeat" { &PATIENT.replace("10m", "2s") } else { PATIENT };
        let project = project(databases.as_ref().map(|[metadata, reporting]| [metadata, reporting]), settings);
        self.point.story.prepare(&project);
        let attempt = Attempt::until(&project, self.point.story.command(), &self.failpoints(), self.point.name);
        if self.effect == Effect::Stall {
            self.others_go_on(&project, attempt);
        } else {
            let ran = attempt.go_on();
            assert_eq!(ran.code.is_none(), self.effect == Effect::Crash, "{ran}");
            assert!(ran.code != Some(101), "{ran}");
        }
        self.assert_sound(&project, "right after it");
        self.point.story.end(&project);
        assert_whole(&project, undisturbed(), "at the end");
    }

    fn assert_sound(&self, project: &Project, when: &str) {
        // Before the set-up there is nothing to look at.
        if self.point.story != Story::Setup {
            assert_sound(project, when);
        }
    }

    /// While one process stands still, others bring everything to its end. Afterwards it goes on.
    fn others_go_on(&self, project: &Project, attempt: Attempt<'_>) {
        match self.holds() {
            // They can end everything; nothing of what it does then may change anything.
            Holds::Nothing => {
                self.assert_sound(project, "while it stands still");
                end_leases(project);
                self.point.story.end(project);
                let ended = everything(project);
                let ran = attempt.go_on();
                assert!(ran.code.is_some_and(|code| code != 101), "{ran}");
                assert_eq!(everything(project), ended, "whoever stood still has changed something: {ran}");
            }
            // They come up to where they wait for it.
            Holds::Reporting => {
                self.assert_sound(project, "while it stands still");
                let owners = "SELECT count(*) FROM scanner_jobs WHERE claim_token = ";
                let token = project.row(Db::Metadata, "SELECT max(claim_token) FROM scanner_jobs");
                let other = project.start(self.point.story.command());
                if token != "NULL" {
                    end_leases(project);
                    let held = format!("{owners}'{token}'");
                    eventually("another worker has the job", || {
                        no_waiting(project);
                        project.row(Db::Metadata, &held) == "0"
                    });
                }
                self.both_end(project, attempt, other);
            }
            Holds::Metadata => {
                let other = project.start(self.point.story.command());
                self.both_end(project, attempt, other);
            }
            Holds::MetadataOnSqlite | Holds::ReportingOnSqlite => unreachable!("told apart above"),
        }
    }

    fn both_end(&self, project: &Project, attempt: Attempt<'_>, other: std::process::Child) {
        let ran = attempt.go_on();
        assert!(ran.code.is_some_and(|code| code != 101), "{ran}");
        let ran = project.finish(self.point.story.command(), other);
        assert!(ran.code.is_some_and(|code| code != 101), "{ran}");
        end_leases(project);
    }
}

/// `LOADLINE_TEST_POINT` leaves one place of all.
fn all_hold(effect: Effect, on_server: bool) {
    if on_server && Server::shared(Kind::MariaDb).is_none() {
        return;
    }
    undisturbed();
    let only = std::env::var("LOADLINE_TEST_POINT").unwrap_or_default();
    let points = ALL.iter().filter(|point| !on_server || ON_A_SERVER.contains(&point.name));
    let points = points.filter(|point| only.is_empty() || point.name == only);
    let cases: Vec<Case> = points.map(|&point| Case { point, effect, on_server }).collect();
    side_by_side::all_hold(&cases, Case::run);
}

#[test]
fn a_crash_at_any_step_loses_and_doubles_nothing() {
    all_hold(Effect::Crash, false);
}

#[test]
fn an_outage_at_any_step_loses_and_doubles_nothing() {
    all_hold(Effect::Unavailable, false);
}

#[test]
fn a_refusal_at_any_step_loses_and_doubles_nothing() {
    all_hold(Effect::Data, false);
}

#[test]
fn a_worker_that_stands_still_at_any_step_changes_nothing_afterwards() {
    all_hold(Effect::Stall, false);
}

#[test]
fn a_crash_in_any_transaction_of_a_server_loses_and_doubles_nothing() {
    all_hold(Effect::Crash, true);
}

#[test]
fn an_outage_in_any_transaction_of_a_server_loses_and_doubles_nothing() {
    all_hold(Effect::Unavailable, true);
}

#[test]
fn a_refusal_in_any_transaction_of_a_server_loses_and_doubles_nothing() {
    all_hold(Effect::Data, true);
}

#[test]
fn a_worker_that_stands_still_in_any_transaction_of_a_server_changes_nothing_afterwards() {
    all_hold(Effect::Stall, true);
}
