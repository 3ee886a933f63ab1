//! The files, and what they hold: the truth that both sides are counted against.
//!
//! Every record has an id that no other record ever had. What is to be in the table in the end are the ids of the valid
//! records of each file *as it is then*: a file that was overwritten counts with its newest bytes only.
//!
//! Invariant: contents depend on the seed and on the order of calls, never on the clock; modified times do follow it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, SubsecRound as _, TimeDelta, Utc};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::plan::Draft;
use crate::clock;
use crate::demo::loan::{self, Flaw};
use crate::error::{Error, Result};

const FIRST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 1, 1);
/// How many files the same hour has.
const FILES_PER_HOUR: usize = 8;
/// Records are an id and one of so many made-up remainders.
const REMAINDERS: usize = 256;
/// Of a file that is overwritten, one id in so many gives way to a new one.
const REPLACED: usize = 10;
const BAD: [Flaw; 4] = [Flaw::Short, Flaw::Long, Flaw::NotUtf8, Flaw::Id];

/// What makes a file special, in the end: the cause that its lost and doubled records are put down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Ordinary,
    Overwritten,
    Late,
    SameSecond,
}

/// The newest state of a file.
#[derive(Debug, Clone)]
pub struct WrittenFile {
    /// Relative to the source url.
    pub key: String,
    pub kind: FileKind,
    /// Ids of its valid records.
    pub ids: Arc<[u64]>,
    /// Records that no loader can take.
    pub bad: u64,
}

/// What is to be in the table.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub files: Vec<WrittenFile>,
}

impl Truth {
    pub fn records(&self) -> u64 {
        self.files.iter().map(|file| file.ids.len() as u64).sum()
    }
}

pub struct World {
    source: PathBuf,
    rng: ChaCha8Rng,
    remainders: Vec<Vec<u8>>,
    next_id: u64,
    truth: Truth,
    /// The path and the other half of a file that is being written.
    unfinished: Option<(PathBuf, Vec<u8>)>,
}

impl World {
    /// `source` is the folder that the loaders list.
    pub fn new(source: &Path, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let remainders = (0..REMAINDERS).map(|_| remainder(&mut rng)).collect();
        let (source, truth) = (source.to_path_buf(), Truth::default());
        Self { source, rng, remainders, next_id: 1, truth, unfinished: None }
    }

    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// An ordinary file, or one with bad records, of now. Returns its key.
    pub fn add(&mut self, draft: Draft) -> Result<String> {
        let text = self.new_file(draft, FileKind::Ordinary, 0);
        self.put_last(&text, clock::now())
    }

    /// A file that was modified `age` ago, in a folder some days back.
    pub fn add_late(&mut self, draft: Draft, age: Duration) -> Result<String> {
        let days_back = 1 + self.rng.random_range(0..3);
        let text = self.new_file(draft, FileKind::Late, days_back * 24);
        self.put_last(&text, clock::now() - age)
    }

    /// Files with one modified time, of whole seconds as S3, tar and rsync have it.
    pub fn add_in_one_second(&mut self, drafts: &[Draft]) -> Result<()> {
        let second = clock::now().trunc_subsecs(0);
        for draft in drafts {
            let text = self.new_file(*draft, FileKind::SameSecond, 0);
            self.put_last(&text, second)?;
        }
        Ok(())
    }

    /// A header and nothing else.
    pub fn add_empty(&mut self) -> Result<String> {
        self.add(Draft { records: 0, bad: 0 })
    }

    /// Half of a file, under its own name. An earlier one is ended first.
    pub fn begin(&mut self, draft: Draft) -> Result<String> {
        self.end()?;
        let text = self.new_file(draft, FileKind::Ordinary, 0);
        let file = self.last()?;
        let (path, key) = (self.source.join(&file.key), file.key.clone());
        let (first, rest) = text.split_at(text.len() / 2);
        in_folder(&path).and_then(|()| fs::write(&path, first)).map_err(|error| failed(&key, error))?;
        self.unfinished = Some((path, rest.to_vec()));
        Ok(key)
    }

    /// The other half.
    pub fn end(&mut self) -> Result<()> {
        let Some((path, rest)) = self.unfinished.take() else { return Ok(()) };
        let written = File::options().append(true).open(&path).and_then(|mut file| file.write_all(&rest));
        written.map_err(|error| failed(&path.display().to_string(), error))
    }

    /// Overwrites the `nth` newest file, or the oldest there is, as a sender does who corrects it: most ids stay, some
    /// give way to others. Returns its key, `None` where there is no file yet.
    pub fn send_again(&mut self, nth: usize) -> Result<Option<String>> {
        self.end()?;
        let Some(newest) = self.truth.files.len().checked_sub(1) else { return Ok(None) };
        let index = newest.saturating_sub(nth);
        let old = self.truth.files[index].clone();
        let ids: Vec<u64> = (0..)
            .zip(old.ids.iter())
            .map(|(place, id)| if place % REPLACED == REPLACED - 1 { self.new_id() } else { *id })
            .collect();
        let mut text = loan::HEADER.as_bytes().to_vec();
        ids.iter().for_each(|id| self.write_valid(&mut text, *id));
        // A file without records gets one: the same bytes again would be no other version.
        let ids = if ids.is_empty() { self.records(&mut text, Draft { records: 1, bad: 0 }) } else { ids };
        let key = old.key.clone();
        self.truth.files[index] = WrittenFile { kind: FileKind::Overwritten, ids: ids.into(), bad: 0, ..old };
        self.put(&key, &text, clock::now())?;
        Ok(Some(key))
    }

    /// Makes the text of a new file, in the truth from now on.
    fn new_file(&mut self, draft: Draft, kind: FileKind, hours_back: i64) -> Vec<u8> {
        let number = self.truth.files.len();
        let mut text = loan::HEADER.as_bytes().to_vec();
        let ids = self.records(&mut text, draft);
        let key = key(number, hours_back);
        self.truth.files.push(WrittenFile { key, kind, ids: ids.into(), bad: draft.bad.into() });
        text
    }

    /// Appends records, the bad ones among them at random places; returns the ids of the valid ones.
    fn records(&mut self, text: &mut Vec<u8>, draft: Draft) -> Vec<u64> {
        let mut bad_left = draft.bad.min(draft.records);
        let mut ids = Vec::with_capacity(draft.records as usize);
        for left in (1..=draft.records).rev() {
            let id = self.new_id();
            if self.rng.random_range(0..left) < bad_left {
                bad_left -= 1;
                let flaw = BAD[self.rng.random_range(0..BAD.len())];
                loan::write_record(text, id, loan::MISSING, Some(flaw), &mut self.rng);
            } else {
                self.write_valid(text, id);
                ids.push(id);
            }
        }
        ids
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn write_valid(&mut self, text: &mut Vec<u8>, id: u64) {
        text.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
        text.extend_from_slice(&self.remainders[self.rng.random_range(0..REMAINDERS)]);
    }

    fn put_last(&self, text: &[u8], modified: DateTime<Utc>) -> Result<String> {
        let key = self.last()?.key.clone();
        self.put(&key, text, modified)?;
        Ok(key)
    }

    fn last(&self) -> Result<&WrittenFile> {
        self.truth.files.last().ok_or_else(|| Error::internal("a file of the demo is not in its list"))
    }

    /// As a whole: nobody ever sees half of it.
    fn put(&self, key: &str, text: &[u8], modified: DateTime<Utc>) -> Result<()> {
        let path = self.source.join(key);
        let partial = path.with_extension("partial");
        let put = || {
            in_folder(&path)?;
            let mut file = File::create(&partial)?;
            file.write_all(text)?;
            file.set_modified(modified.into())?;
            fs::rename(&partial, &path)
        };
        put().map_err(|error| failed(key, error))
    }
}

fn failed(key: &str, error: io::Error) -> Error {
    Error::config(format!("can't write {key} of the demo")).caused_by(error)
}

fn in_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// What stands behind the id of a valid record, its line end included.
fn remainder(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut record = Vec::new();
    loan::write_record(&mut record, 0, loan::MISSING, None, rng);
    record.split_off(1)
}

/// `2026/01/05/17/loans-000123.csv`
fn key(number: usize, hours_back: i64) -> String {
    let first = FIRST_DAY.unwrap_or_default().and_time(chrono::NaiveTime::MIN) + TimeDelta::days(4);
    let hour = first + TimeDelta::hours((number / FILES_PER_HOUR) as i64 - hours_back);
    format!("{}/loans-{number:06}.csv", hour.format("%Y/%m/%d/%H"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const TEN: Draft = Draft { records: 100, bad: 0 };

    /// Ids of the records that have as many values as the header and a number for an id.
    fn valid_ids(path: &Path) -> Vec<u64> {
        let mut reader = csv::Reader::from_path(path).unwrap();
        reader.records().filter_map(|record| record.ok()?[0].parse().ok()).collect()
    }

    fn tell(source: &Path, seed: u64) -> World {
        let mut world = World::new(source, seed);
        world.add(TEN).unwrap();
        world.add(Draft { records: 100, bad: 7 }).unwrap();
        world.add_empty().unwrap();
        world.add_late(TEN, Duration::from_secs(900)).unwrap();
        world.add_in_one_second(&[TEN, TEN]).unwrap();
        world.begin(TEN).unwrap();
        world.end().unwrap();
        world.send_again(6).unwrap();
        world
    }

    #[test]
    fn the_truth_is_what_the_files_hold() {
        let source = tempfile::tempdir().unwrap();
        let world = tell(source.path(), 1);
        let files = &world.truth().files;
        assert_eq!(files.iter().map(|file| file.ids.len()).collect::<Vec<_>>(), [100, 93, 0, 100, 100, 100, 100]);
        assert_eq!((files[0].kind, files[1].bad), (FileKind::Overwritten, 7));
        let mut seen = HashSet::new();
        for file in files {
            assert_eq!(valid_ids(&source.path().join(&file.key)), file.ids.to_vec(), "{}", file.key);
            assert!(file.ids.iter().all(|id| seen.insert(*id)));
        }
        assert!(files[3].key < files[0].key, "a late file lies in an older folder");
        let modified = |file: &WrittenFile| fs::metadata(source.path().join(&file.key)).unwrap().modified().unwrap();
        assert!(modified(&files[3]) < modified(&files[1]));
        assert_eq!(modified(&files[4]), modified(&files[5]));
    }

    #[test]
    fn the_seed_is_the_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (tell(one.path(), 5), tell(two.path(), 5));
        for (left, right) in first.truth().files.iter().zip(&second.truth().files) {
            let bytes = |folder: &Path, key: &str| fs::read(folder.join(key)).unwrap();
            assert!(left.key == right.key && bytes(one.path(), &left.key) == bytes(two.path(), &right.key));
        }
    }

    #[test]
    fn a_file_is_there_before_it_is_whole() {
        let source = tempfile::tempdir().unwrap();
        let mut world = World::new(source.path(), 1);
        let key = world.begin(TEN).unwrap();
        let half = fs::metadata(source.path().join(&key)).unwrap().len();
        world.end().unwrap();
        assert!(half > 0 && half < fs::metadata(source.path().join(&key)).unwrap().len());
    }
}
