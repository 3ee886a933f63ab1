//! Writes the hourly files. Everything comes from one seed and fixed dates; only the files' modified times follow the
//! clock, because a scanner leaves the youngest alone.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use async_compression::tokio::write::GzipEncoder;
use chrono::{DateTime, Duration, NaiveDate, Utc};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt as _;

use super::loan::{self, Flaw};
use super::{Failing, Planned, UNKNOWN_TOKEN};
use crate::clock;
use crate::error::{Error, Result};

const SEED: u64 = 0x10ad_11e5;
const HOURS: i64 = 30;
/// The first hour of these, counted from 0.
const FIRST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 1, 1);
const BAD_RECORDS_HOUR: i64 = 9;
const GZIP_HOUR: i64 = 13;
const FAILING_HOUR: i64 = 20;

/// Records of an hour: a base, more by day, and some chance.
const RECORDS_BASE: u64 = 3_300;
const RECORDS_BY_DAY: u64 = 500;
const RECORDS_CHANCE: u64 = 250;

/// Record (from 1) of the file with bad records, and what is wrong with it.
const FLAWS: [(u64, Flaw); 14] = [
    (17, Flaw::Short),
    (208, Flaw::Id),
    (209, Flaw::Age("forty")),
    (512, Flaw::Long),
    (700, Flaw::NotUtf8),
    (701, Flaw::Age("38 years")),
    (1024, Flaw::Short),
    (1500, Flaw::Id),
    (1501, Flaw::Age("-")),
    (2048, Flaw::NotUtf8),
    (2400, Flaw::Long),
    (2700, Flaw::Age("1971-03-02")),
    (3000, Flaw::Short),
    (3100, Flaw::Id),
];

/// The text of one hour's file.
struct Hour {
    text: Vec<u8>,
    records: u64,
    missing_incomes: u64,
}

/// Writes all files under `source`, each more recent than the one before and none younger than a minute.
pub(super) async fn write_files(source: &Path) -> Result<Planned> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let now = clock::now();
    let failing = Failing { key: String::new(), records: 0, unknown_tokens: 0 };
    let mut planned = Planned { files: 0, bytes: 0, records: 0, rows: 0, rejects: 0, invalid_ages: 0, failing };
    let mut text = Vec::new();
    for hour in 0..HOURS {
        let written = generate(hour, planned.records, std::mem::take(&mut text), &mut rng);
        let key = key(hour);
        let modified = now - Duration::minutes(HOURS - hour);
        let bytes = if hour == GZIP_HOUR { &gzip(&written.text).await? } else { &written.text };
        write_file(&source.join(&key), bytes, modified)
            .map_err(|error| Error::config(format!("can't write {key} of the demo")).caused_by(error))?;
        planned.files += 1;
        planned.bytes += bytes.len() as u64;
        planned.count(hour, key, &written);
        text = written.text;
    }
    Ok(planned)
}

impl Planned {
    fn count(&mut self, hour: i64, key: String, written: &Hour) {
        self.records += written.records;
        if hour == FAILING_HOUR {
            self.failing = Failing { key, records: written.records, unknown_tokens: written.missing_incomes };
            return;
        }
        let flaws = if hour == BAD_RECORDS_HOUR { FLAWS.as_slice() } else { &[] };
        let rejects = flaws.iter().filter(|(_, flaw)| flaw.rejects()).count() as u64;
        self.rejects += rejects;
        self.invalid_ages += flaws.len() as u64 - rejects;
        self.rows += written.records - rejects;
    }
}

/// Ids go on from `last_id`. `text` is a buffer to write over.
fn generate(hour: i64, last_id: u64, mut text: Vec<u8>, rng: &mut ChaCha8Rng) -> Hour {
    let by_day = if (8..20).contains(&(hour % 24)) { RECORDS_BY_DAY } else { 0 };
    let records = RECORDS_BASE + by_day + rng.random_range(0..RECORDS_CHANCE);
    let missing = if hour == FAILING_HOUR { UNKNOWN_TOKEN } else { loan::MISSING };
    let mut missing_incomes = 0;
    text.clear();
    text.extend_from_slice(loan::HEADER.as_bytes());
    for record in 1..=records {
        let flaw = FLAWS.iter().find(|(at, _)| hour == BAD_RECORDS_HOUR && *at == record).map(|(_, flaw)| *flaw);
        missing_incomes += u64::from(loan::write_record(&mut text, last_id + record, missing, flaw, rng));
    }
    Hour { text, records, missing_incomes }
}

/// `2026/01/01/00/loan_applications.csv`, relative to the source url.
fn key(hour: i64) -> String {
    let start = FIRST_DAY.unwrap_or_default().and_time(chrono::NaiveTime::MIN) + Duration::hours(hour);
    let ending = if hour == GZIP_HOUR { ".gz" } else { "" };
    format!("{}/loan_applications.csv{ending}", start.format("%Y/%m/%d/%H"))
}

async fn gzip(text: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzipEncoder::new(Vec::new());
    let compressed = async {
        encoder.write_all(text).await?;
        encoder.shutdown().await
    };
    compressed.await.map_err(|error| Error::internal("can't compress a file of the demo").caused_by(error))?;
    Ok(encoder.into_inner())
}

fn write_file(path: &Path, bytes: &[u8], modified: DateTime<Utc>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.set_modified(modified.into())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::feed::Layout;
    use crate::job::{FoundFile, JobLimits, Planner};

    fn contents(source: &Path) -> Vec<(String, Vec<u8>, SystemTime)> {
        (0..HOURS)
            .map(|hour| {
                let path = source.join(key(hour));
                (key(hour), fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap())
            })
            .collect()
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let planned = write_files(one.path()).await.unwrap();
        assert_eq!(write_files(two.path()).await.unwrap(), planned);
        let bytes = |source: &Path| contents(source).into_iter().map(|(_, bytes, _)| bytes).collect::<Vec<_>>();
        assert!(bytes(one.path()) == bytes(two.path()));
    }

    #[tokio::test]
    async fn what_is_planned_is_what_was_written() {
        let source = tempfile::tempdir().unwrap();
        let planned = write_files(source.path()).await.unwrap();
        let files = contents(source.path());
        assert_eq!((planned.files, planned.rejects, planned.invalid_ages), (30, 10, 4));
        assert!(planned.records >= 105_000, "{planned:?}");
        assert_eq!(planned.records, planned.rows + planned.rejects + planned.failing.records);
        assert_eq!(planned.bytes, files.iter().map(|(_, bytes, _)| bytes.len() as u64).sum::<u64>());

        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64 - 1;
        let plain = files.iter().filter(|(key, ..)| key.ends_with(".csv"));
        let gzipped = files.iter().filter(|(key, bytes, _)| key.ends_with(".gz") && bytes.starts_with(&[0x1f, 0x8b]));
        assert_eq!((plain.clone().count(), gzipped.count()), (29, 1));
        assert!(plain.map(|(_, bytes, _)| lines(bytes)).sum::<u64>() < planned.records);

        let (_, failing, _) = files.iter().find(|(key, ..)| *key == planned.failing.key).unwrap();
        let tokens = String::from_utf8_lossy(failing).matches(",n/a,").count() as u64;
        assert_eq!((lines(failing), tokens), (planned.failing.records, planned.failing.unknown_tokens));
        // Far above the 5 % that a column may have.
        assert!(tokens * 10 > lines(failing));
    }

    #[tokio::test]
    async fn the_scanner_finds_all_and_makes_five_jobs() {
        let source = tempfile::tempdir().unwrap();
        write_files(source.path()).await.unwrap();
        let files = contents(source.path());
        let layout = Layout::parse("{yyyy}/{mm}/{dd}/{HH}/").unwrap();
        assert!(files.iter().all(|(key, ..)| layout.split(key).is_some()));
        assert!(files.iter().zip(&files[1..]).all(|((.., before), (.., after))| before < after));
        let youngest = DateTime::<Utc>::from(files[files.len() - 1].2);
        assert!(clock::now() - youngest >= Duration::seconds(60));

        let limits = JobLimits { size_max: 1100 << 10, files_max: 1000, wait_max: Duration::zero() };
        let mut planner = Planner::new("loan_applications", "file:///incoming", limits);
        let mut jobs = 0;
        for (id, (key, bytes, _)) in files.into_iter().enumerate() {
            let (id, size) = (id as i64, bytes.len() as u64);
            let file = FoundFile { id, key, size, modified: youngest, hour: youngest, found: youngest };
            jobs += usize::from(planner.push(file).is_some());
        }
        jobs += usize::from(planner.finish(clock::now()).is_some());
        assert_eq!(jobs, 5);
    }
}
