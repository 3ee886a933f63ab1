//! A database of one test, and a look into it.

use std::thread;

use async_trait::async_trait;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, OptsBuilder, Row, Value};

use super::Server;
use crate::read_back::ReadBack;

/// Where a database is: what a test keeps that looks into it beside its owner.
#[derive(Debug, Clone)]
pub struct Address {
    port: u16,
    name: String,
}

impl Address {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As it stands in a config.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Every row of the query, each value as text, NULL as `NULL`.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.ask("DO 0", sql).unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// The same of a server that may be down; whoever holds the table is waited for a second.
    pub fn try_rows(&self, sql: &str) -> mysql_async::Result<Vec<Vec<String>>> {
        self.ask("SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1", sql)
    }

    fn ask(&self, first: &str, sql: &str) -> mysql_async::Result<Vec<Vec<String>>> {
        let rows: mysql_async::Result<Vec<Row>> = blocking(async {
            let mut connection = connect(self.port, Some(&self.name)).await?;
            connection.query_drop(first).await?;
            let rows = connection.exec(sql, ()).await?;
            connection.disconnect().await?;
            Ok(rows)
        });
        let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        Ok(rows?.into_iter().map(|row| texts(row).into_iter().map(text).collect()).collect())
    }

    /// Runs a statement in no database, so that this one may be missing, on a server that may be down.
    pub fn try_execute_on_server(&self, sql: &str) -> mysql_async::Result<()> {
        blocking(async {
            let mut connection = connect(self.port, None).await?;
            connection.query_drop(sql).await?;
            connection.disconnect().await
        })
    }

    /// The same database behind another port of this machine, as it stands in a config.
    pub fn url_through(&self, port: u16) -> String {
        Self { port, name: self.name.clone() }.url()
    }

    /// Runs statements, one after another, separated by `;`.
    pub fn execute(&self, statements: &str) {
        blocking(async {
            let mut connection = connect(self.port, Some(&self.name)).await.unwrap();
            connection.query_drop(statements).await.unwrap();
            connection.disconnect().await.unwrap();
        });
    }
}

/// As root.
pub(super) async fn connect(port: u16, database: Option<&str>) -> mysql_async::Result<Conn> {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
    Conn::new(options.db_name(database).prefer_socket(false)).await
}

/// Dropped with the value.
pub struct Database<'a> {
    pub server: &'a Server,
    pub name: String,
}

impl<'a> Database<'a> {
    pub fn create(server: &'a Server) -> Self {
        let name = format!("t_{:016x}", rand::random::<u64>());
        execute(server, &[&format!("CREATE DATABASE {name}")]);
        Self { server, name }
    }

    pub fn address(&self) -> Address {
        Address { port: self.server.port, name: self.name.clone() }
    }

    /// As it stands in a config.
    pub fn url(&self) -> String {
        self.address().url()
    }

    pub async fn connect(&self) -> Conn {
        self.server.connect(Some(&self.name)).await
    }

    /// [`ReadBack::query`] for tests that are not async.
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        blocking(self.query(sql))
    }

    /// A connection that has run the statement and holds what it took, until it is dropped. Not from inside a runtime.
    pub fn hold(&self, statement: &str) -> Held {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let mut connection = self.connect().await;
            connection.query_drop(statement).await.unwrap();
            connection
        });
        Held { runtime, connection: Some(connection) }
    }

    /// Runs statements in it, one after another.
    pub fn execute(&self, statements: &[&str]) {
        blocking(async {
            let mut connection = self.connect().await;
            for statement in statements {
                connection.query_drop(*statement).await.unwrap();
            }
            connection.disconnect().await.unwrap();
        });
    }
}

pub struct Held {
    runtime: tokio::runtime::Runtime,
    connection: Option<Conn>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.disconnect());
        }
    }
}

impl Drop for Database<'_> {
    /// What is left behind goes with the server: a killed one, or a transaction that a failed test left open, is no
    /// reason to fail here too.
    fn drop(&mut self) {
        if thread::panicking() || self.server.pid().is_none() {
            return;
        }
        blocking(async {
            let mut connection = self.server.connect(None).await;
            let _ = connection.query_drop("SET SESSION lock_wait_timeout = 5").await;
            let _ = connection.query_drop(format!("DROP DATABASE {}", self.name)).await;
            let _ = connection.disconnect().await;
        });
    }
}

#[async_trait]
impl ReadBack for Database<'_> {
    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let mut connection = self.connect().await;
        let rows: Vec<Row> = connection.exec(sql, ()).await.unwrap();
        connection.disconnect().await.unwrap();
        rows.into_iter().map(texts).collect()
    }
}

fn texts(row: Row) -> Vec<Option<String>> {
    let columns = row.columns();
    row.unwrap().into_iter().zip(columns.iter()).map(|(value, column)| text(value, column)).collect()
}

fn text(value: Value, column: &Column) -> Option<String> {
    const BINARY: u16 = 63;
    let is_text = column.character_set() != BINARY || column.column_type() == ColumnType::MYSQL_TYPE_NEWDECIMAL;
    Some(match value {
        Value::NULL => return None,
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Double(value) => format!("{value:?}"),
        Value::Bytes(bytes) if is_text => String::from_utf8(bytes).unwrap(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Value::Date(year, month, day, ..) if column.column_type() == ColumnType::MYSQL_TYPE_DATE => {
            format!("{year:04}-{month:02}-{day:02}")
        }
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let time = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}");
            // As many digits behind the point as the column has; none, no point.
            let digits = usize::from(column.decimals()).min(6);
            time[..time.len() - if digits == 0 { 7 } else { 6 - digits }].to_owned()
        }
        Value::Time(..) => panic!("no column of type TIME is known here"),
    })
}

/// Runs statements as root, in no database.
pub fn execute(server: &Server, statements: &[&str]) {
    blocking(async {
        let mut connection = server.connect(None).await;
        for statement in statements {
            connection.query_drop(*statement).await.unwrap();
        }
        connection.disconnect().await.unwrap();
    });
}

/// From inside a runtime and from outside alike.
fn blocking<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    thread::scope(|scope| scope.spawn(run).join()).unwrap()
}
