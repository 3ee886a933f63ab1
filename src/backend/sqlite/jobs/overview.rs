//! What stands where: counts over the whole registry and the whole queue, and what retention takes out of the queue.
//!
//! Both are one pass each: about a second over a million files and 200,000 jobs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use crate::backend::sqlite::fault::Fault;
use crate::backend::sqlite::value::{Count, time_if_any, time_text, unknown_word};
use crate::job::{FeedOverview, FileState, JobId, JobStatus};

pub(super) fn overview(c: &Connection) -> Result<Vec<FeedOverview>, Fault> {
    let mut feeds = recorded(c)?;
    count_files(c, &mut feeds)?;
    count_jobs(c, &mut feeds)?;
    Ok(feeds.into_values().collect())
}

fn recorded(c: &Connection) -> Result<BTreeMap<String, FeedOverview>, Fault> {
    let mut select = c.prepare_cached("SELECT feed, last_scan, last_full_listing FROM scanner_feeds")?;
    let mut rows = select.query([])?;
    let mut feeds = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let feed: String = row.get(0)?;
        let (last_scan, last_full_listing) = (time_if_any(row.get(1)?)?, time_if_any(row.get(2)?)?);
        feeds.insert(feed.clone(), FeedOverview { feed, last_scan, last_full_listing, ..Default::default() });
    }
    Ok(feeds)
}

fn count_files(c: &Connection, feeds: &mut BTreeMap<String, FeedOverview>) -> Result<(), Fault> {
    let mut select = c.prepare_cached(
        "SELECT feed, state, count(*), sum(size_in_bytes), min(hour), min(found_time), \
         max(CASE WHEN loaded_time IS NOT NULL THEN hour END), max(loaded_time) FROM scanner_files GROUP BY feed, state",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (feed, state): (String, String) = (row.get(0)?, row.get(1)?);
        let Some(overview) = feeds.get_mut(&feed) else { continue };
        let state = FileState::parse(&state).ok_or_else(|| unknown_word("state"))?;
        let Count(files) = row.get(2)?;
        overview.files.push((state, files));
        match state {
            FileState::Found | FileState::InJob => {
                let Count(bytes) = row.get(3)?;
                overview.backlog_files += files;
                overview.backlog_bytes += bytes;
                overview.oldest_unloaded_hour = earlier(overview.oldest_unloaded_hour, time_if_any(row.get(4)?)?);
                overview.oldest_found = earlier(overview.oldest_found, time_if_any(row.get(5)?)?);
            }
            FileState::Loaded | FileState::Quarantined => {
                overview.newest_loaded_hour = overview.newest_loaded_hour.max(time_if_any(row.get(6)?)?);
                overview.last_loaded = overview.last_loaded.max(time_if_any(row.get(7)?)?);
            }
            FileState::Failed | FileState::Unloaded => {}
        }
    }
    Ok(())
}

fn earlier(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    one.into_iter().chain(other).min()
}

fn count_jobs(c: &Connection, feeds: &mut BTreeMap<String, FeedOverview>) -> Result<(), Fault> {
    // The statuses are in the index, and a job's feed stands before its long list of files.
    let sql = "SELECT feed, status, count(*) FROM scanner_jobs INDEXED BY scanner_jobs_claim \
               WHERE status <> 'NONE' GROUP BY feed, status";
    let mut select = c.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (feed, status): (String, String) = (row.get(0)?, row.get(1)?);
        let Some(overview) = feeds.get_mut(&feed) else { continue };
        let status = JobStatus::parse(&status).ok_or_else(|| unknown_word("status"))?;
        let Count(jobs) = row.get(2)?;
        overview.jobs.push((status, jobs));
    }
    Ok(())
}

pub(super) fn prune_jobs(c: &Connection, before: DateTime<Utc>, limit: usize) -> Result<u64, Fault> {
    // What is newest of a feed is its watermark, from which listings look back.
    let sql = "SELECT id FROM scanner_jobs AS old WHERE status = 'LOADED' AND finished_time < ?1 AND EXISTS \
               (SELECT 1 FROM scanner_jobs AS newer WHERE newer.feed = old.feed \
                AND (newer.latest_file_modified_time, newer.id) > (old.latest_file_modified_time, old.id)) LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = c.prepare_cached(sql)?;
    let jobs = select.query_map(params![time_text(before), limit], |row| row.get(0))?;
    let jobs: Vec<JobId> = jobs.collect::<Result<_, _>>()?;
    let mut release = c.prepare_cached("UPDATE scanner_files SET job_id = NULL WHERE job_id = ?1")?;
    let mut delete = c.prepare_cached("DELETE FROM scanner_jobs WHERE id = ?1")?;
    for job in &jobs {
        release.execute([job])?;
        delete.execute([job])?;
    }
    Ok(jobs.len() as u64)
}
