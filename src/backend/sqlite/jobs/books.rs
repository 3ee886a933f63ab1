//! What an audit reads of the registry, and what a repair mends in it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use crate::backend::sqlite::fault::Fault;
use crate::backend::sqlite::value::{Count, key_hash, time_text};
use crate::clock;
use crate::job::{FileRecord, JobId, Restored};

/// By id from where the last page ended: an index over feeds would make every page sort all that is left.
pub(super) fn registry(c: &Connection, feed: &str, after: i64, limit: usize) -> Result<Vec<FileRecord>, Fault> {
    let sql = format!(
        "SELECT {} FROM scanner_files NOT INDEXED WHERE id > ?1 AND feed = ?2 ORDER BY id LIMIT ?3",
        rows::FILE_COLUMNS
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    c.prepare_cached(&sql)?.query_and_then(params![after, feed, limit], rows::file)?.collect()
}

pub(super) fn restore(c: &Connection, feed: &str, files: &[Restored]) -> Result<u64, Fault> {
    let mut insert = c.prepare_cached(
        "INSERT INTO scanner_files (feed, key, key_hash, version, size_in_bytes, modified_time, hour, state, \
         rows_loaded, rows_rejected, error, found_time, loaded_time, updated_time) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT (feed, key_hash) DO NOTHING",
    )?;
    let now = time_text(clock::now());
    let mut restored = 0;
    for file in files {
        restored += insert.execute(params![
            feed,
            file.key.as_bytes(),
            key_hash(&file.key),
            file.version,
            Count(file.size),
            time_text(file.modified),
            time_text(file.hour),
            file.state.as_str(),
            file.rows_loaded.map(Count),
            file.rows_rejected.map(Count),
            file.error,
            time_text(file.found_time),
            file.loaded_time.map(time_text),
            now,
        ])?;
    }
    Ok(restored as u64)
}

pub(super) fn requeue(c: &Connection, files: &[i64]) -> Result<u64, Fault> {
    let now = time_text(clock::now());
    let mut job_of = c.prepare_cached(
        "SELECT job_id FROM scanner_files \
         WHERE id = ?1 AND (state = 'LOADED' OR (state = 'QUARANTINED' AND loaded_time IS NOT NULL))",
    )?;
    let mut requeue = c.prepare_cached(
        "UPDATE scanner_files SET state = 'FOUND', job_id = NULL, rows_loaded = NULL, rows_rejected = NULL, error = NULL, \
         loaded_time = NULL, updated_time = ?2 WHERE id = ?1",
    )?;
    let (mut requeued, mut left) = (0, BTreeSet::new());
    for id in files {
        let job: Option<Option<JobId>> = job_of.query_row([id], |row| row.get(0)).optional()?;
        if let Some(job) = job {
            requeued += requeue.execute(params![id, now])?;
            left.extend(job);
        }
    }
    rows::sum_up(c, left)?;
    Ok(requeued as u64)
}
