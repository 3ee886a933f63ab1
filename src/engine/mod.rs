//! The only room that plans: DataFusion sessions, the tables `source` and `clean`, the load plan, ad-hoc SQL.
//!
//! ```text
//! register_job: files --> `source` (text + places) --view--> `clean` (typed + _reject)
//! LoadPlanner:  `source` --one SELECT, planned once a feed--> typed rows, rejects, counts; one partition a file
//! query:        read-only SQL over both
//! ```
//!
//! Invariant: what is stored is decided by SQL alone, over records that the guard numbered; nothing here drops,
//! repeats or reorders a record.

mod clean_sql;
mod errors;
mod load_plan;
mod query;
mod session;

pub use errors::from_datafusion;
pub use load_plan::{CleanBatch, CleanStream, LoadPlan, LoadPlanner};
pub use query::{check_feed, query};
pub use session::{Grouping, JobFiles, register_job};

#[cfg(test)]
mod tests;
