//! What is put at the source, so that every record is known afterwards.
//!
//! Invariant: an id is in one version of one file, once. So a row or a reject of the databases says by its id alone
//! where it comes from.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::e2e::project::EVENTS_HEADER;
use crate::s3::bucket::MemoryBucket;

/// What the modified times count from: 2025-01-01.
const START: u64 = 1_735_689_600;
/// Between two files, so that the folders of the hours move on.
const BETWEEN_FILES: u64 = 1200;
/// How far back the folder and the time of a late file lie: some behind every look-back.
const LATE_HOURS: u64 = 400;
/// The share of versions that can't be loaded.
const ROTTEN: f64 = 0.02;
/// Versions of one file.
const VERSIONS_MAX: usize = 3;

/// Where the files are.
pub enum Source {
    Bucket(MemoryBucket),
    Folder(PathBuf),
}

/// The ids of a version are `first..first + records`.
pub struct Version {
    pub first: u64,
    pub records: u64,
    /// Ids of the records that are to be rejected.
    pub bad: BTreeSet<u64>,
    /// It can't be loaded, and nothing of it may be.
    pub is_rotten: bool,
}

pub struct PlannedFile {
    pub key: String,
    /// The last one is at the source.
    pub versions: Vec<Version>,
}

pub struct World {
    pub files: Vec<PlannedFile>,
    source: Source,
    next_id: u64,
    /// Modified time of the next file.
    second: u64,
}

impl Version {
    pub fn ids(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.records
    }

    pub fn valid(&self) -> impl Iterator<Item = u64> + '_ {
        self.ids().filter(|id| !self.is_rotten && !self.bad.contains(id))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = EVENTS_HEADER.to_owned();
        for id in self.ids() {
            match (self.bad.contains(&id), id % 2) {
                (false, _) => text.push_str(&format!("{id},{},n{id}\n", id * 10)),
                // No number, and a field too many.
                (true, 0) => text.push_str(&format!("x{id},{},n{id}\n", id * 10)),
                (true, _) => text.push_str(&format!("{id},{},n{id},more\n", id * 10)),
            }
        }
        if self.is_rotten {
            text.push_str("0,0,\"a quote that is never closed\n");
        }
        text.into_bytes()
    }
}

impl World {
    pub fn new(source: Source) -> Self {
        Self { files: Vec::new(), source, next_id: 1, second: LATE_HOURS * 3600 }
    }

    pub fn records(&self) -> u64 {
        self.files.iter().flat_map(|file| &file.versions).map(|version| version.records).sum()
    }

    /// A file of the present hour.
    pub fn add(&mut self, random: &mut ChaCha8Rng) {
        self.second += BETWEEN_FILES;
        self.put_new(self.second, random);
    }

    /// A file of an hour that has long been scanned, as old as its hour.
    pub fn add_late(&mut self, random: &mut ChaCha8Rng) {
        let hours = random.random_range(2..LATE_HOURS);
        self.put_new(self.second - hours * 3600, random);
    }

    fn put_new(&mut self, second: u64, random: &mut ChaCha8Rng) {
        let hour = DateTime::from_timestamp((START + second) as i64, 0).unwrap().format("%Y/%m/%d/%H");
        let key = format!("{hour}/{}.csv", self.files.len());
        let version = self.version(random);
        self.put(&key, &version, second);
        self.files.push(PlannedFile { key, versions: vec![version] });
    }

    /// Puts other bytes under a known key. False: the file that was drawn has been overwritten often enough.
    pub fn overwrite(&mut self, random: &mut ChaCha8Rng) -> bool {
        // Mostly one of the newest, which may be loading just now.
        let newest = self.files.len().min(if random.random_bool(0.7) { 30 } else { self.files.len() });
        if newest == 0 {
            return false;
        }
        let at = self.files.len() - 1 - random.random_range(0..newest);
        if self.files[at].versions.len() >= VERSIONS_MAX {
            return false;
        }
        let version = self.version(random);
        self.replace(at, version);
        true
    }

    fn replace(&mut self, at: usize, version: Version) {
        self.second += 1;
        self.put(&self.files[at].key, &version, self.second);
        self.files[at].versions.push(version);
    }

    /// Puts good bytes in the place of rotten ones, as the vendor does when told; how often.
    pub fn mend(&mut self, random: &mut ChaCha8Rng) -> usize {
        let rotten = |file: &PlannedFile| file.versions.last().is_some_and(|version| version.is_rotten);
        let rotten: Vec<usize> = (0..self.files.len()).filter(|at| rotten(&self.files[*at])).collect();
        for at in &rotten {
            let version = Version { is_rotten: false, ..self.version(random) };
            self.replace(*at, version);
        }
        rotten.len()
    }

    /// Mostly small, some of many segments, and a few bad records in a third of them.
    fn version(&mut self, random: &mut ChaCha8Rng) -> Version {
        let records = match random.random_range(0..10) {
            0 => random.random_range(400..1500),
            1 => random.random_range(1..20),
            _ => random.random_range(20..200),
        };
        let first = self.next_id;
        self.next_id += records;
        let bad = if random.random_bool(0.3) { random.random_range(1..8) } else { 0 };
        let bad = (0..bad).map(|_| first + random.random_range(0..records)).collect();
        Version { first, records, bad, is_rotten: random.random_bool(ROTTEN) }
    }

    fn put(&self, key: &str, version: &Version, second: u64) {
        let bytes = version.bytes();
        match &self.source {
            Source::Bucket(bucket) => bucket.put(key, bytes, second),
            Source::Folder(folder) => {
                let path = folder.join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                // Replaced as a whole, as a version is whole.
                let partial = folder.join(".partial");
                fs::write(&partial, bytes).unwrap();
                let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(START + second);
                File::options().write(true).open(&partial).unwrap().set_modified(modified).unwrap();
                fs::rename(&partial, &path).unwrap();
            }
        }
    }
}
