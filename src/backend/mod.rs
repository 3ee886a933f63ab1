//! The databases behind the two seams, [`crate::job::JobStore`] and [`crate::warehouse::Warehouse`]: the only place
//! that knows a driver.
//!
//! Invariant: the SQL texts differ from backend to backend, their meaning does not. One conformance suite
//! (`tests/it/conformance`) runs on all of them.

pub mod sqlite;

/// Schema version of the metadata database that this binary reads and writes.
pub const METADATA_VERSION: u32 = 3;

/// Schema version of the reporting database that this binary reads and writes.
pub const REPORTING_VERSION: u32 = 2;
