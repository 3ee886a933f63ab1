//! What a user of each role may do, and nothing beyond.
//!
//! Invariant: the reader sees no reject, whose raw texts may hold personal data, and only the operator may change a
//! table's shape.

use super::connection::quote;
use crate::backend::Grants;

const SCHEMA_TABLE: &str = "loadline_schema";

/// Rights of every role in the metadata database, of the reporting database, or of both.
pub(in crate::backend) fn grants(metadata: Option<&str>, reporting: Option<&str>, tables: &[String]) -> Vec<Grants> {
    let roles = [
        ("operator", "setup, and all that the loader does", operator(metadata, reporting)),
        ("loader", "scan, etl, run, retry, unload, and to look", loader(metadata, reporting, tables)),
        ("reader", "the loaded rows and how far each file is; no rejects", reader(reporting, tables)),
    ];
    roles.map(|(role, purpose, statements)| Grants { role, purpose, statements }).into()
}

fn loader(metadata: Option<&str>, reporting: Option<&str>, tables: &[String]) -> Vec<String> {
    let mut statements = Vec::new();
    let mut grant =
        |rights: &str, database: &str, table: &str| statements.push(on_table(rights, database, table, "loader"));
    if let Some(database) = metadata {
        // Old jobs expire, files and feeds never do.
        grant("SELECT, INSERT, UPDATE, DELETE", database, "scanner_jobs");
        ["scanner_files", "scanner_feeds"].iter().for_each(|table| grant("SELECT, INSERT, UPDATE", database, table));
        grant("SELECT", database, SCHEMA_TABLE);
    }
    if let Some(database) = reporting {
        grant("SELECT, INSERT, UPDATE", database, "loadline_files");
        grant("SELECT, INSERT, DELETE", database, "loadline_rejects");
        tables.iter().for_each(|table| grant("SELECT, INSERT, DELETE", database, table));
        if metadata != reporting {
            grant("SELECT", database, SCHEMA_TABLE);
        }
    }
    statements
}

fn operator(metadata: Option<&str>, reporting: Option<&str>) -> Vec<String> {
    let databases = [metadata, reporting.filter(|reporting| metadata != Some(*reporting))];
    let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX";
    // In the name of a whole database `_` and `%` stand for others.
    let exactly = |name: &str| quote(name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"));
    let grant = |name: &str| format!("GRANT {rights} ON {}.* TO 'operator'@'%'", exactly(name));
    databases.into_iter().flatten().map(grant).collect()
}

fn reader(reporting: Option<&str>, tables: &[String]) -> Vec<String> {
    let Some(database) = reporting else { return Vec::new() };
    let tables = tables.iter().map(String::as_str).chain(["loadline_files"]);
    tables.map(|table| on_table("SELECT", database, table, "reader")).collect()
}

fn on_table(rights: &str, database: &str, table: &str, role: &str) -> String {
    format!("GRANT {rights} ON {}.{} TO '{role}'@'%'", quote(database), quote(table))
}
