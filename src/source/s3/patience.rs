//! How long what may pass is waited for.

use std::time::Duration;

use rand::RngExt;

/// Bounds of the retries within one request or one read of a file. The attempts of a job lie above them.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Silence for so long counts as a failure; so does twice as long with hardly a byte, see [`Pace`].
    pub stall: Duration,
    /// So many failures in a row, without a byte between them, are an error.
    pub failures_max: u32,
    /// Longest wait after the first failure; it doubles with each.
    pub backoff: Duration,
    pub backoff_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            failures_max: 6,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// Waits before the next try after `failures` in a row, anywhere up to the longest wait, so that many who failed
    /// together don't come back together. False, at once: there were too many.
    pub(super) async fn wait(&self, failures: u32) -> bool {
        if failures >= self.failures_max {
            return false;
        }
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let longest = doubled.min(self.backoff_max);
        let part = rand::rng().random_range(0.0..=1.0);
        tokio::time::sleep(longest.mul_f64(part)).await;
        true
    }
}

/// Slower than this, in bytes a second, is no reading but a connection that died without saying so.
const SLOWEST: f64 = 1024.0;

/// How fast bytes come, by the time that was spent waiting for them: whoever reads may take his time in between.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// False once two stalls' worth of waiting has brought next to nothing.
    pub fn keeps_up(&mut self, patience: &Patience, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < 2 * patience.stall {
            return true;
        }
        let is_fast = self.bytes as f64 >= SLOWEST * self.waited.as_secs_f64();
        *self = Self::default();
        is_fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_no_pace_and_a_slow_reader_is_no_trickle() {
        let patience = Patience::default();
        let mut pace = Pace::default();
        assert!(
            pace.keeps_up(&patience, Duration::from_secs(29), 1)
                && pace.keeps_up(&patience, Duration::from_secs(29), 1)
        );
        assert!(!pace.keeps_up(&patience, Duration::from_secs(29), 1));
        for _ in 0..100 {
            assert!(pace.keeps_up(&patience, Duration::from_secs(1), 8 * 1024));
        }
    }
}
