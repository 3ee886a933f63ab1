//! What an audit asks: the ledger, and beside it what the tables hold, on one picture.
//!
//! Counting goes by the index over (`_file`, `_record`), many files a statement and a long file in several.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::ledger::{self, PROGRESS_COLUMNS, WALKING_BACK};
use super::table::{self, quote};
use super::value::{Count, key_text, time, time_if_any};
use crate::warehouse::{AuditedFile, FileNumber, LedgerEntry, Piece, TableSpec, pieces};

pub(super) fn audit(
    c: &Connection,
    feed: &str,
    _table: &TableSpec,
    after: FileNumber,
    limit: usize,
    _deep: bool,
) -> Result<Vec<AuditedFile>, Fault> {
    let mut files = page(c, feed, after, limit)?;
    let mut by_table: BTreeMap<String, Vec<(FileNumber, u64)>> = BTreeMap::new();
    for file in &files {
        let entry = &file.entry;
        by_table.entry(entry.table.clone()).or_default().push((entry.file, entry.progress.records_done));
    }
    let mut counts = BTreeMap::new();
    for (table, numbers) in by_table {
        // A table that somebody has dropped holds nothing.
        if table::columns(c, &table)?.is_none() {
            continue;
        }
        for piece in pieces(&numbers) {
            count(c, &table, &piece, &mut counts)?;
        }
    }
    let mut rejects = c.prepare_cached("SELECT count(*) FROM loadline_rejects WHERE file = ?1")?;
    for file in &mut files {
        let number = file.entry.file;
        (file.rows, file.surplus) = counts.get(&number).copied().unwrap_or_default();
        file.rejects = rejects.query_row([number], |row| row.get(0)).map(|Count(count)| count)?;
    }
    Ok(files)
}

/// By the primary key: a page goes on where the last one ended.
fn page(c: &Connection, feed: &str, after: FileNumber, limit: usize) -> Result<Vec<AuditedFile>, Fault> {
    let sql = format!(
        "SELECT file, key, hour, job, version, target_table, plan_hash, completed_time, unloaded_time, {PROGRESS_COLUMNS} \
         FROM loadline_files WHERE +feed = ?1 AND file > ?2 ORDER BY file LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = c.prepare_cached(&sql)?;
    select.query_and_then(params![feed, after, limit], audited_file)?.collect()
}

fn audited_file(row: &Row<'_>) -> Result<AuditedFile, Fault> {
    let (plan, hour, progress): (String, String, _) = (row.get("plan_hash")?, row.get("hour")?, ledger::progress(row)?);
    Ok(AuditedFile {
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
        rows: 0,
        surplus: 0,
        rejects: 0,
        checksum: None,
    })
}

/// Rows, and those of them that are too many.
type Counts = BTreeMap<FileNumber, (u64, u64)>;

/// Adds what the table holds of a piece.
fn count(c: &Connection, table: &str, piece: &Piece, counts: &mut Counts) -> Result<(), Fault> {
    let sql = format!(
        "SELECT f.file, count(*), \
         count(DISTINCT CASE WHEN t._record BETWEEN 1 AND f.records_done THEN t._record END) \
         FROM loadline_files f CROSS JOIN {} t ON t._file = f.file WHERE f.file IN ({}){} GROUP BY f.file",
        quote(table),
        list(&piece.files),
        within(piece)
    );
    let mut select = c.prepare(&sql)?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let (Count(found), Count(due)) = (row.get(1)?, row.get(2)?);
        let (rows, surplus) = counts.entry(row.get(0)?).or_default();
        *rows += found;
        *surplus += found - due;
    }
    Ok(())
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
