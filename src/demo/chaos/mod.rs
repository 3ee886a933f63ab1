//! The demo that tries to destroy itself: real processes of this program on a stream of files, killed, frozen and fed
//! with what senders get wrong, beside a naive loader that meets the same faults at the same moments; then both tables
//! are counted.
//!
//! ```text
//! seed --plan--> files and faults --story--> world/ (the folder of files, and the truth of what they hold)
//!                                       \--> processes/ (3 x `run` and a `scan` of loadline's; 3 of the naive loader)
//! when the faults are over: both drain; database --count--> against the truth
//! ```
//!
//! Invariant: nothing is scripted but the plan. What is shown comes from the processes, what is counted from the tables,
//! and both sides are counted by the same code.

mod count;
mod database;
pub mod naive;
mod plan;
mod processes;
mod story;
mod world;

use std::path::{Path, PathBuf};

pub use count::{Harm, Tally};
pub use naive::Share;
pub use plan::{FaultKind, LEASE, WORKERS};
pub use processes::{Shown, State};
pub use story::{Chaos, FaultCounts, LogLine, Outcome, Phase, Picture, Side};
pub use world::FileKind;

use super::files::{self, CONFIG_FILE, SOURCE_DIR};
use crate::error::Result;

const CONFIG: &str = r#"# The config of the chaos demo. Relative paths start at this file's folder.
source: {url: "file:incoming"}
metadata_database: {url: "sqlite:metadata.db"}
reporting_database: {url: "sqlite:reporting.db"}
feeds:
  - name: loan_applications            # its schema: schemas/loan_applications.yaml
    prefix: ""
    layout: "{yyyy}/{mm}/{dd}/{HH}/"
    files: "*.csv"
    on_overwrite: reload               # the newest bytes of a file count
scanner: {frequency: 1s, settle: 1s, max_job_size: 1MiB}
# The shortest lease, so that a freeze outlasts it. More workers die here than in any other life.
etl: {workers: 2, lease: 2s, max_attempts: 1000, max_expiries: 1000}
"#;

/// What lies where.
#[derive(Debug, Clone)]
pub struct Places {
    pub config: PathBuf,
    pub source: PathBuf,
    pub metadata: PathBuf,
    pub reporting: PathBuf,
    /// The naive loader's only database.
    pub naive: PathBuf,
    /// Tells the naive loader that nothing comes any more.
    pub over: PathBuf,
    pub logs: PathBuf,
}

impl Places {
    pub fn below(dir: &Path) -> Self {
        Self {
            config: dir.join(CONFIG_FILE),
            source: dir.join(SOURCE_DIR),
            metadata: dir.join("metadata.db"),
            reporting: dir.join("reporting.db"),
            naive: dir.join(files::NAIVE_FILE),
            over: dir.join(files::OVER_FILE),
            logs: dir.join(files::LOG_DIR),
        }
    }
}

/// Makes the folder, with no files in its source yet: refuses one that holds anything but an earlier demo.
pub fn make(dir: &Path, schema_yaml: &str) -> Result<Places> {
    files::prepare(dir)?;
    files::write_config(dir, CONFIG, schema_yaml)?;
    let places = Places::below(dir);
    files::make_folder(&places.source)?;
    files::make_folder(&places.logs)?;
    Ok(places)
}
