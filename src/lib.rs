//! loadline: hourly CSV files become a trusted table.

pub mod backend;
pub mod clock;
pub mod error;
pub mod feed;
pub mod job;
pub mod progress;
pub mod warehouse;
