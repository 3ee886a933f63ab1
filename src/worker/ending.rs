//! Says in the metadata how a claimed job ended.
//!
//! Invariant: saying it twice is saying it once, because the claim token is gone with the first time. What is never said
//! is lost to nobody: the lease ends, and the next claim finds the files complete in the ledger.

use std::time::{Duration, Instant};

use super::crew::Crew;
use crate::error::Result;
use crate::failpoint;
use crate::job::{Claim, FileOutcome, JobStatus, backoff};

/// How a claim ends.
pub(super) enum Ending {
    Complete(Vec<FileOutcome>),
    Fail(Vec<FileOutcome>, String),
    Postpone { delay: Duration, counted: bool, reason: String },
}

impl Ending {
    fn status(&self) -> JobStatus {
        match self {
            Self::Complete(_) => JobStatus::Loaded,
            Self::Fail(..) => JobStatus::Failed,
            Self::Postpone { .. } => JobStatus::SentForEtl,
        }
    }

    /// Before it is told, and after.
    fn failpoints(&self) -> [&'static str; 2] {
        match self {
            Self::Complete(_) => ["complete.untold", "complete.told"],
            Self::Fail(..) => ["fail.untold", "fail.told"],
            Self::Postpone { .. } => ["postpone.untold", "postpone.told"],
        }
    }
}

/// `false`: the claim was lost. Tries again for a while where the metadata can't be reached.
pub(super) async fn tell(crew: &Crew, claim: &Claim, ending: &Ending) -> Result<bool> {
    let begun = Instant::now();
    let mut failures = 0;
    loop {
        match tell_once(crew, claim, ending).await {
            // The answer to an earlier try may have been lost on its way.
            Ok(false) if failures > 0 => return is_told(crew, claim, ending).await,
            Err(error) if error.is_retryable() && begun.elapsed() < crew.patience => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(job = claim.job.id, error = error.chain(), "trying again to say how the job ended");
                }
                tokio::time::sleep(backoff(failures, rand::random::<f64>())).await;
            }
            told => return told,
        }
    }
}

async fn tell_once(crew: &Crew, claim: &Claim, ending: &Ending) -> Result<bool> {
    let (store, job, token) = (&crew.etl.store, claim.job.id, &claim.token);
    let [untold, told] = ending.failpoints();
    failpoint::reach(untold).await?;
    let held = match ending {
        Ending::Complete(outcomes) => store.complete(job, token, outcomes).await?,
        Ending::Fail(outcomes, reason) => store.fail(job, token, outcomes, reason).await?,
        Ending::Postpone { delay, counted, reason } => store.postpone(job, token, *delay, *counted, reason).await?,
    };
    failpoint::reach(told).await?;
    Ok(held)
}

async fn is_told(crew: &Crew, claim: &Claim, ending: &Ending) -> Result<bool> {
    let job = crew.etl.store.job(claim.job.id).await?;
    Ok(job.is_some_and(|job| job.status == ending.status()))
}
