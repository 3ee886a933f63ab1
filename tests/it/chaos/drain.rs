//! The end of an attack: all is healed, nobody else is at work, and clean commands bring everything to its end, as a
//! person would who comes back in the morning.

use std::time::{Duration, Instant};

use super::site::{SIDE_CONFIG, Site};
use crate::e2e::project::Db;

const LONGEST: Duration = Duration::from_secs(300);

/// What is not at its end: jobs, and files.
const OPEN_JOBS: &str = "SELECT count(*) FROM scanner_jobs WHERE status NOT IN ('NONE', 'LOADED')";
const OPEN_FILES: &str = "SELECT count(*) FROM scanner_files WHERE state NOT IN ('LOADED', 'QUARANTINED') \
                          OR (state = 'QUARANTINED' AND loaded_time IS NULL)";

/// Runs until nothing is left to do. Sentences about commands that failed, and about what does not come to its end.
pub fn drain(site: &Site) -> Vec<String> {
    let (begun, mut failed) = (Instant::now(), Vec::new());
    loop {
        must(site, &["scan", "--full"], &[0], &mut failed);
        must(site, &["etl"], &[0, 3], &mut failed);
        // Jobs that were put off wait for up to five minutes, by the clock of whoever put them off where the database has
        // none; that is not what is looked at here.
        site.execute(
            Db::Metadata,
            "UPDATE scanner_jobs SET run_after = '1970-01-01 00:00:00' WHERE status = 'SENT_FOR_ETL'",
        );
        for which in ["--failed", "--quarantined", "--unloaded"] {
            must(site, &["retry", which], &[0], &mut failed);
        }
        let open = (site.number(Db::Metadata, OPEN_JOBS), site.number(Db::Metadata, OPEN_FILES));
        if open == (0, 0) || !failed.is_empty() {
            return failed;
        }
        if begun.elapsed() > LONGEST {
            failed.push(format!("{} jobs and {} files don't come to their end within {LONGEST:?}", open.0, open.1));
            return failed;
        }
    }
}

/// Replaces what is loaded of files that have changed since, as `retry --quarantined` says to.
pub fn replace_quarantined(site: &Site) -> Vec<String> {
    let mut failed = Vec::new();
    let sql = "SELECT CAST(`key` AS CHAR) FROM scanner_files WHERE state = 'QUARANTINED' ORDER BY id";
    let prefix = prefix(site);
    for key in site.rows(Db::Metadata, sql).into_iter().map(|mut row| row.remove(0)) {
        must(site, &["unload", "--file", &format!("{prefix}{key}"), "--yes"], &[0], &mut failed);
    }
    must(site, &["retry", "--unloaded"], &[0], &mut failed);
    failed.extend(drain(site));
    failed
}

/// What stands before a key in a URI, from the first job's list.
fn prefix(site: &Site) -> String {
    let sql = "SELECT j.files, CAST(f.`key` AS CHAR) FROM scanner_jobs j JOIN scanner_files f ON f.job_id = j.id \
               WHERE j.status = 'LOADED' LIMIT 1";
    let rows = site.rows(Db::Metadata, sql);
    let Some(row) = rows.first() else { return String::new() };
    row[0].split(',').find_map(|uri| uri.strip_suffix(row[1].as_str())).unwrap_or_default().to_owned()
}

/// The metadata was lost just before the end.
pub fn set_up(site: &Site) -> Vec<String> {
    let mut failed = Vec::new();
    must(site, &["setup"], &[0], &mut failed);
    failed
}

/// The side databases, whatever became of them, are brought to this version.
pub fn set_up_side(site: &Site) -> Vec<String> {
    let mut failed = Vec::new();
    must(site, &["-c", SIDE_CONFIG, "setup"], &[0], &mut failed);
    must(site, &["-c", SIDE_CONFIG, "setup", "--check"], &[0], &mut failed);
    failed
}

/// Asks loadline itself, where it can tell.
pub fn audit(site: &Site) -> Option<Vec<String>> {
    if site.run(&["audit", "--help"]).code != Some(0) {
        return None;
    }
    let mut failed = Vec::new();
    must(site, &["audit", "--deep"], &[0], &mut failed);
    Some(failed)
}

fn must(site: &Site, arguments: &[&str], codes: &[i32], failed: &mut Vec<String>) {
    let ended = site.run(arguments);
    if !ended.code.is_some_and(|code| codes.contains(&code)) {
        failed.push(format!("{} -> {:?}\n{}{}", ended.line, ended.code, ended.stdout, ended.stderr));
    }
}
