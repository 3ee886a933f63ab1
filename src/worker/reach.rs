//! Whether what every job needs can be reached: both databases and the source.
//!
//! Invariant: an outage is looked into by one probe at a time, however many workers ask; and while it lasts nobody claims
//! a job, so that it uses no attempts up.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::Etl;
use crate::error::{Error, Result};
use crate::job::backoff;
use crate::source;

/// A database or a source that does not answer for so long counts as out of reach.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long an outage that only work can see, such as a full disk, is believed to last; then a job finds out.
const BELIEVED: Duration = Duration::from_secs(60);

pub(super) struct Reach {
    etl: Arc<Etl>,
    /// When the last probe began, and what it found.
    last: Mutex<Option<(Instant, Option<Error>)>>,
    /// What work met that no probe sees, and when.
    met: std::sync::Mutex<Option<(Instant, Error)>>,
    /// True while an outage lasts.
    closed: watch::Sender<bool>,
}

impl Reach {
    pub fn new(etl: Arc<Etl>) -> Self {
        Self { etl, last: Mutex::new(None), met: std::sync::Mutex::default(), closed: watch::Sender::new(false) }
    }

    /// What is out of reach for every job, if anything, now that work has met this error. Work that breaks off while an
    /// outage lasts has met that, also where it is over by the time that it says so.
    pub async fn outage_behind(&self, error: &Error) -> Option<Error> {
        if error.is_retryable() && *self.closed.borrow() {
            return Some(error.duplicate());
        }
        if error.is_outage() {
            *self.met.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error.duplicate()));
        }
        self.outage().await
    }

    fn met(&self) -> Option<Error> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.as_ref().filter(|(at, _)| at.elapsed() < BELIEVED).map(|(_, error)| error.duplicate())
    }

    /// What is out of reach for every job, if anything. Whoever waits for a probe that began after he asked takes over
    /// what it finds.
    pub async fn outage(&self) -> Option<Error> {
        if let Some(met) = self.met() {
            return Some(met);
        }
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((begun, found)) = last.as_ref()
            && *begun >= asked
        {
            return found.as_ref().map(Error::duplicate);
        }
        let begun = Instant::now();
        let found = match timeout(ANSWER_MAX, self.probe()).await {
            Ok(answer) => answer.err(),
            Err(_) => Some(Error::unavailable("a database or the source does not answer")),
        };
        let answer = found.as_ref().map(Error::duplicate);
        *last = Some((begun, found));
        answer
    }

    async fn probe(&self) -> Result<()> {
        self.etl.warehouse.version().await?;
        source::reachable(&self.etl.source).await?;
        self.etl.store.version().await.map(drop)
    }

    /// Lets nobody through any more until [`Reach::keep`] finds that the outage is over.
    pub fn close(&self, error: &Error) {
        if self.closed.send_if_modified(|closed| !std::mem::replace(closed, true)) {
            let hint = error.hint_text().unwrap_or_default();
            tracing::error!(reason = error.chain(), hint, "out of reach: no job is claimed until it is back");
        }
    }

    /// Returns when there is no outage.
    pub async fn open(&self) {
        // The sender is our own: it can't be gone.
        let _ = self.closed.subscribe().wait_for(|closed| !closed).await;
    }

    /// Opens after every outage, for ever.
    pub async fn keep(&self) {
        let mut closed = self.closed.subscribe();
        while closed.wait_for(|closed| *closed).await.is_ok() {
            let since = Instant::now();
            let mut attempt = 0;
            loop {
                attempt += 1;
                sleep(backoff(attempt, rand::random::<f64>())).await;
                match self.outage().await {
                    None => break,
                    Some(error) => tracing::info!(attempt, reason = error.chain(), "still out of reach"),
                }
            }
            tracing::warn!(seconds = since.elapsed().as_secs(), "back in reach: jobs are claimed again");
            self.closed.send_replace(false);
        }
    }
}
