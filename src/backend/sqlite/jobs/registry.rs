//! The scanner's part: which files are known, and how FOUND files become jobs.
//!
//! Invariant: a file is known by feed and key alone. What it holds is its version; being listed again changes that only
//! where the policy says that the listed version is to be loaded, and then the file is FOUND.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::{CachedStatement, Connection, OptionalExtension, named_params, params};

use super::rows;
use crate::backend::sqlite::fault::Fault;
use crate::backend::sqlite::value::{Count, at_once, key_hash, time_if_any, time_text, unknown_word};
use crate::clock;
use crate::error::Error;
use crate::failpoint;
use crate::job::{
    FileState, FoundFile, JobDraft, JobId, JobStatus, Known, ListedFile, OnOverwrite, Recorded, Watermark,
};

/// Below every id that is handed out, so that the first job is job 1.
const NONE_ID: JobId = 0;

pub(super) fn insert_none_row(c: &Connection, start_from: Option<DateTime<Utc>>) -> Result<(), Fault> {
    let start = time_text(start_from.unwrap_or(DateTime::UNIX_EPOCH));
    let sql = "INSERT INTO scanner_jobs \
               (id, feed, files, latest_file_modified_time, total_size_in_bytes, created_time, modified_time, status, run_after) \
               SELECT :id, '', '', :start, 0, :now, :now, :none, :now \
               WHERE NOT EXISTS (SELECT 1 FROM scanner_jobs WHERE status = :none)";
    let now = time_text(clock::now());
    c.execute(sql, named_params! { ":id": NONE_ID, ":start": start, ":now": now, ":none": JobStatus::None.as_str() })?;
    Ok(())
}

pub(super) fn record_feeds(c: &Connection, feeds: &[String]) -> Result<(), Fault> {
    let now = time_text(clock::now());
    let mut insert =
        c.prepare_cached("INSERT INTO scanner_feeds (feed, recorded_time) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for feed in feeds {
        insert.execute(params![feed, now])?;
    }
    Ok(())
}

pub(super) fn recorded_feeds(c: &Connection) -> Result<Vec<String>, Fault> {
    let mut select = c.prepare_cached("SELECT feed FROM scanner_feeds ORDER BY feed")?;
    select.query_and_then([], |row| Ok(row.get(0)?))?.collect()
}

pub(super) fn watermark(c: &Connection, feed: &str) -> Result<Watermark, Fault> {
    // The NONE row has feed '', which no feed has.
    let newest = "SELECT max(latest_file_modified_time) FROM scanner_jobs WHERE feed = ?1 AND feed <> ''";
    let newest: Option<String> = c.query_row(newest, [feed], |row| row.get(0))?;
    let listing = "SELECT last_full_listing FROM scanner_feeds WHERE feed = ?1";
    let listing: Option<String> = c.query_row(listing, [feed], |row| row.get(0)).optional()?.flatten();
    Ok(Watermark { newest: time_if_any(newest)?, last_full_listing: time_if_any(listing)? })
}

pub(super) fn scanned(c: &Connection, feed: &str, at: DateTime<Utc>, full: bool) -> Result<(), Fault> {
    let sql = "INSERT INTO scanner_feeds (feed, recorded_time, last_scan, last_full_listing) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (feed) DO UPDATE SET last_scan = excluded.last_scan, \
               last_full_listing = coalesce(excluded.last_full_listing, last_full_listing)";
    c.execute(sql, params![feed, time_text(clock::now()), time_text(at), full.then(|| time_text(at))])?;
    Ok(())
}

const FIND_RECORDED: &str = "\
SELECT f.id, f.version, f.state, f.loaded_time IS NOT NULL, f.job_id,
    coalesce(j.status IN ('SENT_FOR_ETL', 'PROCESSING'), 0)
FROM scanner_files f LEFT JOIN scanner_jobs j ON j.id = f.job_id WHERE f.feed = ?1 AND f.key_hash = ?2";

fn find_recorded(find: &mut CachedStatement<'_>, feed: &str, file: &ListedFile) -> Result<Option<Recorded>, Fault> {
    let mut rows = find.query(params![feed, key_hash(&file.key)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let state: String = row.get(2)?;
    let state = FileState::parse(&state).ok_or_else(|| unknown_word("state"))?;
    Ok(Some(Recorded {
        id: row.get(0)?,
        version: row.get(1)?,
        state,
        was_loaded: row.get(3)?,
        job: row.get(4)?,
        job_is_open: row.get(5)?,
    }))
}

pub(super) fn classify(c: &Connection, feed: &str, page: &[ListedFile]) -> Result<Vec<Known>, Fault> {
    let mut find = c.prepare_cached(FIND_RECORDED)?;
    let known = |file: &ListedFile| {
        let recorded = find_recorded(&mut find, feed, file)?;
        Ok(recorded.map_or(Known::New, |recorded| recorded.known(file, OnOverwrite::Quarantine)))
    };
    page.iter().map(known).collect()
}

pub(super) fn register(
    c: &Connection,
    feed: &str,
    page: &[ListedFile],
    policy: OnOverwrite,
    now: DateTime<Utc>,
) -> Result<Vec<Known>, Fault> {
    let mut find = c.prepare_cached(FIND_RECORDED)?;
    let now = time_text(now);
    let mut registered = Vec::with_capacity(page.len());
    let mut left = BTreeSet::new();
    for file in page {
        let recorded = find_recorded(&mut find, feed, file)?;
        let known = recorded.as_ref().map_or(Known::New, |recorded| recorded.known(file, policy));
        match (known, recorded) {
            (Known::Changed, Some(recorded)) => quarantine(c, &recorded, file, &now)?,
            (Known::Renewed, Some(recorded)) => {
                renew(c, recorded.id, file, &now)?;
                left.extend(recorded.job);
            }
            (_, None) => insert(c, feed, file, &now)?,
            (Known::New | Known::Same | Known::Kept, Some(_)) => {}
        }
        registered.push(known);
    }
    failpoint::reach_blocking("register.inserted")?;
    rows::sum_up(c, left)?;
    Ok(registered)
}

fn insert(c: &Connection, feed: &str, file: &ListedFile, now: &str) -> Result<(), Fault> {
    let mut insert = c.prepare_cached(
        "INSERT INTO scanner_files \
         (feed, key, key_hash, version, size_in_bytes, modified_time, hour, state, found_time, updated_time) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'FOUND', ?8, ?8)",
    )?;
    let (modified, hour) = (time_text(file.modified), time_text(file.hour));
    let (key, hash) = (file.key.as_bytes(), key_hash(&file.key));
    insert.execute(params![feed, key, hash, file.version, Count(file.size), modified, hour, now])?;
    Ok(())
}

fn quarantine(c: &Connection, recorded: &Recorded, file: &ListedFile, now: &str) -> Result<(), Fault> {
    let sql = "UPDATE scanner_files SET state = 'QUARANTINED', error = ?2, updated_time = ?3 WHERE id = ?1";
    c.prepare_cached(sql)?.execute(params![recorded.id, recorded.what_changed(file), now])?;
    Ok(())
}

/// FOUND under the listed version, as if nothing had ever been made of it: what is loaded, the ledger knows.
fn renew(c: &Connection, id: i64, file: &ListedFile, now: &str) -> Result<(), Fault> {
    let mut renew = c.prepare_cached(
        "UPDATE scanner_files SET state = 'FOUND', version = ?2, size_in_bytes = ?3, modified_time = ?4, job_id = NULL, \
         rows_loaded = NULL, rows_rejected = NULL, error = NULL, loaded_time = NULL, updated_time = ?5 WHERE id = ?1",
    )?;
    renew.execute(params![id, file.version, Count(file.size), time_text(file.modified), now])?;
    Ok(())
}

pub(super) fn found(
    c: &Connection,
    feed: &str,
    after: Option<&FoundFile>,
    limit: usize,
) -> Result<Vec<FoundFile>, Fault> {
    // The empty text and the empty key come before every time and key.
    let (modified, key) =
        after.map_or((String::new(), &[][..]), |file| (time_text(file.modified), file.key.as_bytes()));
    let sql = format!(
        "SELECT {} FROM scanner_files \
         WHERE feed = ?1 AND state = 'FOUND' AND (modified_time, key) > (?2, ?3) ORDER BY modified_time, key LIMIT ?4",
        rows::FOUND_COLUMNS
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    c.prepare_cached(&sql)?.query_and_then(params![feed, modified, key, limit], rows::found)?.collect()
}

pub(super) fn form_job(c: &Connection, draft: &JobDraft) -> Result<Option<JobId>, Fault> {
    let mut is_found = c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM scanner_files WHERE id = ?1 AND feed = ?2 AND state = 'FOUND')",
    )?;
    for file in &draft.files {
        if !is_found.query_row(params![file.id, draft.feed], |row| row.get(0))? {
            return Ok(None);
        }
    }
    let now = time_text(clock::now());
    let insert = "INSERT INTO scanner_jobs \
                  (feed, files, latest_file_modified_time, total_size_in_bytes, created_time, modified_time, status, run_after) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)";
    let latest = time_text(draft.latest_file_modified_time);
    let status = JobStatus::SentForEtl.as_str();
    c.execute(
        insert,
        params![draft.feed, draft.uris, latest, Count(draft.total_size_in_bytes), now, status, at_once()],
    )?;
    let job = c.last_insert_rowid();
    failpoint::reach_blocking("job.inserted")?;
    let mut take = c.prepare_cached(
        "UPDATE scanner_files SET state = 'IN_JOB', job_id = ?2, updated_time = ?3 WHERE id = ?1 AND state = 'FOUND'",
    )?;
    for file in &draft.files {
        if take.execute(params![file.id, job, now])? != 1 {
            return Err(Error::internal("a job names the same file twice").into());
        }
    }
    Ok(Some(job))
}
