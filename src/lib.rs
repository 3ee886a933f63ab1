//! loadline: hourly CSV files become a trusted table.

pub mod clock;
pub mod engine;
pub mod error;
pub mod feed;
pub mod job;
pub mod progress;
pub mod scanner;
pub mod source;
pub mod warehouse;
pub mod worker;
