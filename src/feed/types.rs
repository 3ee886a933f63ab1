//! The types that a column can have: their names in a schema file and the Arrow type of a cleaned value.

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::{DataType, TimeUnit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float,
    Double,
    /// 1 to 38 digits, of which `scale` (at most 30, MySQL's limit) follow the point.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bool,
    Date,
    /// 0 to 6 digits of a second; stored as UTC.
    Timestamp {
        precision: u8,
    },
    /// At most `length` characters, 1 to 16,383.
    String {
        length: u32,
    },
    Text,
}

impl ColumnType {
    /// The Arrow type of a cleaned value. Timestamps are microseconds, UTC, without a zone.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            Self::Bool => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp { .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::String { .. } | Self::Text => DataType::Utf8,
        }
    }

    /// Whether values are text, kept as they stand: not trimmed before null tokens are compared.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::String { .. } | Self::Text)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::UInt8 => f.write_str("uint8"),
            Self::UInt16 => f.write_str("uint16"),
            Self::UInt32 => f.write_str("uint32"),
            Self::UInt64 => f.write_str("uint64"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Bool => f.write_str("bool"),
            Self::Date => f.write_str("date"),
            Self::Timestamp { precision } => write!(f, "timestamp({precision})"),
            Self::String { length } => write!(f, "string({length})"),
            Self::Text => f.write_str("text"),
        }
    }
}

/// The words that a schema file may use, for error messages and the JSON Schema.
pub const TYPE_NAMES: &str = "int8, int16, int32, int64, uint8, uint16, uint32, uint64, float, double, decimal(p,s), \
                              bool, date, timestamp(precision), string(n), text";

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not a type; the types are {TYPE_NAMES}");
        let (name, arguments) = match text.trim().split_once('(') {
            None => (text.trim(), Vec::new()),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(unknown)?;
                let numbers: Result<Vec<u32>, _> = inner.split(',').map(|n| n.trim().parse::<u32>()).collect();
                (name.trim(), numbers.map_err(|_| unknown())?)
            }
        };
        match (name, arguments.as_slice()) {
            ("int8", []) => Ok(Self::Int8),
            ("int16", []) => Ok(Self::Int16),
            ("int32", []) => Ok(Self::Int32),
            ("int64", []) => Ok(Self::Int64),
            ("uint8", []) => Ok(Self::UInt8),
            ("uint16", []) => Ok(Self::UInt16),
            ("uint32", []) => Ok(Self::UInt32),
            ("uint64", []) => Ok(Self::UInt64),
            ("float", []) => Ok(Self::Float),
            ("double", []) => Ok(Self::Double),
            ("bool", []) => Ok(Self::Bool),
            ("date", []) => Ok(Self::Date),
            ("text", []) => Ok(Self::Text),
            ("decimal", [precision, scale]) => decimal(*precision, *scale),
            ("timestamp", []) => Ok(Self::Timestamp { precision: 0 }),
            ("timestamp", [precision @ 0..=6]) => Ok(Self::Timestamp { precision: *precision as u8 }),
            ("timestamp", [_]) => Err(format!("`{text}`: a timestamp has 0 to 6 digits of a second")),
            ("string", [length @ 1..=16_383]) => Ok(Self::String { length: *length }),
            ("string", [_]) => Err(format!("`{text}`: a string has 1 to 16383 characters; use text for longer ones")),
            _ => Err(unknown()),
        }
    }
}

fn decimal(precision: u32, scale: u32) -> Result<ColumnType, String> {
    if !(1..=38).contains(&precision) || scale > precision.min(30) {
        return Err(format!(
            "`decimal({precision},{scale})`: the precision is 1 to 38, the scale 0 to 30 and not above the precision"
        ));
    }
    Ok(ColumnType::Decimal { precision: precision as u8, scale: scale as u8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_what_it_prints() {
        for text in ["int8", "uint64", "double", "decimal(10,2)", "timestamp(6)", "string(20)", "text", "bool", "date"]
        {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn limits_are_refused_with_the_reason() {
        for text in ["decimal(39,2)", "decimal(5,6)", "timestamp(7)", "string(0)", "integer", "int8(3)", "decimal(5"] {
            assert!(text.parse::<ColumnType>().is_err(), "{text}");
        }
    }
}
