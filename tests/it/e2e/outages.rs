//! `run` over a bucket and MariaDB: what arrives, what stops it, and what goes away and comes back.

use super::project::{Db, Project, eventually, hour, signal};
use super::serving::{
    Heard, SMALL_SEGMENTS, assert_all_once, assert_gives_the_job_back, assert_loads_what_arrives, half_loaded, loaded,
    write_long,
};
use crate::s3::server::{Effect, Kind as Request, S3Server};
use crate::servers::{Kind, Server};

const FILES: usize = 12;
const OUTAGE: &str = "out of reach: no job is claimed";
const OVER: &str = "back in reach";

#[test]
fn a_run_loads_what_arrives_in_a_bucket_into_a_server() {
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let project = Project::in_production(&s3, [&metadata, &reporting], "scanner: {frequency: 1s}");
    assert_loads_what_arrives(&project);
}

#[test]
fn a_stop_in_the_middle_of_a_load_into_a_server_gives_the_job_back() {
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let project = Project::in_production(&s3, [&metadata, &reporting], SMALL_SEGMENTS);
    assert_gives_the_job_back(&project, "run", 0);
}

#[test]
fn one_scanner_at_a_time_works_on_a_database() {
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let project = Project::in_production(&s3, [&metadata, &reporting], "scanner: {frequency: 1s}");
    project.write_events(&format!("{}/a.csv", hour(0)), [1, 2]);
    let held = metadata.hold(&format!("SELECT GET_LOCK('loadline:scanner:{}', 0)", metadata.name));
    project.scan().ok().says(&["another scanner is at work on this metadata database: nothing was scanned"]);
    let run = Heard::start(&project, &["-v", "run"]);
    run.hear("another scanner is at work: this turn is left to it");
    assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_files"), "0");
    drop(held);
    eventually("the file is loaded", || loaded(&project) == 1);
    signal(&run.child, "TERM");
    let (exit, said) = run.finish();
    assert_eq!(exit, Some(0), "{said}");
    assert!(!said.contains("the scan failed"), "{said}");
}

/// Twelve jobs that wait, the first of which a `run` loads before `release` lets it have the others.
fn wait_with_one_loaded(project: &Project) -> Heard {
    for file in 0..FILES {
        project.write_events(&format!("{}/events.csv", hour(file)), [file as u64]);
    }
    project.scan().ok();
    let put_off = "UPDATE scanner_jobs SET run_after = '9999-01-01' WHERE status = 'SENT_FOR_ETL' AND id NOT IN \
                   (SELECT first FROM (SELECT min(id) AS first FROM scanner_jobs WHERE status <> 'NONE') jobs)";
    project.tamper(Db::Metadata, put_off);
    let run = Heard::start(project, &["run"]);
    eventually("the first job is loaded", || loaded(project) == 1);
    run
}

fn release(project: &Project) {
    project.tamper(Db::Metadata, "UPDATE scanner_jobs SET run_after = '1970-01-02' WHERE status = 'SENT_FOR_ETL'");
}

/// All is loaded by the `run` alone, no attempt was used up, and an outage was said once.
fn assert_went_on_by_itself(project: &Project, run: Heard, files: usize) {
    eventually("all is loaded", || loaded(project) == files);
    signal(&run.child, "TERM");
    let (exit, said) = run.finish();
    assert_eq!(exit, Some(0), "{said}");
    let sql = "SELECT max(attempts), min(status) FROM scanner_jobs WHERE status <> 'NONE'";
    assert_eq!(project.row(Db::Metadata, sql), "1|LOADED", "{said}");
    for text in [OUTAGE, OVER] {
        assert_eq!(said.matches(text).count(), 1, "{text}: {said}");
    }
}

fn assert_files_once(project: &Project) {
    let rows = project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events");
    assert_eq!(rows, format!("{FILES}|{FILES}"));
}

const ONE_BY_ONE: &str = "scanner: {frequency: 1s, max_job_files: 1}";

#[test]
fn a_bucket_that_is_down_uses_no_attempt_up() {
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (mut s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let project = Project::in_production(&s3, [&metadata, &reporting], ONE_BY_ONE);
    let run = wait_with_one_loaded(&project);
    s3.go_down();
    release(&project);
    run.hear(OUTAGE);
    run.hear("the scan failed");
    s3.come_back();
    assert_went_on_by_itself(&project, run, FILES);
    assert_files_once(&project);
}

#[test]
fn a_bucket_that_answers_500_uses_no_attempt_up() {
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let (s3, metadata, reporting) = (S3Server::start(), server.fresh(), server.fresh());
    let project = Project::in_production(&s3, [&metadata, &reporting], ONE_BY_ONE);
    let run = wait_with_one_loaded(&project);
    for request in [Request::List, Request::Get, Request::Head] {
        s3.inject(request, 0, usize::MAX, Effect::Status(500, "InternalError"));
    }
    release(&project);
    run.hear(OUTAGE);
    s3.heal();
    assert_went_on_by_itself(&project, run, FILES);
    assert_files_once(&project);
}

/// Killed in the middle of a load, and started again.
fn reporting_goes_and_comes(metadata: &Server, reporting: &Server) {
    let s3 = S3Server::start();
    let (on_metadata, on_reporting) = (metadata.fresh(), reporting.fresh());
    let project = Project::in_production(&s3, [&on_metadata, &on_reporting], SMALL_SEGMENTS);
    write_long(&project);
    project.scan().ok();
    let run = Heard::start(&project, &["run"]);
    eventually("a segment is committed", || half_loaded(&project));
    reporting.kill();
    run.hear(OUTAGE);
    reporting.start_again();
    assert_went_on_by_itself(&project, run, 1);
    assert_all_once(&project);
}

#[test]
fn a_reporting_database_that_goes_away_uses_no_attempt_up() {
    let (Some(metadata), Some(reporting)) = (Server::shared(Kind::MariaDb), Server::start(Kind::MariaDb, &[])) else {
        return;
    };
    reporting_goes_and_comes(metadata, &reporting);
}

fn a_whole_server_goes_and_comes(kind: Kind) {
    let Some(server) = Server::start(kind, &[]) else { return };
    reporting_goes_and_comes(&server, &server);
}

#[test]
fn a_mariadb_of_both_databases_that_goes_away_uses_no_attempt_up() {
    a_whole_server_goes_and_comes(Kind::MariaDb);
}

#[test]
fn a_mysql_of_both_databases_that_goes_away_uses_no_attempt_up() {
    a_whole_server_goes_and_comes(Kind::MySql);
}
