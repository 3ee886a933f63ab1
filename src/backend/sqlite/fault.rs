//! What can go wrong inside a transaction, and what it means to people.
//!
//! Invariant: no value of a row reaches a message. SQLite's own texts name tables and columns only; what the driver
//! says of conversions may quote a value, and is replaced by the column's place.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID, SQLITE_CONSTRAINT_UNIQUE};

use crate::error::{Error, ErrorKind};

/// An error of the driver, or one of ours that passes through as it is.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Ours(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    /// Whether a key stands in the table already.
    pub fn is_duplicate(&self) -> bool {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) = self else { return false };
        let duplicates = [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_ROWID];
        duplicates.contains(&failure.extended_code)
    }

    /// The error for people, with the database's role and file in it.
    pub fn explain(self, role: &str, path: &Path) -> Error {
        let error = match self {
            Self::Ours(error) => return error,
            Self::Sqlite(error) => error,
        };
        let text = safe_text(&error);
        let code = error.sqlite_error_code();
        let Meaning { kind, what, hint } = Meaning::of(code, &text);
        let message = format!("the {role} database {}: {what}", path.display());
        let explained = Error::new(kind, message).caused_by(text);
        let explained = if code == Some(ErrorCode::DiskFull) { explained.outage() } else { explained };
        match hint {
            Some(hint) => explained.hint(hint),
            None => explained,
        }
    }
}

struct Meaning {
    kind: ErrorKind,
    what: &'static str,
    hint: Option<&'static str>,
}

impl Meaning {
    fn of(code: Option<ErrorCode>, text: &str) -> Self {
        use ErrorKind::{Config, Internal, Unavailable};
        let (kind, what, hint) = match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (Unavailable, "another process holds its lock", Some("see which program has it open, then try again"))
            }
            Some(ErrorCode::DiskFull) => (Unavailable, "the disk is full", Some("make room, then try again")),
            Some(ErrorCode::CannotOpen) => {
                (Unavailable, "its file can't be opened", Some("check the path and its permissions"))
            }
            Some(ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed | ErrorCode::OutOfMemory) => {
                (Unavailable, "reading or writing its file failed", Some("check the disk, then try again"))
            }
            Some(ErrorCode::OperationInterrupted | ErrorCode::OperationAborted | ErrorCode::SchemaChanged) => {
                (Unavailable, "a statement was interrupted", Some("try again"))
            }
            Some(ErrorCode::DatabaseCorrupt) => (
                Unavailable,
                "its file is damaged",
                Some("`PRAGMA integrity_check` says where; restore the file from a backup"),
            ),
            Some(ErrorCode::NotADatabase) => {
                (Config, "its file is no SQLite database", Some("check the url in the config"))
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                (Config, "it may not be written to", Some("check the permissions of the file and its folder"))
            }
            _ if text.starts_with("no such table") => (Config, "a table is missing", Some("run `loadline setup`")),
            _ => (Internal, "a statement failed", None),
        };
        Self { kind, what, hint }
    }
}

fn safe_text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqliteFailure(failure, None) => failure.to_string(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::FromSqlConversionFailure(column, ty, _)
        | rusqlite::Error::InvalidColumnType(column, _, ty) => {
            format!("result column {column} holds an unexpected {ty}")
        }
        rusqlite::Error::IntegralValueOutOfRange(column, _) => {
            format!("result column {column} holds a number out of range")
        }
        rusqlite::Error::QueryReturnedNoRows => "a row is missing".to_owned(),
        rusqlite::Error::ToSqlConversionFailure(_) => "a number does not fit into 64 bits with a sign".to_owned(),
        _ => "the driver refused the statement".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_never_quote_a_value() {
        let fault = Fault::from(rusqlite::Error::IntegralValueOutOfRange(3, 4_711));
        let chain = fault.explain("metadata", Path::new("m.db")).chain();
        assert!(chain.contains("result column 3") && !chain.contains("4711"), "{chain}");
    }
}
