//! `config.yaml` as it stands in the file: every key, its default, and what it means to the reader of the JSON Schema.
//!
//! Nothing is checked here but names of keys and kinds of values; [`super::check`] makes a [`super::Config`] of it.
//! A text is an `Option`, so that a key without a value can be told from the text `null`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::{JobOrder, OnOverwrite};

/// Where hourly files come from, how they become jobs, and the databases that they are loaded into.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "loadline config")]
pub(super) struct RawConfig {
    pub source: RawSource,
    /// The queue of jobs and the register of files.
    pub metadata_database: RawDatabase,
    /// The tables that files are loaded into, with the ledger and the rejects beside them.
    pub reporting_database: RawDatabase,
    /// The streams of files; at least one.
    #[schemars(length(min = 1))]
    pub feeds: Vec<RawFeed>,
    #[serde(default)]
    pub scanner: RawScanner,
    #[serde(default)]
    pub etl: RawEtl,
    #[serde(default)]
    pub retention: RawRetention,
}

/// Where the files are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    /// `file:///folder`, or `file://./folder` relative to this file. `${ENV}` is filled in.
    #[schemars(with = "String")]
    pub url: Option<String>,
}

/// A database of loadline.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    /// `mysql://user@host:3306/database` or `mysql://user@localhost/database?socket=/path`, `sqlite:///folder/file.db`
    /// or `sqlite://file.db` relative to this file. `${ENV}` is filled in.
    #[schemars(with = "String")]
    pub url: Option<String>,
    /// A file whose first line is the password, relative to this file; SQLite has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// Whether the connection is encrypted and the server's certificate verified. Default: verified, but not on a
    /// socket or to this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawTls>,
    /// Certificates of the authorities that are trusted, PEM, relative to this file. Default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<String>,
    /// The certificate of this client, PEM, relative to this file, for servers that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_cert_file: Option<String>,
    /// The key of that certificate, PEM, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<String>,
}

impl RawDatabase {
    pub fn of(url: String) -> Self {
        let (password_file, tls) = (None, None);
        let (tls_ca_file, tls_cert_file, tls_key_file) = (None, None, None);
        Self { url: Some(url), password_file, tls, tls_ca_file, tls_cert_file, tls_key_file }
    }

    /// The keys that are written beside the url.
    pub fn written(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("password_file", self.password_file.is_some()),
            ("tls", self.tls.is_some()),
            ("tls_ca_file", self.tls_ca_file.is_some()),
            ("tls_cert_file", self.tls_cert_file.is_some()),
            ("tls_key_file", self.tls_key_file.is_some()),
        ];
        keys.into_iter().filter_map(|(key, written)| written.then_some(key))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawTls {
    Verified,
    Disabled,
}

/// One stream of files that share a format.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFeed {
    /// Permanent: with a file's key it is the file's identity. Letters, digits and `_`.
    #[schemars(with = "String")]
    pub name: Option<String>,
    /// The folder of the feed below the source's url.
    #[serde(default = "RawFeed::prefix")]
    #[schemars(with = "String")]
    pub prefix: Option<String>,
    /// The folders below the prefix, of {yyyy}, {mm}, {dd}, {HH} and fixed text, in UTC. The finest field decides
    /// whether a file belongs to an hour or to a day.
    #[serde(default = "RawFeed::layout")]
    #[schemars(with = "String")]
    pub layout: Option<String>,
    /// Pattern for the names of the files: `*`, `?` and `[...]`. Names that end in `.gz` are decompressed.
    #[serde(default = "RawFeed::files")]
    #[schemars(with = "String")]
    pub files: Option<String>,
    /// The schema file, relative to this file. Default: schemas/NAME.yaml.
    #[serde(default)]
    pub schema: Option<String>,
    /// The table that takes the rows. Default: the feed's name. Letters, digits and `_`; not `loadline_...` or
    /// `scanner_...`.
    #[serde(default)]
    pub table: Option<String>,
    /// What a scan does with a known file that comes with other bytes. `quarantine`: sets it aside for a person; rows of
    /// the old bytes stay. `reload`: its new bytes take the place of the old ones. `ignore`: keeps what was loaded.
    #[serde(default)]
    pub on_overwrite: OnOverwrite,
    /// `status` calls the feed stale when the newest hour that is loaded ended longer ago than this, or a file has waited
    /// longer than this; null: never.
    #[serde(default)]
    pub fresh_within: Option<String>,
}

impl RawFeed {
    fn prefix() -> Option<String> {
        Some(String::new())
    }

    fn layout() -> Option<String> {
        Some("{yyyy}/{mm}/{dd}/{HH}/".to_owned())
    }

    fn files() -> Option<String> {
        Some("*.csv*".to_owned())
    }
}

/// How new files are found and grouped into jobs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawScanner {
    /// How often a scanner that keeps running looks for files.
    #[schemars(with = "String")]
    pub frequency: Option<String>,
    /// Folders of hours or days before this time are passed over, such as 2026-01-31T00:00:00Z; null: none is.
    pub start_from: Option<String>,
    /// How far before the newest file of the last job a listing begins, so that late files are seen.
    #[schemars(with = "String")]
    pub lookback: Option<String>,
    /// How often everything is listed, however old. `file://` always is.
    #[schemars(with = "String")]
    pub full_every: Option<String>,
    /// Files younger than this are left for the next scan, as they may still be written; null: 10s on `file://`.
    pub settle: Option<String>,
    /// A job holds at most this many bytes; one larger file is a job of its own.
    #[schemars(with = "String")]
    pub max_job_size: Option<String>,
    /// A job holds at most this many files.
    #[schemars(range(min = 1, max = super::check::JOB_FILES_MAX))]
    pub max_job_files: u64,
    /// How long a job that is not full waits for more files, from when its oldest file was found.
    #[schemars(with = "String")]
    pub max_wait: Option<String>,
}

impl Default for RawScanner {
    fn default() -> Self {
        let some = |text: &str| Some(text.to_owned());
        Self {
            frequency: some("1h"),
            start_from: None,
            lookback: some("72h"),
            full_every: some("24h"),
            settle: None,
            max_job_size: some("256MiB"),
            max_job_files: 1000,
            max_wait: some("0s"),
        }
    }
}

/// How jobs are loaded.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEtl {
    /// Jobs that are loaded at the same time.
    #[schemars(range(min = 1, max = super::check::WORKERS_MAX))]
    pub workers: u64,
    /// Files of one job that are loaded side by side, each over a connection of its own; null: as many as there are
    /// cores, 2 to 8.
    #[schemars(range(min = 1, max = super::check::CONNECTIONS_MAX))]
    pub connections: Option<u64>,
    /// How often a job is tried before it is FAILED, where trying again may help.
    #[schemars(range(min = 1, max = super::check::ATTEMPTS_MAX))]
    pub max_attempts: u64,
    /// How many workers may die over a job before it is FAILED.
    #[schemars(range(min = 1, max = super::check::ATTEMPTS_MAX))]
    pub max_expiries: u64,
    /// How long a job stays with a worker that gives no sign of life, at least 2s.
    #[schemars(with = "String")]
    pub lease: Option<String>,
    /// Which end of the queue comes first.
    pub order: JobOrder,
    /// A file fails when more than this part of its records are rejects, 0 to 1; fewer than ten never fail it.
    #[schemars(range(min = 0, max = 1))]
    pub max_reject_ratio: f64,
    /// A file fails when more than this part of a column's values do not convert, 0 to 1; fewer than ten never fail it.
    #[schemars(range(min = 0, max = 1))]
    pub max_invalid_ratio: f64,
}

impl Default for RawEtl {
    fn default() -> Self {
        Self {
            workers: 2,
            connections: None,
            max_attempts: 5,
            max_expiries: 3,
            lease: Some("60s".to_owned()),
            order: JobOrder::Oldest,
            max_reject_ratio: 0.05,
            max_invalid_ratio: 0.05,
        }
    }
}

/// What a scan deletes of old records. Files and what is loaded of them are remembered for ever.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRetention {
    /// Rejects, with their raw text, of files that were completely loaded longer ago than this; null: none.
    pub rejects: Option<String>,
    /// LOADED jobs that ended longer ago than this; null: none.
    pub jobs: Option<String>,
}
