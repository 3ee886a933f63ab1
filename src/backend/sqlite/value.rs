//! Times, keys and states on their way into columns and back.
//!
//! Invariant: times are `YYYY-MM-DD HH:MM:SS.ffffff`, UTC, so that the order of the texts is the order of the times.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use crate::error::Error;

const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// Longest wait that a duration may name: keeps every time within four digits of a year.
const WAIT_MAX: Duration = Duration::days(36_500);

/// A `run_after` that has passed by every clock, where a job need not wait: a clock that was ahead hides no job.
pub(super) fn at_once() -> String {
    time_text(DateTime::UNIX_EPOCH)
}

/// What is below a microsecond is cut off.
pub(super) fn time_text(at: DateTime<Utc>) -> String {
    at.format(TIME_FORMAT).to_string()
}

pub(super) fn time(text: &str) -> Result<DateTime<Utc>, Fault> {
    let parsed = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    Ok(parsed.map_err(|error| Error::internal("a stored time is not a time").caused_by(error))?.and_utc())
}

pub(super) fn time_if_any(text: Option<String>) -> Result<Option<DateTime<Utc>>, Fault> {
    text.as_deref().map(time).transpose()
}

pub(super) fn after(now: DateTime<Utc>, wait: std::time::Duration) -> DateTime<Utc> {
    now + Duration::from_std(wait).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

/// A `u64` in a column of SQLite, whose integers are `i64`. What does not fit is an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub u64);

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let fits = i64::try_from(self.0);
        Ok(fits.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?.into())
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        u64::try_from(value).map(Self).map_err(|_| FromSqlError::OutOfRange(value))
    }
}

pub(super) fn key_hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Hashes as a JSON array of hex texts: one parameter, however many keys.
pub(super) fn key_hashes_json(keys: &[String]) -> String {
    let hex = |key: &String| key_hash(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let quoted: Vec<String> = keys.iter().map(|key| format!("\"{}\"", hex(key))).collect();
    format!("[{}]", quoted.join(","))
}

pub(super) fn key_text(key: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(key).map_err(|_| Error::internal("a stored key is not UTF-8").into())
}

pub(super) fn unknown_word(column: &str) -> Fault {
    Error::internal(format!("column `{column}` holds a word that this version does not know")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_cut_to_microseconds() {
        let at = DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap();
        assert_eq!(time_text(at), "2023-11-14 22:13:20.123456");
        assert_eq!(time(&time_text(at)).unwrap(), DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap());
    }
}
