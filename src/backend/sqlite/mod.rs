//! SQLite, the embedded backend: a first run needs no server.
//!
//! A database is a file. Opening one creates nothing; `migrate` creates the file, its folder and the tables. SQLite
//! has one writer at a time, so every change is a `BEGIN IMMEDIATE` transaction, which waits for its turn before it
//! reads anything: what such a transaction has read is true until it ends. That stands for the row locks that a server
//! would need. Readers have a connection of their own and, in WAL mode, never wait.
//!
//! Invariant: what COMMIT has answered is on the disk (`synchronous=FULL`), and what is dropped before is rolled back.
//! Values that SQLite has no type for are canonical text: decimals, dates, times and 64-bit unsigned integers.

mod audit;
mod checksum;
mod connection;
mod fault;
mod insert;
mod jobs;
mod ledger;
mod migrations;
mod mounts;
mod reports;
mod segment;
mod table;
mod value;
mod warehouse;

pub use jobs::SqliteJobStore;
pub use migrations::{metadata_ddl, reporting_ddl};
pub use warehouse::SqliteWarehouse;
