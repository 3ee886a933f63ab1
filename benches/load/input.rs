//! What the benches read: the demo's folder, and single files in memory that are made of it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_compression::tokio::write::GzipEncoder;
use criterion::Throughput;
use loadline::config::Config;
use loadline::demo::{self, Planned};
use loadline::feed::{Column, ColumnType, Feed, OnInvalid, Schema};
use loadline::source::{FileRef, Source};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

const SCHEMA: &str = include_str!("../../schemas/loan_applications.yaml");
const KEY: &str = "2026/01/01/00/loan_applications.csv";

/// The demo's folder, with a schema under which all of its files load.
pub struct Loans {
    folder: TempDir,
    pub config: Config,
    pub planned: Planned,
}

impl Loans {
    pub async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let schema = SCHEMA.replace(demo::NULL_TOKENS, demo::FIXED_TOKENS);
        let planned = demo::make(folder.path(), &schema).await.unwrap();
        let config = Config::load(&folder.path().join(demo::CONFIG_FILE)).unwrap();
        Self { folder, config, planned }
    }

    pub fn feed(&self) -> &Feed {
        &self.config.feeds[0]
    }

    /// The records of all files that are not compressed, as one file.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for path in self.plain_files() {
            let file = std::fs::read(path).unwrap();
            let header = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            text.extend_from_slice(if text.is_empty() { &file } else { &file[header..] });
        }
        text
    }

    fn plain_files(&self) -> Vec<PathBuf> {
        let pattern = self.folder.path().join(demo::SOURCE_DIR).join("*/*/*/*/*.csv");
        let mut paths: Vec<PathBuf> = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap).collect();
        paths.sort();
        paths
    }
}

/// One file of a source of its own.
pub struct Input {
    pub source: Source,
    pub feed: Feed,
    pub file: FileRef,
    pub records: u64,
    /// Of the plain file.
    bytes: u64,
    /// The folder of a file that is not in memory.
    _folder: Option<TempDir>,
}

impl Input {
    pub async fn in_memory(feed: &Feed, text: &[u8]) -> Self {
        Self::of_object(feed, text, KEY, text.to_vec()).await
    }

    pub async fn gzipped(feed: &Feed, text: &[u8]) -> Self {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(text).await.unwrap();
        encoder.shutdown().await.unwrap();
        Self::of_object(feed, text, &format!("{KEY}.gz"), encoder.into_inner()).await
    }

    async fn of_object(feed: &Feed, text: &[u8], key: &str, object: Vec<u8>) -> Self {
        let store = Arc::new(InMemory::new());
        store.put(&Path::from(key), object.into()).await.unwrap();
        let source = Source::with_store(url::Url::parse("memory:///").unwrap(), store);
        Self::of_source(feed, text, key, source, None).await
    }

    pub async fn on_disk(feed: &Feed, text: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        let source = Source::open(&url::Url::from_directory_path(folder.path()).unwrap()).unwrap();
        Self::of_source(feed, text, KEY, source, Some(folder)).await
    }

    async fn of_source(feed: &Feed, text: &[u8], key: &str, source: Source, folder: Option<TempDir>) -> Self {
        let meta = source.store().head(&Path::from(key)).await.unwrap();
        let file = FileRef { key: key.to_owned(), version: source.version_of(&meta), size: meta.size };
        let records = text.iter().filter(|byte| **byte == b'\n').count() as u64 - 1;
        Self { source, feed: feed.clone(), file, records, bytes: text.len() as u64, _folder: folder }
    }

    pub fn throughput(&self) -> Throughput {
        Throughput::ElementsAndBytes { elements: self.records, bytes: self.bytes }
    }
}

/// The same file with quotes around every value.
pub fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(2 * text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        quoted.push(b'"');
        for byte in line {
            match byte {
                b',' => quoted.extend_from_slice(b"\",\""),
                other => quoted.push(*other),
            }
        }
        quoted.extend_from_slice(b"\"\n");
    }
    quoted
}

/// A feed with other types than numbers, and a file of it.
pub fn other_types(feed: &Feed, records: u64) -> (Feed, Vec<u8>) {
    let types = [
        ("amount", ColumnType::Decimal { precision: 18, scale: 4 }),
        ("day", ColumnType::Date),
        ("at", ColumnType::Timestamp { precision: 3 }),
        ("flag", ColumnType::Bool),
        ("name", ColumnType::String { length: 20 }),
        ("note", ColumnType::Text),
    ];
    let column = |(name, ty): (&str, ColumnType)| Column {
        header: name.to_owned(),
        name: name.to_owned(),
        ty,
        null_tokens: vec!["NA".to_owned(), String::new()],
        on_invalid: OnInvalid::Null,
        required: false,
        timezone: chrono_tz::UTC,
    };
    let schema = Schema { columns: types.map(column).to_vec(), primary_key: vec![] };
    let mut text = "amount,day,at,flag,name,note\n".to_owned();
    for n in 1..=records {
        let (day, hour, minute, second) = (1 + n % 28, n % 24, n % 60, n / 60 % 60);
        let time = format!("2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", n % 1000);
        let (whole, fraction) = (n * 7919 % 1_000_000, n % 10_000);
        writeln!(text, "{whole}.{fraction:04},2026-01-{day:02},{time},true,name {n},a note of no account").unwrap();
    }
    (Feed { schema, ..feed.clone() }, text.into_bytes())
}
