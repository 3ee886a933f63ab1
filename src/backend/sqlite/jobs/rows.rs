//! Rows of the metadata tables as the words of [`crate::job`], and the sums of a job over its files.

use rusqlite::{Connection, Row};

use crate::backend::sqlite::fault::Fault;
use crate::backend::sqlite::value::{Count, key_text, time, time_if_any, unknown_word};
use crate::job::{FileRecord, FileState, FoundFile, Job, JobId, JobStatus};

pub(super) const JOB_COLUMNS: &str = "id, feed, files, latest_file_modified_time, total_size_in_bytes, created_time, modified_time, status, \
     failure_msg, attempts, expiries, lease_owner, lease_until, run_after, rows_loaded, rows_rejected, started_time, \
     finished_time";

pub(super) const FILE_COLUMNS: &str = "id, feed, key, version, size_in_bytes, modified_time, hour, job_id, state, \
                                       rows_loaded, rows_rejected, error, found_time, loaded_time";

pub(super) const FOUND_COLUMNS: &str = "id, key, size_in_bytes, modified_time, hour, found_time";

pub(super) fn job(row: &Row<'_>) -> Result<Job, Fault> {
    let status: String = row.get("status")?;
    let at = |column: &str| time(&row.get::<_, String>(column)?);
    let at_if_any = |column: &str| time_if_any(row.get(column)?);
    Ok(Job {
        id: row.get("id")?,
        feed: row.get("feed")?,
        files: row.get("files")?,
        latest_file_modified_time: at("latest_file_modified_time")?,
        total_size_in_bytes: row.get::<_, Count>("total_size_in_bytes")?.0,
        created_time: at("created_time")?,
        modified_time: at("modified_time")?,
        status: JobStatus::parse(&status).ok_or_else(|| unknown_word("status"))?,
        failure_msg: row.get("failure_msg")?,
        attempts: row.get("attempts")?,
        expiries: row.get("expiries")?,
        lease_owner: row.get("lease_owner")?,
        lease_until: at_if_any("lease_until")?,
        run_after: at("run_after")?,
        rows_loaded: count_if_any(row, "rows_loaded")?,
        rows_rejected: count_if_any(row, "rows_rejected")?,
        started_time: at_if_any("started_time")?,
        finished_time: at_if_any("finished_time")?,
    })
}

fn count_if_any(row: &Row<'_>, column: &str) -> Result<Option<u64>, Fault> {
    Ok(row.get::<_, Option<Count>>(column)?.map(|Count(count)| count))
}

pub(super) fn file(row: &Row<'_>) -> Result<FileRecord, Fault> {
    let state: String = row.get("state")?;
    Ok(FileRecord {
        id: row.get("id")?,
        feed: row.get("feed")?,
        key: key_text(row.get("key")?)?,
        version: row.get("version")?,
        size: row.get::<_, Count>("size_in_bytes")?.0,
        modified: time(&row.get::<_, String>("modified_time")?)?,
        hour: time(&row.get::<_, String>("hour")?)?,
        job_id: row.get("job_id")?,
        state: FileState::parse(&state).ok_or_else(|| unknown_word("state"))?,
        rows_loaded: count_if_any(row, "rows_loaded")?,
        rows_rejected: count_if_any(row, "rows_rejected")?,
        error: row.get("error")?,
        found_time: time(&row.get::<_, String>("found_time")?)?,
        loaded_time: time_if_any(row.get("loaded_time")?)?,
    })
}

pub(super) fn found(row: &Row<'_>) -> Result<FoundFile, Fault> {
    Ok(FoundFile {
        id: row.get("id")?,
        key: key_text(row.get("key")?)?,
        size: row.get::<_, Count>("size_in_bytes")?.0,
        modified: time(&row.get::<_, String>("modified_time")?)?,
        hour: time(&row.get::<_, String>("hour")?)?,
        found: time(&row.get::<_, String>("found_time")?)?,
    })
}

/// Makes the sums of jobs that have ended those of their files that are loaded now.
pub(super) fn sum_up(c: &Connection, jobs: impl IntoIterator<Item = JobId>) -> Result<(), Fault> {
    let mut sum_up = c.prepare_cached(
        "UPDATE scanner_jobs SET (rows_loaded, rows_rejected) = \
         (SELECT coalesce(sum(rows_loaded), 0), coalesce(sum(rows_rejected), 0) FROM scanner_files \
          WHERE job_id = ?1 AND loaded_time IS NOT NULL AND state IN ('LOADED', 'QUARANTINED')) \
         WHERE id = ?1 AND status IN ('LOADED', 'FAILED')",
    )?;
    for job in jobs {
        sum_up.execute([job])?;
    }
    Ok(())
}
