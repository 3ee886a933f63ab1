//! The protocol of exactly once as a pure model: no I/O, no clock, no threads, and every interleaving at will.
//!
//! Two databases that know nothing of each other. The [`metadata`] holds jobs and what is known of files; it decides who
//! works on what, and may be lost. The [`reporting`] database holds the rows and, beside them, the ledger; it decides
//! what is loaded. Between them go [`worker`]s, [`scanner`]s and [`person`]s, each a little program whose step is one
//! transaction or one message of the real one. They crash, stand still, lose the answer to a COMMIT that has landed or
//! has not; leases end at any moment; files are overwritten, schemas change, the metadata is lost. [`world`] says what may
//! happen, [`right`] what must hold.
//!
//! What keeps it right, and [`protocol`] leaves out sentence by sentence to see that it is noticed:
//!
//! - A *take* counts the file's epoch up in the ledger; a segment begins only under the newest epoch, with its row locked.
//!   The worker *confirms* its claim behind the take: whoever was superseded in between stops, and whoever takes later
//!   shuts it out.
//! - A segment moves the ledger in the transaction of its rows, from where the worker's stream stands.
//! - Whatever ends a claim names its token. FAILED comes behind a walk back under a confirmed take.
//! - An unload is first said in the metadata, then taken, then looked at again, and stands in the ledger too.
//!
//! What is a person's to end, and the end of a schedule ends: an unload that was cut short, jobs that are FAILED, and files in
//! quarantine. Where the metadata is lost and a file that was loaded in part is overwritten before a job has taken it again,
//! that part stays in the table, incomplete by the ledger, until a person releases the file.
//!
//! [`schedule`] draws random schedules by seed, [`exhaustive`] goes every way of a small world, and [`same`] holds model
//! and code together: the same transactions, at random, on the real databases and on the model, answer by answer.

mod drain;
mod exhaustive;
mod load;
mod metadata;
mod person;
mod power;
mod protocol;
mod reporting;
mod right;
mod same;
mod scanner;
mod schedule;
mod tests;
mod worker;
mod world;

pub const FILES: usize = 3;
/// Most records of a file.
pub const RECORDS_MAX: usize = 3;
pub const VERSIONS_MAX: usize = 4;

/// Of a file at the source, from 1; every overwriting counts it up.
pub type Version = u8;
/// A schema and a way of cleaning, from 1.
pub type Plan = u8;
