//! A COMMIT that nobody answers: it has landed, or it has not, and the worker does not know. And connections that a server
//! cuts under it, or that die with the server.

use std::fmt;
use std::net::SocketAddr;

use super::attempt::Attempt;
use super::oracle::{assert_sound, assert_whole};
use super::side_by_side;
use super::stories::{ETL, PATIENT, SERIAL, Story, end_leases, on_servers, project, undisturbed};
use crate::e2e::project::{Db, Project};
use crate::proxy::{Fault, Kind as Counted, LostCommit, Proxy};
use crate::servers::{Kind, Server};

/// Lets the project reach one of its databases through a proxy only. The test goes straight.
fn behind_a_proxy(project: &Project, db: Db) -> Proxy {
    let url = project.address(db).unwrap().url();
    let authority = url.strip_prefix("mysql://root@").unwrap().split('/').next().unwrap();
    let proxy = Proxy::mysql(authority.parse::<SocketAddr>().unwrap());
    let proxied = url.replace(authority, &proxy.address().to_string());
    let config = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    assert!(config.contains(&url), "{config}");
    std::fs::write(project.path("config.yaml"), config.replace(&url, &proxied)).unwrap();
    proxy
}

/// A COMMIT and what becomes of it.
#[derive(Clone, Copy)]
struct Lost {
    /// Right before the COMMIT.
    point: &'static str,
    time: u64,
    db: Db,
    story: Story,
    loss: LostCommit,
    kind: Kind,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { point, time, story, loss, kind, .. } = self;
        write!(f, "{loss:?} behind {point}@{time} of {story:?} on {kind:?}")
    }
}

impl Lost {
    fn all(loss: LostCommit) -> Vec<Self> {
        let places = [
            ("job.inserted", 1, Db::Metadata, Story::Scan),
            ("claim.marked", 1, Db::Metadata, Story::Load),
            ("take.counted", 1, Db::Reporting, Story::Load),
            ("segment.moved", 1, Db::Reporting, Story::Load),
            ("segment.moved", 3, Db::Reporting, Story::Load),
            ("segment.moved", 5, Db::Reporting, Story::Load),
            ("end.marked", 1, Db::Metadata, Story::Load),
            ("walk_back.deleted", 2, Db::Reporting, Story::Fail),
            ("end.marked", 1, Db::Metadata, Story::Fail),
        ];
        let on = |kind| places.map(|(point, time, db, story)| Self { point, time, db, story, loss, kind });
        [Kind::MariaDb, Kind::MySql].into_iter().flat_map(on).collect()
    }

    fn run(&self, counted: Counted) {
        let Some(server) = Server::shared(self.kind) else { return };
        let (metadata, reporting) = (server.fresh(), server.fresh());
        let project = project(Some([&metadata, &reporting]), PATIENT);
        self.story.prepare(&project);
        let proxy = behind_a_proxy(&project, self.db);
        let failpoints = format!("{}=stall@{}", self.point, self.time);
        let attempt = Attempt::until(&project, self.story.command(), &failpoints, self.point);
        proxy.arm(Fault::Commit(self.loss));
        let ran = attempt.go_on();
        assert_eq!(proxy.count(counted), 1, "{ran}");
        assert_sound(&project, "without an answer");
        self.story.end(&project);
        assert_whole(&project, undisturbed(), "in the end");
    }
}

/// S6, and every other transaction that matters: each is read again, not believed.
#[test]
fn a_commit_that_has_landed_without_an_answer_is_not_made_again() {
    side_by_side::all_hold(&Lost::all(LostCommit::Swallowed), |case| case.run(Counted::CommitSwallowed));
}

#[test]
fn a_commit_that_never_came_is_made_again() {
    side_by_side::all_hold(&Lost::all(LostCommit::NeverSent), |case| case.run(Counted::CommitNeverSent));
}

/// S6 itself: the same take goes on, which a worker of today does not even try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_commit_landed_unseen_is_moved_and_not_repeated() {
    for server in [Kind::MariaDb, Kind::MySql].into_iter().filter_map(Server::shared) {
        let database = server.fresh();
        let proxy = Proxy::mysql(SocketAddr::from(([127, 0, 0, 1], server.port())));
        let url = format!("mysql://root@{}/{}", proxy.address(), database.name);
        let warehouse = crate::mysql::warehouse(&url, &[]);
        let lose = || proxy.arm(Fault::Commit(LostCommit::Swallowed));
        crate::conformance::ledger::a_stream_whose_commit_landed_unseen_is_moved(&warehouse, &database, lose).await;
        assert_eq!(proxy.count(Counted::CommitSwallowed), 1);
    }
}

/// The answer is lost, and another worker has gone on from there before anybody looks.
#[test]
fn a_commit_without_an_answer_that_another_worker_has_built_upon_stays_single() {
    on_servers(SERIAL, |project| {
        Story::Load.prepare(project);
        let proxy = behind_a_proxy(project, Db::Reporting);
        let failpoints = "segment.moved=stall@2,segment.again=stall";
        let mut unanswered = Attempt::until(project, ETL, failpoints, "segment.moved");
        proxy.arm(Fault::Commit(LostCommit::Swallowed));
        unanswered.release("segment.moved");
        unanswered.reaches("segment.again");
        assert_eq!(proxy.count(Counted::CommitSwallowed), 1);
        end_leases(project);
        let other = Attempt::until(project, ETL, "segment.committed=stall@1", "segment.committed");
        let said = unanswered.go_on();
        other.go_on().ok();
        assert_whole(project, undisturbed(), &format!("{said}"));
    });
}

/// The server cuts a holder that says nothing for `wait_timeout`; here it does so at once.
#[test]
fn a_worker_frozen_in_a_segment_and_cut_by_the_server_changes_nothing() {
    on_servers(PATIENT, |project| {
        Story::Load.prepare(project);
        let frozen = Attempt::until(project, ETL, "segment.rejects=stall@2", "segment.rejects");
        let database = project.address(Db::Reporting).unwrap().name();
        let theirs =
            format!("SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> connection_id()");
        let cut = project.rows(Db::Reporting, &theirs);
        assert!(!cut.is_empty());
        for id in cut.iter().map(|row| &row[0]) {
            project.tamper(Db::Reporting, &format!("KILL {id}"));
        }
        end_leases(project);
        project.etl().ok();
        assert_whole(project, undisturbed(), "loaded by another");
        let woken = frozen.go_on();
        assert_whole(project, undisturbed(), &format!("{woken}"));
    });
}

/// Between the change and its COMMIT, and right behind it.
#[test]
fn a_server_killed_around_a_commit_keeps_all_of_it_or_nothing() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = Server::start(kind, &[]) else { continue };
        for (point, story, time) in [
            ("segment.moved", Story::Load, 3),
            ("segment.committed", Story::Load, 3),
            ("end.marked", Story::Load, 1),
            ("walk_back.deleted", Story::Fail, 2),
        ] {
            let (metadata, reporting) = (server.fresh(), server.fresh());
            let project = project(Some([&metadata, &reporting]), PATIENT);
            let when = format!("{kind:?} killed at {point}@{time} of {story:?}");
            story.prepare(&project);
            let attempt = Attempt::until(&project, story.command(), &format!("{point}=stall@{time}"), point);
            server.kill();
            server.start_again();
            assert_sound(&project, &when);
            let ran = attempt.go_on();
            assert!(ran.code.is_some(), "{when}: {ran}");
            story.end(&project);
            assert_whole(&project, undisturbed(), &when);
        }
    }
}
