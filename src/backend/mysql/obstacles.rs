//! What of a server or of its tables would break the guarantees.

use std::collections::BTreeMap;

use super::connection::Session;
use super::fault::Fault;
use super::value::{field, placeholders};

/// A sentence each, with what to do. Tables that are missing are no obstacle.
pub(super) async fn obstacles(session: &mut Session, tables: &[&str]) -> Result<Vec<String>, Fault> {
    let mut found = of_server(&variables(session).await?);
    found.extend(of_tables(session, tables).await?);
    Ok(found)
}

async fn variables(session: &mut Session) -> Result<BTreeMap<String, String>, Fault> {
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'read_only', 'wsrep_on', \
               'group_replication_group_name', 'group_replication_single_primary_mode')";
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
}
