//! What an audit asks: the ledger, and beside it what the tables hold, on one picture.
//!
//! Counting goes by the index over (`_file`, `_record`), many files a statement and a long file in several.

use std::collections::BTreeMap;

use mysql_async::Params;

use super::checksum;
use super::connection::{Session, quote};
use super::fault::Fault;
use super::ledger::{self, PROGRESS_COLUMNS, WALKING_BACK};
use super::value::{field, key_text, time_field, time_field_if_any};
use crate::warehouse::{AuditedFile, FileNumber, Found, KeyedEntry, LedgerEntry, Piece, TableSpec, pieces};

pub(super) async fn audit(
    session: &mut Session,
    feed: &str,
    table: &TableSpec,
    after: FileNumber,
    limit: usize,
    deep: bool,
) -> Result<Vec<AuditedFile>, Fault> {
    let found = page(session, feed, after, limit).await?;
    let mut files: Vec<AuditedFile> = found.into_iter().map(AuditedFile::uncounted).collect();
    for piece in pieces(&mut files, table, deep) {
        for found in count(session, table, &piece).await? {
            let at = files.binary_search_by_key(&found.file, |file| file.entry.file);
            at.into_iter().for_each(|at| files[at].add(found));
        }
    }
    let rejects = rejects(session, &files).await?;
    for file in &mut files {
        file.rejects = rejects.get(&file.entry.file).copied().unwrap_or_default();
    }
    Ok(files)
}

/// By the primary key: a page goes on where the last one ended.
pub(super) async fn page(
    session: &mut Session,
    feed: &str,
    after: FileNumber,
    limit: usize,
) -> Result<Vec<KeyedEntry>, Fault> {
    let sql = format!(
        "SELECT file, `key`, hour, job, version, target_table, plan_hash, completed_time, unloaded_time, {PROGRESS_COLUMNS} \
         FROM loadline_files FORCE INDEX (PRIMARY) WHERE feed = ? AND file > ? ORDER BY file LIMIT ?"
    );
    let rows = session.rows(&sql, (feed, after, limit as u64)).await?;
    rows.into_iter()
        .map(|mut row| {
            let row = &mut row;
            let (plan, progress): (String, _) = (field(row, "plan_hash")?, ledger::progress(row)?);
            Ok(KeyedEntry {
                key: key_text(field(row, "key")?)?,
                hour: time_field(row, "hour")?,
                walking_back: plan == WALKING_BACK && !progress.complete,
                entry: LedgerEntry {
                    file: field(row, "file")?,
                    job: field(row, "job")?,
                    version: field(row, "version")?,
                    table: field(row, "target_table")?,
                    completed: time_field_if_any(row, "completed_time")?,
                    unloaded: time_field_if_any(row, "unloaded_time")?,
                    progress,
                },
            })
        })
        .collect()
}

/// What the piece's table holds. One that somebody has dropped holds nothing.
async fn count(session: &mut Session, table: &TableSpec, piece: &Piece) -> Result<Vec<Found>, Fault> {
    let sum = if piece.summed { checksum::sum(table, "t") } else { "NULL".to_owned() };
    let sql = format!(
        "SELECT f.file, count(*) AS found, \
         count(DISTINCT CASE WHEN t._record BETWEEN 1 AND f.records_done THEN t._record END) AS due, {sum} AS checksum \
         FROM loadline_files f JOIN {} t ON t._file = f.file WHERE f.file IN ({}){} GROUP BY f.file",
        quote(&piece.table),
        list(&piece.files),
        within(piece)
    );
    let rows = match session.text_rows(&sql).await {
        Err(fault) if fault.is_missing_table() => return Ok(Vec::new()),
        rows => rows?,
    };
    let found = |mut row| {
        let row = &mut row;
        let (file, checksum) = (field(row, "file")?, field(row, "checksum")?);
        Ok(Found { file, rows: field(row, "found")?, due: field(row, "due")?, checksum })
    };
    rows.into_iter().map(found).collect()
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

async fn rejects(session: &mut Session, files: &[AuditedFile]) -> Result<BTreeMap<FileNumber, u64>, Fault> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(BTreeMap::new()) };
    let numbers: Vec<FileNumber> = files.iter().map(|file| file.entry.file).collect();
    let sql = format!(
        "SELECT file, count(*) AS found FROM loadline_rejects WHERE file BETWEEN {} AND {} AND file IN ({}) GROUP BY file",
        first.entry.file,
        last.entry.file,
        list(&numbers)
    );
    let rows = session.text_rows(&sql).await?;
    rows.into_iter().map(|mut row| Ok((field(&mut row, "file")?, field(&mut row, "found")?))).collect()
}

/// From one number to the next by the index, whatever the rows of a file; then the rows of those that nobody knows.
pub(super) async fn strays(session: &mut Session, table: &str, limit: usize) -> Result<Vec<(FileNumber, u64)>, Fault> {
    let table = quote(table);
    let sql = format!(
        "SELECT t._file, count(*) AS found FROM {table} t JOIN ( \
           SELECT held._file FROM (SELECT DISTINCT _file FROM {table}) held \
           LEFT JOIN loadline_files f ON f.file = held._file WHERE f.file IS NULL ORDER BY held._file LIMIT ?) stray \
         ON stray._file = t._file GROUP BY t._file ORDER BY t._file"
    );
    let rows = match session.rows(&sql, Params::Positional(vec![(limit as u64).into()])).await {
        Err(fault) if fault.is_missing_table() => return Ok(Vec::new()),
        rows => rows?,
    };
    rows.into_iter().map(|mut row| Ok((field(&mut row, "_file")?, field(&mut row, "found")?))).collect()
}
