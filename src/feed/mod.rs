//! A feed: one stream of files that share a format. What it is called, where its files lie, what their columns mean
//! and which table takes them.
//!
//! Invariant: a [`Feed`] has been checked. Everything behind it may rely on names that are plain identifiers, on a
//! layout that yields an hour for every key it accepts, and on types whose limits are known.

mod column;
mod layout;
mod types;

pub use column::{Column, OnInvalid, Schema};
pub use layout::Layout;
pub use types::ColumnType;

use crate::job::OnOverwrite;

/// Raised by hand when the cleaning of an unchanged schema file starts to give other values: a file that is half
/// loaded under the old meaning is then walked back and begun anew.
pub const CLEANING_VERSION: u32 = 2;

/// Longest permitted name of a feed, table or column: MySQL's limit for identifiers.
pub const NAME_LENGTH_MAX: usize = 64;

#[derive(Debug, Clone)]
pub struct Feed {
    /// Permanent: with the key, it is the identity of a file.
    pub name: String,
    /// Relative to the source url: empty, or ending in `/`.
    pub prefix: String,
    pub layout: Layout,
    /// Pattern for the last part of a key.
    pub files: glob::Pattern,
    /// The table of the reporting database.
    pub table: String,
    /// What becomes of a known file that comes with another version.
    pub on_overwrite: OnOverwrite,
    pub schema: Schema,
    /// How far behind the clock what is loaded may be before people should know.
    pub fresh_within: Option<chrono::Duration>,
}

impl Feed {
    /// What a half loaded file was loaded under, as 64 hex digits: the SHA-256 of the normalised schema, the target
    /// table and [`CLEANING_VERSION`]. Comments, the order of YAML keys and spelled-out defaults don't change it.
    pub fn plan_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let text = format!("{CLEANING_VERSION}\n{}\n{}", self.table, self.schema.normalised());
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// True for a name that every backend takes as it is: a letter or `_`, then letters, digits, `_`.
pub fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    starts_well && name.len() <= NAME_LENGTH_MAX && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
