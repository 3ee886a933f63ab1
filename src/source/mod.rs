//! From a url to records: listing, pinned reads, decompression, record boundaries, the CSV table.
//!
//! ```text
//! Source --list--> Entry --classify--> ListedFile            (listing.rs)
//! Source --open(key, version)--> bytes --decompress--> bytes  (pinned.rs, decompress.rs; of a bucket: s3/)
//!   --guard--> blocks of whole records, malformed ones set aside   (guard.rs, block.rs, header.rs)
//!   --arrow-csv--> record batches of the table `source`            (table.rs, records.rs)
//! ```
//!
//! Invariant: a file is read as the version that was asked for or not at all, and its records come in order, numbered
//! from 1, none left out. What is wrong with a record goes beside it; what is wrong with a file ends its stream.

mod block;
mod decompress;
mod fingerprint;
mod guard;
mod header;
mod listing;
mod pinned;
mod records;
mod s3;
mod store;
mod table;

pub use block::RAW_BYTES_MAX;
pub use fingerprint::FingerprintCell;
pub use listing::{Classified, Entry, Ignored, Listing};
pub use pinned::{head, probe, reachable};
pub use s3::{Patience, Variables};
pub use store::{FileRef, Source};
pub use table::{STORE_URL, SourceTable, over_file};

#[cfg(test)]
mod tests;
