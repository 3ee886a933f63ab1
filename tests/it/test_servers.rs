//! The servers themselves: what the tests of the backends rest on.

use crate::conformance::texts;
use crate::servers::{Kind, Server};

fn restarts_with_what_was_committed(kind: Kind) {
    let Some(server) = Server::start(kind, &["--max-allowed-packet=8M"]) else { return };
    let folder = server.folder().to_owned();
    let database = server.fresh();
    database.execute(&[
        "CREATE TABLE t (a BIGINT, b VARBINARY(9), c DATETIME(3), d VARCHAR(9), e DECIMAL(9,2), f DOUBLE)",
        "INSERT INTO t VALUES (-1, x'00ff', '2026-01-02 03:04:05.678', 'ü', 1.5, 0.1)",
    ]);
    server.execute(&["CREATE USER someone@localhost"]);
    server.kill();
    assert!(server.pid().is_none());
    server.start_again();
    let row = texts(&["-1", "00FF", "2026-01-02 03:04:05.678", "ü", "1.50", "0.1"]);
    assert_eq!(database.rows("SELECT * FROM t"), [row]);
    server.execute(&["DROP USER someone@localhost"]);
    assert_eq!(database.rows("SELECT @@max_allowed_packet"), [texts(&["8388608"])], "an option did not reach it");
    drop(database);
    drop(server);
    assert!(!folder.exists(), "the server left its folder behind");
}

#[test]
fn mariadb_restarts_with_what_was_committed() {
    restarts_with_what_was_committed(Kind::MariaDb);
}

#[test]
fn mysql_restarts_with_what_was_committed() {
    restarts_with_what_was_committed(Kind::MySql);
}

/// Both at once, each with its own port.
#[test]
fn shared_servers_are_what_they_are_called() {
    for (kind, is_mariadb) in [(Kind::MariaDb, true), (Kind::MySql, false)] {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        assert!(database.url().starts_with("mysql://root@127.0.0.1:"), "{}", database.url());
        let version = database.rows("SELECT version()")[0][0].clone().unwrap();
        assert_eq!(version.contains("MariaDB"), is_mariadb, "{kind:?} is {version}");
        assert_eq!(server.kind(), kind);
        assert!(server.socket().exists() && server.port() > 0);
    }
}
