//! The demo's folder: hourly files of made-up loan applications, a config and a schema file.
//!
//! Invariant: the same build makes the same bytes, so that what a first run should come to is known beforehand
//! ([`Planned`]); and only what an earlier demo made is ever deleted.

pub mod chaos;
mod files;
mod generate;
mod loan;

use std::path::Path;

pub use files::{CONFIG_FILE, FIX, FIXED_TOKENS, NULL_TOKENS, SCHEMA_FILE, SOURCE_DIR, UNKNOWN_TOKEN};
pub use loan::{HEADER, MISSING, write_record};

use crate::error::Result;

/// What loading the folder should come to, before the failing file is repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub files: usize,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Records of all files, the failing one included.
    pub records: u64,
    /// What reaches the table: records without rejects and without the failing file.
    pub rows: u64,
    pub rejects: u64,
    /// Ages that don't convert, and so become NULL.
    pub invalid_ages: u64,
    pub failing: Failing,
}

/// The file that fails as a whole until the schema knows [`UNKNOWN_TOKEN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Relative to the source url.
    pub key: String,
    /// All of them become rows once it is repaired.
    pub records: u64,
    /// How many of them hold [`UNKNOWN_TOKEN`].
    pub unknown_tokens: u64,
}

/// Makes the folder: refuses one that holds anything but an earlier demo, which it makes anew.
pub async fn make(dir: &Path, schema_yaml: &str) -> Result<Planned> {
    files::prepare(dir)?;
    files::write_config(dir, files::CONFIG, schema_yaml)?;
    generate::write_files(&dir.join(SOURCE_DIR)).await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn an_earlier_demo_is_made_anew_and_the_rest_of_the_folder_stays() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("deep/demo");
        let first = make(&dir, "first").await.unwrap();
        fs::write(dir.join("metadata.db"), "old").unwrap();
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        fs::write(dir.join(SOURCE_DIR).join("stray.csv"), "old").unwrap();
        assert_eq!(make(&dir, "second").await.unwrap(), first);
        assert!(!dir.join("metadata.db").exists() && !dir.join(SOURCE_DIR).join("stray.csv").exists());
        assert_eq!(fs::read_to_string(dir.join("notes.txt")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(dir.join(SCHEMA_FILE)).unwrap(), "second");
    }

    #[tokio::test]
    async fn a_folder_of_somebody_else_is_refused_untouched() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(SOURCE_DIR)).unwrap();
        let error = make(temp.path(), "").await.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(temp.path().join(SOURCE_DIR).exists() && !temp.path().join(CONFIG_FILE).exists());

        let file = temp.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert_eq!(make(&file, "").await.unwrap_err().exit_code(), 2);
    }
}
