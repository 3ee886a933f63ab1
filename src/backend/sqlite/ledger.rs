//! The ledger's part: taking files, reading where they stand, and walking them back.
//!
//! Invariant: `plan_hash = ''` says that a walk back has been announced or begun, and not ended. No segment can begin
//! under it. Once `complete` is 0 the counts beside it mean nothing; the step that ends the walk zeroes them. The same
//! holds for a file with an `unloaded_time`, which the first step of an unload sets.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::table::{self, quote};
use super::value::{Count, key_hash, key_hashes_json, time_text};
use crate::clock;
use crate::error::Error;
use crate::failpoint;
use crate::fingerprint::Fingerprint;
use crate::warehouse::{Fence, LedgerKey, Progress, Standing, TableSpec, Taken, Taker, WalkEnd};

/// Most records that one transaction of a walk back takes out.
const WALK_BACK_RECORDS_MAX: u64 = 100_000;

/// The plan of a file that is being walked back.
pub(super) const WALKING_BACK: &str = "";

pub(super) const PROGRESS_COLUMNS: &str =
    "records_done, rows, rejects, checksum, checksum_rule, invalid, complete, bytes, sha256";

pub(super) fn progress(row: &Row<'_>) -> Result<Progress, Fault> {
    let invalid: String = row.get("invalid")?;
    let count = |column: &str| row.get(column).map(|Count(count)| count);
    let unreadable = |_| Error::internal("column `invalid` of the ledger is not what this version writes");
    Ok(Progress {
        records_done: count("records_done")?,
        rows: count("rows")?,
        rejects: count("rejects")?,
        checksum: row.get("checksum")?,
        checksum_rule: row.get("checksum_rule")?,
        invalid: serde_json::from_str(&invalid).map_err(unreadable)?,
        complete: row.get("complete")?,
        fingerprint: fingerprint(row)?,
    })
}

fn fingerprint(row: &Row<'_>) -> Result<Option<Fingerprint>, Fault> {
    let (bytes, sha256): (Option<Count>, Option<[u8; 32]>) = (row.get("bytes")?, row.get("sha256")?);
    let both = bytes.zip(sha256);
    Ok(both.map(|(Count(bytes), sha256)| Fingerprint { bytes, sha256 }))
}

pub(super) fn invalid_json(progress: &Progress) -> Result<String, Fault> {
    let json = serde_json::to_string(&progress.invalid);
    Ok(json.map_err(|error| Error::internal("writing counts as JSON").caused_by(error))?)
}

pub(super) fn take(c: &Connection, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>, Fault> {
    let Taker { feed, job, table, plan_hash, reload: _ } = taker;
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
        failpoint::reach_blocking("take.made")?;
        taken.insert(hash, take_one(c, taker, &hash, file)?);
    }
    failpoint::reach_blocking("take.counted")?;
    let vanished = || Error::internal("a file vanished while it was taken");
    files.iter().map(|file| Ok(taken.get(&key_hash(&file.key)).cloned().ok_or_else(vanished)?)).collect()
}

fn take_one(c: &Connection, taker: &Taker, hash: &[u8; 32], file: &LedgerKey) -> Result<Taken, Fault> {
    let sql = format!(
        "SELECT file, epoch, version, target_table, plan_hash, unloaded_time IS NOT NULL AS unloaded, {PROGRESS_COLUMNS} \
         FROM loadline_files WHERE feed = ?1 AND key_hash = ?2"
    );
    let mut select = c.prepare_cached(&sql)?;
    let mut rows = select.query(params![taker.feed, hash])?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (number, epoch) = (row.get("file")?, row.get::<_, i64>("epoch")? + 1);
    let (version, plan): (String, String) = (row.get("version")?, row.get("plan_hash")?);
    let (table, unloaded): (String, bool) = (row.get("target_table")?, row.get("unloaded")?);
    let progress = progress(row)?;

    let nothing_done = progress.records_done == 0 && !progress.complete;
    // No segment may follow rows of another version: the walk back to this one is announced here. A complete file takes no
    // segment, and stays what it is until the first step of that walk: this taker may have lost its claim.
    let replaced = version != file.version && (!progress.complete || taker.reload);
    let walking_back = plan == WALKING_BACK || replaced;
    let standing = match () {
        _ if unloaded => Standing::Unloaded,
        _ if nothing_done => Standing::Ready,
        _ if walking_back => Standing::OtherPlan,
        _ if version != file.version => Standing::OtherVersion,
        _ if progress.complete || plan == taker.plan_hash => Standing::Ready,
        _ => Standing::OtherPlan,
    };
    let (adopted_version, adopted_table, adopted_plan) = match () {
        _ if nothing_done => (&file.version, &taker.table, taker.plan_hash.as_str()),
        _ if walking_back && !unloaded && !progress.complete => (&file.version, &table, WALKING_BACK),
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

/// Where the file stands, if the ledger still bears epoch and plan of the fence and nobody has unloaded it.
pub(super) fn progress_behind(c: &Connection, fence: &Fence) -> Result<Option<Progress>, Fault> {
    let sql = format!(
        "SELECT {PROGRESS_COLUMNS} FROM loadline_files \
         WHERE file = ?1 AND epoch = ?2 AND plan_hash = ?3 AND unloaded_time IS NULL"
    );
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
pub(super) fn walk_back_step(c: &Connection, fence: &Fence, next: &TableSpec, end: WalkEnd) -> Result<Walked, Fault> {
    let sql = "SELECT records_done, target_table FROM loadline_files WHERE file = ?1 AND epoch = ?2";
    let stands = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let stands: Option<(Count, String)> = c.query_row(sql, params![fence.file, fence.epoch], stands).optional()?;
    let Some((Count(done), holding)) = stands else { return Ok(Walked::Lost) };
    let to = done.saturating_sub(failpoint::records(WALK_BACK_RECORDS_MAX));
    let left = Count(to);
    // A table that somebody has dropped holds nothing any more.
    if table::columns(c, &holding)?.is_some() {
        let rows = format!("DELETE FROM {} WHERE _file = ?1 AND _record > ?2", quote(&holding));
        c.execute(&rows, params![fence.file, left])?;
    }
    c.execute("DELETE FROM loadline_rejects WHERE file = ?1 AND record > ?2", params![fence.file, left])?;
    failpoint::reach_blocking("walk_back.deleted")?;

    let now = time_text(clock::now());
    let unloaded = (end == WalkEnd::Unloaded).then_some(&now);
    if to > 0 {
        let sql = "UPDATE loadline_files SET records_done = ?2, plan_hash = ?3, complete = 0, completed_time = NULL, \
                   bytes = NULL, sha256 = NULL, updated_time = ?4, \
                   unloaded_time = coalesce(?5, unloaded_time) WHERE file = ?1";
        c.execute(sql, params![fence.file, left, WALKING_BACK, now, unloaded])?;
        return Ok(Walked::Partly);
    }
    let sql = "UPDATE loadline_files SET records_done = 0, plan_hash = ?2, complete = 0, completed_time = NULL, \
               bytes = NULL, sha256 = NULL, checksum_rule = NULL, updated_time = ?3, \
               rows = 0, rejects = 0, checksum = 0, invalid = '{}', target_table = ?4, \
               unloaded_time = coalesce(?5, unloaded_time) WHERE file = ?1";
    c.execute(sql, params![fence.file, fence.plan_hash, now, next.name, unloaded])?;
    Ok(Walked::Wholly)
}

/// Lets files load again whose unload has ended. The new epoch shuts out an unload that still holds an older one.
pub(super) fn readmit(c: &Connection, feed: &str, keys: &[String]) -> Result<u64, Fault> {
    let sql = "UPDATE loadline_files SET unloaded_time = NULL, epoch = epoch + 1, updated_time = ?3 \
               WHERE feed = ?1 AND key_hash IN (SELECT unhex(value) FROM json_each(?2)) \
               AND unloaded_time IS NOT NULL AND records_done = 0";
    Ok(c.execute(sql, params![feed, key_hashes_json(keys), time_text(clock::now())])? as u64)
}
