//! What of a server would break the guarantees, in sentences that say what to do. Asking changes nothing.
//!
//! Variables that a server does not have are none of its obstacles: each make has its own.

use std::collections::BTreeMap;

use super::connection::Session;
use super::fault::Fault;
use super::value::{field, placeholders};

/// Whatever the database.
pub(super) async fn of_server(session: &mut Session) -> Result<Vec<String>, Fault> {
    let sql = "SHOW VARIABLES WHERE Variable_name IN ('version', 'binlog_format', 'log_bin', 'wsrep_on', \
               'wsrep_cluster_address', 'group_replication_single_primary_mode', 'group_replication_group_name')";
    let mut variables = BTreeMap::new();
    for mut row in session.text_rows(sql).await? {
        let name: String = field(&mut row, "Variable_name")?;
        variables.insert(name.to_lowercase(), field::<String>(&mut row, "Value")?);
    }
    Ok(of_variables(&variables))
}

fn of_variables(variables: &BTreeMap<String, String>) -> Vec<String> {
    let value = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let is = |name: &str, expected: &str| value(name).eq_ignore_ascii_case(expected);
    let mut obstacles = Vec::new();
    if is_too_old(value("version")) {
        obstacles.push(format!(
            "the server is {}, which has no SKIP LOCKED: use MySQL 8.4 or 9, or MariaDB 10.11 or later",
            value("version")
        ));
    }
    if is("log_bin", "ON") && is("binlog_format", "STATEMENT") {
        obstacles.push(
            "the server logs statements, which at READ COMMITTED is refused or lets a replica differ: set \
             `binlog_format = ROW` there"
                .to_owned(),
        );
    }
    if is("wsrep_on", "ON") && !is("wsrep_cluster_address", "") {
        obstacles.push(
            "the server is a node of a Galera cluster, whose nodes take writes at once and decide at COMMIT, so that \
             row locks hold nothing across nodes: use a server with one writing node"
                .to_owned(),
        );
    }
    if !is("group_replication_group_name", "") && is("group_replication_single_primary_mode", "OFF") {
        obstacles.push(
            "the server is in a replication group with several primaries, across which row locks hold nothing: set \
             `group_replication_single_primary_mode = ON`"
                .to_owned(),
        );
    }
    obstacles
}

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version_of = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let first = if version.contains("MariaDB") { (10, 6) } else { (8, 0) };
    version_of < first
}

/// Tables of the database that exist and can't be written to in a transaction.
pub(super) async fn of_tables(session: &mut Session, tables: &[&str]) -> Result<Vec<String>, Fault> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT TABLE_NAME AS name, TABLE_TYPE AS type, ENGINE AS engine FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({}) ORDER BY TABLE_NAME",
        placeholders(tables.len())
    );
    let mut obstacles = Vec::new();
    for mut row in session.rows(&sql, tables.to_vec()).await? {
        let row = &mut row;
        let (name, ty): (String, String) = (field(row, "name")?, field(row, "type")?);
        match field::<Option<String>>(row, "engine")? {
            _ if ty != "BASE TABLE" => obstacles.push(format!("`{name}` is a view: drop or rename it")),
            Some(engine) if engine.eq_ignore_ascii_case("InnoDB") => {}
            engine => obstacles.push(format!(
                "the table `{name}` is of the engine {}, which has no transactions: `ALTER TABLE {name} ENGINE = InnoDB`",
                engine.unwrap_or_else(|| "unknown".to_owned())
            )),
        }
    }
    Ok(obstacles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        of_variables(&variables.collect())
    }

    #[test]
    fn what_breaks_the_guarantees_is_named() {
        for (variables, word) in [
            (&[("version", "8.4.3"), ("log_bin", "ON"), ("binlog_format", "STATEMENT")][..], "binlog_format"),
            (&[("version", "10.11.6-MariaDB"), ("wsrep_on", "ON"), ("wsrep_cluster_address", "gcomm://a,b")], "Galera"),
            (
                &[
                    ("version", "9.1.0"),
                    ("group_replication_group_name", "x"),
                    ("group_replication_single_primary_mode", "OFF"),
                ],
                "primaries",
            ),
            (&[("version", "5.7.44-log")], "5.7.44"),
            (&[("version", "10.5.1-MariaDB-1")], "SKIP LOCKED"),
        ] {
            let said = of(variables);
            assert!(said.len() == 1 && said[0].contains(word), "{said:?}");
        }
    }

    #[test]
    fn sound_servers_have_none() {
        for variables in [
            &[("version", "9.7.4-2"), ("log_bin", "ON"), ("binlog_format", "ROW")][..],
            &[("version", "10.11.19-MariaDB-0+deb12u1"), ("log_bin", "OFF"), ("binlog_format", "STATEMENT")],
            &[("version", "10.11.6-MariaDB"), ("wsrep_on", "OFF"), ("wsrep_cluster_address", "")],
            &[
                ("version", "9.1.0"),
                ("group_replication_group_name", ""),
                ("group_replication_single_primary_mode", "OFF"),
            ],
        ] {
            assert!(of(variables).is_empty(), "{variables:?}");
        }
    }
}
