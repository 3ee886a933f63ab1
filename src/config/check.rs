//! From what stands in `config.yaml` to a [`Config`]: everything that can be known without a database or a source.
//!
//! Invariant: the first error found is reported, with file, line and key; what passes needs no second check.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Document;
use super::mysql::{MysqlUrl, mysql_database};
use super::raw::{RawConfig, RawDatabase, RawEtl, RawFeed, RawRetention, RawScanner};
use super::schema_file::read_schema;
use super::suggest::shown;
use super::units::{parse_duration, parse_size, parse_time};
use super::urls::{mask, source_url, sqlite_path, substitute};
use super::{Config, Database, EtlConfig, RetentionConfig, ScannerConfig, SourceConfig};
use crate::error::{Error, Result};
use crate::feed::{Feed, Layout, Schema, is_identifier};
use crate::job::JobLimits;

pub(super) const JOB_FILES_MAX: u64 = 1_000_000;
pub(super) const WORKERS_MAX: u64 = 256;
pub(super) const ATTEMPTS_MAX: u64 = 1000;
pub(super) const CONNECTIONS_MAX: u64 = 64;
/// Files side by side where the config does not say: fewer leave the database idle while a file is read, more only share
/// the memory of a worker out into smaller segments.
const CONNECTIONS_DEFAULT: std::ops::RangeInclusive<usize> = 2..=8;
/// A shorter lease would end between two heartbeats on a busy machine.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// A scanner that never rests would only heat the source.
const FREQUENCY_MIN: Duration = Duration::from_secs(1);
/// Tables of loadline itself, and of SQLite.
const TABLE_PREFIXES_RESERVED: [&str; 3] = ["loadline_", "scanner_", "sqlite_"];

pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn load(path: &Path, env: Env<'_>) -> Result<Config> {
    let document = Document::read(path).map_err(|error| {
        error.hint(
            "name the file with --config FILE; config.example.yaml shows every key, and `loadline demo` writes one",
        )
    })?;
    let raw: RawConfig = document.parse()?;
    let folder = folder_of(path)?;
    let check = Check { document: &document, path, folder: &folder, env };

    let url = check.url("source.url", &raw.source.url, source_url)?;
    let metadata_database = check.database("metadata_database", &raw.metadata_database)?;
    let reporting_database = check.database("reporting_database", &raw.reporting_database)?;
    let scanner = check.scanner(&raw.scanner)?;
    let etl = check.etl(&raw.etl)?;
    let retention = check.retention(&raw.retention)?;
    let (feeds, schema_files) = check.feeds(&raw.feeds)?;
    let path = path.to_owned();
    let source = SourceConfig { url };
    Ok(Config { path, source, metadata_database, reporting_database, feeds, scanner, etl, retention, schema_files })
}

/// The folder of the config file, absolute: what relative paths in it begin from.
fn folder_of(path: &Path) -> Result<PathBuf> {
    let unknown = |error: std::io::Error| {
        Error::config(format!("the folder of {} can't be found", path.display())).caused_by(error)
    };
    let absolute = std::path::absolute(path).map_err(unknown)?;
    let folder = absolute.parent().unwrap_or(&absolute);
    // A `..` behind a link is not the folder that the text shows.
    let dotted = folder.components().any(|part| part == std::path::Component::ParentDir);
    if dotted { folder.canonicalize().map_err(unknown) } else { Ok(folder.to_owned()) }
}

struct Check<'a> {
    document: &'a Document,
    path: &'a Path,
    folder: &'a Path,
    env: Env<'a>,
}

impl Check<'_> {
    /// Runs `read` over the text of `key`; what it finds wrong is reported at its place.
    fn value<T>(&self, key: &str, value: &Option<String>, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T> {
        read(self.document.text(key, value)?).map_err(|problem| self.document.fail(key, problem))
    }

    fn url<T>(
        &self,
        key: &str,
        value: &Option<String>,
        read: impl FnOnce(&str, &Path) -> Result<T, String>,
    ) -> Result<T> {
        self.value(key, value, |text| {
            let read = substitute(text, self.env).and_then(|filled| read(&filled, self.folder));
            read.map_err(|problem| format!("`{}`: {problem}", shown(&mask(text))))
        })
    }

    fn database(&self, key: &str, raw: &RawDatabase) -> Result<Database> {
        let url_key = format!("{key}.url");
        if is_mysql(self.document.text(&url_key, &raw.url)?, self.env) {
            return self.mysql(key, raw);
        }
        let path = self.url(&url_key, &raw.url, sqlite_path)?;
        if let Some(written) = raw.written().next() {
            let problem = "a SQLite database has no password and no connection; leave this key out";
            return Err(self.document.fail(&format!("{key}.{written}"), problem));
        }
        Ok(Database::Sqlite { path })
    }

    fn mysql(&self, key: &str, raw: &RawDatabase) -> Result<Database> {
        let url = self.value(&format!("{key}.url"), &raw.url, |text| {
            // A url that is a variable as a whole is filled in first, one with variables in it part by part.
            let whole = if text.starts_with("${") { &substitute(text, self.env)? } else { text };
            let parsed = MysqlUrl::parse(whole, self.env);
            parsed.map_err(|problem| format!("`{}`: {problem}", shown(&mask(text))))
        })?;
        let database = mysql_database(url, raw, self.folder, self.env);
        let database = database.map_err(|(part, problem)| self.document.fail(&format!("{key}.{part}"), problem))?;
        Ok(Database::Mysql(database))
    }

    fn scanner(&self, raw: &RawScanner) -> Result<ScannerConfig> {
        let frequency = self.value("scanner.frequency", &raw.frequency, |text| match parse_duration(text)? {
            often if often < FREQUENCY_MIN => Err(format!("`{}` is too often; at least 1s", shown(text))),
            frequency => Ok(frequency),
        })?;
        let start_from = match &raw.start_from {
            Some(_) => Some(self.value("scanner.start_from", &raw.start_from, parse_time)?),
            None => None,
        };
        let settle = self.duration_if_any("scanner.settle", &raw.settle)?;
        let size_max = self.value("scanner.max_job_size", &raw.max_job_size, |text| match parse_size(text)? {
            0 => Err("a job holds at least 1B".to_owned()),
            size => Ok(size),
        })?;
        let files_max = self.count("scanner.max_job_files", raw.max_job_files, JOB_FILES_MAX)? as usize;
        let wait_max = self.duration("scanner.max_wait", &raw.max_wait)?;
        Ok(ScannerConfig {
            frequency,
            start_from,
            lookback: self.duration("scanner.lookback", &raw.lookback)?,
            full_every: self.duration("scanner.full_every", &raw.full_every)?,
            settle,
            limits: JobLimits { size_max, files_max, wait_max },
        })
    }

    fn duration(&self, key: &str, value: &Option<String>) -> Result<chrono::Duration> {
        self.value(key, value, |text| {
            chrono::Duration::from_std(parse_duration(text)?).map_err(|error| error.to_string())
        })
    }

    fn duration_if_any(&self, key: &str, value: &Option<String>) -> Result<Option<chrono::Duration>> {
        value.as_ref().map(|_| self.duration(key, value)).transpose()
    }

    fn retention(&self, raw: &RawRetention) -> Result<RetentionConfig> {
        Ok(RetentionConfig {
            rejects: self.duration_if_any("retention.rejects", &raw.rejects)?,
            jobs: self.duration_if_any("retention.jobs", &raw.jobs)?,
        })
    }

    fn count(&self, key: &str, value: u64, max: u64) -> Result<u64> {
        if (1..=max).contains(&value) {
            return Ok(value);
        }
        Err(self.document.fail(key, format!("{value} is not allowed; allowed: 1 to {max}")))
    }

    fn etl(&self, raw: &RawEtl) -> Result<EtlConfig> {
        let ratio = |key: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(value);
            }
            Err(self.document.fail(key, format!("{value} is not a ratio; allowed: 0 to 1, such as 0.05")))
        };
        Ok(EtlConfig {
            workers: self.count("etl.workers", raw.workers, WORKERS_MAX)? as usize,
            connections: match raw.connections {
                Some(connections) => self.count("etl.connections", connections, CONNECTIONS_MAX)? as usize,
                None => cores().clamp(*CONNECTIONS_DEFAULT.start(), *CONNECTIONS_DEFAULT.end()),
            },
            max_expiries: self.count("etl.max_expiries", raw.max_expiries, ATTEMPTS_MAX)? as u32,
            lease: self.value("etl.lease", &raw.lease, |text| match parse_duration(text)? {
                lease if lease < LEASE_MIN => Err("a lease holds at least 2s".to_owned()),
                lease => Ok(lease),
            })?,
            max_attempts: self.count("etl.max_attempts", raw.max_attempts, ATTEMPTS_MAX)? as u32,
            order: raw.order,
            max_reject_ratio: ratio("etl.max_reject_ratio", raw.max_reject_ratio)?,
            max_invalid_ratio: ratio("etl.max_invalid_ratio", raw.max_invalid_ratio)?,
        })
    }

    fn feeds(&self, raw: &[RawFeed]) -> Result<(Vec<Feed>, Vec<PathBuf>)> {
        if raw.is_empty() {
            return Err(self.document.fail("feeds", "names no feed; at least one is needed"));
        }
        let mut feeds: Vec<Feed> = Vec::with_capacity(raw.len());
        let mut schema_files = Vec::with_capacity(raw.len());
        for (i, raw) in raw.iter().enumerate() {
            let key = format!("feeds[{i}]");
            let (feed, schema_file) = self.feed(&key, raw)?;
            for earlier in &feeds {
                self.beside(&key, &feed, earlier)?;
            }
            feeds.push(feed);
            schema_files.push(schema_file);
        }
        Ok((feeds, schema_files))
    }

    fn feed(&self, at: &str, raw: &RawFeed) -> Result<(Feed, PathBuf)> {
        let key = |name: &str| format!("{at}.{name}");
        let name = self.value(&key("name"), &raw.name, |text| identifier(text, "a feed"))?;
        let prefix = self.value(&key("prefix"), &raw.prefix, prefix)?;
        let layout = self.value(&key("layout"), &raw.layout, Layout::parse)?;
        let files = self.value(&key("files"), &raw.files, pattern)?;
        let table_key = if raw.table.is_some() { key("table") } else { key("name") };
        let table = raw.table.clone().or_else(|| Some(name.clone()));
        let table = self.value(&table_key, &table, table_name)?;
        let fresh_within = self.duration_if_any(&key("fresh_within"), &raw.fresh_within)?;
        let default_schema = format!("schemas/{name}.yaml");
        let schema_file = Path::new(raw.schema.as_deref().unwrap_or(&default_schema));
        let schema = self.schema(&key("schema"), schema_file)?;
        let on_overwrite = raw.on_overwrite;
        let feed = Feed { name, prefix, layout, files, table, on_overwrite, fresh_within, schema };
        Ok((feed, self.folder.join(schema_file)))
    }

    /// Reads the schema file by the path that the user knows, from where the config file was named.
    fn schema(&self, key: &str, file: &Path) -> Result<Schema> {
        let named = self.path.parent().unwrap_or(Path::new("")).join(file);
        let document = Document::read(&named).map_err(|error| {
            let error = self.document.fail(key, error.chain());
            error.hint("write the schema file, or name another one with `schema:`")
        })?;
        read_schema(&document)
    }

    /// What two feeds may not have in common.
    fn beside(&self, at: &str, feed: &Feed, earlier: &Feed) -> Result<()> {
        if feed.name.eq_ignore_ascii_case(&earlier.name) {
            let problem = format!("`{}` is the name of an earlier feed (upper and lower case are the same)", feed.name);
            return Err(self.document.fail(&format!("{at}.name"), problem));
        }
        if !feed.table.eq_ignore_ascii_case(&earlier.table) {
            return Ok(());
        }
        let other = &earlier.name;
        if feed.prefix.starts_with(&earlier.prefix) || earlier.prefix.starts_with(&feed.prefix) {
            let problem = format!(
                "the prefixes \"{}\" here and \"{}\" of feed `{other}` overlap, and both feeds load the table `{}`: the same \
                 file would be loaded twice; give one of them another prefix or table",
                feed.prefix, earlier.prefix, feed.table
            );
            return Err(self.document.fail(&format!("{at}.prefix"), problem));
        }
        if shape(&feed.schema) != shape(&earlier.schema) {
            let problem = format!(
                "feed `{other}` loads the same table `{}`, but its schema file has other columns or another key",
                feed.table
            );
            return Err(self.document.fail(&format!("{at}.table"), problem));
        }
        Ok(())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn is_mysql(url: &str, env: Env<'_>) -> bool {
    let whole = if url.starts_with("${") { substitute(url, env).unwrap_or_default() } else { url.to_owned() };
    whole.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("mysql"))
}

/// What the table is made from.
fn shape(schema: &Schema) -> (Vec<(String, String, bool)>, &[String]) {
    let columns = schema.columns.iter();
    let mut shape: Vec<_> = columns.map(|c| (c.name.to_ascii_lowercase(), c.ty.to_string(), c.required)).collect();
    shape.sort();
    (shape, &schema.primary_key)
}

fn identifier(text: &str, what: &str) -> Result<String, String> {
    if is_identifier(text) {
        return Ok(text.to_owned());
    }
    let allowed = "allowed: a letter or `_`, then letters, digits and `_`, at most 64";
    Err(format!("`{}` is not a name for {what}; {allowed}", shown(text)))
}

fn table_name(text: &str) -> Result<String, String> {
    let table = identifier(text, "a table")?;
    let lower = table.to_ascii_lowercase();
    match TABLE_PREFIXES_RESERVED.iter().find(|reserved| lower.starts_with(**reserved)) {
        Some(reserved) => Err(format!("a table can't be called `{reserved}...`; such names are reserved")),
        None => Ok(table),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let mut prefix = text.to_owned();
    if prefix.is_empty() {
        return Ok(prefix);
    }
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    let folders = prefix.strip_suffix('/').unwrap_or(&prefix);
    let odd = folders.split('/').any(|folder| matches!(folder, "" | "." | ".."));
    if odd || prefix.chars().any(char::is_control) {
        let allowed =
            "allowed: folders below the source's url, such as `loans/` or `eu/loans/`, without a first `/` or `//`";
        return Err(format!("`{}` is not a prefix; {allowed}", shown(text)));
    }
    Ok(prefix)
}

fn pattern(text: &str) -> Result<glob::Pattern, String> {
    let shown = shown(text);
    if text.is_empty() || text.contains('/') {
        return Err(format!(
            "`{shown}` is not a pattern for the name of a file; folders belong to `prefix` and `layout`"
        ));
    }
    glob::Pattern::new(text).map_err(|error| format!("`{shown}` is not a pattern: {error}; allowed: `*`, `?`, `[...]`"))
}
