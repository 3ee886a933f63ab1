//! One database on a server and the connections that work on it.
//!
//! A connection is set up the same way whatever the server's defaults are (UTC, strict, READ COMMITTED, bytes compared
//! as bytes, short timeouts), and what decides about values is read back. It is kept for the next piece of work with
//! its prepared statements, since a segment that reconnects or prepares anew pays for it.
//!
//! Timeouts, each above the one before: a holder that is frozen is cut by the server after `wait_timeout`; whoever
//! waits for its row locks waits longer than that and the longest segment; this side waits longer than both.
//!
//! Invariant: a [`Session`] that is not told that its work ended well ([`Session::done`]) is closed when it is dropped,
//! and never used again.

use std::fmt::Display;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::{Queryable, StatementLike};
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, Params, Row, SslOpts, Statement};
use rand::RngExt;

use super::fault::Fault;
use super::migrations::Component;
use super::value::field;
use crate::config::{MysqlDatabase, Tls};
use crate::error::{Error, Result};

/// After which the server cuts a connection that says nothing, also in the middle of a packet.
const WAIT_TIMEOUT_S: u64 = 30;

/// The longest that a segment may hold its row, from BEGIN to COMMIT.
const SEGMENT_S: u64 = 25;

/// How long a statement waits for a row that somebody holds.
const LOCK_WAIT_TIMEOUT_S: u64 = WAIT_TIMEOUT_S + SEGMENT_S + 5;

/// How long this side waits for the answer to one statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2 * LOCK_WAIT_TIMEOUT_S);

/// How long this side waits for a connection that is ready for use.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that has rested longer may be cut by the server at any moment: it is closed instead of used.
const REST_MAX: Duration = Duration::from_secs(WAIT_TIMEOUT_S / 2);

/// Most connections that rest.
const RESTING_MAX: usize = 64;

/// Prepared statements that a connection keeps: those of the ledger, and of a few tables each a full one and the
/// remainders in powers of two.
const STATEMENTS_MAX: usize = 64;

/// How often a transaction that was the victim of a deadlock is run again.
const DEADLOCKS_MAX: u32 = 5;

/// Modes under which a value is stored as it is or refused; nothing else may be on.
const SQL_MODES: [&str; 6] = [
    "STRICT_TRANS_TABLES",
    "STRICT_ALL_TABLES",
    "NO_ZERO_IN_DATE",
    "NO_ZERO_DATE",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "NO_ENGINE_SUBSTITUTION",
];

/// A database in its role. Clones share the connections.
#[derive(Clone)]
pub(super) struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    config: MysqlDatabase,
    component: &'static Component,
    options: Opts,
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    connection: Conn,
    packet_max: usize,
    since: Instant,
}

impl Database {
    /// Only remembers where it is.
    pub fn open(config: &MysqlDatabase, component: &'static Component) -> Self {
        let options = options(config, Some(&config.name));
        let shared = Shared { config: config.clone(), component, options, resting: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The name of the database on its server.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// The schema version; `None` where there is no such database or nothing of ours in it. Changes nothing.
    pub async fn version(&self) -> Result<Option<u32>> {
        let version = async {
            match self.connect().await {
                Err(fault) if fault.is_unknown_database() => Ok(None),
                Err(fault) => Err(fault),
                Ok(mut session) => {
                    let version = self.shared.component.version_in(&mut session).await?;
                    // What rests is for work on this binary's version.
                    if version == Some(self.shared.component.version) {
                        session.done();
                    }
                    Ok(version)
                }
            }
        };
        version.await.map_err(|fault| self.explain(fault))
    }

    /// Creates the database where it is missing, and runs the missing steps.
    pub async fn migrate(&self) -> Result<Vec<String>> {
        let ran = async {
            let mut session = match self.connect().await {
                Err(fault) if fault.is_unknown_database() => {
                    self.create().await?;
                    self.connect().await?
                }
                connected => connected?,
            };
            let ran = self.shared.component.migrate(&mut session, &self.shared.config).await?;
            session.done();
            Ok(ran)
        };
        ran.await.map_err(|fault| self.explain(fault))
    }

    async fn create(&self) -> Result<(), Fault> {
        let mut session = self.connect_with(options(&self.shared.config, None)).await?;
        let sql =
            format!("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", quote(self.name()));
        // Not to be used again: it has no database.
        session.run(&sql).await
    }

    /// A connection to a database of this binary's version, which has just answered.
    pub async fn session(&self) -> Result<Session, Fault> {
        while let Some(mut session) = self.rested() {
            if session.answers().await {
                return Ok(session);
            }
        }
        self.new_session().await
    }

    async fn new_session(&self) -> Result<Session, Fault> {
        let component = self.shared.component;
        let mut session = match self.connect().await {
            Err(fault) if fault.is_unknown_database() => {
                return Err(component.not_set_up(&self.shared.config).into());
            }
            connected => connected?,
        };
        component.require_in(&mut session, &self.shared.config).await?;
        Ok(session)
    }

    /// Runs `look`, each of its statements on a picture of its own.
    pub async fn read<T>(&self, look: impl AsyncFnOnce(&mut Session) -> Result<T, Fault>) -> Result<T> {
        let looked = async {
            let mut session = self.session().await?;
            let value = look(&mut session).await?;
            session.done();
            Ok(value)
        };
        looked.await.map_err(|fault: Fault| self.explain(fault))
    }

    /// Runs `look` on one consistent picture of the database.
    pub async fn read_picture<T>(&self, look: impl AsyncFnOnce(&mut Session) -> Result<T, Fault>) -> Result<T> {
        let look_at_once = async |session: &mut Session| {
            session.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
            let value = look(session).await?;
            session.run("COMMIT").await?;
            Ok(value)
        };
        self.read(look_at_once).await
    }

    /// As [`Self::read`], whatever version the database has, or when there is none yet.
    pub async fn look_unchecked<T>(&self, look: impl AsyncFnOnce(&mut Session) -> Result<T, Fault>) -> Result<T> {
        let looked = async {
            let mut session = match self.connect().await {
                Err(fault) if fault.is_unknown_database() => {
                    self.connect_with(options(&self.shared.config, None)).await?
                }
                connected => connected?,
            };
            look(&mut session).await
        };
        looked.await.map_err(|fault: Fault| self.explain(fault))
    }

    /// Runs `change` in a transaction of its own and commits, unless it returns an error. The victim of a deadlock is
    /// run again from its beginning.
    pub async fn write<T>(&self, change: impl AsyncFnOnce(&mut Session) -> Result<T, Fault> + Clone) -> Result<T> {
        self.try_write(change).await.map_err(|fault| self.explain(fault))
    }

    /// As [`Self::write`], for callers who know what to do about a fault.
    pub async fn try_write<T>(
        &self,
        change: impl AsyncFnOnce(&mut Session) -> Result<T, Fault> + Clone,
    ) -> Result<T, Fault> {
        let mut deadlocks = 0;
        loop {
            let changed = async {
                let mut transaction = self.begin().await?;
                let value = change.clone()(&mut transaction).await?;
                transaction.commit().await?;
                Ok(value)
            };
            match changed.await {
                Err(fault) if Fault::is_deadlock(&fault) && deadlocks < DEADLOCKS_MAX => {
                    deadlocks += 1;
                    let wait_ms = rand::rng().random_range(0..(10_u64 << deadlocks));
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                ended => return ended,
            }
        }
    }

    /// Begins a transaction that outlives the call.
    pub async fn begin(&self) -> Result<Transaction, Fault> {
        const BEGIN: &str = "START TRANSACTION";
        while let Some(mut session) = self.rested() {
            match session.run(BEGIN).await {
                // Cut while it rested: nothing has been done on it yet.
                Err(fault) if fault.is_lost() => {}
                begun => return begun.map(|()| Transaction { session }),
            }
        }
        let mut session = self.new_session().await?;
        session.run(BEGIN).await?;
        Ok(Transaction { session })
    }

    pub fn explain(&self, fault: Fault) -> Error {
        fault.explain(self.shared.component.name, &self.shared.config)
    }

    /// The connection that has rested least, if one is fresh enough.
    fn rested(&self) -> Option<Session> {
        let mut resting = self.shared.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|resting| resting.since.elapsed() < REST_MAX);
        let Resting { connection, packet_max, .. } = resting.pop()?;
        Some(Session { connection: Some(connection), packet_max, shared: Arc::clone(&self.shared) })
    }

    /// A connection to the database, whatever is in it.
    async fn connect(&self) -> Result<Session, Fault> {
        self.connect_with(self.shared.options.clone()).await
    }

    async fn connect_with(&self, options: Opts) -> Result<Session, Fault> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(options)).await;
        let connection = match connected {
            Ok(connected) => connected.map_err(Fault::Connecting)?,
            Err(_) => return Err(Fault::ConnectTimeout(CONNECT_TIMEOUT)),
        };
        let mut session = Session { connection: Some(connection), packet_max: 0, shared: Arc::clone(&self.shared) };
        session.check_state().await?;
        Ok(session)
    }
}

fn options(config: &MysqlDatabase, database: Option<&str>) -> Opts {
    let builder = OptsBuilder::default()
        .ip_or_hostname(config.host.clone())
        .tcp_port(config.port)
        .socket(config.socket.as_ref().map(|path| path.to_string_lossy().into_owned()))
        // Never over to a socket that the server names: what is written is what is used.
        .prefer_socket(false)
        .user(Some(config.user.clone()))
        .pass(config.password.as_ref().map(|password| password.secret.reveal().to_owned()))
        .db_name(database.map(str::to_owned))
        .client_found_rows(true)
        .tcp_keepalive(Some(Duration::from_secs(10)))
        .stmt_cache_size(STATEMENTS_MAX)
        .ssl_opts(ssl(&config.tls))
        .setup(setup());
    builder.into()
}

fn ssl(tls: &Tls) -> Option<SslOpts> {
    let Tls::Verified { ca_file, identity } = tls else { return None };
    let mut ssl = SslOpts::default();
    if let Some(ca) = ca_file {
        ssl = ssl.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
    }
    let identity = identity.clone().map(|(certificate, key)| ClientIdentity::new(certificate.into(), key.into()));
    Some(ssl.with_client_identity(identity))
}

/// What every session runs first, and again after a reset; in any order. Notes are how a server says that it rounded or
/// cut a value; under another completion type a COMMIT would begin a transaction that nobody ends.
fn setup() -> Vec<String> {
    vec![
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        format!(
            "SET SESSION time_zone = '+00:00', SESSION sql_mode = '{}', SESSION sql_notes = 1, SESSION autocommit = 1, \
             SESSION completion_type = 'NO_CHAIN', SESSION wait_timeout = {WAIT_TIMEOUT_S}, SESSION innodb_lock_wait_timeout = {LOCK_WAIT_TIMEOUT_S}, \
             SESSION lock_wait_timeout = {LOCK_WAIT_TIMEOUT_S}, SESSION net_read_timeout = {WAIT_TIMEOUT_S}, \
             SESSION net_write_timeout = {LOCK_WAIT_TIMEOUT_S}",
            SQL_MODES.join(",")
        ),
    ]
}

/// A connection at work, outside a transaction or inside one. Dropped without [`Session::done`], it is closed.
pub(super) struct Session {
    /// `None` only while it is dropped.
    connection: Option<Conn>,
    packet_max: usize,
    shared: Arc<Shared>,
}

impl Session {
    /// Runs a statement without parameters, in the text protocol: transactions and DDL.
    pub async fn run(&mut self, sql: &str) -> Result<(), Fault> {
        answered(self.connection()?.query_drop(sql)).await
    }

    /// Whether the server is still there.
    async fn answers(&mut self) -> bool {
        match self.connection() {
            Ok(connection) => answered(connection.ping()).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Runs a prepared statement; returns how many rows it found, or inserted or deleted.
    pub async fn execute(
        &mut self,
        statement: impl StatementLike,
        params: impl Into<Params> + Send,
    ) -> Result<u64, Fault> {
        let connection = self.connection()?;
        answered(connection.exec_drop(statement, params)).await?;
        Ok(connection.affected_rows())
    }

    /// For a statement that is run many times. It lives as long as the connection.
    pub async fn prepare(&mut self, sql: &str) -> Result<Statement, Fault> {
        answered(self.connection()?.prep(sql)).await
    }

    pub async fn rows(&mut self, sql: &str, params: impl Into<Params> + Send) -> Result<Vec<Row>, Fault> {
        answered(self.connection()?.exec(sql, params)).await
    }

    pub async fn first(&mut self, sql: &str, params: impl Into<Params> + Send) -> Result<Option<Row>, Fault> {
        answered(self.connection()?.exec_first(sql, params)).await
    }

    /// Rows of a statement without parameters, in the text protocol: for what can't be prepared.
    pub async fn text_rows(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        answered(self.connection()?.query(sql)).await
    }

    /// AUTO_INCREMENT of the last insert, the first one of several rows.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.connection.as_ref()?.last_insert_id()
    }

    /// The server's `max_allowed_packet`, in bytes.
    pub fn packet_max(&self) -> usize {
        self.packet_max
    }

    /// Warnings and notes of the last statement.
    pub fn warnings(&self) -> u16 {
        self.connection.as_ref().map_or(0, Conn::get_warnings)
    }

    /// The work ended well and nothing is open: the connection may be used again.
    pub fn done(mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut resting = self.shared.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < RESTING_MAX {
            resting.push(Resting { connection, packet_max: self.packet_max, since: Instant::now() });
        }
    }

    fn connection(&mut self) -> Result<&mut Conn, Fault> {
        self.connection.as_mut().ok_or_else(|| Error::internal("a connection was used after its end").into())
    }

    /// Reads back what decides about values: a proxy or a server of another make may have ignored it.
    async fn check_state(&mut self) -> Result<(), Fault> {
        let sql = "SHOW SESSION VARIABLES WHERE Variable_name IN \
                   ('sql_mode', 'time_zone', 'transaction_isolation', 'tx_isolation', 'max_allowed_packet')";
        let mut isolated = false;
        for mut row in self.text_rows(sql).await? {
            let (name, value): (String, String) = (field(&mut row, "Variable_name")?, field(&mut row, "Value")?);
            let as_set = match name.as_str() {
                "sql_mode" => is_strict(&value),
                "time_zone" => value == "+00:00",
                "max_allowed_packet" => {
                    self.packet_max = value.parse().unwrap_or(0);
                    self.packet_max > 0
                }
                _ => {
                    isolated = true;
                    value == "READ-COMMITTED"
                }
            };
            if !as_set {
                return Err(ignored(&name));
            }
        }
        if isolated { Ok(()) } else { Err(ignored("transaction_isolation")) }
    }
}

fn is_strict(modes: &str) -> bool {
    let set: Vec<&str> = modes.split(',').collect();
    set.len() == SQL_MODES.len() && SQL_MODES.iter().all(|mode| set.contains(mode))
}

fn ignored(variable: &str) -> Fault {
    let message = format!("the server did not keep the session's `{variable}` as loadline needs it");
    Error::config(message).hint("connect to the server itself, not through a proxy that shares sessions").into()
}

/// A statement's answer, or an error when it does not come.
async fn answered<T>(answer: impl Future<Output = mysql_async::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::AnswerTimeout(ANSWER_TIMEOUT)),
    }
}

/// An open transaction on a session. Dropped, it is rolled back, and its connection closed.
pub(super) struct Transaction {
    session: Session,
}

impl Transaction {
    /// After an error it may be committed or not.
    pub async fn commit(mut self) -> Result<(), Fault> {
        self.session.run("COMMIT").await?;
        self.session.done();
        Ok(())
    }

    /// Lets its locks go at once and keeps the connection.
    pub async fn rollback(mut self) -> Result<(), Fault> {
        self.session.run("ROLLBACK").await?;
        self.session.done();
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// A name as an identifier.
pub(super) fn quote(name: impl Display) -> String {
    format!("`{}`", name.to_string().replace('`', "``"))
}
