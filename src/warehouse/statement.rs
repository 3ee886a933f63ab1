//! Texts and sizes of multi-row INSERT statements.

/// How many rows one statement takes: what was configured, within the backend's limit of placeholders, at least one.
pub fn rows_per_statement(configured: usize, placeholders_max: usize, columns: usize) -> usize {
    configured.min(placeholders_max / columns.max(1)).max(1)
}

/// `INSERT INTO t (a, b) VALUES (?,?),(?,?)`. `quote` makes an identifier of a name.
pub fn insert_sql(table: &str, columns: &[&str], rows: usize, quote: impl Fn(&str) -> String) -> String {
    let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let row = format!("({})", vec!["?"; columns.len()].join(","));
    format!("INSERT INTO {} ({}) VALUES {}", quote(table), names.join(", "), vec![row.as_str(); rows].join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_never_exceed_the_placeholders() {
        for columns in 1..=2000 {
            let rows = rows_per_statement(500, 32_766, columns);
            assert!(rows == 1 || rows * columns <= 32_766);
        }
    }

    #[test]
    fn text_has_a_placeholder_for_every_value() {
        let sql = insert_sql("t", &["a", "b"], 2, |name| format!("\"{name}\""));
        assert_eq!(sql, r#"INSERT INTO "t" ("a", "b") VALUES (?,?),(?,?)"#);
    }
}
