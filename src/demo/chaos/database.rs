//! The tables of the chaos demo, by the driver itself: what the naive loader writes, and what both sides are counted
//! from.
//!
//! It does not go through `backend`, and must not: a loader that borrows loadline's way of writing is not naive, and a
//! count that borrows its way of reading proves nothing.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use crate::error::{Error, Result};

/// Longer than any freeze: a loader that waits for one that is frozen is no worse for it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// Columns of `loan_applications` besides `file`.
pub const COLUMNS: usize = 12;

const NAIVE_TABLES: &str = "\
CREATE TABLE IF NOT EXISTS loan_applications (
    id INTEGER, serious_dlqin_2_yrs INTEGER, revolving_utilization_of_unsecured_lines REAL, age INTEGER,
    number_of_time_30_59_days_past_due_not_worse INTEGER, debt_ratio REAL, monthly_income INTEGER,
    number_of_open_credit_lines_and_loans INTEGER, number_of_times_90_days_late INTEGER,
    number_real_estate_loans_or_lines INTEGER, number_of_time_60_89_days_past_due_not_worse INTEGER,
    number_of_dependents INTEGER, file TEXT);
CREATE TABLE IF NOT EXISTS loaded (worker INTEGER, file TEXT, modified INTEGER)";

const NAIVE_INSERT: &str = "INSERT INTO loan_applications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// One record: `None` is NULL.
pub type Row = [Option<String>; COLUMNS];

/// The naive loader's database: the rows, and the files that are loaded.
pub struct NaiveDatabase {
    connection: Connection,
}

impl NaiveDatabase {
    /// Makes it where it is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(NAIVE_TABLES)?;
            Ok(Self { connection })
        };
        open().map_err(|error| failed("opened", path, error))
    }

    /// Inserts the rows in one transaction.
    pub fn insert(&mut self, file: &str, rows: &[Row]) -> Result<()> {
        let mut insert = || {
            let transaction = self.connection.transaction()?;
            {
                let mut statement = transaction.prepare_cached(NAIVE_INSERT)?;
                for row in rows {
                    let values = row.iter().map(Option::as_deref).chain([Some(file)]);
                    statement.execute(params_from_iter(values))?;
                }
            }
            transaction.commit()
        };
        insert().map_err(|error| Error::unavailable("the rows can't be inserted").caused_by(error))
    }

    /// Writes down that the file is loaded. `modified`: nanoseconds since 1970.
    pub fn remember(&self, worker: usize, file: &str, modified: i64) -> Result<()> {
        let sql = "INSERT INTO loaded VALUES (?, ?, ?)";
        let remembered = self.connection.execute(sql, params![worker as i64, file, modified]);
        remembered.map(|_| ()).map_err(|error| Error::unavailable("the file can't be remembered").caused_by(error))
    }

    /// The modified time of the newest file that the worker has loaded.
    pub fn newest(&self, worker: usize) -> Result<Option<i64>> {
        let sql = "SELECT max(modified) FROM loaded WHERE worker = ?";
        let newest = self.connection.query_row(sql, [worker as i64], |row| row.get(0));
        newest.map_err(|error| Error::unavailable("the newest file can't be read").caused_by(error))
    }
}

/// Shows `see` the id of every row of `loan_applications`. No database yet: no rows.
pub fn ids(path: &Path, mut see: impl FnMut(u64)) -> Result<()> {
    read(path, |connection| {
        let mut statement = connection.prepare("SELECT id FROM loan_applications")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            see(u64::try_from(id).unwrap_or(u64::MAX));
        }
        Ok(())
    })
    .map(Option::unwrap_or_default)
}

/// How many rejects loadline keeps of each file, by key.
pub fn rejects(reporting: &Path) -> Result<HashMap<String, u64>> {
    let sql = "SELECT f.key, count(*) FROM loadline_rejects r JOIN loadline_files f ON f.file = r.file GROUP BY f.file";
    let rejects = read(reporting, |connection| {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let (key, count): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
            Ok((String::from_utf8_lossy(&key).into_owned(), count.unsigned_abs()))
        })?;
        rows.collect()
    })?;
    Ok(rejects.unwrap_or_default())
}

/// How many files and jobs of loadline's are not at a good end.
pub fn unfinished(metadata: &Path) -> Result<u64> {
    let sql = "SELECT (SELECT count(*) FROM scanner_jobs WHERE status IN ('SENT_FOR_ETL', 'PROCESSING', 'FAILED'))
                    + (SELECT count(*) FROM scanner_files WHERE state <> 'LOADED')";
    number(metadata, sql)
}

/// How often a job of loadline's was taken over from a worker that had died or frozen over it.
pub fn rescued(metadata: &Path) -> Result<u64> {
    number(metadata, "SELECT coalesce(sum(expiries), 0) FROM scanner_jobs")
}

fn number(path: &Path, sql: &str) -> Result<u64> {
    let number = read(path, |connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0)))?;
    Ok(number.unwrap_or_default().unsigned_abs())
}

/// `None` where there is no file yet, or no such table in it.
fn read<T>(path: &Path, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let looked = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let made: bool = connection.query_row("SELECT count(*) > 0 FROM sqlite_schema", [], |row| row.get(0))?;
        if made { look(&connection).map(Some) } else { Ok(None) }
    });
    looked.map_err(|error| failed("read", path, error))
}

fn failed(what: &str, path: &Path, error: rusqlite::Error) -> Error {
    Error::unavailable(format!("the database {} can't be {what}", path.display())).caused_by(error)
}
