//! Columns as a schema file declares them.

use chrono_tz::Tz;

use super::ColumnType;

/// What happens to a record whose value is present but does not convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    /// The value becomes NULL and is counted for its column and file.
    Null,
    /// The record becomes a reject.
    Reject,
    /// The file fails.
    Fail,
}

impl OnInvalid {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Reject => "reject",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Column {
    /// The text of the header cell, compared as it stands.
    pub header: String,
    pub name: String,
    pub ty: ColumnType,
    /// Values that mean "missing". Compared after trimming, except for text types.
    pub null_tokens: Vec<String>,
    pub on_invalid: OnInvalid,
    /// A missing value counts as invalid too. Goes with `reject` or `fail` only; the table's column is NOT NULL.
    pub required: bool,
    /// The zone of timestamps that don't name one.
    pub timezone: Tz,
}

#[derive(Debug, Clone)]
pub struct Schema {
    pub columns: Vec<Column>,
    /// Names of required columns; empty where (`_file`, `_record`) is the key.
    pub primary_key: Vec<String>,
}

impl Schema {
    /// One line a column, everything that bears on what is stored: the text behind the plan hash.
    pub fn normalised(&self) -> String {
        let mut text = String::new();
        for column in &self.columns {
            let Column { header, name, ty, null_tokens, on_invalid, required, timezone } = column;
            let mut tokens = null_tokens.clone();
            tokens.sort();
            let policy = on_invalid.as_str();
            text.push_str(&format!("{header:?} {name} {ty} {tokens:?} {policy} {required} {timezone}\n"));
        }
        text.push_str(&format!("{:?}", self.primary_key));
        text
    }
}
