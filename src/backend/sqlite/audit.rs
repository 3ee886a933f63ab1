//! What an audit asks: the ledger, and beside it what the tables hold, on one picture.
//!
//! Counting goes by the index over (`_file`, `_record`), many files a statement and a long file in several.

use rusqlite::{Connection, Row, params};

use super::checksum;
use super::fault::Fault;
use super::ledger::{self, PROGRESS_COLUMNS, WALKING_BACK};
use super::table::{self, quote};
use super::value::{Count, key_text, time, time_if_any};
use crate::warehouse::{AuditedFile, FileNumber, Found, KeyedEntry, LedgerEntry, Piece, TableSpec, pieces};

pub(super) fn audit(
    c: &Connection,
    feed: &str,
    table: &TableSpec,
    after: FileNumber,
    limit: usize,
    deep: bool,
) -> Result<Vec<AuditedFile>, Fault> {
    let found = page(c, feed, after, limit)?;
    let mut files: Vec<AuditedFile> = found.into_iter().map(AuditedFile::uncounted).collect();
    for piece in pieces(&mut files, table, deep) {
        for found in count(c, table, &piece)? {
            let at = files.binary_search_by_key(&found.file, |file| file.entry.file);
            at.into_iter().for_each(|at| files[at].add(found));
        }
    }
    let mut rejects = c.prepare_cached("SELECT count(*) FROM loadline_rejects WHERE file = ?1")?;
    for file in &mut files {
        file.rejects = rejects.query_row([file.entry.file], |row| row.get(0)).map(|Count(count)| count)?;
    }
    Ok(files)
}

/// By the primary key: a page goes on where the last one ended.
pub(super) fn page(c: &Connection, feed: &str, after: FileNumber, limit: usize) -> Result<Vec<KeyedEntry>, Fault> {
    let sql = format!(
        "SELECT file, key, hour, job, version, target_table, plan_hash, completed_time, unloaded_time, {PROGRESS_COLUMNS} \
         FROM loadline_files WHERE +feed = ?1 AND file > ?2 ORDER BY file LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = c.prepare_cached(&sql)?;
    select.query_and_then(params![feed, after, limit], keyed_entry)?.collect()
}

fn keyed_entry(row: &Row<'_>) -> Result<KeyedEntry, Fault> {
    let (plan, hour, progress): (String, String, _) = (row.get("plan_hash")?, row.get("hour")?, ledger::progress(row)?);
    Ok(KeyedEntry {
        key: key_text(row.get("key")?)?,
        hour: time(&hour)?,
        walking_back: plan == WALKING_BACK && !progress.complete,
        entry: LedgerEntry {
            file: row.get("file")?,
            job: row.get("job")?,
            version: row.get("version")?,
            table: row.get("target_table")?,
            completed: time_if_any(row.get("completed_time")?)?,
            unloaded: time_if_any(row.get("unloaded_time")?)?,
            progress,
        },
    })
}

/// What the piece's table holds. One that somebody has dropped holds nothing.
fn count(c: &Connection, table: &TableSpec, piece: &Piece) -> Result<Vec<Found>, Fault> {
    if table::columns(c, &piece.table)?.is_none() {
        return Ok(Vec::new());
    }
    let sum = if piece.summed { checksum::sum(table, "t") } else { "NULL".to_owned() };
    let sql = format!(
        "SELECT f.file, count(*), \
         count(DISTINCT CASE WHEN t._record BETWEEN 1 AND f.records_done THEN t._record END), {sum} \
         FROM loadline_files f CROSS JOIN {} t ON t._file = f.file WHERE f.file IN ({}){} GROUP BY f.file",
        quote(&piece.table),
        list(&piece.files),
        within(piece)
    );
    let found = |row: &Row<'_>| {
        let (Count(rows), Count(due)) = (row.get(1)?, row.get(2)?);
        Ok(Found { file: row.get(0)?, rows, due, checksum: row.get(3)? })
    };
    let mut select = c.prepare(&sql)?;
    Ok(select.query_map([], found)?.collect::<Result<_, _>>()?)
}

fn list(files: &[FileNumber]) -> String {
    files.iter().map(FileNumber::to_string).collect::<Vec<_>>().join(", ")
}

/// The condition on `t._record`.
fn within(piece: &Piece) -> String {
    let after = piece.after.map(|after| format!(" AND t._record > {after}"));
    let to = piece.to.map(|to| format!(" AND t._record <= {to}"));
    [after, to].into_iter().flatten().collect()
}

/// From one number to the next by the index, whatever the rows of a file; then the rows of those that nobody knows.
pub(super) fn strays(c: &Connection, table: &str, limit: usize) -> Result<Vec<(FileNumber, u64)>, Fault> {
    if table::columns(c, table)?.is_none() {
        return Ok(Vec::new());
    }
    let table = quote(table);
    let sql = format!(
        "WITH RECURSIVE held (_file) AS ( \
           SELECT min(_file) FROM {table} UNION ALL \
           SELECT (SELECT min(_file) FROM {table} AS t WHERE t._file > held._file) FROM held WHERE held._file IS NOT NULL) \
         SELECT held._file, (SELECT count(*) FROM {table} AS t WHERE t._file = held._file) FROM held \
         WHERE held._file IS NOT NULL AND NOT EXISTS (SELECT 1 FROM loadline_files f WHERE f.file = held._file) \
         ORDER BY held._file LIMIT ?1"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = c.prepare(&sql)?;
    let strays = select.query_map([limit], |row| Ok((row.get(0)?, row.get(1).map(|Count(count)| count)?)))?;
    Ok(strays.collect::<Result<_, _>>()?)
}
