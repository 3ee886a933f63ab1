//! The checksum of a file as SQL: the canonical texts of [`crate::warehouse::Checksum`]. SQLite has neither a CRC-32 nor
//! exact texts of doubles, so every connection brings two functions, `crc32(text)` and `double_text(real)`.

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::table::quote;
use crate::feed::ColumnType;
use crate::warehouse::{FILE_COLUMN, FileNumber, RECORD_COLUMN, TableSpec, push_double};

/// Fewer than a function may have.
const ARGUMENTS_MAX: usize = 100;

/// Gives a connection the functions.
pub(super) fn bring_functions(c: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    c.create_scalar_function("crc32", 1, flags, crc32)?;
    c.create_scalar_function("double_text", 1, flags, double_text)
}

fn crc32(context: &mut Context<'_>) -> rusqlite::Result<Option<u32>> {
    Ok(match context.get_raw(0) {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(crc32fast::hash(bytes)),
        _ => None,
    })
}

fn double_text(context: &mut Context<'_>) -> rusqlite::Result<Option<String>> {
    let value: Option<f64> = context.get(0)?;
    Ok(value.map(|value| {
        let mut text = String::new();
        push_double(&mut text, value);
        text
    }))
}

/// What to select of a table's rows for their checksum. `alias` stands before every column.
pub(super) fn sum(table: &TableSpec, alias: &str) -> String {
    let name = |column: &str| if alias.is_empty() { quote(column) } else { format!("{alias}.{}", quote(column)) };
    let columns =
        table.columns.iter().map(|column| format!("ifnull({}, 'NULL')", text(column.ty, &name(&column.name))));
    let columns: Vec<String> = columns.chain([name(RECORD_COLUMN)]).collect();
    format!("ifnull(sum(crc32({})), 0)", joined(&columns))
}

fn joined(columns: &[String]) -> String {
    if columns.len() <= ARGUMENTS_MAX {
        return format!("concat_ws('|', {})", columns.join(", "));
    }
    let groups: Vec<String> = columns.chunks(columns.len().div_ceil(ARGUMENTS_MAX)).map(joined).collect();
    format!("concat_ws('|', {})", groups.join(", "))
}

pub(super) fn of_file(table: &TableSpec, file: FileNumber) -> String {
    format!(
        "SELECT count(*) AS rows, {} AS checksum FROM {} WHERE {} = {file}",
        sum(table, ""),
        quote(&table.name),
        quote(FILE_COLUMN)
    )
}

fn text(ty: ColumnType, column: &str) -> String {
    use ColumnType::*;
    match ty {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Bool | Decimal { .. } | Date => {
            column.to_owned()
        }
        Float | Double => format!("double_text({column})"),
        Timestamp { precision: 6 } => column.to_owned(),
        Timestamp { precision: 0 } => format!("{column} || '.000000'"),
        Timestamp { precision } => format!("{column} || '{:0<1$}'", "", usize::from(6 - precision.min(6))),
        String { .. } | Text => format!("octet_length({column}) || ':' || {column}"),
    }
}
