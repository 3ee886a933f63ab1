//! The scanner against random arrivals: nothing missed, nothing twice.
//!
//! A bucket whose clock is ours gets files in every awkward way: several in one second, late ones with an old modified
//! time, ones dated in the future, rewritten ones. The folder moves, listings break off, scans are cut off at a random
//! await, two run at once. The scanner lists it as it would list S3: in key order, from a start key, with a full listing
//! now and then.
//!
//! One long history on SQLite, and many short ones, each with habits of its own, on every database.

mod bucket;
mod histories;
mod history;
