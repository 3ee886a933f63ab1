//! The wish that work ends early, shared by all who work.
//!
//! Invariant: it is only ever asked for once, and never taken back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long running segments may take to end once a stop was asked for.
const GRACE: Duration = Duration::from_secs(30);

/// Clones share one wish. The default is one that nobody has asked for yet.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl Stop {
    /// `why` goes behind "stopped by". The first one stays.
    pub fn ask(&self, why: &str) {
        self.why.get_or_init(|| why.to_owned());
        self.asked.cancel();
    }

    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Returns once it is asked for, at once where it was.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Returns when whoever has not ended by now is to be dropped.
    pub(super) async fn grace_over(&self) {
        self.asked().await;
        tokio::time::sleep(GRACE).await;
    }

    /// Such as `stopped by SIGTERM`.
    pub(super) fn reason(&self) -> String {
        format!("stopped by {}", self.why.get().map_or("a person", String::as_str))
    }
}
