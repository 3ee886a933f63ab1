//! The checksum of a file as plain SQL: the canonical texts of [`crate::warehouse::Checksum`] as both servers give them.
//!
//! Invariant: nothing here depends on a setting of the session. The bytes of a text are those of the column, which is
//! utf8mb4; all else is ASCII.

use super::connection::quote;
use crate::feed::ColumnType;
use crate::warehouse::{FILE_COLUMN, FileNumber, RECORD_COLUMN, TableSpec};

/// What to select of a table's rows for their checksum. `alias` stands before every column.
pub(super) fn sum(table: &TableSpec, alias: &str) -> String {
    let name = |column: &str| if alias.is_empty() { quote(column) } else { format!("{alias}.{}", quote(column)) };
    let columns =
        table.columns.iter().map(|column| format!("IFNULL({}, 'NULL')", text(column.ty, &name(&column.name))));
    let columns: Vec<String> = columns.chain([name(RECORD_COLUMN)]).collect();
    format!("CAST(IFNULL(SUM(CRC32(CONCAT_WS('|', {}))), 0) AS SIGNED)", columns.join(", "))
}

pub(super) fn of_file(table: &TableSpec, file: FileNumber) -> String {
    format!(
        "SELECT COUNT(*) AS `rows`, {} AS checksum FROM {} WHERE {} = {file}",
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
        Float | Double => format!(
            "CONCAT(IF({column} < 0, '-', ''), CASE \
             WHEN ABS({column}) >= POW(2, -8) OR {column} = 0 THEN ABS({column}) + 0e0 \
             WHEN ABS({column}) >= POW(2, -500) THEN CONCAT(ABS({column}) * POW(2, 500), 'p-500') \
             ELSE CONCAT(ABS({column}) * POW(2, 1000) * POW(2, 74), 'p-1074') END)"
        ),
        Timestamp { precision: 6 } => column.to_owned(),
        Timestamp { precision: 0 } => format!("CONCAT({column}, '.000000')"),
        Timestamp { precision } => format!("CONCAT({column}, '{:0<1$}')", "", usize::from(6 - precision.min(6))),
        String { .. } | Text => format!("CONCAT(LENGTH({column}), ':', {column})"),
    }
}
