//! The only "now" of the program, so that what depends on time can be seen in one search.

use chrono::{DateTime, Utc};

/// The host's time, UTC. Correctness never rests on it: a lease that ends early or late costs speed only.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
