//! The header: which column of the file is which declared column, by name.
//!
//! Invariant: every declared column is found exactly once and the file has no other, or the file fails with the
//! expected header beside the found one.

use crate::error::{Error, Result};
use crate::feed::Schema;

/// Longest header that an error message repeats, in characters a cell.
const CELL_SHOWN: usize = 60;

/// For each declared column, its position in the file.
pub fn match_columns(schema: &Schema, found: &[String]) -> Result<Vec<usize>> {
    let declared: Vec<&str> = schema.columns.iter().map(|column| column.header.as_str()).collect();
    let missing: Vec<&str> = declared.iter().copied().filter(|name| !found.iter().any(|cell| cell == name)).collect();
    let unknown: Vec<&str> = found.iter().map(String::as_str).filter(|cell| !declared.contains(cell)).collect();
    let twice: Vec<&str> = found
        .iter()
        .enumerate()
        .filter(|(i, cell)| found[..*i].contains(cell))
        .map(|(_, cell)| cell.as_str())
        .collect();
    if missing.is_empty() && unknown.is_empty() && twice.is_empty() {
        let position = |name: &&str| found.iter().position(|cell| cell == name);
        return declared
            .iter()
            .map(|name| position(name).ok_or_else(|| Error::internal("a matched column has no position")))
            .collect();
    }
    let mut problems = Vec::new();
    for (what, names) in [("missing", missing), ("unknown", unknown), ("twice", twice)] {
        if !names.is_empty() {
            problems.push(format!("{what}: {}", show(names.into_iter())));
        }
    }
    let expected = show(declared.into_iter());
    let found = show(found.iter().map(String::as_str));
    Err(Error::data(format!("wrong header ({}); expected: {expected}; found: {found}", problems.join("; ")))
        .hint("correct the file, or the `header` texts in the feed's schema file"))
}

fn show<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let shown: Vec<String> = cells
        .map(|cell| {
            let cut: String = cell.chars().take(CELL_SHOWN).collect();
            if cut.len() < cell.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
        })
        .collect();
    shown.join(", ")
}

/// The cells of a header record, without its line end. A cell that is not UTF-8 is refused.
pub fn cells(record: &[u8], delimiter: u8) -> Result<Vec<String>> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(record);
    match reader.records().next() {
        None => Ok(Vec::new()),
        Some(Ok(record)) => Ok(record.iter().map(str::to_owned).collect()),
        Some(Err(error)) => Err(Error::data("the header can't be read as UTF-8 text").caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Column, ColumnType, OnInvalid};

    fn schema(headers: &[&str]) -> Schema {
        let column = |header: &&str| Column {
            header: (*header).to_owned(),
            name: format!("c_{header}"),
            ty: ColumnType::Text,
            null_tokens: vec![],
            on_invalid: OnInvalid::Null,
            required: false,
            timezone: chrono_tz::UTC,
        };
        Schema { columns: headers.iter().map(column).collect(), primary_key: vec![] }
    }

    fn found(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_found_in_any_order() {
        let positions = match_columns(&schema(&["", "a", "b"]), &found(&["b", "", "a"])).unwrap();
        assert_eq!(positions, [1, 2, 0]);
    }

    #[test]
    fn missing_unknown_and_repeated_columns_fail_with_both_headers() {
        let error = match_columns(&schema(&["a", "b"]), &found(&["a", "B", "a"])).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"wrong header (missing: "b"; unknown: "B"; twice: "a"); expected: "a", "b"; found: "a", "B", "a""#
        );
    }

    #[test]
    fn quoted_header_cells_are_unquoted() {
        assert_eq!(cells(b"\"a,1\",b", b',').unwrap(), ["a,1", "b"]);
    }
}
