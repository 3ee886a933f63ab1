//! The feed's table on SQLite: STRICT, so that a value of the wrong type is an error and not a surprise.
//!
//! WITHOUT ROWID makes the primary key the order of the table and holds its columns to NOT NULL.

use rusqlite::Connection;

use super::fault::Fault;
use crate::feed::ColumnType;
use crate::warehouse::{FILE_COLUMN, RECORD_COLUMN, TableColumn, TableSpec};

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn sqlite_type(ty: ColumnType) -> &'static str {
    use ColumnType::*;
    match ty {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Bool => "INTEGER",
        Float | Double => "REAL",
        // SQLite's integers end at 2^63 - 1.
        UInt64 => "TEXT",
        Decimal { .. } | Date | Timestamp { .. } | String { .. } | Text => "TEXT",
    }
}

fn column_type(column: &TableColumn) -> String {
    let not_null = if column.required { " NOT NULL" } else { "" };
    format!("{}{not_null}", sqlite_type(column.ty))
}

/// Names and declared types, NOT NULL included, in order.
fn declared_columns(table: &TableSpec) -> Vec<(String, String)> {
    let lineage = [FILE_COLUMN, RECORD_COLUMN].map(|name| (name.to_owned(), "INTEGER NOT NULL".to_owned()));
    table.columns.iter().map(|column| (column.name.clone(), column_type(column))).chain(lineage).collect()
}

/// Names of the primary key's columns.
fn key(table: &TableSpec) -> Vec<String> {
    if table.primary_key.is_empty() {
        return vec![FILE_COLUMN.to_owned(), RECORD_COLUMN.to_owned()];
    }
    table.primary_key.clone()
}

/// As [`columns`] reads them.
pub(super) fn expected_columns(table: &TableSpec) -> Vec<(String, String)> {
    let key = key(table);
    let mut columns = declared_columns(table);
    for (name, ty) in &mut columns {
        if let Some(place) = key.iter().position(|column| column == name) {
            ty.push_str(&format!(", primary key {}", place + 1));
        }
    }
    columns
}

pub(super) fn ddl(table: &TableSpec) -> Vec<String> {
    let name = quote(&table.name);
    let quoted_list = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
    let lineage = quoted_list(&[FILE_COLUMN.to_owned(), RECORD_COLUMN.to_owned()]);
    let key = quoted_list(&key(table));
    let columns = declared_columns(table);
    let columns: Vec<String> = columns.iter().map(|(name, ty)| format!("    {} {ty}", quote(name))).collect();
    let columns = columns.join(",\n");
    let mut ddl = vec![format!(
        "CREATE TABLE IF NOT EXISTS {name} (\n{columns},\n    PRIMARY KEY ({key})\n) STRICT, WITHOUT ROWID"
    )];
    if !table.primary_key.is_empty() {
        let index = quote(&format!("{}_by_file", table.name));
        ddl.push(format!("CREATE INDEX IF NOT EXISTS {index} ON {name} ({lineage})"));
    }
    ddl
}

/// Names of the columns with their types, NOT NULL and place in the primary key included, in order.
pub(super) fn columns(c: &Connection, table: &str) -> Result<Option<Vec<(String, String)>>, Fault> {
    let sql = "SELECT name, type || CASE \"notnull\" WHEN 1 THEN ' NOT NULL' ELSE '' END \
               || CASE pk WHEN 0 THEN '' ELSE ', primary key ' || pk END \
               FROM pragma_table_info(?1) ORDER BY cid";
    let mut select = c.prepare_cached(sql)?;
    let columns: Vec<(String, String)> =
        select.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok((!columns.is_empty()).then_some(columns))
}

/// What of tables that were made by other hands would lose rows in silence.
pub(super) fn obstacles(c: &Connection, tables: &[String]) -> Result<Vec<String>, Fault> {
    let mut select = c.prepare("SELECT type, coalesce(sql, '') FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE")?;
    let mut obstacles = Vec::new();
    for table in tables {
        let mut rows = select.query([table])?;
        let Some(row) = rows.next()? else { continue };
        let (kind, sql): (String, String) = (row.get(0)?, row.get(1)?);
        let words: Vec<String> = sql.split_whitespace().map(str::to_ascii_uppercase).collect();
        let resolves = |word: &str| ["REPLACE", "IGNORE"].iter().any(|way| word.starts_with(way));
        if kind != "table" {
            obstacles.push(format!("`{table}` is a {kind}, not a table: rename it, or give the feed another `table`"));
        } else if words.windows(3).any(|w| w[0] == "ON" && w[1] == "CONFLICT" && resolves(&w[2])) {
            obstacles.push(format!(
                "table {table} has an ON CONFLICT clause that drops rows without an error: make the table anew without \
                 it (`loadline setup --print` shows how), or give the feed another `table`"
            ));
        }
    }
    Ok(obstacles)
}
