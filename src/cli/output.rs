//! Tabular results on stdout, in the form the user asked for.
//!
//! Invariant: in the form for people (`table`) no value can reach the terminal as anything but visible characters: keys,
//! headers and raw records come from strangers. The forms for programs (`json`, `csv`) carry values as they are, in the
//! escaping of their own format.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::wrap;
use crate::error::{Error, Result};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One array of objects, each on a line; keys are the column names
    Json,
    /// With a header row; NULL is empty
    Csv,
}

/// How a page that is no table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    /// For people
    Table,
    /// One object
    Json,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    /// Digits that must not go through a float; a string in JSON.
    Decimal(String),
    Text(String),
}

impl Value {
    /// The value without any escaping; NULL is empty.
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::UInt(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => Cow::Owned(value.to_string()),
            Self::Decimal(text) | Self::Text(text) => Cow::Borrowed(text),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::UInt(_) | Self::Float(_) | Self::Decimal(_))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::UInt(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::UInt(value) => serializer.serialize_u64(*value),
            // JSON has no NaN and no infinity; as text they are at least not lost.
            Self::Float(value) if !value.is_finite() => serializer.serialize_str(&value.to_string()),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Decimal(text) | Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// One row as a JSON object.
pub struct Object<'a> {
    pub columns: &'a [String],
    pub values: &'a [Value],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(self.values) {
            map.serialize_entry(column, value)?;
        }
        map.end()
    }
}

/// A whole result. For one that may be large, write its rows through a [`Printer`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn objects(&self) -> Vec<Object<'_>> {
        self.rows.iter().map(|values| Object { columns: &self.columns, values }).collect()
    }

    pub fn print(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        let mut printer = Printer::new(format, self.columns.clone(), out)?;
        for row in &self.rows {
            printer.row(row)?;
        }
        printer.finish()
    }
}

/// Writes rows as they come. `json` and `csv` hold one row at a time; `table` has to hold all, for its widths.
pub struct Printer<'a> {
    columns: Vec<String>,
    rows: usize,
    form: Form<'a>,
}

enum Form<'a> {
    Table(Box<comfy_table::Table>, &'a mut dyn Write),
    Json(&'a mut dyn Write),
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
}

impl<'a> Printer<'a> {
    pub fn new(format: Format, columns: Vec<String>, out: &'a mut dyn Write) -> io::Result<Self> {
        let form = match format {
            Format::Table => {
                let mut table = comfy_table::Table::new();
                table.load_preset(presets::UTF8_FULL_CONDENSED);
                fit(&mut table, columns.len(), wrap::of_stdout());
                table.set_header(columns.iter().map(|column| Cell::new(printable(column))));
                Form::Table(Box::new(table), out)
            }
            Format::Json => {
                out.write_all(b"[")?;
                Form::Json(out)
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(&columns).map_err(io_error)?;
                Form::Csv(Box::new(writer))
            }
        };
        Ok(Self { columns, rows: 0, form })
    }

    pub fn row(&mut self, values: &[Value]) -> io::Result<()> {
        match &mut self.form {
            Form::Table(table, _) => {
                table.add_row(values.iter().map(table_cell));
            }
            Form::Json(out) => {
                out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, &Object { columns: &self.columns, values })?;
            }
            Form::Csv(writer) => {
                writer.write_record(values.iter().map(|value| value.text().into_owned())).map_err(io_error)?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> io::Result<()> {
        match self.form {
            Form::Table(table, out) => {
                writeln!(out, "{table}")?;
                out.flush()
            }
            Form::Json(out) => {
                out.write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?;
                out.flush()
            }
            Form::Csv(mut writer) => writer.flush(),
        }
    }
}

/// Columns of a terminal that a column of a table needs to be read, its frame included.
const COLUMN_WIDTH_MIN: usize = 11;

/// On a narrower terminal long cells take several lines; a table of too many columns is left to the terminal.
fn fit(table: &mut comfy_table::Table, columns: usize, width: Option<usize>) {
    let width = width.filter(|width| columns * COLUMN_WIDTH_MIN <= *width);
    if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
}

fn table_cell(value: &Value) -> Cell {
    let text = if *value == Value::Null { Cow::Borrowed("NULL") } else { value.text() };
    // A cell may have lines, as a plan of EXPLAIN has.
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    let cell = Cell::new(lines.join("\n"));
    if value.is_number() { cell.set_alignment(CellAlignment::Right) } else { cell }
}

/// csv reports a closed pipe as its own error; what counts is the one inside.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// `text` with everything that a terminal would obey instead of show written as an escape: control characters (and
/// with them ANSI sequences), line separators and marks that turn the direction of writing.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// [`printable`], and at most `length_max` characters of it, the last then being `…`.
pub fn clipped(text: &str, length_max: usize) -> String {
    let safe = printable(text);
    if safe.chars().count() <= length_max {
        return safe.into_owned();
    }
    let mut short: String = safe.chars().take(length_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A name of at most `length_max` characters as shown, with `…` in the place of its middle: names differ at their ends.
pub fn shortened(name: &str, length_max: usize) -> String {
    let chars: Vec<char> = printable(name).chars().collect();
    if chars.len() <= length_max {
        return chars.into_iter().collect();
    }
    let tail = length_max.saturating_sub(1) / 2;
    let head = length_max.saturating_sub(1) - tail;
    let (head, tail) = (&chars[..head], &chars[chars.len() - tail..]);
    head.iter().chain(['…'].iter()).chain(tail).collect()
}

/// Where data goes. Flush it, by [`Printer::finish`] or by hand, and pass what comes of it to [`written`].
pub fn stdout() -> BufWriter<io::Stdout> {
    BufWriter::new(io::stdout())
}

/// What became of writing to stdout. `None`: the reader is gone (as in `loadline jobs | head -1`), which is no error;
/// there is nothing left to write.
pub fn written<T>(result: io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(Error::internal("can't write to stdout").caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["id", "name", "ratio"]);
        table.rows.push(vec![Value::Int(7), Value::from("a \"b\", c"), Value::Float(0.5)]);
        table.rows.push(vec![Value::UInt(1200), Value::Null, Value::Decimal("1.10".to_owned())]);
        table
    }

    fn print(table: &Table, format: Format) -> String {
        let mut out = Vec::new();
        table.print(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right_and_names_null() {
        let expected = "\
┌──────┬──────────┬───────┐
│ id   ┆ name     ┆ ratio │
╞══════╪══════════╪═══════╡
│    7 ┆ a \"b\", c ┆   0.5 │
│ 1200 ┆ NULL     ┆  1.10 │
└──────┴──────────┴───────┘
";
        assert_eq!(print(&sample(), Format::Table), expected);
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let mut table = comfy_table::Table::new();
        fit(&mut table, 3, Some(40));
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.add_row(vec![
            Cell::new("loans/2026/01/02/00/loan_applications.csv"),
            Cell::new("LOADED"),
            Cell::new("3392"),
        ]);
        let text = table.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("LOADED") && text.contains("3392"), "{text}");
    }

    #[test]
    fn json_is_one_array_with_a_line_per_object() {
        let expected = "[\n{\"id\":7,\"name\":\"a \\\"b\\\", c\",\"ratio\":0.5},\n{\"id\":1200,\"name\":null,\"ratio\":\"1.10\"}\n]\n";
        assert_eq!(print(&sample(), Format::Json), expected);
        assert_eq!(print(&Table::new(["id"]), Format::Json), "[]\n");
        let nan = Table { columns: vec!["x".to_owned()], rows: vec![vec![Value::Float(f64::NAN)]] };
        assert_eq!(print(&nan, Format::Json), "[\n{\"x\":\"NaN\"}\n]\n");
    }

    #[test]
    fn csv_has_a_header_and_quotes_where_needed() {
        assert_eq!(print(&sample(), Format::Csv), "id,name,ratio\n7,\"a \"\"b\"\", c\",0.5\n1200,,1.10\n");
    }

    #[test]
    fn a_terminal_gets_no_escape_sequence() {
        let hostile = "\u{1b}[31mred\u{9b}2J\n\u{202e}back\t";
        assert_eq!(printable(hostile), "\\u{1b}[31mred\\u{9b}2J\\n\\u{202e}back\\t");
        assert_eq!(printable("Zoë 12 %"), "Zoë 12 %");
        let table = Table { columns: vec![hostile.to_owned()], rows: vec![vec![Value::from(hostile)]] };
        let text = print(&table, Format::Table);
        assert!(text.chars().all(|c| c == '\n' || !is_unprintable(c)), "{text:?}");
    }

    #[test]
    fn clipping_counts_characters_as_shown() {
        assert_eq!(clipped("äbcdef", 4), "äbc…");
        assert_eq!(clipped("abcd", 4), "abcd");
        assert_eq!((shortened("feed_one", 6).as_str(), shortened("äb", 2).as_str()), ("fee…ne", "äb"));
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for format in [Format::Table, Format::Json, Format::Csv] {
            assert_eq!(written(sample().print(format, &mut Closed)).unwrap(), None, "{format:?}");
        }
        assert!(written::<()>(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
