//! From Arrow columns to the values that a driver binds, without a copy of the text.
//!
//! Invariant: what a [`Cell`] says is exactly what the array holds; no type is widened or rounded on the way.

use arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};

use crate::error::{Error, Result};

/// One value on its way to a driver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    /// Unscaled digits and how many of them follow the point.
    Decimal(i128, i8),
    Bool(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Timestamp(i64),
    Text(&'a str),
}

enum Column<'a> {
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    UInt8(&'a UInt8Array),
    UInt16(&'a UInt16Array),
    UInt32(&'a UInt32Array),
    UInt64(&'a UInt64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal(&'a Decimal128Array, i8),
    Bool(&'a BooleanArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Text(&'a StringArray),
}

/// The columns of a batch, looked at once, so that reading a cell is a match and an index.
pub struct Columns<'a> {
    columns: Vec<Column<'a>>,
    rows: usize,
}

impl<'a> Columns<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Self> {
        let columns = batch.columns().iter().map(|array| Column::of(array.as_ref())).collect::<Result<_>>()?;
        Ok(Self { columns, rows: batch.num_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The value in `row` (below [`Self::rows`]) and `column` (below [`Self::width`]).
    pub fn cell(&self, row: usize, column: usize) -> Cell<'a> {
        self.columns[column].cell(row)
    }
}

impl<'a> Column<'a> {
    fn of(array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Int8 => Self::Int8(array.as_primitive()),
            DataType::Int16 => Self::Int16(array.as_primitive()),
            DataType::Int32 => Self::Int32(array.as_primitive()),
            DataType::Int64 => Self::Int64(array.as_primitive()),
            DataType::UInt8 => Self::UInt8(array.as_primitive()),
            DataType::UInt16 => Self::UInt16(array.as_primitive()),
            DataType::UInt32 => Self::UInt32(array.as_primitive()),
            DataType::UInt64 => Self::UInt64(array.as_primitive()),
            DataType::Float32 => Self::Float32(array.as_primitive()),
            DataType::Float64 => Self::Float64(array.as_primitive()),
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive(), *scale),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp(array.as_primitive()),
            DataType::Utf8 => Self::Text(array.as_string()),
            other => return Err(Error::internal(format!("a column of type {other} has no binding"))),
        })
    }

    fn cell(&self, row: usize) -> Cell<'a> {
        macro_rules! value {
            ($array:expr, $cell:expr) => {
                if $array.is_null(row) { Cell::Null } else { $cell($array.value(row)) }
            };
        }
        match self {
            Self::Int8(array) => value!(array, |v| Cell::Int(i64::from(v))),
            Self::Int16(array) => value!(array, |v| Cell::Int(i64::from(v))),
            Self::Int32(array) => value!(array, |v| Cell::Int(i64::from(v))),
            Self::Int64(array) => value!(array, Cell::Int),
            Self::UInt8(array) => value!(array, |v| Cell::UInt(u64::from(v))),
            Self::UInt16(array) => value!(array, |v| Cell::UInt(u64::from(v))),
            Self::UInt32(array) => value!(array, |v| Cell::UInt(u64::from(v))),
            Self::UInt64(array) => value!(array, Cell::UInt),
            Self::Float32(array) => value!(array, Cell::Float),
            Self::Float64(array) => value!(array, Cell::Double),
            Self::Decimal(array, scale) => value!(array, |v| Cell::Decimal(v, *scale)),
            Self::Bool(array) => value!(array, Cell::Bool),
            Self::Date(array) => value!(array, Cell::Date),
            Self::Timestamp(array) => value!(array, Cell::Timestamp),
            Self::Text(array) => value!(array, Cell::Text),
        }
    }
}
