//! loadline: hourly CSV files become a trusted table.

pub mod clock;
pub mod config;
pub mod error;
pub mod feed;
pub mod job;
pub mod progress;
pub mod warehouse;
