//! The demo's folder and its config.
//!
//! Invariant: a folder is taken over only when it is new, empty or bears [`MARKER`], which is the first thing written
//! into it; so an interrupted demo can be run again, and nobody's own folder is emptied.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

pub const CONFIG_FILE: &str = "config.yaml";
pub const SCHEMA_FILE: &str = "schemas/loan_applications.yaml";
pub const SOURCE_DIR: &str = "incoming";

/// Of the chaos demo.
pub(super) const NAIVE_FILE: &str = "naive.db";
pub(super) const OVER_FILE: &str = "faults-are-over";
pub(super) const LOG_DIR: &str = "logs";

/// What the vendor of the failing file writes for a missing value.
pub const UNKNOWN_TOKEN: &str = "n/a";

/// The null tokens as the shipped schema file writes them, and after the repair.
pub const NULL_TOKENS: &str = r#"[NA, ""]"#;
pub const FIXED_TOKENS: &str = r#"[NA, "n/a", ""]"#;

/// The repair as a sed script: from [`NULL_TOKENS`] to [`FIXED_TOKENS`].
pub const FIX: &str = r#"s/\[NA, ""\]/[NA, "n\/a", ""]/"#;

const MARKER: &str = ".loadline-demo";
const MARKER_TEXT: &str = "Made by `loadline demo`, which may empty this folder and make it anew.\n";

/// All that a demo makes. Anything else in the folder is left alone.
const OWN: [&str; 14] = [
    SOURCE_DIR,
    "schemas",
    LOG_DIR,
    CONFIG_FILE,
    OVER_FILE,
    NAIVE_FILE,
    "naive.db-wal",
    "naive.db-shm",
    "metadata.db",
    "metadata.db-wal",
    "metadata.db-shm",
    "reporting.db",
    "reporting.db-wal",
    "reporting.db-shm",
];

pub(super) const CONFIG: &str = r#"# The config of the demo. Relative paths start at this file's folder.
source: {url: "file:incoming"}
metadata_database: {url: "sqlite:metadata.db"}
reporting_database: {url: "sqlite:reporting.db"}
feeds:
  - name: loan_applications            # its schema: schemas/loan_applications.yaml
    prefix: ""
    layout: "{yyyy}/{mm}/{dd}/{HH}/"
    files: "*.csv*"
# Small jobs, so that there are several. `loadline config` prints all settings with their defaults.
scanner: {max_job_size: 1100KiB}
"#;

/// Makes `dir` an empty demo folder, or says why it can't be one.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    let shown = dir.display();
    let failed = |error: io::Error| Error::config(format!("can't prepare the demo's folder {shown}")).caused_by(error);
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() && !dir.join(MARKER).is_file() {
                return Err(Error::config(format!("{shown} is not empty, and not the folder of an earlier demo"))
                    .hint("name a new folder with `--dir DIR`"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir).map_err(failed)?,
        Err(error) => return Err(failed(error).hint("name a new folder with `--dir DIR`")),
    }
    fs::write(dir.join(MARKER), MARKER_TEXT).map_err(failed)?;
    OWN.into_iter().try_for_each(|name| remove(&dir.join(name))).map_err(failed)
}

/// Removes a file or a folder. A link is removed itself, not what it leads to.
fn remove(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Writes the config and the schema file.
pub(super) fn write_config(dir: &Path, config: &str, schema_yaml: &str) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| Error::config(format!("can't write {}", path.display())).caused_by(error))
    };
    write(CONFIG_FILE, config)?;
    write(SCHEMA_FILE, schema_yaml)
}

pub(super) fn make_folder(folder: &Path) -> Result<()> {
    let made = fs::create_dir_all(folder);
    made.map_err(|error| Error::config(format!("can't make {}", folder.display())).caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_yaml_with_relative_places() {
        let config: serde_yaml::Value = serde_yaml::from_str(CONFIG).unwrap();
        assert_eq!(config["source"]["url"].as_str(), Some("file:incoming"));
        assert_eq!(config["feeds"][0]["layout"].as_str(), Some("{yyyy}/{mm}/{dd}/{HH}/"));
    }

    #[test]
    fn sed_makes_of_the_one_what_the_other_says() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("schema.yaml");
        fs::write(&path, format!("null_tokens: {NULL_TOKENS} # missing\n")).unwrap();
        let status = std::process::Command::new("sed").args(["-i.bak", FIX]).arg(&path).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("null_tokens: {FIXED_TOKENS} # missing\n"));
    }
}
