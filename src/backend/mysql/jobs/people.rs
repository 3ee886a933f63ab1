//! What people ask of jobs and files, and what they change: `retry`, `release` and `unload`.

use std::collections::BTreeSet;

use mysql_async::Value;

use super::given::{GIVEN_MAX, given};
use super::queue::AT_ONCE;
use super::rows::{self, BY_ID, OF_JOB, ROWS_MAX, padded, shapes, sum_up};
use crate::backend::mysql::connection::Session;
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::{field, key_hash, placeholders, time_value};
use crate::job::{FileRecord, Job, JobFilter, JobId, Replacement, Selection};

/// What a retry of its job loads.
const MISSING: &str = "(f.state IN ('FAILED', 'UNLOADED') OR (f.state = 'QUARANTINED' AND f.loaded_time IS NULL))";

/// What counts as loaded.
pub(super) const LOADED: &str = "(f.state = 'LOADED' OR (f.state = 'QUARANTINED' AND f.loaded_time IS NOT NULL))";

pub(super) async fn retry(session: &mut Session, job: JobId, replacements: &[Replacement]) -> Result<bool, Fault> {
    let sql = format!(
        "UPDATE scanner_jobs {BY_ID} SET status = 'SENT_FOR_ETL', attempts = 0, expiries = 0, failure_msg = NULL, \
         run_after = {AT_ONCE}, started_time = NULL, finished_time = NULL, modified_time = NOW(6) \
         WHERE id = ? AND (status = 'FAILED' OR (status = 'LOADED' \
         AND EXISTS (SELECT 1 FROM scanner_files f {OF_JOB} WHERE f.job_id = ? AND f.state = 'UNLOADED')))"
    );
    if session.execute(&sql, (job, job)).await? != 1 {
        return Ok(false);
    }
    for replacements in shapes(replacements, GIVEN_MAX) {
        let sql = format!(
            "{} WHERE f.job_id = ? AND (f.state = 'IN_JOB' OR {MISSING})",
            replace_sql(replacements.len(), "f.updated_time = NOW(6)")
        );
        let mut params = replace_params(replacements);
        params.push(job.into());
        session.execute(&sql, params).await?;
    }
    let sql = format!(
        "UPDATE scanner_files f {OF_JOB} SET f.state = 'IN_JOB', f.error = NULL, f.updated_time = NOW(6) \
         WHERE f.job_id = ? AND {MISSING}"
    );
    session.execute(&sql, (job,)).await?;
    Ok(true)
}

pub(super) async fn release(session: &mut Session, replacements: &[Replacement]) -> Result<u64, Fault> {
    let mut released = 0;
    for replacements in shapes(replacements, GIVEN_MAX) {
        let set = "f.state = 'FOUND', f.job_id = NULL, f.error = NULL, f.updated_time = NOW(6)";
        let sql = format!(
            "{} WHERE f.state = 'UNLOADED' \
             OR (f.state = 'QUARANTINED' AND f.job_id IS NULL AND f.loaded_time IS NULL)",
            replace_sql(replacements.len(), set)
        );
        released += session.execute(&sql, replace_params(replacements)).await?;
    }
    Ok(released)
}

/// Gives files the version that they have at the source now, and sets what else is named.
fn replace_sql(files: usize, set: &str) -> String {
    let columns = [("id", "SIGNED"), ("version", "CHAR"), ("size", "UNSIGNED"), ("modified", "DATETIME(6)")];
    format!(
        "UPDATE {} STRAIGHT_JOIN scanner_files f {BY_ID} ON f.id = given.id SET f.version = given.version, \
         f.size_in_bytes = given.size, f.modified_time = given.modified, {set}",
        given(&columns, files)
    )
}

fn replace_params(replacements: &[Replacement]) -> Vec<Value> {
    let row = |Replacement { id, version, size, modified }: &Replacement| {
        [Value::from(id), version.as_str().into(), Value::from(size), time_value(*modified)]
    };
    replacements.iter().flat_map(row).collect()
}

pub(super) async fn jobs(session: &mut Session, filter: &JobFilter) -> Result<Vec<Job>, Fault> {
    let mut sql = format!("SELECT {} FROM scanner_jobs WHERE status <> 'NONE'", rows::JOB_COLUMNS);
    let mut params: Vec<Value> = Vec::new();
    if let Some(status) = filter.status {
        sql.push_str(" AND status = ?");
        params.push(status.as_str().into());
    }
    if let Some(feed) = &filter.feed {
        sql.push_str(" AND feed = ?");
        params.push(feed.as_str().into());
    }
    sql.push_str(" ORDER BY id");
    session.rows(&sql, params).await?.into_iter().map(rows::job).collect()
}

pub(super) async fn job(session: &mut Session, id: JobId) -> Result<Option<Job>, Fault> {
    let sql = format!("SELECT {} FROM scanner_jobs WHERE id = ? AND status <> 'NONE'", rows::JOB_COLUMNS);
    session.first(&sql, (id,)).await?.map(rows::job).transpose()
}

pub(super) async fn files_of(session: &mut Session, job: JobId) -> Result<Vec<FileRecord>, Fault> {
    let sql = format!("SELECT {} FROM scanner_files {OF_JOB} WHERE job_id = ? ORDER BY `key`", rows::FILE_COLUMNS);
    session.rows(&sql, (job,)).await?.into_iter().map(rows::file).collect()
}

pub(super) async fn file(session: &mut Session, feed: &str, key: &str) -> Result<Option<FileRecord>, Fault> {
    let sql = format!("SELECT {} FROM scanner_files WHERE feed = ? AND key_hash = ?", rows::FILE_COLUMNS);
    session.first(&sql, (feed, key_hash(key).as_slice())).await?.map(rows::file).transpose()
}

pub(super) async fn quarantined(session: &mut Session) -> Result<Vec<FileRecord>, Fault> {
    let columns = rows::FILE_COLUMNS;
    let sql = format!("SELECT {columns} FROM scanner_files WHERE state = 'QUARANTINED' ORDER BY feed, `key`");
    session.rows(&sql, ()).await?.into_iter().map(rows::file).collect()
}

pub(super) async fn loaded_files(
    session: &mut Session,
    of: &Selection,
    after: i64,
    limit: usize,
) -> Result<Vec<FileRecord>, Fault> {
    let (index, condition, mut params): (_, _, Vec<Value>) = match of {
        Selection::File { feed, key } => {
            let key_hash = key_hash(key);
            ("scanner_files_key", "f.feed = ? AND f.key_hash = ?", vec![feed.into(), key_hash.as_slice().into()])
        }
        Selection::Job(job) => ("scanner_files_job", "f.job_id = ?", vec![job.into()]),
        // By id from where the last page ended: an index over feeds would make every page sort all that is left.
        Selection::Hours { feed, from, to } => (
            "PRIMARY",
            "f.feed = ? AND f.hour >= ? AND f.hour < ?",
            vec![feed.into(), time_value(*from), time_value(*to)],
        ),
    };
    let sql = format!(
        "SELECT {} FROM scanner_files f FORCE INDEX ({index}) WHERE {condition} AND f.id > ? \
         AND (f.state = 'UNLOADED' OR {LOADED}) ORDER BY f.id LIMIT ?",
        rows::FILE_COLUMNS
    );
    params.extend([after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()]);
    session.rows(&sql, params).await?.into_iter().map(rows::file).collect()
}

pub(super) async fn revoke(session: &mut Session, files: &[i64]) -> Result<u64, Fault> {
    let mut ids = files.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<Value> = ids.iter().map(Value::from).collect();
    let (mut revoked, mut jobs) = (0, BTreeSet::new());
    for ids in ids.chunks(ROWS_MAX) {
        let ids = padded(ids);
        let among = placeholders(ids.len());
        let sql = format!(
            "SELECT f.job_id FROM scanner_files f {BY_ID} WHERE f.id IN ({among}) AND {LOADED} ORDER BY f.id FOR UPDATE"
        );
        for mut row in session.rows(&sql, ids.clone()).await? {
            jobs.extend(field::<Option<JobId>>(&mut row, "job_id")?);
        }
        let sql = format!(
            "UPDATE scanner_files f {BY_ID} SET f.state = 'UNLOADED', f.rows_loaded = NULL, f.rows_rejected = NULL, \
             f.loaded_time = NULL, f.error = NULL, f.updated_time = NOW(6) WHERE f.id IN ({among}) AND {LOADED}"
        );
        revoked += session.execute(&sql, ids).await?;
    }
    sum_up(session, &jobs).await?;
    Ok(revoked)
}
