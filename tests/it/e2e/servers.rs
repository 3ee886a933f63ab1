//! The whole path into MariaDB and MySQL: both databases on the server, the binary as people run it.

use std::fs;

use super::project::{Db, EVENTS_SCHEMA, Project, eventually, hour, signal};
use crate::servers::{Database, Kind, Server};

/// A column of every type whose value has one text on every database.
pub const SCHEMA: &str = "\
primary_key: [id]
columns:
  - {name: id, type: int64, required: true, on_invalid: reject}
  - {name: small, type: int8}
  - {name: large, type: uint64}
  - {name: ratio, type: double}
  - {name: amount, type: \"decimal(38,10)\"}
  - {name: flag, type: bool}
  - {name: day, type: date}
  - {name: at, type: timestamp(3), timezone: Europe/Oslo}
  - {name: name, type: string(20)}
  - {name: note, type: text}
";

const COLUMNS: &str = "id, small, large, ratio, amount, flag, day, at, name, note, _file, _record";

pub fn file(first: u64, records: u64) -> String {
    let mut text = "id,small,large,ratio,amount,flag,day,at,name,note\n".to_owned();
    for id in first..first + records {
        let record = match id % 7 {
            0 => format!("{id},,,,,,,,,\n"),
            1 => format!(
                "{id},-128,18446744073709551615,0.1,-0.0000000001,true,9999-12-31,2026-07-01 12:00:00.125,ü🚚,\"a,\"\"b\"\"\n c\"\n"
            ),
            2 => format!(
                "{id},127,0,1e-300,9999999999999999999999999999.9999999999,f,0001-01-01,0001-01-02T00:00:00Z,trailing  ,NULL\n"
            ),
            3 => format!("none,1,{id},,,,,,rejected,\n"),
            _ => format!(
                "{id},{},{},{},{}.5,no,2024-02-29,2024-02-29 23:59:59.999,n{id},\\\\ '; --\n",
                id % 100,
                id * 3,
                id as f64 / 3.0,
                id
            ),
        };
        text.push_str(&record);
    }
    text
}

fn configure(project: &Project, url: &str) {
    let config = format!(
        "source: {{url: \"file:incoming\"}}\nmetadata_database: {{url: \"{url}\"}}\n\
         reporting_database: {{url: \"{url}\"}}\nfeeds:\n  - name: events\n"
    );
    fs::write(project.path("config.yaml"), config).unwrap();
}

fn rows(database: &Database<'_>, sql: &str) -> Vec<Vec<String>> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
    database.rows(sql).into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

/// One load on SQLite and on a server: equal tables, value by value, and an equal ledger.
#[test]
fn a_server_holds_what_sqlite_holds() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        let here = Project::new("events", SCHEMA, "");
        let there = Project::new("events", SCHEMA, "");
        configure(&there, &database.url());
        for project in [&here, &there] {
            project.run(&["setup"]).ok();
            project.run(&["setup", "--check"]).ok();
            for number in 0..3 {
                project.write(&format!("{}/e.csv", hour(number)), file(1 + number as u64 * 10_000, 700));
            }
            project.scan().ok();
            project.run(&["etl", "--workers", "1"]).exits(3);
            fs::write(project.path("config.yaml"), {
                let config = fs::read_to_string(project.path("config.yaml")).unwrap();
                config + "etl: {max_reject_ratio: 0.5}\n"
            })
            .unwrap();
            project.run(&["retry", "--failed"]).ok();
            project.run(&["etl", "--workers", "1"]).ok();
        }
        let sql = format!("SELECT {COLUMNS} FROM events ORDER BY id");
        let held = rows(&database, &sql);
        assert_eq!(held.len(), 1_800);
        assert_eq!(held, here.rows(Db::Reporting, &sql), "{kind:?}");
        let sql =
            "SELECT hex(`key`), records_done, `rows`, rejects, checksum, complete FROM loadline_files ORDER BY `key`";
        assert_eq!(rows(&database, sql), here.rows(Db::Reporting, sql), "{kind:?}");
        let sql = "SELECT record, line, byte_offset, column_name, reason FROM loadline_rejects ORDER BY file, record";
        assert_eq!(rows(&database, sql), here.rows(Db::Reporting, sql), "{kind:?}");
    }
}

/// What `setup --print` prints for a server is what `setup` runs, and its grants are in it.
#[test]
fn the_printed_ddl_makes_the_same_tables_on_a_server() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = Server::shared(kind) else { continue };
        let (set_up, by_hand) = (server.fresh(), server.fresh());
        let project = Project::new("events", SCHEMA, "");
        configure(&project, &set_up.url());
        let printed = project.run(&["setup", "--print"]).ok().stdout;
        let (ddl, grants) = printed.split_once("\n-- grants, for an administrator").unwrap();
        assert!(grants.contains(&format!("GRANT SELECT, INSERT, DELETE ON `{}`.`events`", set_up.name)), "{grants}");
        assert!(grants.contains("-- grants: reader"), "{grants}");
        project.run(&["setup"]).ok();
        let statements = ddl.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        let statements = statements.split(';').map(str::trim).filter(|statement| !statement.is_empty());
        by_hand.execute(&statements.collect::<Vec<_>>());
        let columns = "SELECT table_name, column_name, column_type, is_nullable, column_key, collation_name \
                       FROM information_schema.columns WHERE table_schema = database() \
                       ORDER BY table_name, ordinal_position";
        assert_eq!(set_up.rows(columns), by_hand.rows(columns));
        assert!(set_up.rows(columns).len() > 60);
    }
}

/// A server that answers and takes no writes, as one that has become a replica, keeps every job from loading.
#[test]
fn a_server_that_has_become_read_only_stops_the_run_and_uses_no_attempt_up() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = Server::start(kind, &[]) else { continue };
        let database = server.fresh();
        let grant = format!("GRANT ALL ON `{}`.* TO 'loader'@'%'", database.name);
        server.execute(&["CREATE USER 'loader'@'%' IDENTIFIED BY 'secret'", &grant]);
        let project = Project::new("events", EVENTS_SCHEMA, "");
        let url = database.url().replace("root@", "loader:secret@");
        let config = format!(
            "source: {{url: \"file:incoming\"}}\nmetadata_database: {{url: \"sqlite:metadata.db\"}}\n\
             reporting_database: {{url: \"{url}\"}}\nfeeds:\n  - name: events\netl: {{max_attempts: 1}}\n"
        );
        fs::write(project.path("config.yaml"), config).unwrap();
        project.run(&["setup"]).ok();
        for number in 0..3 {
            project.write_events(&format!("{}/e.csv", hour(number)), 0..5);
            project.scan().ok();
        }
        server.execute(&["SET GLOBAL read_only = 1"]);
        for _ in 0..2 {
            project.run(&["etl", "--workers", "1"]).exits(4).says(&["read-only"]);
            project.tamper(Db::Metadata, "UPDATE scanner_jobs SET run_after = '1970-01-01 00:00:00.000000'");
        }
        let jobs = "SELECT status, max(attempts), count(*) FROM scanner_jobs WHERE status <> 'NONE' GROUP BY status";
        assert_eq!(project.row(Db::Metadata, jobs), "SENT_FOR_ETL|0|3", "{kind:?}");
        server.execute(&["SET GLOBAL read_only = 0"]);
        project.etl().ok();
        assert_eq!(project.row(Db::Metadata, jobs), "LOADED|1|3", "{kind:?}");
        assert_eq!(rows(&database, "SELECT count(*) FROM events"), [["15"]]);
    }
}

/// What a stop has to drop when its grace is over goes back to the queue all the same, and no worker died over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_dropped_by_a_stop_is_given_back_uncounted() {
    use mysql_async::prelude::Queryable;
    let Some(server) = Server::shared(Kind::MariaDb) else { return };
    let database = server.fresh();
    let project = Project::new("events", EVENTS_SCHEMA, "");
    let config = format!(
        "source: {{url: \"file:incoming\"}}\nmetadata_database: {{url: \"sqlite:metadata.db\"}}\n\
         reporting_database: {{url: \"{}\"}}\nfeeds:\n  - name: events\n",
        database.url()
    );
    fs::write(project.path("config.yaml"), config).unwrap();
    project.run(&["setup"]).ok();
    project.write_events(&format!("{}/e.csv", hour(0)), 0..5);
    project.scan().ok();
    let mut holder = server.connect(Some(&database.name)).await;
    holder.query_drop("LOCK TABLES events WRITE").await.unwrap();
    let etl = project.start(&["etl"]);
    let waiting = format!(
        "SELECT count(*) FROM information_schema.processlist WHERE db = '{}' AND state LIKE '%metadata lock%'",
        database.name
    );
    eventually("the insert waits", || rows(&database, &waiting) == [["1"]]);
    signal(&etl, "TERM");
    project.finish(&["etl"], etl).exits(143);
    let job = "SELECT status, attempts, expiries, claim_token IS NULL FROM scanner_jobs WHERE status <> 'NONE'";
    assert_eq!(project.row(Db::Metadata, job), "SENT_FOR_ETL|0|0|1");
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    project.etl().ok();
    assert_eq!(rows(&database, "SELECT count(*) FROM events"), [["5"]]);
}
