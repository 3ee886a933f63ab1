//! The S3 server of the tests, in this process.

#[path = "../../tests/it/s3/bucket.rs"]
mod bucket;
#[path = "../../tests/it/s3/server.rs"]
pub mod server;
