//! loadline: hourly CSV files become a trusted table.
//!
//! ```text
//! source/ --list--> scanner --plan--> job/ (metadata database) --claim--> worker/
//!   worker/: for each file  source/ bytes -> records -> engine/ one SELECT -> typed rows | rejects
//!            -> warehouse/ one segment = rows + rejects + ledger in one transaction (reporting database)
//! ```
//!
//! `cli` and `main` choose a `backend`; nothing else knows that there is more than one. Each room's module says what
//! it holds and the one thing that must stay true there.

pub mod auditor;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod engine;
pub mod error;
pub mod failpoint;
pub mod feed;
pub mod fingerprint;
pub mod job;
pub mod progress;
pub mod receipt;
pub mod retention;
pub mod scanner;
pub mod source;
pub mod unloader;
pub mod warehouse;
pub mod worker;
