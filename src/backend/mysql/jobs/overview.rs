//! What stands where: counts over the whole registry and the whole queue, and what retention takes out of the queue.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use mysql_async::Value;

use super::rows::{self, OF_JOB, ROWS_MAX, padded, unknown_word};
use crate::backend::mysql::connection::Session;
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::{field, placeholders, time_field_if_any, time_value};
use crate::job::{FeedOverview, FileState, JobStatus};

type Feeds = BTreeMap<String, FeedOverview>;

/// In one picture, which the caller's transaction holds.
pub(super) async fn overview(session: &mut Session) -> Result<Vec<FeedOverview>, Fault> {
    let mut feeds = recorded(session).await?;
    count_files(session, &mut feeds).await?;
    count_jobs(session, &mut feeds).await?;
    Ok(feeds.into_values().collect())
}

async fn recorded(session: &mut Session) -> Result<Feeds, Fault> {
    let mut feeds = Feeds::new();
    for mut row in session.rows("SELECT feed, last_scan, last_full_listing FROM scanner_feeds", ()).await? {
        let row = &mut row;
        let feed: String = field(row, "feed")?;
        let (last_scan, last_full_listing) =
            (time_field_if_any(row, "last_scan")?, time_field_if_any(row, "last_full_listing")?);
        feeds.insert(feed.clone(), FeedOverview { feed, last_scan, last_full_listing, ..Default::default() });
    }
    Ok(feeds)
}

async fn count_files(session: &mut Session, feeds: &mut Feeds) -> Result<(), Fault> {
    // One pass over the rows as they lie: by the index, each would be looked up.
    let sql = "SELECT feed, state, COUNT(*) AS files, CAST(SUM(size_in_bytes) AS UNSIGNED) AS bytes, \
               MIN(hour) AS first_hour, MIN(found_time) AS first_found, MAX(IF(loaded_time IS NULL, NULL, hour)) AS last_hour, \
               MAX(loaded_time) AS last_loaded \
               FROM scanner_files IGNORE INDEX (scanner_files_found, scanner_files_key) GROUP BY feed, state";
    for mut row in session.rows(sql, ()).await? {
        let row = &mut row;
        let feed: String = field(row, "feed")?;
        let Some(overview) = feeds.get_mut(&feed) else { continue };
        let (state, files): (_, u64) = (rows::state(row)?, field(row, "files")?);
        overview.files.push((state, files));
        match state {
            FileState::Found | FileState::InJob => {
                overview.backlog_files += files;
                overview.backlog_bytes += field::<u64>(row, "bytes")?;
                let (hour, found) = (time_field_if_any(row, "first_hour")?, time_field_if_any(row, "first_found")?);
                overview.oldest_unloaded_hour = earlier(overview.oldest_unloaded_hour, hour);
                overview.oldest_found = earlier(overview.oldest_found, found);
            }
            FileState::Loaded | FileState::Quarantined => {
                let (hour, loaded) = (time_field_if_any(row, "last_hour")?, time_field_if_any(row, "last_loaded")?);
                overview.newest_loaded_hour = overview.newest_loaded_hour.max(hour);
                overview.last_loaded = overview.last_loaded.max(loaded);
            }
            FileState::Failed | FileState::Unloaded => {}
        }
    }
    Ok(())
}

fn earlier(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    one.into_iter().chain(other).min()
}

async fn count_jobs(session: &mut Session, feeds: &mut Feeds) -> Result<(), Fault> {
    // The index holds both, and none of the long lists of files.
    let sql = "SELECT feed, status, COUNT(*) AS jobs FROM scanner_jobs FORCE INDEX (scanner_jobs_claim_feed) \
               WHERE status <> 'NONE' GROUP BY feed, status";
    for mut row in session.rows(sql, ()).await? {
        let row = &mut row;
        let (feed, status): (String, String) = (field(row, "feed")?, field(row, "status")?);
        let Some(overview) = feeds.get_mut(&feed) else { continue };
        let status = JobStatus::parse(&status).ok_or_else(|| unknown_word("status"))?;
        overview.jobs.push((status, field(row, "jobs")?));
    }
    Ok(())
}

pub(super) async fn prune_jobs(session: &mut Session, before: DateTime<Utc>, limit: usize) -> Result<u64, Fault> {
    // What is newest of a feed is its watermark, from which listings look back.
    let sql = "SELECT old.id FROM scanner_jobs old FORCE INDEX (scanner_jobs_finished) \
               WHERE old.status = 'LOADED' AND old.finished_time < ? AND EXISTS \
               (SELECT 1 FROM scanner_jobs newer WHERE newer.feed = old.feed \
                AND (newer.latest_file_modified_time > old.latest_file_modified_time \
                     OR (newer.latest_file_modified_time = old.latest_file_modified_time AND newer.id > old.id))) \
               ORDER BY old.finished_time LIMIT ? FOR UPDATE";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut jobs: Vec<Value> = Vec::new();
    for mut row in session.rows(sql, (time_value(before), limit)).await? {
        jobs.push(field::<i64>(&mut row, "id")?.into());
    }
    let mut deleted = 0;
    for jobs in jobs.chunks(ROWS_MAX) {
        let jobs = padded(jobs);
        let among = placeholders(jobs.len());
        session
            .execute(
                &format!("UPDATE scanner_files {OF_JOB} SET job_id = NULL WHERE job_id IN ({among})"),
                jobs.clone(),
            )
            .await?;
        deleted += session.execute(&format!("DELETE FROM scanner_jobs WHERE id IN ({among})"), jobs).await?;
    }
    Ok(deleted)
}
