//! What an audit reads of the registry, and what a repair mends in it.

use std::collections::BTreeSet;

use mysql_async::Value;

use super::given::value_if_any;
use super::people::LOADED;
use super::registry::{self, KeyHash, LOOKUPS_MAX};
use super::rows::{self, BY_ID, ROWS_MAX, fitting, padded, shapes, sum_up};
use crate::backend::mysql::connection::Session;
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::{field, key_hash, placeholders, time_value};
use crate::error::Error;
use crate::job::{FileRecord, JobId, Restored};

/// By id from where the last page ended: an index over feeds would make every page sort all that is left.
pub(super) async fn registry(
    session: &mut Session,
    feed: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<FileRecord>, Fault> {
    let sql = format!(
        "SELECT {} FROM scanner_files {BY_ID} WHERE feed = ? AND id > ? ORDER BY id LIMIT ?",
        rows::FILE_COLUMNS
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    session.rows(&sql, (feed, after, limit)).await?.into_iter().map(rows::file).collect()
}

/// Where a scanner is faster with some of them, they are known at the next look.
pub(super) async fn restore(session: &mut Session, feed: &str, files: &[Restored]) -> Result<u64, Fault> {
    let files: Vec<(KeyHash, &Restored)> = files.iter().map(|file| (key_hash(&file.key), file)).collect();
    let mut restored = 0;
    for files in files.chunks(ROWS_MAX) {
        restored += restore_page(session, feed, files).await?;
    }
    Ok(restored)
}

async fn restore_page(session: &mut Session, feed: &str, files: &[(KeyHash, &Restored)]) -> Result<u64, Fault> {
    let mut left = files.to_vec();
    let mut restored = 0;
    for _ in 0..LOOKUPS_MAX {
        let known = registry::find(session, feed, &left).await?;
        left.retain(|(hash, _)| !known.contains_key(hash));
        match insert(session, feed, &left, &mut restored).await {
            // The statement is undone, and the transaction goes on.
            Err(fault) if fault.is_duplicate() => {}
            inserted => return inserted.map(|()| restored),
        }
    }
    Err(Error::unavailable(format!("scanners keep registering the files of feed `{feed}`"))
        .hint("nothing is lost: run the same command again")
        .into())
}

async fn insert(
    session: &mut Session,
    feed: &str,
    files: &[(KeyHash, &Restored)],
    restored: &mut u64,
) -> Result<(), Fault> {
    for files in shapes(files, ROWS_MAX) {
        let sql = format!(
            "INSERT INTO scanner_files (feed, `key`, key_hash, version, size_in_bytes, modified_time, hour, state, \
             rows_loaded, rows_rejected, error, found_time, loaded_time, updated_time) VALUES {}",
            vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6))"; files.len()].join(", ")
        );
        let mut params: Vec<Value> = Vec::with_capacity(files.len() * 13);
        for (hash, file) in files {
            params.extend([feed.into(), file.key.as_bytes().into(), hash.as_slice().into()]);
            params.extend([file.version.as_str().into(), file.size.into()]);
            params.extend([time_value(file.modified), time_value(file.hour), file.state.as_str().into()]);
            params.extend([value_if_any(file.rows_loaded), value_if_any(file.rows_rejected)]);
            params.push(value_if_any(file.error.as_deref().map(fitting)));
            params.extend([time_value(file.found_time), value_if_any(file.loaded_time.map(time_value))]);
        }
        *restored += session.execute(&sql, params).await?;
    }
    Ok(())
}

pub(super) async fn requeue(session: &mut Session, files: &[i64]) -> Result<u64, Fault> {
    let mut ids = files.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<Value> = ids.iter().map(Value::from).collect();
    let (mut requeued, mut left) = (0, BTreeSet::new());
    for ids in ids.chunks(ROWS_MAX) {
        let ids = padded(ids);
        let among = placeholders(ids.len());
        let sql = format!(
            "SELECT f.job_id FROM scanner_files f {BY_ID} WHERE f.id IN ({among}) AND {LOADED} ORDER BY f.id FOR UPDATE"
        );
        for mut row in session.rows(&sql, ids.clone()).await? {
            left.extend(field::<Option<JobId>>(&mut row, "job_id")?);
        }
        let sql = format!(
            "UPDATE scanner_files f {BY_ID} SET f.state = 'FOUND', f.job_id = NULL, f.rows_loaded = NULL, \
             f.rows_rejected = NULL, f.loaded_time = NULL, f.error = NULL, f.updated_time = NOW(6) \
             WHERE f.id IN ({among}) AND {LOADED}"
        );
        requeued += session.execute(&sql, ids).await?;
    }
    sum_up(session, &left).await?;
    Ok(requeued)
}
