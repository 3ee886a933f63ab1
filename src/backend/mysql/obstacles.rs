//! What of a server or of its tables would break the guarantees.

use std::collections::BTreeMap;

use super::connection::Session;
use super::fault::Fault;
use super::value::{field, placeholders};

/// A sentence each, with what to do. Tables that are missing are no obstacle. `holds_rows`: what the server has
/// committed is the truth for another database, and must never be gone.
pub(super) async fn obstacles(session: &mut Session, tables: &[&str], holds_rows: bool) -> Result<Vec<String>, Fault> {
    let variables = variables(session).await?;
    let mut found = of_server(&variables);
    found.extend(holds_rows.then(|| of_commits(&variables)).flatten());
    found.extend(of_tables(session, tables).await?);
    Ok(found)
}

async fn variables(session: &mut Session) -> Result<BTreeMap<String, String>, Fault> {
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'read_only', 'wsrep_on', \
               'group_replication_group_name', 'group_replication_single_primary_mode', \
               'innodb_flush_log_at_trx_commit')";
    let rows = session.text_rows(sql).await?;
    rows.into_iter().map(|mut row| Ok((field(&mut row, "Variable_name")?, field(&mut row, "Value")?))).collect()
}

fn of_server(variables: &BTreeMap<String, String>) -> Vec<String> {
    let is = |name: &str, value: &str| variables.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    let grouped = variables.get("group_replication_group_name").is_some_and(|name| !name.is_empty());
    let obstacles = [
        (
            is("log_bin", "ON") && is("binlog_format", "STATEMENT"),
            "the server logs statements, which InnoDB refuses to write rows under: set `binlog_format = ROW`",
        ),
        (
            is("wsrep_on", "ON"),
            "the server is a node of a Galera cluster, which loses row locks between its nodes: use a server with one \
             writer",
        ),
        (
            grouped && is("group_replication_single_primary_mode", "OFF"),
            "the server's group has several primaries, which know nothing of each other's row locks: set \
             `group_replication_single_primary_mode = ON`",
        ),
        (is("read_only", "ON"), "the server is read-only: name the primary in the url, or set `read_only = OFF` there"),
    ];
    obstacles.into_iter().filter(|(stands, _)| *stands).map(|(_, sentence)| sentence.to_owned()).collect()
}

/// A job is LOADED elsewhere because its rows are committed here: after a crash that took the last second of commits
/// along, nobody would look for them.
fn of_commits(variables: &BTreeMap<String, String>) -> Option<String> {
    let lazy = variables.get("innodb_flush_log_at_trx_commit").filter(|value| *value != "1");
    lazy.map(|value| {
        format!(
            "the server forgets its last commits when it crashes (`innodb_flush_log_at_trx_commit = {value}`), and \
             with them rows of jobs that are LOADED: set it to 1"
        )
    })
}

async fn of_tables(session: &mut Session, tables: &[&str]) -> Result<Vec<String>, Fault> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT table_name AS name, engine AS engine FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name IN ({}) ORDER BY table_name",
        placeholders(tables.len())
    );
    let mut found = Vec::new();
    for mut row in session.rows(&sql, tables.iter().map(mysql_async::Value::from).collect::<Vec<_>>()).await? {
        let (name, engine): (String, Option<String>) = (field(&mut row, "name")?, field(&mut row, "engine")?);
        match engine {
            Some(engine) if engine.eq_ignore_ascii_case("InnoDB") => {}
            Some(engine) => found.push(format!(
                "table {name} is of the engine {engine}, which can't roll back: `ALTER TABLE {name} ENGINE = InnoDB`"
            )),
            None => found.push(format!("{name} is a view: give the feed a table")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<String> {
        of_server(&variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn servers_that_break_the_guarantees_are_named() {
        assert!(of(&[("log_bin", "ON"), ("binlog_format", "ROW"), ("read_only", "OFF")]).is_empty());
        assert!(of(&[("log_bin", "OFF"), ("binlog_format", "STATEMENT")]).is_empty());
        assert!(of(&[("log_bin", "ON"), ("binlog_format", "STATEMENT")])[0].contains("binlog_format = ROW"));
        assert!(of(&[("wsrep_on", "ON")])[0].contains("Galera"));
        assert!(
            of(&[("group_replication_group_name", ""), ("group_replication_single_primary_mode", "OFF")]).is_empty()
        );
        assert_eq!(of(&[("read_only", "ON")]).len(), 1);
    }

    #[test]
    fn a_server_that_forgets_commits_may_not_hold_rows() {
        let of = |value: &str| of_commits(&[("innodb_flush_log_at_trx_commit".to_owned(), value.to_owned())].into());
        assert!(of("1").is_none() && of_commits(&BTreeMap::new()).is_none());
        assert!(of("0").unwrap().contains("= 0") && of("2").unwrap().contains("set it to 1"));
    }
}
