//! What is inserted: the rows of a batch, and rejects. From Arrow cells to the driver's values, one allocation a text
//! or decimal and none else.
//!
//! Invariant: nothing is rounded or cut off here, and what the server would round or cut off is refused here.

use arrow::array::RecordBatch;
use chrono::{Datelike, NaiveDate};
use mysql_async::Value;

use super::fault::Fault;
use super::insert::Rows;
use crate::error::Error;
use crate::feed::ColumnType;
use crate::warehouse::{Cell, Columns, FileNumber, Reject, TableSpec};

/// Days from 0001-01-01 to 1970-01-01, the first being day 1.
const EPOCH_FROM_CE: i32 = 719_163;

/// A batch on its way into the feed's table.
pub(super) struct BatchRows<'a> {
    table: &'a TableSpec,
    file: FileNumber,
    columns: Columns<'a>,
    /// Most bytes of a row's values without its texts.
    fixed_size: usize,
    /// The columns that hold texts.
    texts: Vec<usize>,
}

impl<'a> BatchRows<'a> {
    pub fn of(table: &'a TableSpec, file: FileNumber, batch: &'a RecordBatch) -> Result<Self, Error> {
        let columns = Columns::of(batch)?;
        if columns.width() != table.columns.len() + 1 {
            return Err(Error::internal("a batch has other columns than its table"));
        }
        let types = || table.columns.iter().map(|column| column.ty);
        let fixed_size = types().map(value_size).sum::<usize>() + 2 * NUMBER_SIZE;
        let texts = types().enumerate().filter(|(_, ty)| ty.is_text()).map(|(column, _)| column).collect();
        Ok(Self { table, file, columns, fixed_size, texts })
    }
}

impl Rows for BatchRows<'_> {
    fn table(&self) -> &str {
        &self.table.name
    }

    fn columns(&self) -> Vec<&str> {
        self.table.column_names()
    }

    fn len(&self) -> usize {
        self.columns.rows()
    }

    fn record(&self, row: usize) -> Result<u64, Fault> {
        match self.columns.cell(row, self.table.columns.len()) {
            Cell::UInt(record) => Ok(record),
            _ => Err(Error::internal("a batch has no record numbers").into()),
        }
    }

    fn size(&self, row: usize) -> usize {
        let text = |column: &usize| match self.columns.cell(row, *column) {
            Cell::Text(text) => text.len(),
            _ => 0,
        };
        self.fixed_size + self.texts.iter().map(text).sum::<usize>()
    }

    fn encode(&self, row: usize, values: &mut Vec<Value>) -> Result<(), Fault> {
        for (column, declared) in self.table.columns.iter().enumerate() {
            values.push(value(declared.ty, self.columns.cell(row, column))?);
        }
        values.push(Value::Int(self.file));
        values.push(Value::UInt(self.record(row)?));
        Ok(())
    }
}

/// A whole number in a packet: the driver sends all of them at this width.
const NUMBER_SIZE: usize = 8;

/// Most bytes that a value takes in a packet; of a text, without its characters.
fn value_size(ty: ColumnType) -> usize {
    match ty {
        ColumnType::Float => 4,
        ColumnType::Date | ColumnType::Timestamp { .. } => 12,
        // A length, a sign, 38 digits, a point and a leading zero.
        ColumnType::Decimal { .. } => 42,
        ColumnType::String { .. } | ColumnType::Text => 9,
        _ => NUMBER_SIZE,
    }
}

fn value(ty: ColumnType, cell: Cell<'_>) -> Result<Value, Fault> {
    Ok(match cell {
        Cell::Null => Value::NULL,
        Cell::Int(value) => Value::Int(value),
        Cell::UInt(value) => Value::UInt(value),
        Cell::Bool(value) => Value::Int(value.into()),
        Cell::Float(value) if value.is_finite() => Value::Float(value),
        Cell::Double(value) if value.is_finite() => Value::Double(value),
        Cell::Float(_) | Cell::Double(_) => {
            return Err(Error::internal("an infinity or a NaN passed the cleaning").into());
        }
        Cell::Text(value) => Value::Bytes(value.as_bytes().to_vec()),
        Cell::Decimal(..) => {
            let mut text = String::with_capacity(24);
            cell.write_canonical(&mut text)?;
            Value::Bytes(text.into_bytes())
        }
        Cell::Date(days) => {
            let (year, month, day) = date(days)?;
            Value::Date(year, month, day, 0, 0, 0, 0)
        }
        Cell::Timestamp(micros) => timestamp(micros, ty)?,
    })
}

/// Year, month and day of a number of days since 1970-01-01.
fn date(days: i32) -> Result<(u16, u8, u8), Fault> {
    let date = days.checked_add(EPOCH_FROM_CE).and_then(NaiveDate::from_num_days_from_ce_opt);
    let date = date.filter(|date| (0..=9999).contains(&date.year()));
    let date = date.ok_or_else(|| Error::internal("a date outside the calendar passed the cleaning"))?;
    Ok((date.year() as u16, date.month() as u8, date.day() as u8))
}

fn timestamp(micros: i64, ty: ColumnType) -> Result<Value, Fault> {
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    let ColumnType::Timestamp { precision } = ty else {
        return Err(Error::internal("a batch has other types than its table").into());
    };
    // The server would round.
    if micros % 10_i64.pow(6_u32.saturating_sub(precision.into())) != 0 {
        return Err(Error::internal("a time finer than its column passed the cleaning").into());
    }
    let days = i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX);
    let (year, month, day) = date(days)?;
    let within = micros.rem_euclid(DAY);
    let seconds = within / SECOND;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    Ok(Value::Date(year, month, day, hour as u8, minute as u8, second as u8, (within % SECOND) as u32))
}

/// Rejects on their way into `loadline_rejects`.
pub(super) struct RejectRows<'a> {
    pub file: FileNumber,
    pub rejects: &'a [Reject],
}

impl Rows for RejectRows<'_> {
    fn table(&self) -> &str {
        "loadline_rejects"
    }

    fn columns(&self) -> Vec<&str> {
        vec!["file", "record", "line", "byte_offset", "column_name", "reason", "raw"]
    }

    fn len(&self) -> usize {
        self.rejects.len()
    }

    fn record(&self, row: usize) -> Result<u64, Fault> {
        Ok(self.rejects[row].record)
    }

    fn size(&self, row: usize) -> usize {
        let Reject { column, reason, raw, .. } = &self.rejects[row];
        column.as_ref().map_or(0, String::len) + reason.len() + raw.len() + 60
    }

    fn encode(&self, row: usize, values: &mut Vec<Value>) -> Result<(), Fault> {
        let Reject { record, line, byte_offset, column, reason, raw } = &self.rejects[row];
        values.push(self.file.into());
        values.extend([*record, *line, *byte_offset].map(Value::UInt));
        values.push(column.as_deref().into());
        values.push(reason.as_str().into());
        values.push(raw.as_slice().into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_apart_and_never_rounded() {
        let at = |micros, precision| timestamp(micros, ColumnType::Timestamp { precision });
        assert_eq!(at(-1, 6).unwrap(), Value::Date(1969, 12, 31, 23, 59, 59, 999_999));
        assert_eq!(at(1_500_000, 1).unwrap(), Value::Date(1970, 1, 1, 0, 0, 1, 500_000));
        assert_eq!(at(253_402_300_799_000_000, 0).unwrap(), Value::Date(9999, 12, 31, 23, 59, 59, 0));
        assert!(at(1_500_000, 0).is_err() && at(1, 5).is_err() && at(i64::MAX, 6).is_err());
        assert_eq!(date(-719_528).unwrap(), (0, 1, 1));
        assert!(date(i32::MAX).is_err());
    }

    #[test]
    fn what_the_server_would_change_in_silence_is_refused() {
        assert!(value(ColumnType::Double, Cell::Double(f64::NAN)).is_err());
        assert!(value(ColumnType::Float, Cell::Float(f32::INFINITY)).is_err());
        let decimal = value(ColumnType::Decimal { precision: 5, scale: 2 }, Cell::Decimal(-5, 2)).unwrap();
        assert_eq!(decimal, Value::Bytes(b"-0.05".to_vec()));
    }
}
