//! Times, keys and fields on their way into columns and back.
//!
//! Invariant: times are DATETIME(6) in UTC; what is below a microsecond is cut off.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use mysql_async::prelude::FromValue;
use mysql_async::{Row, Value};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use crate::error::Error;

/// The value of a result column.
pub(super) fn field<T: FromValue>(row: &mut Row, column: &str) -> Result<T, Fault> {
    match row.take_opt(column) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) => Err(Error::internal(format!("result column `{column}` holds an unexpected value")).into()),
        None => Err(Error::internal(format!("result column `{column}` is missing")).into()),
    }
}

/// A time, out of a prepared statement's result.
pub(super) fn time_field(row: &mut Row, column: &str) -> Result<DateTime<Utc>, Fault> {
    let time = time_field_if_any(row, column)?;
    time.ok_or_else(|| Error::internal(format!("result column `{column}` holds no time")).into())
}

pub(super) fn time_field_if_any(row: &mut Row, column: &str) -> Result<Option<DateTime<Utc>>, Fault> {
    let unexpected = || Error::internal(format!("result column `{column}` holds an unexpected value"));
    match field(row, column)? {
        Value::NULL => Ok(None),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
            let time = date.and_then(|date| date.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micros));
            Ok(Some(time.ok_or_else(unexpected)?.and_utc()))
        }
        _ => Err(unexpected().into()),
    }
}

/// Years outside 0 to 9999 have no place in a DATETIME; no clock shows them.
pub(super) fn time_value(at: DateTime<Utc>) -> Value {
    let year = at.year().clamp(0, 9999) as u16;
    let (month, day) = (at.month() as u8, at.day() as u8);
    let (hour, minute, second) = (at.hour() as u8, at.minute() as u8, at.second() as u8);
    Value::Date(year, month, day, hour, minute, second, at.nanosecond() % 1_000_000_000 / 1_000)
}

pub(super) fn key_hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

pub(super) fn key_text(key: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(key).map_err(|_| Error::internal("a stored key is not UTF-8").into())
}

/// `?,?,?`, for an IN list.
pub(super) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_microseconds() {
        let at = DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap();
        assert_eq!(time_value(at), Value::Date(2023, 11, 14, 22, 13, 20, 123_456));
    }
}
