//! The effective config: every key with the value that is used, ready to be read again.
//!
//! Invariant: no secret is in it, and reading it from any folder gives the same values.

use std::path::Path;

use super::raw::{RawConfig, RawDatabase, RawEtl, RawFeed, RawScanner, RawSource};
use super::units::{show_duration, show_size, show_time};
use super::urls::mask;
use super::{Config, Database, EtlConfig, S3Options, ScannerConfig, SourceConfig};
use crate::feed::Feed;

pub(super) fn effective_yaml(config: &Config) -> String {
    let schemas = config.schema_files.iter().map(std::path::PathBuf::as_path);
    let raw = RawConfig {
        source: source(&config.source),
        metadata_database: database(&config.metadata_database),
        reporting_database: database(&config.reporting_database),
        feeds: config.feeds.iter().zip(schemas).map(|(known, schema)| feed(known, schema)).collect(),
        scanner: scanner(&config.scanner),
        etl: etl(&config.etl),
    };
    // Maps of texts and numbers: there is nothing in it that YAML can't hold.
    serde_yaml::to_string(&raw).unwrap_or_else(|error| format!("# {error}\n"))
}

fn source(source: &SourceConfig) -> RawSource {
    let S3Options { endpoint, region, allow_http } = source.s3.clone();
    RawSource { url: Some(mask(source.url.as_str())), endpoint, region, allow_http }
}

fn database(database: &Database) -> RawDatabase {
    RawDatabase { url: Some(database.to_string()), password_file: None }
}

fn feed(feed: &Feed, schema: &Path) -> RawFeed {
    RawFeed {
        name: Some(feed.name.clone()),
        prefix: Some(feed.prefix.clone()),
        layout: Some(feed.layout.to_string()),
        files: Some(feed.files.as_str().to_owned()),
        schema: Some(schema.display().to_string()),
        table: Some(feed.table.clone()),
    }
}

fn scanner(scanner: &ScannerConfig) -> RawScanner {
    // Negative durations don't pass the check.
    let show = |duration: chrono::Duration| show_duration(duration.to_std().unwrap_or_default());
    RawScanner {
        frequency: Some(show_duration(scanner.frequency)),
        start_from: scanner.start_from.map(show_time),
        lookback: Some(show(scanner.lookback)),
        full_every: Some(show(scanner.full_every)),
        settle: scanner.settle.map(show),
        max_job_size: Some(show_size(scanner.limits.size_max)),
        max_job_files: scanner.limits.files_max as u64,
        max_wait: Some(show(scanner.limits.wait_max)),
    }
}

fn etl(etl: &EtlConfig) -> RawEtl {
    RawEtl {
        workers: etl.workers as u64,
        max_attempts: etl.max_attempts.into(),
        order: etl.order,
        max_reject_ratio: etl.max_reject_ratio,
        max_invalid_ratio: etl.max_invalid_ratio,
    }
}
