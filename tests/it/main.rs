//! The one integration-test binary: every further one would link DataFusion again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on should stop where it is")]

mod arrivals;
mod chaos;
mod codes;
mod conformance;
mod deploy;
mod directed;
mod e2e;
mod hosts;
mod model;
mod mysql;
mod proxy;
mod queue;
mod read_back;
mod readme;
mod rooms;
mod s3;
mod servers;
mod skip;
mod sqlite;
mod test_servers;
mod tls;
mod worker;
