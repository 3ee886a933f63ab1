//! The ledger's part: taking files, reading where they stand, and walking them back.
//!
//! Invariant: `plan_hash = ''` says that a walk back has begun and not ended. No segment can begin under it, so the
//! counts beside it mean nothing and are zeroed by the step that ends the walk.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::table::{self, quote};
use super::value::{Count, key_hash, time_text};
use crate::clock;
use crate::error::Error;
use crate::warehouse::{Fence, LedgerKey, Progress, Standing, TableSpec, Taken, Taker};

/// Most records that one transaction of a walk back takes out.
const WALK_BACK_RECORDS_MAX: u64 = 100_000;

/// The plan of a file that is being walked back.
const WALKING_BACK: &str = "";

pub(super) const PROGRESS_COLUMNS: &str = "records_done, rows, rejects, checksum, invalid, complete";

pub(super) fn progress(row: &Row<'_>) -> Result<Progress, Fault> {
    let invalid: String = row.get("invalid")?;
    let count = |column: &str| row.get(column).map(|Count(count)| count);
    let unreadable = |_| Error::internal("column `invalid` of the ledger is not what this version writes");
    Ok(Progress {
        records_done: count("records_done")?,
        rows: count("rows")?,
        rejects: count("rejects")?,
        checksum: row.get("checksum")?,
        invalid: serde_json::from_str(&invalid).map_err(unreadable)?,
        complete: row.get("complete")?,
    })
}

pub(super) fn invalid_json(progress: &Progress) -> Result<String, Fault> {
    let json = serde_json::to_string(&progress.invalid);
    Ok(json.map_err(|error| Error::internal("writing counts as JSON").caused_by(error))?)
}

pub(super) fn take(c: &Connection, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>, Fault> {
    let Taker { feed, job, table, plan_hash, .. } = taker;
    // Sorted by hash, each key once: all takers go the same way, whichever database this is.
    let by_hash: BTreeMap<[u8; 32], &LedgerKey> = files.iter().map(|file| (key_hash(&file.key), file)).collect();
    let now = time_text(clock::now());
    let mut insert = c.prepare_cached(
        "INSERT INTO loadline_files \
         (feed, key, key_hash, version, hour, job, epoch, target_table, plan_hash, created_time, updated_time) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?9) ON CONFLICT (feed, key_hash) DO NOTHING",
    )?;
    let mut taken = BTreeMap::new();
    for (hash, file) in by_hash {
        let hour = time_text(file.hour);
        insert.execute(params![feed, file.key.as_bytes(), hash, file.version, hour, job, table, plan_hash, now])?;
        taken.insert(hash, take_one(c, taker, &hash, file)?);
    }
    let vanished = || Error::internal("a file vanished while it was taken");
    files.iter().map(|file| Ok(taken.get(&key_hash(&file.key)).cloned().ok_or_else(vanished)?)).collect()
}

fn take_one(c: &Connection, taker: &Taker, hash: &[u8; 32], file: &LedgerKey) -> Result<Taken, Fault> {
    let sql = format!(
        "SELECT file, epoch, version, target_table, plan_hash, {PROGRESS_COLUMNS} FROM loadline_files WHERE feed = ?1 AND key_hash = ?2"
    );
    let mut select = c.prepare_cached(&sql)?;
    let mut rows = select.query(params![taker.feed, hash])?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (number, epoch) = (row.get("file")?, row.get::<_, i64>("epoch")? + 1);
    let (version, plan): (String, String) = (row.get("version")?, row.get("plan_hash")?);
    let table: String = row.get("target_table")?;
    let progress = progress(row)?;

    let nothing_done = progress.records_done == 0 && !progress.complete;
    // A part of another version promises nothing to anyone. No segment may follow it: the walk back begins here.
    let walking_back = !nothing_done && !progress.complete && (plan == WALKING_BACK || version != file.version);
    let standing = match () {
        _ if nothing_done => Standing::Ready,
        _ if walking_back => Standing::OtherPlan,
        _ if version != file.version => Standing::OtherVersion,
        _ if progress.complete || plan == taker.plan_hash => Standing::Ready,
        _ => Standing::OtherPlan,
    };
    let (adopted_version, adopted_table, adopted_plan) = match () {
        _ if nothing_done => (&file.version, &taker.table, taker.plan_hash.as_str()),
        _ if walking_back => (&file.version, &table, WALKING_BACK),
        _ => (&version, &table, plan.as_str()),
    };
    let mut update = c.prepare_cached(
        "UPDATE loadline_files SET epoch = ?2, job = ?3, version = ?4, target_table = ?5, plan_hash = ?6, \
         updated_time = ?7 WHERE file = ?1",
    )?;
    let now = time_text(clock::now());
    update.execute(params![number, epoch, taker.job, adopted_version, adopted_table, adopted_plan, now])?;
    Ok(Taken { file: number, epoch, standing, progress })
}

/// Where the file stands, if the ledger still bears epoch and plan of the fence.
pub(super) fn progress_behind(c: &Connection, fence: &Fence) -> Result<Option<Progress>, Fault> {
    let sql =
        format!("SELECT {PROGRESS_COLUMNS} FROM loadline_files WHERE file = ?1 AND epoch = ?2 AND plan_hash = ?3");
    let params = params![fence.file, fence.epoch, fence.plan_hash];
    c.prepare_cached(&sql)?.query_and_then(params, progress)?.next().transpose()
}

/// How far a walk back has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walked {
    Lost,
    /// There are records left.
    Partly,
    Wholly,
}

/// One step of a walk back: takes the last records out. The step that reaches 0 ends the walk.
pub(super) fn walk_back_step(c: &Connection, fence: &Fence, next: &TableSpec) -> Result<Walked, Fault> {
    let sql = "SELECT records_done, target_table FROM loadline_files WHERE file = ?1 AND epoch = ?2";
    let stands = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let stands: Option<(Count, String)> = c.query_row(sql, params![fence.file, fence.epoch], stands).optional()?;
    let Some((Count(done), holding)) = stands else { return Ok(Walked::Lost) };
    let to = done.saturating_sub(WALK_BACK_RECORDS_MAX);
    let left = Count(to);
    // A table that somebody has dropped holds nothing any more.
    if table::columns(c, &holding)?.is_some() {
        let rows = format!("DELETE FROM {} WHERE _file = ?1 AND _record > ?2", quote(&holding));
        c.execute(&rows, params![fence.file, left])?;
    }
    c.execute("DELETE FROM loadline_rejects WHERE file = ?1 AND record > ?2", params![fence.file, left])?;

    let now = time_text(clock::now());
    if to > 0 {
        let sql = "UPDATE loadline_files SET records_done = ?2, plan_hash = ?3, complete = 0, completed_time = NULL, \
                   updated_time = ?4 WHERE file = ?1";
        c.execute(sql, params![fence.file, left, WALKING_BACK, now])?;
        return Ok(Walked::Partly);
    }
    let sql = "UPDATE loadline_files SET records_done = 0, plan_hash = ?2, complete = 0, completed_time = NULL, \
               updated_time = ?3, rows = 0, rejects = 0, checksum = 0, invalid = '{}', target_table = ?4 WHERE file = ?1";
    c.execute(sql, params![fence.file, fence.plan_hash, now, next.name])?;
    Ok(Walked::Wholly)
}
