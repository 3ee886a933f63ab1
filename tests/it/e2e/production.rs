//! Where its users live: the published files, hourly in a bucket, into MariaDB and MySQL, by several scanners and workers
//! at once, with metadata and rows on two servers.

use super::project::{Db, Project, Ran, hour};
use super::real_files::{self, Known, SCHEMA, TEST, TRAIN};
use crate::s3::server::S3Server;
use crate::servers::{Kind, Server};

/// Its table has the name of the feed.
const FEEDS: [(&str, Known); 2] = [("loan_applications", TRAIN), ("loan_tests", TEST)];
const SETTINGS: &str = "    prefix: loan_applications
  - {name: loan_tests, prefix: loan_tests, schema: schemas/loan_applications.yaml}
scanner: {max_job_files: 2}";
/// 50 files of each feed, and so 25 jobs.
const RECORDS_PER_FILE: usize = 200;
const FILES: u64 = 100;
const JOBS: u64 = 50;

/// Puts the published files into the bucket, hour by hour; `None` where they are not there.
fn fill(bucket: &S3Server) -> Option<()> {
    for (feed, known) in FEEDS {
        let text = real_files::published(known.file)?;
        for (number, text) in real_files::hours_of(&text, RECORDS_PER_FILE).into_iter().enumerate() {
            bucket.bucket.put(&format!("in/{feed}/{}/loans.csv", hour(number)), text, number as u64);
        }
    }
    Some(())
}

/// Two of the same command at the same time.
fn both(project: &Project, arguments: &[&str]) -> [Ran; 2] {
    [(); 2].map(|()| project.start(arguments)).map(|child| project.finish(arguments, child).ok())
}

fn ended(ran: &Ran, event: &str) -> u64 {
    let lines = ran.stderr.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).count() as u64
}

fn load_on(metadata: &Server, reporting: &Server) {
    let bucket = S3Server::start();
    if fill(&bucket).is_none() {
        return;
    }
    let (metadata, reporting) = (metadata.fresh(), reporting.fresh());
    let source = bucket.source("in");
    let project = Project::over(&source, &bucket.variables(), "loan_applications", SCHEMA, SETTINGS);
    let project = project.on(&metadata, &reporting, SETTINGS);
    project.run(&["setup"]).ok();
    both(&project, &["scan"]);
    let loaders = both(&project, &["etl", "--workers", "2", "--log-format", "json"]);
    let jobs = loaders.each_ref().map(|ran| ended(ran, "job_ended"));
    assert_eq!(jobs.iter().sum::<u64>(), JOBS, "{jobs:?}");
    assert!(jobs.iter().all(|jobs| *jobs > 0), "one of the two had nothing to do: {jobs:?}");
    for (feed, known) in &FEEDS {
        real_files::assert_sums(&project, known, feed);
        assert_ledger_is_table(&project, feed);
    }
    assert_all_loaded_at_once(&project);

    let before = project.dump();
    project.scan().ok().in_silence();
    for ran in both(&project, &["etl", "--workers", "2"]) {
        ran.in_silence();
    }
    assert!(project.dump() == before, "a second scan and etl changed something");
}

/// File by file: the rows that the ledger counts are those that the table has, and no file has rows beyond its records.
fn assert_ledger_is_table(project: &Project, feed: &str) {
    let sql = format!(
        "SELECT ledger.file, `rows`, records_done, held, last FROM loadline_files ledger \
         LEFT JOIN (SELECT _file, count(*) AS held, max(_record) AS last FROM {feed} GROUP BY _file) rows_of \
         ON rows_of._file = ledger.file \
         WHERE feed = '{feed}' AND (held IS NULL OR held <> `rows` OR last > records_done)"
    );
    assert_eq!(project.rows(Db::Reporting, &sql), Vec::<Vec<String>>::new());
    let sql = format!("SELECT count(DISTINCT _file), count(*) - count(DISTINCT _file, _record) FROM {feed}");
    assert_eq!(project.row(Db::Reporting, &sql), format!("{}|0", FILES / 2));
}

/// Every file LOADED, in one job that one worker took once.
fn assert_all_loaded_at_once(project: &Project) {
    let sql = "SELECT state, count(*), count(DISTINCT feed, `key`), sum(rows_loaded) FROM scanner_files GROUP BY state";
    assert_eq!(project.rows(Db::Metadata, sql), [["LOADED", "100", "100", "19998"]]);
    let sql = "SELECT status, count(*), min(attempts), max(attempts), max(expiries), sum(rows_loaded) \
               FROM scanner_jobs WHERE status <> 'NONE' GROUP BY status";
    assert_eq!(project.rows(Db::Metadata, sql), [["LOADED", "50", "1", "1", "0", "19998"]]);
    let sql = "SELECT count(*), min(complete), min(epoch), max(epoch) FROM loadline_files";
    assert_eq!(project.row(Db::Reporting, sql), format!("{FILES}|1|1|1"));
}

fn load_on_two_servers(kind: Kind) {
    let (Some(metadata), Some(reporting)) = (Server::shared(kind), Server::start(kind, &[])) else { return };
    load_on(metadata, &reporting);
}

#[test]
fn two_loaders_bring_the_published_files_from_a_bucket_into_mariadb() {
    load_on_two_servers(Kind::MariaDb);
}

#[test]
fn two_loaders_bring_the_published_files_from_a_bucket_into_mysql() {
    load_on_two_servers(Kind::MySql);
}

#[test]
fn metadata_on_mariadb_and_rows_on_mysql_are_one_system() {
    let (Some(metadata), Some(reporting)) = (Server::shared(Kind::MariaDb), Server::shared(Kind::MySql)) else {
        return;
    };
    load_on(metadata, reporting);
}
