//! The worker's part: from SENT_FOR_ETL over PROCESSING to an end.
//!
//! A claim takes the first row of an index that nobody else is taking; it neither waits for another claim nor locks
//! what it passes. Leases and waits are measured by the database's clock, which all workers share.
//!
//! Invariant: whatever leaves or prolongs PROCESSING names job and claim token in its WHERE; no row, no change.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use mysql_async::Value;

use super::given::{GIVEN_MAX, given, value_if_any};
use super::rows::{BY_ID, OF_JOB, fitting, shapes, sum_up};
use super::{people, rows};
use crate::backend::mysql::connection::Session;
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::field;
use crate::error::Error;
use crate::failpoint;
use crate::job::{Claim, ClaimRequest, ClaimToken, FileOutcome, FileState, JobId, JobOrder};

/// A `run_after` that has passed by every clock, where a job need not wait.
pub(super) const AT_ONCE: &str = "'1970-01-01 00:00:00'";

/// Jobs that one statement gives back: it holds locks on all of them.
const RESCUED_MAX: usize = 100;

/// Longest wait that a duration may name: keeps every time within four digits of a year.
const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

fn micros(wait: Duration) -> u64 {
    wait.min(WAIT_MAX).as_micros() as u64
}

pub(super) async fn owners(session: &mut Session) -> Result<Vec<String>, Fault> {
    let sql = "SELECT DISTINCT lease_owner FROM scanner_jobs WHERE status = 'PROCESSING' AND lease_owner IS NOT NULL";
    session.rows(sql, ()).await?.iter_mut().map(|row| field(row, "lease_owner")).collect()
}

pub(super) async fn rescue_expired(session: &mut Session) -> Result<u64, Fault> {
    give_back(session, "lease_until < NOW(6)", &[]).await
}

pub(super) async fn rescue_of(session: &mut Session, dead: &str) -> Result<u64, Fault> {
    give_back(session, "lease_owner = ?", &[dead]).await
}

/// Looks without a lock and changes by id: an UPDATE over the index would lock, for a moment, the row behind the last
/// expired one too, which waits for a worker, and a claim at that moment would pass it by and find nothing.
async fn give_back(session: &mut Session, which: &str, params: &[&str]) -> Result<u64, Fault> {
    let params = || params.iter().map(Value::from).collect::<Vec<_>>();
    let sql = format!(
        "SELECT id FROM scanner_jobs FORCE INDEX (scanner_jobs_lease) WHERE status = 'PROCESSING' AND {which} \
         ORDER BY lease_until LIMIT {RESCUED_MAX}"
    );
    let rows = session.rows(&sql, params()).await?;
    let mut rescued = 0;
    for mut row in rows {
        let id: JobId = field(&mut row, "id")?;
        let sql = format!(
            "UPDATE scanner_jobs {BY_ID} SET status = 'SENT_FOR_ETL', attempts = GREATEST(attempts, 1) - 1, \
             expiries = expiries + 1, claim_token = NULL, lease_owner = NULL, lease_until = NULL, \
             modified_time = NOW(6), run_after = {AT_ONCE} WHERE id = ? AND status = 'PROCESSING' AND {which}"
        );
        let params = std::iter::once(Value::from(id)).chain(params()).collect::<Vec<_>>();
        rescued += session.execute(&sql, params).await?;
    }
    Ok(rescued)
}

/// The statement that picks a job, and locks it.
pub(super) fn next_sql(order: JobOrder, of_feed: bool) -> String {
    let (index, feed) = if of_feed { ("scanner_jobs_claim_feed", " AND feed = ?") } else { ("scanner_jobs_claim", "") };
    let order = match order {
        JobOrder::Oldest => "latest_file_modified_time, id",
        JobOrder::Newest => "latest_file_modified_time DESC, id DESC",
    };
    format!(
        "SELECT id FROM scanner_jobs FORCE INDEX ({index}) WHERE status = 'SENT_FOR_ETL'{feed} \
         AND run_after <= NOW(6) ORDER BY {order} LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
}

pub(super) async fn claim(session: &mut Session, request: &ClaimRequest) -> Result<Option<Claim>, Fault> {
    let sql = next_sql(request.order, request.feed.is_some());
    let feed: Vec<Value> = request.feed.iter().map(Value::from).collect();
    let Some(mut next) = session.first(&sql, feed).await? else { return Ok(None) };
    let id: JobId = field(&mut next, "id")?;

    let token = ClaimToken::random();
    let sql = format!(
        "UPDATE scanner_jobs {BY_ID} SET status = 'PROCESSING', attempts = attempts + 1, claim_token = ?, \
         lease_owner = ?, lease_until = NOW(6) + INTERVAL ? MICROSECOND, \
         started_time = COALESCE(started_time, NOW(6)), modified_time = NOW(6) \
         WHERE id = ? AND status = 'SENT_FOR_ETL'"
    );
    let params = (token.0.as_str(), request.owner.as_str(), micros(request.lease), id);
    if session.execute(&sql, params).await? != 1 {
        return Err(Error::internal("a job changed under the lock of its claim").into());
    }
    let job = people::job(session, id).await?;
    let job = job.ok_or_else(|| Error::internal("a job vanished while it was claimed"))?;
    let files = people::files_of(session, id).await?;
    failpoint::reach("claim.marked").await?;
    Ok(Some(Claim { job, token, files }))
}

pub(super) async fn confirm(
    session: &mut Session,
    job: JobId,
    token: &ClaimToken,
    lease: Duration,
) -> Result<bool, Fault> {
    let sql = format!(
        "UPDATE scanner_jobs {BY_ID} SET lease_until = NOW(6) + INTERVAL ? MICROSECOND, modified_time = NOW(6) \
         WHERE id = ? AND status = 'PROCESSING' AND claim_token = ?"
    );
    Ok(session.execute(&sql, (micros(lease), job, token.0.as_str())).await? == 1)
}

pub(super) async fn postpone(
    session: &mut Session,
    job: JobId,
    token: &ClaimToken,
    delay: Duration,
    counted: bool,
    reason: &str,
) -> Result<bool, Fault> {
    let attempts = if counted { "attempts" } else { "GREATEST(attempts, 1) - 1" };
    let (run_after, wait) = match delay.is_zero() {
        true => (AT_ONCE, None),
        false => ("NOW(6) + INTERVAL ? MICROSECOND", Some(micros(delay))),
    };
    let sql = format!(
        "UPDATE scanner_jobs {BY_ID} SET status = 'SENT_FOR_ETL', attempts = {attempts}, \
         run_after = {run_after}, failure_msg = ?, modified_time = NOW(6), claim_token = NULL, \
         lease_owner = NULL, lease_until = NULL WHERE id = ? AND status = 'PROCESSING' AND claim_token = ?"
    );
    let wait = wait.into_iter().map(Value::from);
    let params: Vec<Value> = wait.chain([fitting(reason).into(), job.into(), token.0.as_str().into()]).collect();
    Ok(session.execute(&sql, params).await? == 1)
}

/// FAILED with a reason, LOADED without.
pub(super) async fn end(
    session: &mut Session,
    job: JobId,
    token: &ClaimToken,
    outcomes: &[FileOutcome],
    reason: Option<&str>,
) -> Result<bool, Fault> {
    let status = if reason.is_some() { "FAILED" } else { "LOADED" };
    let sql = format!(
        "UPDATE scanner_jobs {BY_ID} SET status = ?, failure_msg = ?, finished_time = NOW(6), modified_time = NOW(6), \
         claim_token = NULL, lease_owner = NULL, lease_until = NULL \
         WHERE id = ? AND status = 'PROCESSING' AND claim_token = ?"
    );
    if session.execute(&sql, (status, reason.map(fitting), job, token.0.as_str())).await? != 1 {
        return Ok(false);
    }
    failpoint::reach("end.marked").await?;
    record_outcomes(session, job, outcomes).await?;
    // Files that an earlier attempt has loaded count too.
    sum_up(session, &BTreeSet::from([job])).await?;
    Ok(true)
}

/// What stands at a file of the job, under its lock.
struct Standing {
    state: FileState,
    error: Option<String>,
}

async fn lock_files(session: &mut Session, job: JobId) -> Result<HashMap<i64, Standing>, Fault> {
    let sql = format!("SELECT id, state, error FROM scanner_files {OF_JOB} WHERE job_id = ? ORDER BY id FOR UPDATE");
    let standing = |mut row| {
        let row = &mut row;
        Ok((field(row, "id")?, Standing { state: rows::state(row)?, error: field(row, "error")? }))
    };
    session.rows(&sql, (job,)).await?.into_iter().map(standing).collect()
}

/// A file that the scanner has put into quarantine meanwhile stays there, with the time at which it was loaded; where
/// nothing of it is loaded because a person has unloaded it, that comes first.
async fn record_outcomes(session: &mut Session, job: JobId, outcomes: &[FileOutcome]) -> Result<(), Fault> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let standing = lock_files(session, job).await?;
    let columns = [
        ("id", "SIGNED"),
        ("state", "CHAR(16)"),
        ("rows_loaded", "UNSIGNED"),
        ("rows_rejected", "UNSIGNED"),
        ("error", "CHAR"),
        ("is_loaded", "UNSIGNED"),
    ];
    for outcomes in shapes(outcomes, GIVEN_MAX) {
        let sql = format!(
            "UPDATE {} STRAIGHT_JOIN scanner_files f {BY_ID} ON f.id = given.id SET f.state = given.state, \
             f.rows_loaded = given.rows_loaded, f.rows_rejected = given.rows_rejected, f.error = given.error, \
             f.loaded_time = IF(given.is_loaded, NOW(6), f.loaded_time), f.updated_time = NOW(6)",
            given(&columns, outcomes.len())
        );
        let mut params = Vec::with_capacity(outcomes.len() * columns.len());
        for FileOutcome { id, state, rows_loaded, rows_rejected, error } in outcomes {
            let stood = standing.get(id);
            let stood = stood.ok_or_else(|| Error::internal(format!("file {id} is not of job {job}")))?;
            let stays = stood.state == FileState::Quarantined && *state != FileState::Unloaded;
            let (is, error) = if stays { (stood.state, &stood.error) } else { (*state, error) };
            let is_loaded = match state {
                FileState::Loaded => true,
                FileState::Quarantined => rows_loaded.is_some(),
                _ => false,
            };
            params.extend([Value::from(id), is.as_str().into(), value_if_any(*rows_loaded)]);
            params.extend([
                value_if_any(*rows_rejected),
                value_if_any(error.as_deref().map(fitting)),
                is_loaded.into(),
            ]);
        }
        if session.execute(&sql, params).await? != outcomes.len() as u64 {
            return Err(Error::internal(format!("the files of job {job} were not all marked")).into());
        }
    }
    Ok(())
}
