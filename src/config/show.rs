//! The effective config: every key with the value that is used, ready to be read again.
//!
//! Invariant: no secret is in it, and reading it from any folder gives the same values.

use std::path::Path;

use super::raw::{RawConfig, RawDatabase, RawEtl, RawFeed, RawRetention, RawScanner, RawSource, RawTls};
use super::units::{show_duration, show_size, show_time};
use super::urls::mask;
use super::{Config, Database, EtlConfig, RetentionConfig, ScannerConfig, Tls};
use crate::feed::Feed;

pub(super) fn effective_yaml(config: &Config) -> String {
    let schemas = config.schema_files.iter().map(std::path::PathBuf::as_path);
    let raw = RawConfig {
        source: RawSource { url: Some(mask(config.source.url.as_str())) },
        metadata_database: database(&config.metadata_database),
        reporting_database: database(&config.reporting_database),
        feeds: config.feeds.iter().zip(schemas).map(|(known, schema)| feed(known, schema)).collect(),
        scanner: scanner(&config.scanner),
        etl: etl(&config.etl),
        retention: retention(&config.retention),
    };
    // Maps of texts and numbers: there is nothing in it that YAML can't hold.
    serde_yaml::to_string(&raw).unwrap_or_else(|error| format!("# {error}\n"))
}

fn database(database: &Database) -> RawDatabase {
    let mut raw = RawDatabase::of(database.to_string());
    if let Database::Mysql(mysql) = database {
        raw.url = Some(mysql.masked_url());
        raw.password_file = mysql.password_file().map(text);
        raw.tls = mysql.socket.is_none().then_some(RawTls::Disabled);
        if let Tls::Verified { ca_file, identity } = &mysql.tls {
            raw.tls = Some(RawTls::Verified);
            raw.tls_ca_file = ca_file.as_deref().map(text);
            (raw.tls_cert_file, raw.tls_key_file) = identity.as_ref().map(|(c, k)| (text(c), text(k))).unzip();
        }
    }
    raw
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn feed(feed: &Feed, schema: &Path) -> RawFeed {
    RawFeed {
        name: Some(feed.name.clone()),
        prefix: Some(feed.prefix.clone()),
        layout: Some(feed.layout.to_string()),
        files: Some(feed.files.as_str().to_owned()),
        schema: Some(schema.display().to_string()),
        table: Some(feed.table.clone()),
        on_overwrite: feed.on_overwrite,
        fresh_within: feed.fresh_within.map(show),
    }
}

/// Negative durations don't pass the check.
fn show(duration: chrono::Duration) -> String {
    show_duration(duration.to_std().unwrap_or_default())
}

fn retention(retention: &RetentionConfig) -> RawRetention {
    RawRetention { rejects: retention.rejects.map(show), jobs: retention.jobs.map(show) }
}

fn scanner(scanner: &ScannerConfig) -> RawScanner {
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
        connections: Some(etl.connections as u64),
        max_attempts: etl.max_attempts.into(),
        max_expiries: etl.max_expiries.into(),
        lease: Some(show_duration(etl.lease)),
        order: etl.order,
        max_reject_ratio: etl.max_reject_ratio,
        max_invalid_ratio: etl.max_invalid_ratio,
    }
}
