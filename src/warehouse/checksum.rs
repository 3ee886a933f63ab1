//! The order-free checksum of a file's rows.
//!
//! Each row's canonical text is hashed with CRC-32 (IEEE, the `CRC32()` of MySQL) and the hashes are added up, so that
//! neither the order of the rows nor the cut into segments matters. The canonical text joins the table's columns and
//! `_record` by the unit separator U+001F; NULL is U+0000. Integers are plain digits, booleans 0 or 1, decimals have
//! all digits of their scale, dates are `YYYY-MM-DD`, timestamps `YYYY-MM-DD HH:MM:SS.ffffff`, floats and doubles the
//! shortest text that reads back to the same bits.

use std::fmt::Write;

use super::{Cell, Columns};
use crate::error::{Error, Result};

const SEPARATOR: char = '\u{1f}';
const NULL: char = '\u{0}';

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
        let written = match *self {
            Cell::Null => {
                text.push(NULL);
                Ok(())
            }
            Cell::Int(value) => write!(text, "{value}"),
            Cell::UInt(value) => write!(text, "{value}"),
            Cell::Float(value) => write!(text, "{value:?}"),
            Cell::Double(value) => write!(text, "{value:?}"),
            Cell::Decimal(digits, scale) => {
                write_decimal(text, digits, scale);
                Ok(())
            }
            Cell::Bool(value) => write!(text, "{}", u8::from(value)),
            Cell::Date(days) => write!(text, "{}", date(days)?.format("%Y-%m-%d")),
            Cell::Timestamp(micros) => write!(text, "{}", timestamp(micros)?.format("%Y-%m-%d %H:%M:%S%.6f")),
            Cell::Text(value) => {
                text.push_str(value);
                Ok(())
            }
        };
        written.map_err(|error| Error::internal("writing text to memory").caused_by(error))
    }
}

fn write_decimal(text: &mut String, digits: i128, scale: i8) {
    if digits < 0 {
        text.push('-');
    }
    let scale = usize::from(scale.unsigned_abs());
    let all = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = all.split_at(all.len() - scale);
    text.push_str(whole);
    if scale > 0 {
        text.push('.');
        text.push_str(fraction);
    }
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
    }
}
