//! From a schema to SQL: trim, null tokens, conversion, and what becomes of a value that does not convert.
//!
//! Three levels, each a SELECT over the one below, so that an expression stands once:
//! `text` (trimmed, null tokens are NULL), `typed` (converted, NULL where that fails), and the verdicts.
//!
//! Invariant: a value is either exactly what the text says or invalid. Range, scale, length, finiteness and calendar
//! are checked here and not left to the database, which alters some of them in silence.

use std::fmt::Write;

use crate::feed::{Column, ColumnType, OnInvalid, Schema};

/// Names of the columns beside the typed ones in the load plan.
pub const REJECT_COLUMN: &str = "_reject_column";
pub const REJECT_REASON: &str = "_reject_reason";
pub const FAIL_COLUMN: &str = "_fail_column";
pub const FAIL_REASON: &str = "_fail_reason";

const PLACES: [&str; 3] = ["_record", "_line", "_offset"];

/// The view `clean`: typed columns, `_uri`, places, and `_reject`: NULL, or why the record does not load.
pub fn clean_sql(schema: &Schema) -> String {
    let typed: Vec<String> = schema.columns.iter().map(|column| quoted(&column.name)).collect();
    let policy = OnInvalid::Reject;
    let (column, reason) = (blame(schema, policy), reason(schema, policy, true));
    format!(
        "SELECT {}, _uri, _record, _line, _offset, CASE WHEN {column} IS NULL THEN {reason} \
         ELSE concat({column}, ' ', {reason}) END AS _reject FROM ({})",
        typed.join(", "),
        typed_sql(schema),
    )
}

/// What the loader reads: typed columns, places, `_raw`, the verdicts, then for each column that turns invalid values
/// into NULL two booleans: `_invalid_N` (present and not convertible) and `_present_N`, N counted from 0.
pub fn load_sql(schema: &Schema) -> String {
    let mut columns: Vec<String> = schema.columns.iter().map(|column| quoted(&column.name)).collect();
    columns.extend(PLACES.map(str::to_owned));
    columns.push("_raw".to_owned());
    columns.push(format!("{} AS {REJECT_COLUMN}", blame(schema, OnInvalid::Reject)));
    columns.push(format!("{} AS {REJECT_REASON}", reason(schema, OnInvalid::Reject, true)));
    columns.push(format!("{} AS {FAIL_COLUMN}", blame(schema, OnInvalid::Fail)));
    columns.push(format!("{} AS {FAIL_REASON}", reason(schema, OnInvalid::Fail, false)));
    for (index, column) in counted(schema) {
        columns.push(format!("{} AS _invalid_{index}", invalid(index, column)));
        columns.push(format!("_error IS NULL AND _t{index} IS NOT NULL AS _present_{index}"));
    }
    format!("SELECT {} FROM ({})", columns.join(", "), typed_sql(schema))
}

/// Columns whose invalid values become NULL and are counted. Text always converts.
pub fn counted(schema: &Schema) -> impl Iterator<Item = (usize, &Column)> {
    let columns = schema.columns.iter().enumerate();
    columns.filter(|(_, column)| column.on_invalid == OnInvalid::Null && column.ty != ColumnType::Text)
}

/// `text` and `typed`: every column's text as _tN, its value under its own name.
fn typed_sql(schema: &Schema) -> String {
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    for (index, column) in schema.columns.iter().enumerate() {
        texts.push(format!("{} AS _t{index}", text(column)));
        values.push(format!("_t{index}, {} AS {}", value(column, &format!("_t{index}")), quoted(&column.name)));
    }
    let sides = "_uri, _record, _line, _offset, _error, _raw";
    format!("SELECT {}, {sides} FROM (SELECT {}, {sides} FROM source)", values.join(", "), texts.join(", "))
}

fn text(column: &Column) -> String {
    let name = quoted(&column.name);
    let text = if column.ty.is_text() { name } else { format!("btrim({name}, ' \t')") };
    if column.null_tokens.is_empty() {
        return text;
    }
    let tokens: Vec<String> = column.null_tokens.iter().map(|token| literal(token)).collect();
    format!("CASE WHEN {text} IN ({}) THEN NULL ELSE {text} END", tokens.join(", "))
}

/// The conversion of the text expression `t`.
fn value(column: &Column, t: &str) -> String {
    match column.ty {
        ColumnType::Int8 => cast(t, "Int8"),
        ColumnType::Int16 => cast(t, "Int16"),
        ColumnType::Int32 => cast(t, "Int32"),
        ColumnType::Int64 => cast(t, "Int64"),
        ColumnType::UInt8 => cast(t, "UInt8"),
        ColumnType::UInt16 => cast(t, "UInt16"),
        ColumnType::UInt32 => cast(t, "UInt32"),
        ColumnType::UInt64 => cast(t, "UInt64"),
        ColumnType::Float => finite(t, "Float32", f64::from(f32::MAX)),
        ColumnType::Double => finite(t, "Float64", f64::MAX),
        ColumnType::Decimal { precision, scale } => decimal(t, precision, scale),
        ColumnType::Bool => boolean(t),
        ColumnType::Date => date(t),
        ColumnType::Timestamp { precision } => timestamp(t, precision, column.timezone),
        ColumnType::String { length } => format!("CASE WHEN character_length({t}) <= {length} THEN {t} END"),
        ColumnType::Text => t.to_owned(),
    }
}

fn cast(t: &str, arrow_type: &str) -> String {
    format!("arrow_try_cast({t}, '{arrow_type}')")
}

/// NaN is above, so outside, every range: comparisons are by total order. Adding zero makes -0.0 into 0.0, which is
/// what some databases would store in silence. A number that is too small to be told from zero is out of range too.
fn finite(t: &str, arrow_type: &str, max: f64) -> String {
    let value = format!("{} + arrow_cast(0.0, '{arrow_type}')", cast(t, arrow_type));
    let vanished = format!("{value} = 0 AND {t} ~ '^[^eE]*[1-9]'");
    format!("CASE WHEN {vanished} THEN NULL WHEN {value} BETWEEN {:e} AND {max:e} THEN {value} END", -max)
}

/// The cast rounds digits beyond the scale away: the text has to be within it, or zeros.
fn decimal(t: &str, precision: u8, scale: u8) -> String {
    let fraction = format!("[0-9]{{0,{scale}}}0*");
    let pattern = format!("^[+-]?([0-9]+(\\.{fraction})?|\\.[0-9]{fraction})$");
    let pattern = if scale == 0 { "^[+-]?[0-9]+(\\.0*)?$".to_owned() } else { pattern };
    format!("CASE WHEN {t} ~ '{pattern}' THEN {} END", cast(t, &format!("Decimal128({precision}, {scale})")))
}

fn boolean(t: &str) -> String {
    format!(
        "CASE WHEN lower({t}) IN ('true', 't', 'yes', 'y', '1') THEN true \
         WHEN lower({t}) IN ('false', 'f', 'no', 'n', '0') THEN false END"
    )
}

fn date(t: &str) -> String {
    let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
    format!("CASE WHEN {t} ~ '{pattern}' AND {t} >= '0001' THEN {} END", cast(t, "Date32"))
}

/// Local times are read in the column's zone, ambiguous or nonexistent ones are invalid; UTC is what is kept.
fn timestamp(t: &str, precision: u8, zone: chrono_tz::Tz) -> String {
    let fraction = if precision == 0 { "(\\.0*)?".to_owned() } else { format!("(\\.[0-9]{{0,{precision}}}0*)?") };
    let pattern = format!(
        "^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9]{{2}}:[0-9]{{2}}:[0-5][0-9]{fraction} ?(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?$"
    );
    let local = cast(t, &format!("Timestamp(Microsecond, Some(\"{zone}\"))"));
    let utc = format!("arrow_cast({local}, 'Timestamp(Microsecond, Some(\"+00:00\"))')");
    let naive = format!("arrow_cast({utc}, 'Timestamp(Microsecond, None)')");
    let (first, last) = ("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999");
    let in_range = [first, last].map(|limit| format!("arrow_cast('{limit}', 'Timestamp(Microsecond, None)')"));
    let [first, last] = in_range;
    // An offset may lead out of the years that the text shows.
    format!("CASE WHEN {t} ~ '{pattern}' AND {naive} BETWEEN {first} AND {last} THEN {naive} END")
}

/// True where column `index` has a value that does not convert, or none where it must have one.
fn invalid(index: usize, column: &Column) -> String {
    let value = quoted(&column.name);
    let converts = if column.required { String::new() } else { format!(" AND _t{index} IS NOT NULL") };
    format!("_error IS NULL{converts} AND {value} IS NULL")
}

/// Name of the first column that decides under `policy`, or NULL.
fn blame(schema: &Schema, policy: OnInvalid) -> String {
    verdict(schema, policy, |_, column| literal(&column.name), "NULL")
}

/// Why, in words that hold no cell value. With `malformed`, the guard's reason comes first.
fn reason(schema: &Schema, policy: OnInvalid, malformed: bool) -> String {
    let words = |index: usize, column: &Column| {
        let not_valid = literal(&format!("is not a valid {}", column.ty));
        if column.required {
            format!("CASE WHEN _t{index} IS NULL THEN 'is missing' ELSE {not_valid} END")
        } else {
            not_valid
        }
    };
    let verdict = verdict(schema, policy, words, "NULL");
    if malformed { format!("coalesce(_error, {verdict})") } else { verdict }
}

fn verdict(schema: &Schema, policy: OnInvalid, then: impl Fn(usize, &Column) -> String, otherwise: &str) -> String {
    let mut cases = String::new();
    for (index, column) in schema.columns.iter().enumerate().filter(|(_, column)| column.on_invalid == policy) {
        let _ = write!(cases, " WHEN {} THEN {}", invalid(index, column), then(index, column));
    }
    if cases.is_empty() {
        return format!("arrow_cast({otherwise}, 'Utf8')");
    }
    format!("CASE{cases} ELSE {otherwise} END")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
