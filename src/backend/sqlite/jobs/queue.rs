//! The worker's part: from SENT_FOR_ETL over PROCESSING to an end.
//!
//! Invariant: whatever leaves or prolongs PROCESSING names job and claim token in its WHERE; no row, no change.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{people, rows};
use crate::backend::sqlite::fault::Fault;
use crate::backend::sqlite::value::{Count, after, at_once, time_text};
use crate::clock;
use crate::error::Error;
use crate::failpoint;
use crate::job::{Claim, ClaimRequest, ClaimToken, FileOutcome, JobId, JobOrder};

/// Jobs that one call of `rescue` gives back: a transaction has a bound.
const RESCUED_MAX: usize = 100;

pub(super) fn owners(c: &Connection) -> Result<Vec<String>, Fault> {
    let sql = "SELECT DISTINCT lease_owner FROM scanner_jobs WHERE status = 'PROCESSING' AND lease_owner IS NOT NULL";
    c.prepare_cached(sql)?.query_and_then([], |row| Ok(row.get(0)?))?.collect()
}

pub(super) fn rescue(c: &Connection, dead: &[String]) -> Result<u64, Fault> {
    let give_back = |which: &str| {
        format!(
            "UPDATE scanner_jobs SET status = 'SENT_FOR_ETL', attempts = max(attempts - 1, 0), \
             expiries = expiries + 1, claim_token = NULL, lease_owner = NULL, lease_until = NULL, run_after = ?2, \
             modified_time = ?1 \
             WHERE id IN (SELECT id FROM scanner_jobs WHERE status = 'PROCESSING' AND {which} ORDER BY id LIMIT {RESCUED_MAX})"
        )
    };
    let (now, at_once) = (time_text(clock::now()), at_once());
    let mut rescued = c.prepare_cached(&give_back("lease_until < ?1"))?.execute([&now, &at_once])?;
    for owner in dead {
        rescued += c.prepare_cached(&give_back("lease_owner = ?3"))?.execute([&now, &at_once, owner])?;
    }
    Ok(rescued as u64)
}

pub(super) fn claim(c: &Connection, request: &ClaimRequest) -> Result<Option<Claim>, Fault> {
    let now = clock::now();
    let order = match request.order {
        JobOrder::Oldest => "latest_file_modified_time, id",
        JobOrder::Newest => "latest_file_modified_time DESC, id DESC",
    };
    let next = format!(
        "SELECT id FROM scanner_jobs WHERE status = 'SENT_FOR_ETL' AND run_after <= ?1 AND (?2 IS NULL OR feed = ?2) \
         ORDER BY {order} LIMIT 1"
    );
    let mut next = c.prepare_cached(&next)?;
    let next: Option<JobId> = next.query_row(params![time_text(now), request.feed], |row| row.get(0)).optional()?;
    let Some(id) = next else { return Ok(None) };

    let token = ClaimToken::random();
    let sql = "UPDATE scanner_jobs SET status = 'PROCESSING', attempts = attempts + 1, claim_token = ?2, \
               lease_owner = ?3, lease_until = ?4, started_time = coalesce(started_time, ?5), modified_time = ?5 \
               WHERE id = ?1 AND status = 'SENT_FOR_ETL'";
    let until = time_text(after(now, request.lease));
    c.execute(sql, params![id, token.0, request.owner, until, time_text(now)])?;
    let job = people::job(c, id)?.ok_or_else(|| Error::internal("a job vanished while it was claimed"))?;
    let files = people::files_of(c, id)?;
    failpoint::reach_blocking("claim.marked")?;
    Ok(Some(Claim { job, token, files }))
}

pub(super) fn confirm(c: &Connection, job: JobId, token: &ClaimToken, lease: Duration) -> Result<bool, Fault> {
    let now = clock::now();
    let sql = "UPDATE scanner_jobs SET lease_until = ?3, modified_time = ?4 \
               WHERE id = ?1 AND status = 'PROCESSING' AND claim_token = ?2";
    Ok(c.execute(sql, params![job, token.0, time_text(after(now, lease)), time_text(now)])? == 1)
}

pub(super) fn postpone(
    c: &Connection,
    job: JobId,
    token: &ClaimToken,
    delay: Duration,
    counted: bool,
    reason: &str,
) -> Result<bool, Fault> {
    let now = clock::now();
    let run_after = if delay.is_zero() { at_once() } else { time_text(after(now, delay)) };
    let sql = "UPDATE scanner_jobs SET status = 'SENT_FOR_ETL', attempts = attempts - ?6, run_after = ?3, failure_msg = ?4, modified_time = ?5, \
               claim_token = NULL, lease_owner = NULL, lease_until = NULL \
               WHERE id = ?1 AND status = 'PROCESSING' AND claim_token = ?2";
    Ok(c.execute(sql, params![job, token.0, run_after, reason, time_text(now), !counted])? == 1)
}

pub(super) fn complete(
    c: &Connection,
    job: JobId,
    token: &ClaimToken,
    outcomes: &[FileOutcome],
) -> Result<bool, Fault> {
    end(c, job, token, outcomes, None)
}

pub(super) fn fail(
    c: &Connection,
    job: JobId,
    token: &ClaimToken,
    outcomes: &[FileOutcome],
    reason: &str,
) -> Result<bool, Fault> {
    end(c, job, token, outcomes, Some(reason))
}

/// FAILED with a reason, LOADED without.
fn end(
    c: &Connection,
    job: JobId,
    token: &ClaimToken,
    outcomes: &[FileOutcome],
    reason: Option<&str>,
) -> Result<bool, Fault> {
    let now = time_text(clock::now());
    let status = if reason.is_some() { "FAILED" } else { "LOADED" };
    let sql = "UPDATE scanner_jobs SET status = ?3, failure_msg = ?4, finished_time = ?5, modified_time = ?5, \
               claim_token = NULL, lease_owner = NULL, lease_until = NULL \
               WHERE id = ?1 AND status = 'PROCESSING' AND claim_token = ?2";
    if c.execute(sql, params![job, token.0, status, reason, now])? != 1 {
        return Ok(false);
    }
    failpoint::reach_blocking("end.marked")?;
    record_outcomes(c, job, outcomes, &now)?;
    // Files that an earlier attempt has loaded count too.
    rows::sum_up(c, [job])?;
    Ok(true)
}

/// A file that the scanner has put into quarantine meanwhile stays there, with the time at which it was loaded; where
/// nothing of it is loaded because a person has unloaded it, that comes first.
fn record_outcomes(c: &Connection, job: JobId, outcomes: &[FileOutcome], now: &str) -> Result<(), Fault> {
    let mut update = c.prepare_cached(
        "UPDATE scanner_files SET rows_loaded = ?4, rows_rejected = ?5, updated_time = ?7, \
         state = CASE WHEN state = 'QUARANTINED' AND ?3 <> 'UNLOADED' THEN state ELSE ?3 END, \
         error = CASE WHEN state = 'QUARANTINED' AND ?3 <> 'UNLOADED' THEN error ELSE ?6 END, \
         loaded_time = CASE WHEN ?3 = 'LOADED' OR (?3 = 'QUARANTINED' AND ?4 IS NOT NULL) THEN ?7 ELSE loaded_time END \
         WHERE id = ?1 AND job_id = ?2",
    )?;
    for outcome in outcomes {
        let FileOutcome { id, state, rows_loaded, rows_rejected, error } = outcome;
        let (loaded, rejected) = (rows_loaded.map(Count), rows_rejected.map(Count));
        let updated = update.execute(params![id, job, state.as_str(), loaded, rejected, error, now])?;
        if updated != 1 {
            return Err(Error::internal(format!("file {id} is not of job {job}")).into());
        }
    }
    Ok(())
}
