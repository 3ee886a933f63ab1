//! The order-free checksum of a file's rows.
//!
//! Each row's canonical text is hashed with CRC-32 (IEEE, the `CRC32()` of MySQL) and the hashes are added up, so that
//! neither the order of the rows nor the cut into segments matters. The canonical text of a row is that of its columns in
//! the table's order, then `_record`, joined by `|`:
//!
//! | type | text |
//! |---|---|
//! | NULL of any type | `NULL` |
//! | whole numbers, bool | digits, `-` in front; 0 or 1 |
//! | decimal | all digits of the scale, a digit before the point: `-0.50` |
//! | date | `YYYY-MM-DD` |
//! | timestamp | `YYYY-MM-DD HH:MM:SS.ffffff`, whatever the precision of the column |
//! | float, double | see [`super::double_text`]; a float as the double of the same value |
//! | string, text | its length in bytes of UTF-8, `:`, the bytes: `3:abc` |
//!
//! Since a text says how long it is, no text can pass for a NULL or for the end of its column. It is a sum against
//! accidents, not against forgers.
//!
//! Invariant: every type's text is one that plain SQL gives on every backend (`checksum_sql` of the backends); whoever
//! changes one raises [`CHECKSUM_VERSION`].

use std::fmt::Write;

use chrono::{Datelike, Timelike};
use sha2::{Digest, Sha256};

use super::{Cell, Columns, TableColumn, TableSpec, push_double};
use crate::error::{Error, Result};

const SEPARATOR: char = '|';
const NULL: &str = "NULL";

/// Raised by hand when a canonical text changes, together with [`crate::feed::CLEANING_VERSION`], so that no file is
/// summed up by two rules.
const CHECKSUM_VERSION: u32 = 2;

/// What a checksum over a table is made of: the version of the canonical texts and a hash over the names and types of the
/// columns. Under another rule, a checksum can't be compared with what the table as it is now gives.
pub fn checksum_rule(table: &TableSpec) -> String {
    let mut hash = Sha256::new();
    for TableColumn { name, ty, required: _ } in &table.columns {
        hash.update(format!("{name} {ty}\n"));
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{CHECKSUM_VERSION}-{digest}")
}

#[derive(Debug, Default)]
pub struct Checksum {
    sum: i64,
    text: String,
}

impl Checksum {
    /// Goes on from the sum of the records before.
    pub fn from(sum: i64) -> Self {
        Self { sum, text: String::new() }
    }

    /// Adds every row of a batch.
    pub fn add(&mut self, columns: &Columns<'_>) -> Result<()> {
        for row in 0..columns.rows() {
            self.text.clear();
            for column in 0..columns.width() {
                if column > 0 {
                    self.text.push(SEPARATOR);
                }
                columns.cell(row, column).write_canonical(&mut self.text)?;
            }
            self.sum = self.sum.wrapping_add(i64::from(crc32fast::hash(self.text.as_bytes())));
        }
        Ok(())
    }

    pub fn sum(&self) -> i64 {
        self.sum
    }
}

impl Cell<'_> {
    /// Appends the canonical text of the module's story. Decimals, dates and timestamps are stored so on SQLite too.
    pub fn write_canonical(&self, text: &mut String) -> Result<()> {
        match *self {
            Cell::Null => text.push_str(NULL),
            Cell::Int(value) => text.push_str(itoa::Buffer::new().format(value)),
            Cell::UInt(value) => text.push_str(itoa::Buffer::new().format(value)),
            Cell::Float(value) => push_double(text, f64::from(value)),
            Cell::Double(value) => push_double(text, value),
            Cell::Decimal(digits, scale) => push_decimal(text, digits, scale),
            Cell::Bool(value) => text.push(if value { '1' } else { '0' }),
            Cell::Date(days) => push_date(text, date(days)?)?,
            Cell::Timestamp(micros) => {
                let at = timestamp(micros)?;
                push_date(text, at.date())?;
                push_time(text, at.time());
            }
            Cell::Text(value) => {
                text.push_str(itoa::Buffer::new().format(value.len()));
                text.push(':');
                text.push_str(value);
            }
        }
        Ok(())
    }
}

fn written(result: std::fmt::Result) -> Result<()> {
    result.map_err(|error| Error::internal("writing text to memory").caused_by(error))
}

/// Appends at least `width` digits, with zeros in front.
fn push_digits(text: &mut String, value: impl itoa::Integer, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value);
    text.extend(std::iter::repeat_n('0', width.saturating_sub(digits.len())));
    text.push_str(digits);
}

fn push_decimal(text: &mut String, digits: i128, scale: i8) {
    if digits < 0 {
        text.push('-');
    }
    let scale = usize::from(scale.unsigned_abs());
    push_digits(text, digits.unsigned_abs(), scale + 1);
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
}

/// Years of other than four digits keep the sign that chrono gives them.
fn push_date(text: &mut String, date: chrono::NaiveDate) -> Result<()> {
    match date.year() {
        year @ 0..=9999 => push_digits(text, year, 4),
        _ => written(write!(text, "{}", date.format("%Y")))?,
    }
    for part in [date.month(), date.day()] {
        text.push('-');
        push_digits(text, part, 2);
    }
    Ok(())
}

fn push_time(text: &mut String, time: chrono::NaiveTime) {
    for (before, part) in [(' ', time.hour()), (':', time.minute()), (':', time.second())] {
        text.push(before);
        push_digits(text, part, 2);
    }
    text.push('.');
    push_digits(text, time.nanosecond() / 1000, 6);
}

fn date(days: i32) -> Result<chrono::NaiveDate> {
    let epoch = chrono::NaiveDate::default();
    epoch.checked_add_signed(chrono::Duration::days(i64::from(days))).ok_or_else(out_of_range)
}

fn timestamp(micros: i64) -> Result<chrono::NaiveDateTime> {
    chrono::DateTime::from_timestamp_micros(micros).map(|at| at.naive_utc()).ok_or_else(out_of_range)
}

fn out_of_range() -> Error {
    Error::internal("a date outside the calendar passed the cleaning")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(cell: Cell<'_>) -> String {
        let mut text = String::new();
        cell.write_canonical(&mut text).unwrap();
        text
    }

    #[test]
    fn canonical_texts() {
        assert_eq!(canonical(Cell::Decimal(-5, 2)), "-0.05");
        assert_eq!(canonical(Cell::Decimal(12345, 2)), "123.45");
        assert_eq!(canonical(Cell::Decimal(7, 0)), "7");
        assert_eq!(canonical(Cell::Date(-1)), "1969-12-31");
        assert_eq!(canonical(Cell::Timestamp(1_500_000)), "1970-01-01 00:00:01.500000");
        assert_eq!(canonical(Cell::Double(0.1 + 0.2)), "0.30000000000000004");
        assert_eq!(canonical(Cell::UInt(u64::MAX)), "18446744073709551615");
        assert_eq!(canonical(Cell::UInt(0)), "0");
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for value in [0, 1, -1, 9, 10, -10, 99, 100, i64::MAX, i64::MIN] {
            assert_eq!(canonical(Cell::Int(value)), value.to_string());
        }
        let longest = 10_i128.pow(38) - 1;
        for digits in [longest, -longest, 1 << 64, (1 << 64) - 1, 10_i128.pow(37)] {
            assert_eq!(canonical(Cell::Decimal(digits, 0)), digits.to_string());
        }
        let nines = "9".repeat(38);
        assert_eq!(canonical(Cell::Decimal(-longest, 38)), format!("-0.{nines}"));
        assert_eq!(canonical(Cell::Decimal(0, 30)), format!("0.{}", "0".repeat(30)));
    }

    #[test]
    fn times_are_those_of_chrono() {
        for micros in [0, -1, 1, 999_999, 1_700_000_000_123_456, -62_135_596_800_000_000, 253_402_300_800_000_000] {
            let expected = timestamp(micros).unwrap().format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            assert_eq!(canonical(Cell::Timestamp(micros)), expected);
        }
        for days in [0, -1, -719_162, -719_529, 2_932_896, 2_932_897] {
            let expected = date(days).unwrap().format("%Y-%m-%d").to_string();
            assert_eq!(canonical(Cell::Date(days)), expected);
        }
    }
}
