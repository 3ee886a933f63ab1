//! The naive loader: what people write themselves in an afternoon, and what well-known loaders did before they were
//! mended. It is no straw man. It waits for files to settle, restarts where it stopped, goes on behind a bad record,
//! waits for a locked database, and on a day without faults it loads everything once.
//!
//! What it does as others do:
//!
//! - A file is new when its modified time is newer than that of the newest file loaded: the cursor of Airbyte's S3 source
//!   until airbytehq/airbyte#12568, of Logstash's S3 input (logstash-plugins/logstash-input-s3#191) and of Hudi's
//!   DeltaStreamer (apache/hudi#2850), whose users lost files that came with an older time or in the same second.
//! - Rows are inserted and committed batch by batch; that the file is loaded is written down afterwards, in a transaction
//!   of its own. Killed in between, it begins the file again, as loaders do that keep their state apart from the rows
//!   (dlt-hub/dlt#4052).
//! - A file that is overwritten is newer, and so is loaded again.
//! - A record that can't be parsed is passed over.
//!
//! Several of them share the files by a hash of the name, each with a cursor of its own. A unique key on the table would
//! turn its doubled rows into errors, or hide them; it brings no lost row back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::Places;
use super::database::{COLUMNS, NaiveDatabase, Row};
use crate::clock;
use crate::error::{Error, Result};

const ROWS_PER_COMMIT: usize = 500;
/// The same as in loadline's config.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two looks at the folder.
const PAUSE: Duration = Duration::from_millis(250);

/// One of the naive loader's processes.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// From 0.
    pub worker: usize,
    pub workers: usize,
}

struct Found {
    key: String,
    path: PathBuf,
    /// Nanoseconds since 1970.
    modified: i64,
}

/// Loads what comes, until there is nothing new and the demo is over.
pub fn run(places: &Places, share: Share) -> Result<()> {
    let mut database = NaiveDatabase::open(&places.naive)?;
    loop {
        // Looked for first: what arrived before it is seen below.
        let over = places.over.exists();
        let newest = database.newest(share.worker)?;
        let files = new_files(&places.source, share, newest)?;
        if files.is_empty() {
            if over {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        for file in files {
            load(&mut database, &file)?;
            database.remember(share.worker, &file.key, file.modified)?;
        }
    }
}

/// The files of this share that are newer than the newest one loaded, the oldest first.
fn new_files(source: &Path, share: Share, newest: Option<i64>) -> Result<Vec<Found>> {
    let mut files = Vec::new();
    let listed = list(source, source, &mut files);
    listed.map_err(|error| Error::unavailable("the source can't be listed").caused_by(error))?;
    let settled = nanoseconds(clock::now().into()) - SETTLE.as_nanos() as i64;
    files.retain(|file| {
        let mine = crc32fast::hash(file.key.as_bytes()) as usize % share.workers.max(1) == share.worker;
        mine && file.modified <= settled && newest.is_none_or(|newest| file.modified > newest)
    });
    files.sort_by(|one, other| (one.modified, &one.key).cmp(&(other.modified, &other.key)));
    Ok(files)
}

fn list(source: &Path, folder: &Path, files: &mut Vec<Found>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(source, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            let modified = nanoseconds(fs::metadata(&path)?.modified()?);
            let key = path.strip_prefix(source).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(Found { key, path, modified });
        }
    }
    Ok(())
}

fn nanoseconds(time: std::time::SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Inserts the records that can be parsed.
fn load(database: &mut NaiveDatabase, file: &Found) -> Result<()> {
    let failed = |error: csv::Error| Error::unavailable(format!("{} can't be read", file.key)).caused_by(error);
    let mut reader = csv::Reader::from_path(&file.path).map_err(failed)?;
    let mut rows = Vec::with_capacity(ROWS_PER_COMMIT);
    for record in reader.records() {
        match record {
            Ok(record) => rows.extend(row(&record)),
            Err(error) if error.is_io_error() => return Err(failed(error)),
            Err(_) => {}
        }
        if rows.len() == ROWS_PER_COMMIT {
            database.insert(&file.key, &rows)?;
            rows.clear();
        }
    }
    database.insert(&file.key, &rows)
}

/// `None` for a record without a number for an id.
fn row(record: &csv::StringRecord) -> Option<Row> {
    record.get(0)?.parse::<i64>().ok()?;
    let value = |column| record.get(column).filter(|value| !value.is_empty() && *value != "NA").map(str::to_owned);
    let row: [Option<String>; COLUMNS] = std::array::from_fn(value);
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::super::count::Counter;
    use super::super::database;
    use super::super::plan::Draft;
    use super::super::world::World;
    use super::*;

    /// Without faults it is a sound loader: what it loses and doubles comes of the faults alone.
    #[test]
    fn on_a_quiet_day_it_loads_everything_once() {
        let temp = tempfile::tempdir().unwrap();
        let places = Places::below(temp.path());
        let mut world = World::new(&places.source, 1);
        for bad in [0, 5, 0] {
            world.add(Draft { records: 1_200, bad }).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        world.add_empty().unwrap();
        std::thread::sleep(SETTLE);
        fs::write(&places.over, "").unwrap();
        // The second time there is nothing left to do.
        for worker in [0, 1, 0, 1] {
            run(&places, Share { worker, workers: 2 }).unwrap();
        }
        let mut counter = Counter::new(world.truth());
        database::ids(&places.naive, |id| counter.see(id)).unwrap();
        let tally = counter.finish();
        assert!(tally.is_exact() && tally.rows == 3_595, "{tally:?}");
    }
}
