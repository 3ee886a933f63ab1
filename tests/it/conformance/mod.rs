//! The meaning that all backends share, as plain async functions over the two traits. Each backend lists those it
//! passes and hands each a fresh database that `migrate` has not seen.
//!
//! SQL in here reads back what was written; it is what every backend understands: unquoted lower-case names.

pub mod audit;
pub mod checksums;
pub mod jobs;
pub mod ledger;
pub mod rows;

use chrono::{DateTime, Utc};
use loadline::job::JobId;
use loadline::warehouse::Taker;

pub use crate::read_back::ReadBack;

/// The first test day, plus seconds.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

/// Who takes files in a test.
pub fn taker(feed: &str, job: JobId, table: &str, plan_hash: &str) -> Taker {
    Taker { feed: feed.to_owned(), job, table: table.to_owned(), plan_hash: plan_hash.to_owned(), reload: false }
}

/// A row that a test expects.
pub fn texts(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}
