//! Rows into the feed's table: multi-row prepared statements of two shapes, full and remainder.
//!
//! Invariant: a value is stored as it is, or the statement fails; nothing is rounded, cut off or replaced by NULL.
//! One exception is SQLite's own: a negative zero loses its sign.

use arrow::array::RecordBatch;
use rusqlite::types::Null;
use rusqlite::{Connection, Statement};

use super::fault::Fault;
use super::table::quote;
use super::value::Count;
use crate::error::Error;
use crate::feed::ColumnType;
use crate::warehouse::{Cell, Columns, FileNumber, TableSpec, insert_sql, rows_per_statement};

/// SQLITE_MAX_VARIABLE_NUMBER of the bundled SQLite.
const PLACEHOLDERS_MAX: usize = 32_766;

/// Rows of a full statement. Measured with 12 columns: 1 row 240,000 rows/s, 4 rows 440,000, 16 rows 740,000, 64 rows
/// 815,000; 500 rows are slower again.
const ROWS_PER_STATEMENT: usize = 64;

/// Why rows were not inserted.
pub(super) enum Refused {
    /// The key of this record stands in the table already.
    Duplicate {
        record: u64,
    },
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// A batch on its way into the table.
struct Rows<'a> {
    table: &'a TableSpec,
    file: FileNumber,
    columns: Columns<'a>,
}

pub(super) fn insert(c: &Connection, table: &TableSpec, file: FileNumber, batch: &RecordBatch) -> Result<(), Refused> {
    let rows = Rows { table, file, columns: Columns::of(batch)? };
    if rows.columns.width() != table.columns.len() + 1 {
        return Err(Error::internal("a batch has other columns than its table").into());
    }
    let names = table.column_names();
    let full = rows_per_statement(ROWS_PER_STATEMENT, PLACEHOLDERS_MAX, names.len());
    let all = batch.num_rows();
    let mut text = String::new();
    let mut statement = c.prepare_cached(&insert_sql(&table.name, &names, full, quote))?;
    for first in (0..all).step_by(full) {
        let count = full.min(all - first);
        let inserted = if count == full {
            rows.insert(&mut statement, first, count, &mut text)
        } else {
            rows.insert(&mut c.prepare(&insert_sql(&table.name, &names, count, quote))?, first, count, &mut text)
        };
        match inserted {
            // Without a declared key, (_file, _record) is the key, and that is ours.
            Err(fault) if fault.is_duplicate() && !table.primary_key.is_empty() => {
                return Err(rows.find_duplicate(c, first, count)?);
            }
            other => other?,
        }
    }
    Ok(())
}

impl Rows<'_> {
    fn insert(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        count: usize,
        text: &mut String,
    ) -> Result<(), Fault> {
        let mut place = 1;
        for row in first..first + count {
            for (column, declared) in self.table.columns.iter().enumerate() {
                bind(statement, place, declared.ty, self.columns.cell(row, column), text)?;
                place += 1;
            }
            statement.raw_bind_parameter(place, self.file)?;
            statement.raw_bind_parameter(place + 1, Count(self.record(row)?))?;
            place += 2;
        }
        if statement.raw_execute()? != count {
            return Err(Error::internal("an insert did not take all of its rows").into());
        }
        Ok(())
    }

    fn record(&self, row: usize) -> Result<u64, Fault> {
        match self.columns.cell(row, self.table.columns.len()) {
            Cell::UInt(record) => Ok(record),
            _ => Err(Error::internal("a batch has no record numbers").into()),
        }
    }

    /// The refused statement once more, row by row, up to the one that is to blame.
    fn find_duplicate(&self, c: &Connection, first: usize, count: usize) -> Result<Refused, Fault> {
        let sql = insert_sql(&self.table.name, &self.table.column_names(), 1, quote);
        let mut statement = c.prepare(&sql)?;
        let mut text = String::new();
        for row in first..first + count {
            match self.insert(&mut statement, row, 1, &mut text) {
                Err(fault) if fault.is_duplicate() => return Ok(Refused::Duplicate { record: self.record(row)? }),
                other => other?,
            }
        }
        Err(Error::internal("a key was refused as a duplicate and then taken").into())
    }
}

fn bind(
    statement: &mut Statement<'_>,
    place: usize,
    ty: ColumnType,
    cell: Cell<'_>,
    text: &mut String,
) -> Result<(), Fault> {
    match cell {
        Cell::Null => statement.raw_bind_parameter(place, Null)?,
        Cell::Int(value) => statement.raw_bind_parameter(place, value)?,
        Cell::UInt(value) if ty != ColumnType::UInt64 => statement.raw_bind_parameter(place, Count(value))?,
        Cell::Bool(value) => statement.raw_bind_parameter(place, value)?,
        Cell::Float(value) => statement.raw_bind_parameter(place, not_nan(f64::from(value))?)?,
        Cell::Double(value) => statement.raw_bind_parameter(place, not_nan(value)?)?,
        Cell::Text(value) => statement.raw_bind_parameter(place, value)?,
        Cell::UInt(_) | Cell::Decimal(..) | Cell::Date(_) | Cell::Timestamp(_) => {
            text.clear();
            cell.write_canonical(text)?;
            if let ColumnType::Timestamp { precision } = ty {
                cut_fraction(text, precision)?;
            }
            statement.raw_bind_parameter(place, text.as_str())?;
        }
    }
    Ok(())
}

/// SQLite stores NaN as NULL, without a word.
fn not_nan(value: f64) -> Result<f64, Fault> {
    if value.is_nan() { Err(Error::internal("a NaN passed the cleaning").into()) } else { Ok(value) }
}

/// From the six digits of a second of the canonical text to those that the column has.
fn cut_fraction(text: &mut String, precision: u8) -> Result<(), Fault> {
    let surplus = 6 - usize::from(precision.min(6));
    let kept = text.len() - surplus;
    if text.as_bytes()[kept..].iter().any(|digit| *digit != b'0') {
        return Err(Error::internal("a time finer than its column passed the cleaning").into());
    }
    text.truncate(kept);
    if precision == 0 {
        text.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_the_digits_of_the_column_and_lose_none() {
        for (precision, expected) in
            [(6, "1970-01-01 00:00:01.500000"), (1, "1970-01-01 00:00:01.5"), (3, "1970-01-01 00:00:01.500")]
        {
            let mut text = "1970-01-01 00:00:01.500000".to_owned();
            cut_fraction(&mut text, precision).unwrap();
            assert_eq!(text, expected);
        }
        let mut text = "1970-01-01 00:00:01.000000".to_owned();
        cut_fraction(&mut text, 0).unwrap();
        assert_eq!(text, "1970-01-01 00:00:01");
        assert!(cut_fraction(&mut "1970-01-01 00:00:01.500000".to_owned(), 0).is_err());
    }
}
