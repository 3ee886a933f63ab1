//! Rows that a statement brings along as parameters, to be joined with a table: many changes, each with values of its
//! own, in one statement.

use mysql_async::Value;

/// Most rows of one statement: each is a SELECT of its own to the parser.
pub(super) const GIVEN_MAX: usize = 128;

/// A derived table named `given`: columns by name and type of a CAST, of so many rows. It is to come first in a join
/// (`STRAIGHT_JOIN`), so that each row finds its own by the primary key.
pub(super) fn given(columns: &[(&str, &str)], rows: usize) -> String {
    let row: Vec<String> = columns.iter().map(|(name, ty)| format!("CAST(? AS {ty}) AS {name}")).collect();
    let row = format!("SELECT {}", row.join(", "));
    format!("({}) given", vec![row; rows].join(" UNION ALL "))
}

/// NULL where there is none.
pub(super) fn value_if_any<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::NULL, Into::into)
}
