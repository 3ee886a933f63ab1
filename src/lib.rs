//! loadline: hourly CSV files become a trusted table.

pub mod cli;
pub mod clock;
pub mod demo;
pub mod error;
pub mod feed;
pub mod job;
pub mod progress;
pub mod warehouse;
