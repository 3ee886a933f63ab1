//! Rows of the metadata tables as the words of [`crate::job`], the sums of a job over its files, and lists of
//! parameters.

use std::collections::BTreeSet;

use mysql_async::{Row, Value};

use crate::backend::mysql::connection::Session;
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::{field, key_text, placeholders, time_field, time_field_if_any};
use crate::error::Error;
use crate::job::{FileRecord, FileState, FoundFile, Job, JobId, JobStatus};

pub(super) const JOB_COLUMNS: &str = "id, feed, files, latest_file_modified_time, total_size_in_bytes, created_time, \
     modified_time, status, failure_msg, attempts, expiries, lease_owner, lease_until, run_after, rows_loaded, \
     rows_rejected, started_time, finished_time";

pub(super) const FILE_COLUMNS: &str = "id, feed, `key`, version, size_in_bytes, modified_time, hour, job_id, state, \
                                       rows_loaded, rows_rejected, error, found_time, loaded_time";

pub(super) const FOUND_COLUMNS: &str = "id, `key`, size_in_bytes, modified_time, hour, found_time";

/// Where nearly all files are in no job, or in one, a server takes the index for worthless.
pub(super) const OF_JOB: &str = "FORCE INDEX (scanner_files_job)";

/// Where rows are changed or locked by their ids, and what else is asked of them only says whether. A server that takes a
/// table for nearly empty, as a new one is until it has counted, would go through an index of that, or through all rows,
/// and lock those of others on its way: deadlocks.
pub(super) const BY_ID: &str = "FORCE INDEX (PRIMARY)";

/// Rows of one statement at most: far below the 65,535 parameters that a statement may have.
pub(super) const ROWS_MAX: usize = 1000;

/// What a TEXT column takes.
const TEXT_MAX: usize = 65_535;

pub(super) fn job(mut row: Row) -> Result<Job, Fault> {
    let row = &mut row;
    let status: String = field(row, "status")?;
    Ok(Job {
        id: field(row, "id")?,
        feed: field(row, "feed")?,
        files: field(row, "files")?,
        latest_file_modified_time: time_field(row, "latest_file_modified_time")?,
        total_size_in_bytes: field(row, "total_size_in_bytes")?,
        created_time: time_field(row, "created_time")?,
        modified_time: time_field(row, "modified_time")?,
        status: JobStatus::parse(&status).ok_or_else(|| unknown_word("status"))?,
        failure_msg: field(row, "failure_msg")?,
        attempts: field(row, "attempts")?,
        expiries: field(row, "expiries")?,
        lease_owner: field(row, "lease_owner")?,
        lease_until: time_field_if_any(row, "lease_until")?,
        run_after: time_field(row, "run_after")?,
        rows_loaded: field(row, "rows_loaded")?,
        rows_rejected: field(row, "rows_rejected")?,
        started_time: time_field_if_any(row, "started_time")?,
        finished_time: time_field_if_any(row, "finished_time")?,
    })
}

pub(super) fn file(mut row: Row) -> Result<FileRecord, Fault> {
    let row = &mut row;
    Ok(FileRecord {
        id: field(row, "id")?,
        feed: field(row, "feed")?,
        key: key_text(field(row, "key")?)?,
        version: field(row, "version")?,
        size: field(row, "size_in_bytes")?,
        modified: time_field(row, "modified_time")?,
        hour: time_field(row, "hour")?,
        job_id: field(row, "job_id")?,
        state: state(row)?,
        rows_loaded: field(row, "rows_loaded")?,
        rows_rejected: field(row, "rows_rejected")?,
        error: field(row, "error")?,
        found_time: time_field(row, "found_time")?,
        loaded_time: time_field_if_any(row, "loaded_time")?,
    })
}

pub(super) fn found(mut row: Row) -> Result<FoundFile, Fault> {
    let row = &mut row;
    Ok(FoundFile {
        id: field(row, "id")?,
        key: key_text(field(row, "key")?)?,
        size: field(row, "size_in_bytes")?,
        modified: time_field(row, "modified_time")?,
        hour: time_field(row, "hour")?,
        found: time_field(row, "found_time")?,
    })
}

/// The column `state`.
pub(super) fn state(row: &mut Row) -> Result<FileState, Fault> {
    let state: String = field(row, "state")?;
    FileState::parse(&state).ok_or_else(|| unknown_word("state"))
}

pub(super) fn unknown_word(column: &str) -> Fault {
    Error::internal(format!("column `{column}` holds a word that this version does not know")).into()
}

/// Makes the sums of jobs that have ended those of their files that are loaded now.
pub(super) async fn sum_up(session: &mut Session, jobs: &BTreeSet<JobId>) -> Result<(), Fault> {
    let sum = |column: &str| {
        format!(
            "{column} = (SELECT COALESCE(SUM(f.{column}), 0) FROM scanner_files f {OF_JOB} WHERE f.job_id = scanner_jobs.id \
             AND f.loaded_time IS NOT NULL AND f.state IN ('LOADED', 'QUARANTINED'))"
        )
    };
    let jobs: Vec<Value> = jobs.iter().map(Value::from).collect();
    for jobs in jobs.chunks(ROWS_MAX) {
        let jobs = padded(jobs);
        let sql = format!(
            "UPDATE scanner_jobs {BY_ID} SET {}, {} WHERE id IN ({}) AND status IN ('LOADED', 'FAILED')",
            sum("rows_loaded"),
            sum("rows_rejected"),
            placeholders(jobs.len())
        );
        session.execute(&sql, jobs).await?;
    }
    Ok(())
}

/// The values of an IN list, its last one repeated up to a power of two: a server keeps every length as a statement of
/// its own.
pub(super) fn padded(values: &[Value]) -> Vec<Value> {
    let mut padded = values.to_vec();
    if let Some(last) = values.last() {
        padded.resize(values.len().next_power_of_two(), last.clone());
    }
    padded
}

/// Cuts into pieces of `largest`, then of powers of two, for the same reason: where no row may be there twice.
pub(super) fn shapes<T>(mut items: &[T], largest: usize) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    while !items.is_empty() {
        let power_of_two =
            if items.len().is_power_of_two() { items.len() } else { items.len().next_power_of_two() / 2 };
        let length = if items.len() >= largest { largest } else { power_of_two };
        let (piece, rest) = items.split_at(length);
        pieces.push(piece);
        items = rest;
    }
    pieces
}

/// As much of a text as its column takes.
pub(super) fn fitting(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_few_lengths_and_lose_nothing() {
        for count in [0, 1, 2, 3, 5, 127, 128, 129, 999, 1000, 2500] {
            let items: Vec<i64> = (0..count).collect();
            let pieces = shapes(&items, 1000);
            assert_eq!(pieces.concat(), items);
            assert!(pieces.iter().all(|piece| piece.len() == 1000 || piece.len().is_power_of_two()), "{count}");
            let values: Vec<Value> = items.iter().map(Value::from).collect();
            let padded = padded(&values);
            assert!(padded.is_empty() || padded.len().is_power_of_two());
            assert_eq!(&padded[..values.len()], values);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(fitting("kurz"), "kurz");
        assert_eq!(fitting(&"ü".repeat(40_000)).len(), 65_534);
    }
}
