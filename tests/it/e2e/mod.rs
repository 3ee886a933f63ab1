//! The binary as people run it, against folders and databases of its own: what reaches the tables, what is said, and
//! which exit code a script sees.
//!
//! Tests low in the crate hold the parts; these hold that they are wired to what the contract promises.

mod audit;
mod audit_repair;
mod concurrency;
mod demo;
mod demo_chaos;
mod exit_codes;
mod explain;
mod feeds;
mod file_errors;
mod kills;
mod long_files;
mod lost_metadata;
mod outages;
mod output;
mod overwrite;
mod production;
pub mod project;
mod quarantine;
mod real_files;
mod receipt;
mod rejects;
mod retention;
mod same_everywhere;
mod scanning;
mod servers;
mod serving;
mod setup;
mod soak;
mod sql;
mod status;
mod unload;
