//! What people ask of jobs and files, and what they change: `retry` and `unload`.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use crate::backend::sqlite::fault::Fault;
use crate::backend::sqlite::value::{Count, at_once, key_hash, time_text};
use crate::clock;
use crate::job::{FileRecord, Job, JobFilter, JobId, JobStatus, Replacement, Selection};

/// What a retry of its job loads.
const MISSING: &str = "(state IN ('FAILED', 'UNLOADED') OR (state = 'QUARANTINED' AND loaded_time IS NULL))";

pub(super) fn retry(c: &Connection, job: JobId, replacements: &[Replacement]) -> Result<bool, Fault> {
    let now = time_text(clock::now());
    let sql = "UPDATE scanner_jobs SET status = 'SENT_FOR_ETL', attempts = 0, expiries = 0, failure_msg = NULL, \
               run_after = ?3, started_time = NULL, finished_time = NULL, modified_time = ?2 \
               WHERE id = ?1 AND (status = 'FAILED' OR (status = 'LOADED' \
               AND EXISTS (SELECT 1 FROM scanner_files WHERE job_id = ?1 AND state = 'UNLOADED')))";
    if c.execute(sql, params![job, now, at_once()])? != 1 {
        return Ok(false);
    }
    let replace = format!(
        "UPDATE scanner_files SET version = ?3, size_in_bytes = ?4, modified_time = ?5 WHERE id = ?1 AND job_id = ?2 \
         AND (state = 'IN_JOB' OR {MISSING})"
    );
    let mut replace = c.prepare_cached(&replace)?;
    for Replacement { id, version, size, modified } in replacements {
        replace.execute(params![id, job, version, Count(*size), time_text(*modified)])?;
    }
    let sql = format!(
        "UPDATE scanner_files SET state = 'IN_JOB', error = NULL, updated_time = ?2 WHERE job_id = ?1 AND {MISSING}"
    );
    c.execute(&sql, params![job, now])?;
    Ok(true)
}

pub(super) fn jobs(c: &Connection, filter: &JobFilter) -> Result<Vec<Job>, Fault> {
    let sql = format!(
        "SELECT {} FROM scanner_jobs \
         WHERE status <> 'NONE' AND (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR feed = ?2) ORDER BY id",
        rows::JOB_COLUMNS
    );
    let status = filter.status.map(JobStatus::as_str);
    c.prepare_cached(&sql)?.query_and_then(params![status, filter.feed], rows::job)?.collect()
}

pub(super) fn job(c: &Connection, id: JobId) -> Result<Option<Job>, Fault> {
    let sql = format!("SELECT {} FROM scanner_jobs WHERE id = ?1 AND status <> 'NONE'", rows::JOB_COLUMNS);
    c.prepare_cached(&sql)?.query_and_then([id], rows::job)?.next().transpose()
}

pub(super) fn files_of(c: &Connection, job: JobId) -> Result<Vec<FileRecord>, Fault> {
    let sql = format!("SELECT {} FROM scanner_files WHERE job_id = ?1 ORDER BY key", rows::FILE_COLUMNS);
    c.prepare_cached(&sql)?.query_and_then([job], rows::file)?.collect()
}

pub(super) fn file(c: &Connection, feed: &str, key: &str) -> Result<Option<FileRecord>, Fault> {
    let sql = format!("SELECT {} FROM scanner_files WHERE feed = ?1 AND key_hash = ?2", rows::FILE_COLUMNS);
    c.prepare_cached(&sql)?.query_and_then(params![feed, key_hash(key)], rows::file)?.next().transpose()
}

pub(super) fn quarantined(c: &Connection) -> Result<Vec<FileRecord>, Fault> {
    let columns = rows::FILE_COLUMNS;
    let sql = format!("SELECT {columns} FROM scanner_files WHERE state = 'QUARANTINED' ORDER BY feed, key");
    c.prepare_cached(&sql)?.query_and_then([], rows::file)?.collect()
}

pub(super) fn release(c: &Connection, replacements: &[Replacement]) -> Result<u64, Fault> {
    let now = time_text(clock::now());
    let mut release = c.prepare_cached(
        "UPDATE scanner_files SET state = 'FOUND', job_id = NULL, version = ?2, size_in_bytes = ?3, modified_time = ?4, \
         error = NULL, updated_time = ?5 WHERE id = ?1 AND (state = 'UNLOADED' \
         OR (state = 'QUARANTINED' AND job_id IS NULL AND loaded_time IS NULL))",
    )?;
    let mut released = 0;
    for Replacement { id, version, size, modified } in replacements {
        released += release.execute(params![id, version, Count(*size), time_text(*modified), now])?;
    }
    Ok(released as u64)
}

pub(super) fn loaded_files(c: &Connection, of: &Selection, after: i64, limit: usize) -> Result<Vec<FileRecord>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let select = |from: &str, condition: &str| {
        format!(
            "SELECT {} FROM scanner_files {from} WHERE id > ?1 AND {condition} \
             AND (state IN ('LOADED', 'UNLOADED') OR (state = 'QUARANTINED' AND loaded_time IS NOT NULL)) \
             ORDER BY id LIMIT ?2",
            rows::FILE_COLUMNS
        )
    };
    match of {
        Selection::File { feed, key } => {
            let sql = select("", "feed = ?3 AND key_hash = ?4");
            let params = params![after, limit, feed, key_hash(key)];
            c.prepare_cached(&sql)?.query_and_then(params, rows::file)?.collect()
        }
        Selection::Job(job) => {
            let sql = select("", "job_id = ?3");
            c.prepare_cached(&sql)?.query_and_then(params![after, limit, job], rows::file)?.collect()
        }
        // By id from where the last page ended: an index over feeds would make every page sort all that is left.
        Selection::Hours { feed, from, to } => {
            let sql = select("NOT INDEXED", "feed = ?3 AND hour >= ?4 AND hour < ?5");
            let params = params![after, limit, feed, time_text(*from), time_text(*to)];
            c.prepare_cached(&sql)?.query_and_then(params, rows::file)?.collect()
        }
    }
}

pub(super) fn revoke(c: &Connection, files: &[i64]) -> Result<u64, Fault> {
    let now = time_text(clock::now());
    let mut revoke = c.prepare_cached(
        "UPDATE scanner_files SET state = 'UNLOADED', rows_loaded = NULL, rows_rejected = NULL, loaded_time = NULL, \
         error = NULL, updated_time = ?2 WHERE id = ?1 \
         AND (state = 'LOADED' OR (state = 'QUARANTINED' AND loaded_time IS NOT NULL)) RETURNING job_id",
    )?;
    let (mut revoked, mut jobs) = (0, BTreeSet::new());
    for id in files {
        let job: Option<Option<JobId>> = revoke.query_row(params![id, now], |row| row.get(0)).optional()?;
        revoked += u64::from(job.is_some());
        jobs.extend(job.flatten());
    }
    rows::sum_up(c, jobs)?;
    Ok(revoked)
}
