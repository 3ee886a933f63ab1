//! `schemas/FEED.yaml`: what each column of a feed's files is called, holds and does with a wrong value.
//!
//! Invariant: a [`Schema`] that comes out of here has at least one column, names that every database takes, a key
//! whose columns are never missing, and null tokens exactly as they were written: YAML would read `NO`, `~` or `1.0` as
//! something else than text, so tokens are taken from the text of the file.

use std::collections::HashSet;

use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::document::Document;
use super::suggest::{nearest, shown, suggestion};
use crate::error::Result;
use crate::feed::{Column, ColumnType, OnInvalid, Schema, is_identifier};

const COLUMNS_MAX: usize = 1000;

/// The columns of a feed's files, and of its table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "loadline schema file")]
pub(super) struct RawSchema {
    /// Names of required columns that are unique together. Without it, the key is the place in the file (`_file`,
    /// `_record`).
    #[serde(default)]
    primary_key: Vec<String>,
    /// Values that mean "missing", for columns that don't name their own.
    #[serde(default = "RawSchema::null_tokens")]
    #[schemars(with = "Vec<String>")]
    null_tokens: Option<Vec<String>>,
    /// The zone of timestamps that name none, for columns that don't name their own.
    #[serde(default = "RawSchema::timezone")]
    #[schemars(with = "String")]
    timezone: Option<String>,
    /// In any order: they are found by their header.
    #[schemars(length(min = 1, max = COLUMNS_MAX))]
    columns: Vec<RawColumn>,
}

impl RawSchema {
    fn null_tokens() -> Option<Vec<String>> {
        Some(vec![String::new()])
    }

    fn timezone() -> Option<String> {
        Some("UTC".to_owned())
    }
}

/// One column.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    /// The text of the header cell, exactly; it may be empty. Default: the name.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String", skip_serializing_if = "Option::is_none")]
    header: Option<Option<String>>,
    /// The column of the table: letters, digits and `_`, not beginning with `_`.
    #[schemars(with = "String")]
    name: Option<String>,
    /// int8 to int64, uint8 to uint64, float, double, decimal(p,s), bool, date, timestamp(precision), string(n), text.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("pattern" = TYPE_PATTERN))]
    ty: Option<String>,
    /// Values that mean "missing". Default: those of the file. Surrounding spaces count for string and text only.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", skip_serializing_if = "Option::is_none")]
    null_tokens: Option<Option<Vec<String>>>,
    /// What becomes of a value that is there but does not convert: the value becomes NULL and is counted, the record
    /// becomes a reject, or the file fails. Default: null.
    #[serde(default, deserialize_with = "policy")]
    #[schemars(extend("enum" = [null, "null", "reject", "fail"]))]
    on_invalid: Option<String>,
    /// A missing value counts as invalid too, and the table's column is NOT NULL. Needs `on_invalid: reject` or `fail`.
    #[serde(default)]
    required: bool,
    /// The zone of this column's timestamps. Default: that of the file.
    #[serde(default)]
    timezone: Option<String>,
}

const TYPE_PATTERN: &str =
    r"^(u?int(8|16|32|64)|float|double|bool|date|text|timestamp(\([0-6]\))?|decimal\(\d+, ?\d+\)|string\(\d+\))$";

/// Tells a key without a value (`header:`) from no key at all.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// YAML's null is the policy of that name.
fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(Some(text.unwrap_or_else(|| OnInvalid::Null.as_str().to_owned())))
}

pub(super) fn read_schema(document: &Document) -> Result<Schema> {
    let raw: RawSchema = document.parse()?;
    if raw.columns.is_empty() || raw.columns.len() > COLUMNS_MAX {
        let problem = format!("has {} columns; allowed: 1 to {COLUMNS_MAX}", raw.columns.len());
        return Err(document.fail("columns", problem));
    }
    let timezone = timezone(document, "timezone", document.text("timezone", &raw.timezone)?)?;
    let tokens = tokens(document, "null_tokens", &raw.null_tokens)?;
    let mut columns = Vec::with_capacity(raw.columns.len());
    for (i, column) in raw.columns.iter().enumerate() {
        columns.push(check_column(document, &format!("columns[{i}]"), column, tokens, timezone)?);
    }
    unique(document, &columns)?;
    for (i, name) in raw.primary_key.iter().enumerate() {
        let key = format!("primary_key[{i}]");
        if raw.primary_key[..i].contains(name) {
            return Err(document.fail(&key, format!("`{}` is named twice", shown(name))));
        }
        key_column(&columns, name).map_err(|problem| document.fail(&key, problem))?;
    }
    Ok(Schema { columns, primary_key: raw.primary_key })
}

fn check_column(document: &Document, at: &str, raw: &RawColumn, tokens: &[String], zone: Tz) -> Result<Column> {
    let key = |name: &str| format!("{at}.{name}");
    let name = document.text(&key("name"), &raw.name)?;
    if !is_identifier(name) || name.starts_with('_') {
        let problem = "is not a name for a column; allowed: a letter, then letters, digits and `_`, at most 64";
        return Err(document.fail(&key("name"), format!("`{}` {problem}", shown(name))));
    }
    let header = match &raw.header {
        Some(header) => document.text(&key("header"), header)?,
        None => name,
    };
    let ty = document.text(&key("type"), &raw.ty)?;
    let ty: ColumnType = ty.parse().map_err(|problem| document.fail(&key("type"), with_nearest_type(problem, ty)))?;
    let on_invalid = on_invalid(raw.on_invalid.as_deref()).map_err(|p| document.fail(&key("on_invalid"), p))?;
    if raw.required && on_invalid == OnInvalid::Null {
        let problem = "a required column can't turn values into NULL; give it `on_invalid: reject` or `fail`";
        return Err(document.fail(&key("required"), problem));
    }
    if raw.timezone.is_some() && !matches!(ty, ColumnType::Timestamp { .. }) {
        return Err(document.fail(&key("timezone"), format!("only a timestamp has a zone, and this is {ty}")));
    }
    let timezone = match &raw.timezone {
        Some(text) => timezone(document, &key("timezone"), text)?,
        None => zone,
    };
    let tokens = match &raw.null_tokens {
        Some(own) => self::tokens(document, &key("null_tokens"), own)?,
        None => tokens,
    };
    // Values are trimmed before they are compared, unless they are text: so must tokens be, or they would never match.
    let token = |token: &String| if ty.is_text() { token.clone() } else { token.trim_matches([' ', '\t']).to_owned() };
    let null_tokens = tokens.iter().map(token).collect();
    let (header, name) = (header.to_owned(), name.to_owned());
    Ok(Column { header, name, ty, null_tokens, on_invalid, required: raw.required, timezone })
}

fn tokens<'a>(document: &Document, key: &str, tokens: &'a Option<Vec<String>>) -> Result<&'a [String]> {
    tokens.as_deref().ok_or_else(|| document.fail(key, "needs a value, a list such as [NA, \"\"], or [] for none"))
}

fn on_invalid(text: Option<&str>) -> Result<OnInvalid, String> {
    let all = [OnInvalid::Null, OnInvalid::Reject, OnInvalid::Fail];
    let text = text.unwrap_or(OnInvalid::Null.as_str());
    let found = all.into_iter().find(|policy| policy.as_str() == text);
    found.ok_or_else(|| {
        let refused = suggestion(text, &all.map(OnInvalid::as_str));
        format!("`{}` is not allowed{refused}", shown(text))
    })
}

fn with_nearest_type(problem: String, text: &str) -> String {
    const WORDS: [&str; 16] = [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float",
        "double",
        "decimal",
        "bool",
        "date",
        "timestamp",
        "string",
        "text",
    ];
    let word = text.split('(').next().unwrap_or_default().trim();
    match nearest(word, WORDS).filter(|near| *near != word) {
        Some(near) => format!("{problem}; did you mean `{near}`?"),
        None => problem,
    }
}

fn timezone(document: &Document, key: &str, text: &str) -> Result<Tz> {
    text.parse().map_err(|_| {
        let near = nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let allowed = "allowed: names of the IANA time zone database, such as UTC or Europe/Berlin";
        document.fail(key, format!("`{}` is not a time zone; {allowed}{near}", shown(text)))
    })
}

fn unique(document: &Document, columns: &[Column]) -> Result<()> {
    let (mut names, mut headers) = (HashSet::new(), HashSet::new());
    for (i, column) in columns.iter().enumerate() {
        if !names.insert(column.name.to_ascii_lowercase()) {
            let problem =
                format!("`{}` is the name of an earlier column (upper and lower case are the same)", column.name);
            return Err(document.fail(&format!("columns[{i}].name"), problem));
        }
        if !headers.insert(&column.header) {
            let problem = format!("\"{}\" is the header of an earlier column", shown(&column.header));
            return Err(document.fail(&format!("columns[{i}].header"), problem));
        }
    }
    Ok(())
}

fn key_column(columns: &[Column], name: &str) -> Result<(), String> {
    let Some(column) = columns.iter().find(|column| column.name == name) else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        return Err(format!("`{}` is not a column{}", shown(name), suggestion(name, &names)));
    };
    if !column.required {
        return Err(format!(
            "a key can't be missing; give `{name}` the keys `required: true` and `on_invalid: reject`"
        ));
    }
    if column.ty == ColumnType::Text {
        return Err(format!("a key has a bounded length; give `{name}` the type string(n)"));
    }
    Ok(())
}
