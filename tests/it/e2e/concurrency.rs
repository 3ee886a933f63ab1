//! Several scanners, several loaders: each file in one job, each row once.

use std::collections::HashSet;

use super::project::{Db, Project, events, hour};

#[test]
fn two_scanners_at_once_put_every_file_into_exactly_one_job() {
    const FILES: usize = 2000;
    let project = Project::events("scanner: {max_job_files: 37}");
    for number in 0..FILES {
        project.write_at(&format!("{}/{number}.csv", hour(number % 96)), events([number as u64]), number as u64 / 10);
    }
    let scans: Vec<_> = (0..2).map(|_| project.start(&["scan"])).collect();
    for scan in scans {
        project.finish(&["scan"], scan).ok();
    }
    let sql = "SELECT count(*), count(job_id), sum(state = 'IN_JOB') FROM scanner_files";
    assert_eq!(project.row(Db::Metadata, sql), format!("{FILES}|{FILES}|{FILES}"));
    let lists = project.rows(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status <> 'NONE'");
    let uris: Vec<&str> = lists.iter().flat_map(|row| row[0].split(',')).collect();
    assert_eq!(uris.len(), FILES);
    assert_eq!(uris.iter().collect::<HashSet<_>>().len(), FILES);
}

#[test]
fn several_loaders_with_several_workers_load_each_row_once() {
    const FILES: u64 = 60;
    const RECORDS: u64 = 300;
    let project = Project::events("scanner: {max_job_files: 3}");
    for number in 0..FILES {
        let ids = number * RECORDS..(number + 1) * RECORDS;
        project.write_events(&format!("{}/events.csv", hour(number as usize)), ids);
    }
    project.scan().ok();
    assert_eq!(project.statuses().len(), 20);
    let arguments = ["etl", "--workers", "3", "--log-format", "json"];
    let loads: Vec<_> = (0..4).map(|_| project.start(&arguments)).collect();
    let said: Vec<String> = loads.into_iter().map(|load| project.finish(&arguments, load).ok().stderr).collect();
    let all = FILES * RECORDS;
    let sql = "SELECT count(*), count(DISTINCT id), sum(amount) FROM events";
    assert_eq!(project.row(Db::Reporting, sql), format!("{all}|{all}|{}", 5 * (all - 1) * all));
    assert_eq!(project.statuses(), vec!["LOADED"; 20]);
    let loaded =
        said.iter().flat_map(|text| text.lines()).filter(|line| line.contains("\"outcome\":\"loaded\"")).count();
    assert_eq!(loaded, 20, "each job is loaded by one of them: {said:?}");
}
