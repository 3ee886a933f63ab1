//! What people read of the reporting database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::ledger::{self, PROGRESS_COLUMNS};
use super::value::{Count, key_hash, key_hashes_json, key_text, time_if_any, time_text};
use crate::warehouse::{FileNumber, LedgerEntry, Progress, RejectRow};

pub(super) fn progress(c: &Connection, feed: &str, keys: &[String]) -> Result<BTreeMap<String, Progress>, Fault> {
    let sql = format!("SELECT {PROGRESS_COLUMNS} FROM loadline_files WHERE feed = ?1 AND key_hash = ?2");
    let mut select = c.prepare_cached(&sql)?;
    let mut found = BTreeMap::new();
    for key in keys {
        if let Some(row) = select.query(params![feed, key_hash(key)])?.next()? {
            found.insert(key.clone(), ledger::progress(row)?);
        }
    }
    Ok(found)
}

pub(super) fn rejects(
    c: &Connection,
    feed: Option<&str>,
    keys: Option<&[String]>,
    limit: usize,
) -> Result<Vec<RejectRow>, Fault> {
    let sql = "SELECT f.feed, f.key, r.record, r.line, r.byte_offset, r.column_name, r.reason, r.raw \
               FROM loadline_rejects r JOIN loadline_files f ON f.file = r.file \
               WHERE (?1 IS NULL OR f.feed = ?1) \
               AND (?2 IS NULL OR f.key_hash IN (SELECT unhex(value) FROM json_each(?2))) \
               ORDER BY r.file, r.record LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let params = params![feed, keys.map(key_hashes_json), limit];
    c.prepare_cached(sql)?.query_and_then(params, reject_row)?.collect()
}

fn reject_row(row: &Row<'_>) -> Result<RejectRow, Fault> {
    let count = |column: &str| row.get(column).map(|Count(count)| count);
    let raw: Vec<u8> = row.get("raw")?;
    Ok(RejectRow {
        feed: row.get("feed")?,
        key: key_text(row.get("key")?)?,
        record: count("record")?,
        line: count("line")?,
        byte_offset: count("byte_offset")?,
        column_name: row.get("column_name")?,
        reason: row.get("reason")?,
        raw: String::from_utf8_lossy(&raw).into_owned(),
    })
}

pub(super) fn reject_reasons(
    c: &Connection,
    feed: &str,
    keys: &[String],
) -> Result<Vec<(Option<String>, String, u64)>, Fault> {
    let sql = "SELECT r.column_name, r.reason, count(*) \
               FROM loadline_files f JOIN loadline_rejects r ON r.file = f.file \
               WHERE f.feed = ?1 AND f.key_hash IN (SELECT unhex(value) FROM json_each(?2)) \
               GROUP BY r.column_name, r.reason ORDER BY count(*) DESC, r.column_name, r.reason";
    let mut select = c.prepare_cached(sql)?;
    let reasons = select.query_map(params![feed, key_hashes_json(keys)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2).map(|Count(count)| count)?))
    })?;
    Ok(reasons.collect::<Result<_, _>>()?)
}

pub(super) fn entry(c: &Connection, feed: &str, key: &str) -> Result<Option<LedgerEntry>, Fault> {
    let sql = format!(
        "SELECT file, job, version, target_table, completed_time, unloaded_time, {PROGRESS_COLUMNS} \
         FROM loadline_files WHERE feed = ?1 AND key_hash = ?2"
    );
    let mut select = c.prepare_cached(&sql)?;
    let mut rows = select.query(params![feed, key_hash(key)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(LedgerEntry {
        file: row.get("file")?,
        job: row.get("job")?,
        version: row.get("version")?,
        table: row.get("target_table")?,
        completed: time_if_any(row.get("completed_time")?)?,
        unloaded: time_if_any(row.get("unloaded_time")?)?,
        progress: ledger::progress(row)?,
    }))
}

pub(super) fn prune_rejects(c: &Connection, before: DateTime<Utc>, limit: usize) -> Result<u64, Fault> {
    // From each file that still has rejects straight to the next one: what was pruned long ago costs nothing.
    let sql = "WITH RECURSIVE held (file) AS ( \
                 SELECT min(file) FROM loadline_rejects UNION ALL \
                 SELECT (SELECT min(file) FROM loadline_rejects AS r WHERE r.file > held.file) \
                 FROM held WHERE held.file IS NOT NULL) \
               SELECT f.file FROM held JOIN loadline_files f ON f.file = held.file \
               WHERE f.complete = 1 AND f.completed_time < ?1 LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = c.prepare_cached(sql)?;
    let files = select.query_map(params![time_text(before), limit], |row| row.get(0))?;
    let files: Vec<FileNumber> = files.collect::<Result<_, _>>()?;
    let mut delete = c.prepare_cached(
        "DELETE FROM loadline_rejects WHERE rowid IN (SELECT rowid FROM loadline_rejects WHERE file = ?1 LIMIT ?2)",
    )?;
    let mut left = limit;
    for file in files {
        left -= delete.execute(params![file, left])? as i64;
        if left <= 0 {
            break;
        }
    }
    Ok(u64::try_from(limit - left).unwrap_or_default())
}
