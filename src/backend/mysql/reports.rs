//! What people read of the reporting database, and what time takes out of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use mysql_async::{Params, Row, Value};

use super::connection::Session;
use super::fault::Fault;
use super::ledger::{self, FILES_PER_STATEMENT, PROGRESS_COLUMNS};
use super::value::{field, key_hash, key_text, placeholders, time_field_if_any, time_value};
use crate::warehouse::{FileNumber, LedgerEntry, Progress, RejectRow};

/// `feed`, then the hashes of the keys.
fn feed_and_hashes(feed: &str, keys: &[String]) -> Vec<Value> {
    let hashes = keys.iter().map(|key| Value::from(key_hash(key).as_slice()));
    std::iter::once(Value::from(feed)).chain(hashes).collect()
}

pub(super) async fn progress(
    session: &mut Session,
    feed: &str,
    keys: &[String],
) -> Result<BTreeMap<String, Progress>, Fault> {
    let mut found = BTreeMap::new();
    for keys in keys.chunks(FILES_PER_STATEMENT) {
        let sql = format!(
            "SELECT `key`, {PROGRESS_COLUMNS} FROM loadline_files WHERE feed = ? AND key_hash IN ({})",
            placeholders(keys.len())
        );
        for mut row in session.rows(&sql, Params::Positional(feed_and_hashes(feed, keys))).await? {
            found.insert(key_text(field(&mut row, "key")?)?, ledger::progress(&mut row)?);
        }
    }
    Ok(found)
}

pub(super) async fn entry(session: &mut Session, feed: &str, key: &str) -> Result<Option<LedgerEntry>, Fault> {
    let sql = format!(
        "SELECT file, job, version, target_table, completed_time, unloaded_time, {PROGRESS_COLUMNS} \
         FROM loadline_files WHERE feed = ? AND key_hash = ?"
    );
    let Some(mut row) = session.first(&sql, (feed, key_hash(key).as_slice())).await? else { return Ok(None) };
    let row = &mut row;
    Ok(Some(LedgerEntry {
        file: field(row, "file")?,
        job: field(row, "job")?,
        version: field(row, "version")?,
        table: field(row, "target_table")?,
        completed: time_field_if_any(row, "completed_time")?,
        unloaded: time_field_if_any(row, "unloaded_time")?,
        progress: ledger::progress(row)?,
    }))
}

pub(super) async fn rejects(
    session: &mut Session,
    feed: Option<&str>,
    keys: Option<&[String]>,
    limit: usize,
) -> Result<Vec<RejectRow>, Fault> {
    let Some(keys) = keys else {
        return rejects_of(session, feed, None, limit).await;
    };
    let mut rows: Vec<(FileNumber, RejectRow)> = Vec::new();
    for keys in keys.chunks(FILES_PER_STATEMENT) {
        rows.extend(numbered_rejects(session, feed, Some(keys), limit).await?);
    }
    rows.sort_by_key(|(file, row)| (*file, row.record));
    Ok(rows.into_iter().take(limit).map(|(_, row)| row).collect())
}

async fn rejects_of(
    session: &mut Session,
    feed: Option<&str>,
    keys: Option<&[String]>,
    limit: usize,
) -> Result<Vec<RejectRow>, Fault> {
    let rows = numbered_rejects(session, feed, keys, limit).await?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

async fn numbered_rejects(
    session: &mut Session,
    feed: Option<&str>,
    keys: Option<&[String]>,
    limit: usize,
) -> Result<Vec<(FileNumber, RejectRow)>, Fault> {
    let mut sql = "SELECT f.file, f.feed, f.`key`, r.record, r.line, r.byte_offset, r.column_name, r.reason, r.raw \
                   FROM loadline_rejects r JOIN loadline_files f ON f.file = r.file WHERE TRUE"
        .to_owned();
    let mut params: Vec<Value> = Vec::new();
    if let Some(feed) = feed {
        sql.push_str(" AND f.feed = ?");
        params.push(feed.into());
    }
    if let Some(keys) = keys {
        sql.push_str(&format!(" AND f.key_hash IN ({})", placeholders(keys.len())));
        params.extend(keys.iter().map(|key| Value::from(key_hash(key).as_slice())));
    }
    sql.push_str(" ORDER BY r.file, r.record LIMIT ?");
    params.push((limit as u64).into());
    let rows = session.rows(&sql, Params::Positional(params)).await?;
    rows.into_iter().map(|mut row| Ok((field(&mut row, "file")?, reject_row(&mut row)?))).collect()
}

fn reject_row(row: &mut Row) -> Result<RejectRow, Fault> {
    let raw: Vec<u8> = field(row, "raw")?;
    Ok(RejectRow {
        feed: field(row, "feed")?,
        key: key_text(field(row, "key")?)?,
        record: field(row, "record")?,
        line: field(row, "line")?,
        byte_offset: field(row, "byte_offset")?,
        column_name: field(row, "column_name")?,
        reason: field(row, "reason")?,
        raw: String::from_utf8_lossy(&raw).into_owned(),
    })
}

pub(super) async fn reject_reasons(
    session: &mut Session,
    feed: &str,
    keys: &[String],
) -> Result<Vec<(Option<String>, String, u64)>, Fault> {
    let mut counts: BTreeMap<(Option<String>, String), u64> = BTreeMap::new();
    for keys in keys.chunks(FILES_PER_STATEMENT) {
        let sql = format!(
            "SELECT r.column_name, r.reason, count(*) AS found \
             FROM loadline_files f JOIN loadline_rejects r ON r.file = f.file \
             WHERE f.feed = ? AND f.key_hash IN ({}) GROUP BY r.column_name, r.reason",
            placeholders(keys.len())
        );
        for mut row in session.rows(&sql, Params::Positional(feed_and_hashes(feed, keys))).await? {
            let reason = (field(&mut row, "column_name")?, field(&mut row, "reason")?);
            *counts.entry(reason).or_default() += field::<u64>(&mut row, "found")?;
        }
    }
    let mut reasons: Vec<_> = counts.into_iter().map(|((column, reason), count)| (column, reason, count)).collect();
    reasons.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    Ok(reasons)
}

/// File by file, so that no lock is held for long.
pub(super) async fn prune_rejects(session: &mut Session, before: DateTime<Utc>, limit: usize) -> Result<u64, Fault> {
    let sql = "SELECT DISTINCT r.file FROM loadline_files f JOIN loadline_rejects r ON r.file = f.file \
               WHERE f.completed_time < ? ORDER BY r.file LIMIT ?";
    let files = session.rows(sql, (time_value(before), limit.min(FILES_PER_STATEMENT) as u64)).await?;
    let (mut pruned, limit) = (0, limit as u64);
    for mut row in files {
        if pruned >= limit {
            break;
        }
        let file: FileNumber = field(&mut row, "file")?;
        let sql = "DELETE FROM loadline_rejects WHERE file = ? ORDER BY record LIMIT ?";
        pruned += session.execute(sql, (file, limit - pruned)).await?;
    }
    Ok(pruned)
}
