//! S3 as a source: the binary against a real S3 server in this process, which breaks where it is told to.

pub mod bucket;
mod environment;
mod faults;
mod listing;
mod moto;
mod reading;
pub mod server;
pub mod whole_path;
