//! The feed's table on MySQL: InnoDB, texts compared as bytes, every declared type under its own name.
//!
//! The primary key is the order of an InnoDB table. Where the feed declares none it is the lineage, so that rows are
//! appended and a file's rows lie together.
//!
//! Invariant: what [`columns`] reads of a table that [`ddl`] made is what [`expected_columns`] says, on every server.

use super::connection::{Session, quote};
use super::fault::Fault;
use super::value::field;
use crate::feed::ColumnType;
use crate::warehouse::{FILE_COLUMN, RECORD_COLUMN, TableSpec};

/// As servers of today print it: whole numbers without a width.
fn mysql_type(ty: ColumnType) -> String {
    match ty {
        ColumnType::Int8 => "tinyint".to_owned(),
        ColumnType::Int16 => "smallint".to_owned(),
        ColumnType::Int32 => "int".to_owned(),
        ColumnType::Int64 => "bigint".to_owned(),
        ColumnType::UInt8 => "tinyint unsigned".to_owned(),
        ColumnType::UInt16 => "smallint unsigned".to_owned(),
        ColumnType::UInt32 => "int unsigned".to_owned(),
        ColumnType::UInt64 => "bigint unsigned".to_owned(),
        ColumnType::Float => "float".to_owned(),
        ColumnType::Double => "double".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnType::Bool => "tinyint(1)".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Timestamp { precision: 0 } => "datetime".to_owned(),
        ColumnType::Timestamp { precision } => format!("datetime({precision})"),
        ColumnType::String { length } => format!("varchar({length})"),
        ColumnType::Text => "longtext".to_owned(),
    }
}

/// Names and declared types, NOT NULL included, in order.
fn declared_columns(table: &TableSpec) -> Vec<(String, String)> {
    let key = key(table);
    let declared = table.columns.iter().map(|column| {
        let not_null = if column.required || key.contains(&column.name) { " not null" } else { "" };
        (column.name.clone(), format!("{}{not_null}", mysql_type(column.ty)))
    });
    let lineage = [(FILE_COLUMN, "bigint not null"), (RECORD_COLUMN, "bigint unsigned not null")];
    declared.chain(lineage.map(|(name, ty)| (name.to_owned(), ty.to_owned()))).collect()
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
    let quoted_list = |names: &[String]| names.iter().map(quote).collect::<Vec<_>>().join(", ");
    let columns = declared_columns(table);
    let mut lines: Vec<String> = columns.iter().map(|(name, ty)| format!("{} {ty}", quote(name))).collect();
    lines.push(format!("PRIMARY KEY ({})", quoted_list(&key(table))));
    if !table.primary_key.is_empty() {
        let lineage = quoted_list(&[FILE_COLUMN.to_owned(), RECORD_COLUMN.to_owned()]);
        lines.push(format!("KEY {} ({lineage})", quote("loadline_by_file")));
    }
    vec![format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    {}\n) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        quote(&table.name),
        lines.join(",\n    ")
    )]
}

/// Names of the columns with their types, NOT NULL and place in the primary key included, in order.
pub(super) async fn columns(session: &mut Session, table: &str) -> Result<Option<Vec<(String, String)>>, Fault> {
    let sql = "SELECT c.column_name AS name, c.column_type AS type, c.is_nullable AS nullable, \
               CAST(k.seq_in_index AS UNSIGNED) AS place \
               FROM information_schema.columns c LEFT JOIN information_schema.statistics k \
               ON k.table_schema = c.table_schema AND k.table_name = c.table_name \
               AND k.column_name = c.column_name AND k.index_name = 'PRIMARY' \
               WHERE c.table_schema = DATABASE() AND c.table_name = ? ORDER BY c.ordinal_position";
    let mut columns = Vec::new();
    for mut row in session.rows(sql, (table,)).await? {
        let (name, ty): (String, String) = (field(&mut row, "name")?, field(&mut row, "type")?);
        let (nullable, place): (String, Option<u64>) = (field(&mut row, "nullable")?, field(&mut row, "place")?);
        let mut words = without_width(&ty);
        if nullable == "NO" {
            words.push_str(" not null");
        }
        if let Some(place) = place {
            words.push_str(&format!(", primary key {place}"));
        }
        columns.push((name, words));
    }
    Ok((!columns.is_empty()).then_some(columns))
}

/// MariaDB prints the display width of whole numbers, MySQL has dropped it, but for `tinyint(1)`.
fn without_width(ty: &str) -> String {
    const WHOLE: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];
    let lower = ty.to_ascii_lowercase();
    let Some((name, rest)) = lower.split_once('(') else { return lower };
    let Some((_, rest)) = rest.split_once(')').filter(|_| WHOLE.contains(&name)) else { return lower };
    if lower == "tinyint(1)" { lower } else { format!("{name}{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_words_are_one() {
        for (printed, words) in [
            ("int(11)", "int"),
            ("bigint(20) unsigned", "bigint unsigned"),
            ("tinyint(4)", "tinyint"),
            ("tinyint(1)", "tinyint(1)"),
            ("tinyint(3) unsigned", "tinyint unsigned"),
            ("decimal(10,2)", "decimal(10,2)"),
            ("varchar(20)", "varchar(20)"),
            ("datetime(6)", "datetime(6)"),
            ("bigint", "bigint"),
        ] {
            assert_eq!(without_width(printed), words);
        }
    }
}
