//! Retention: what a scan deletes of what nobody will ask for any more: raw records that did not load, and jobs that
//! were loaded long ago.
//!
//! Invariant: nothing that decides what is loaded is ever deleted: no file record, no ledger row, no watermark, and no
//! job that has not ended well.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::config::RetentionConfig;
use crate::error::Result;
use crate::job::JobStore;
use crate::warehouse::Warehouse;

/// Deleted in one transaction.
const JOBS_AT_A_TIME: usize = 500;
const REJECTS_AT_A_TIME: usize = 5_000;
/// So long one scan deletes jobs, and so long rejects; the next one goes on.
const TIME_MAX: Duration = Duration::from_secs(3);

/// Deletes LOADED jobs that ended before their time; returns how many.
pub async fn prune_jobs(store: &dyn JobStore, settings: &RetentionConfig, now: DateTime<Utc>) -> Result<u64> {
    let Some(kept) = settings.jobs else { return Ok(0) };
    in_batches(JOBS_AT_A_TIME, async |limit| store.prune_jobs(now - kept, limit).await).await
}

/// Deletes rejects of files that were complete before their time; returns how many.
pub async fn prune_rejects(warehouse: &dyn Warehouse, settings: &RetentionConfig, now: DateTime<Utc>) -> Result<u64> {
    let Some(kept) = settings.rejects else { return Ok(0) };
    in_batches(REJECTS_AT_A_TIME, async |limit| warehouse.prune_rejects(now - kept, limit).await).await
}

/// Until nothing is left, or the time is up.
async fn in_batches(limit: usize, delete: impl AsyncFn(usize) -> Result<u64>) -> Result<u64> {
    let begun = Instant::now();
    let mut deleted = 0;
    loop {
        let batch = delete(limit).await?;
        deleted += batch;
        if batch == 0 || begun.elapsed() >= TIME_MAX {
            return Ok(deleted);
        }
    }
}
