//! The config file and the schema files it names: read, checked and made into one [`Config`] before anything runs.
//!
//! Invariant: a [`Config`] has been checked as far as that is possible offline. Its paths and urls are absolute, its
//! feeds can't load the same file into one table twice, and what is wrong in a file was refused with the file, the
//! line, what is allowed and the nearest name. This is the only place that reads YAML.

mod check;
mod document;
mod json_schema;
mod mysql;
mod option_file;
mod raw;
mod schema_file;
mod secret;
mod show;
mod suggest;
#[cfg(test)]
mod tests;
mod units;
mod urls;

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::{JobLimits, JobOrder};

pub use json_schema::{config_json_schema, schema_file_json_schema};
pub use mysql::{MysqlDatabase, Password, Tls};
pub use secret::Secret;
pub use suggest::nearest;
pub use urls::mask;

#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, as it was named.
    pub path: PathBuf,
    pub source: SourceConfig,
    pub metadata_database: Database,
    pub reporting_database: Database,
    /// At least one; names are unique.
    pub feeds: Vec<Feed>,
    pub scanner: ScannerConfig,
    pub etl: EtlConfig,
    pub retention: RetentionConfig,
    /// Where the schema of each feed was read from, absolute.
    schema_files: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// `file://`, absolute, ending in `/`.
    pub url: url::Url,
}

/// Which database, and where. Printed as its url, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    Sqlite {
        /// Absolute; it need not exist yet.
        path: PathBuf,
    },
    Mysql(MysqlDatabase),
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => f.write_str(&mask(&urls::sqlite_url(path))),
            Self::Mysql(database) => database.fmt(f),
        }
    }
}

#[derive(Debug, Clone)]
pub struct ScannerConfig {
    /// How often a scanner that keeps running looks for files.
    pub frequency: std::time::Duration,
    /// Folders before it are passed over.
    pub start_from: Option<DateTime<Utc>>,
    /// How far before the newest file of the last job a listing begins.
    pub lookback: chrono::Duration,
    /// How often everything is listed.
    pub full_every: chrono::Duration,
    /// Files younger than this are left for the next scan; `None`: as the source needs it.
    pub settle: Option<chrono::Duration>,
    pub limits: JobLimits,
}

#[derive(Debug, Clone)]
pub struct EtlConfig {
    /// Jobs that are loaded at the same time, 1 or more.
    pub workers: usize,
    /// Files of one job that are loaded side by side, 1 or more.
    pub connections: usize,
    /// Claims of a job before it is FAILED, 1 or more.
    pub max_attempts: u32,
    /// Workers that may die over a job before it is FAILED, 1 or more.
    pub max_expiries: u32,
    /// How long a claim holds without a sign of life.
    pub lease: std::time::Duration,
    pub order: JobOrder,
    /// Part of a file's records that may be rejects, 0 to 1.
    pub max_reject_ratio: f64,
    /// Part of a column's values in a file that may not convert, 0 to 1.
    pub max_invalid_ratio: f64,
}

/// How long what is done with is kept; `None`: for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Rejects, from when their file was complete.
    pub rejects: Option<chrono::Duration>,
    /// LOADED jobs, from when they ended.
    pub jobs: Option<chrono::Duration>,
}

impl Config {
    /// Reads the config and the schema files it names, and checks all that can be checked offline.
    pub fn load(path: &Path) -> Result<Self> {
        check::load(path, &|name| std::env::var(name).ok())
    }

    /// The feed of that name; otherwise an error with the nearest one.
    pub fn feed(&self, name: &str) -> Result<&Feed> {
        self.feeds.iter().find(|feed| feed.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.feeds.iter().map(|feed| feed.name.as_str()).collect();
            let suggestion = suggest::suggestion(name, &names);
            Error::config(format!("no feed `{}` in {}{suggestion}", suggest::shown(name), self.path.display()))
        })
    }

    /// Every key with the value in use, as YAML that can be read again from anywhere; secrets are masked.
    pub fn effective_yaml(&self) -> String {
        show::effective_yaml(self)
    }
}
