//! One database file and the two connections that work on it: a writer, taken in turn, and a reader.
//!
//! rusqlite blocks, so every piece of work runs on a thread for blocking work and takes the connection along. A caller
//! that is cancelled does not stop it: the transaction ends there, or its [`OpenTransaction`] is dropped, and that
//! rolls back.
//!
//! Invariant: a connection that is free has no open transaction.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::checksum;
use super::fault::Fault;
use super::migrations::Component;
use crate::error::{Error, Result};

/// How long a statement waits for another process that holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

type Slot = Arc<Mutex<Option<Connection>>>;
type Held = OwnedMappedMutexGuard<Option<Connection>, Connection>;

#[derive(Clone)]
pub(super) struct Database {
    path: Arc<Path>,
    component: &'static Component,
    writer: Slot,
    reader: Slot,
}

impl Database {
    /// Only remembers the path.
    pub fn open(path: &Path, component: &'static Component) -> Result<Self> {
        if path.as_os_str().is_empty() || path.is_dir() {
            let message = format!("the {} database `{}` is no path of a file", component.name, path.display());
            return Err(Error::config(message).hint("write its url as sqlite:///folder/name.db"));
        }
        Ok(Self { path: path.into(), component, writer: Slot::default(), reader: Slot::default() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `look` on the database as it is, set up or not; `None` where there is no file. Changes nothing.
    pub async fn inspect<T, F>(&self, look: F) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let database = self.clone();
        blocking(move || {
            if !database.path.exists() {
                return Ok(None);
            }
            let seen = database.connect(OpenFlags::empty()).and_then(|connection| look(&connection));
            seen.map(Some).map_err(|fault| database.explain(fault))
        })
        .await?
    }

    /// The schema version; `None` where there is no file or nothing of ours in it.
    pub async fn version(&self) -> Result<Option<u32>> {
        let component = self.component;
        Ok(self.inspect(|connection| component.version_in(connection)).await?.flatten())
    }

    /// Creates the folder and the file where they are missing, and runs the missing steps.
    pub async fn migrate(&self) -> Result<Vec<String>> {
        let database = self.clone();
        blocking(move || {
            if let Some(folder) = database.path.parent() {
                std::fs::create_dir_all(folder).map_err(|error| database.no_folder(folder, error))?;
            }
            let ran = database.connect(OpenFlags::SQLITE_OPEN_CREATE).and_then(|mut connection| {
                connection.pragma_update(None, "journal_mode", "WAL")?;
                database.component.migrate(&mut connection, &database.path)
            });
            ran.map_err(|fault| database.explain(fault))
        })
        .await?
    }

    /// Runs `look` on a consistent picture of the database.
    pub async fn read<T, F>(&self, look: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let work = move |transaction: Transaction<'_>| look(&transaction);
        self.run(&self.reader, TransactionBehavior::Deferred, work).await
    }

    /// Runs `change` in a transaction of its own and commits, unless it returns an error.
    pub async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let work = move |transaction: Transaction<'_>| {
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        self.run(&self.writer, TransactionBehavior::Immediate, work).await
    }

    async fn run<T, F>(&self, slot: &Slot, behavior: TransactionBehavior, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let database = self.clone();
        let slot = Arc::clone(slot).lock_owned().await;
        blocking(move || {
            let done = database.hold(slot).and_then(|mut held| work(held.transaction_with_behavior(behavior)?));
            done.map_err(|fault| database.explain(fault))
        })
        .await?
    }

    /// Begins a transaction that outlives the call. It holds the writer until it is committed or dropped.
    pub async fn begin(&self) -> Result<OpenTransaction> {
        let database = self.clone();
        let slot = Arc::clone(&self.writer).lock_owned().await;
        blocking(move || {
            let begun = database.hold(slot).and_then(|held| {
                held.execute_batch("BEGIN IMMEDIATE")?;
                Ok(OpenTransaction { held })
            });
            begun.map_err(|fault| database.explain(fault))
        })
        .await?
    }

    pub fn explain(&self, fault: Fault) -> Error {
        fault.explain(self.component.name, &self.path)
    }

    /// The connection of a slot, opened at its first use.
    fn hold(&self, mut slot: OwnedMutexGuard<Option<Connection>>) -> Result<Held, Fault> {
        if slot.is_none() {
            if !self.path.exists() {
                return Err(self.component.not_set_up(&self.path).into());
            }
            let connection = self.connect(OpenFlags::empty())?;
            self.component.require_in(&connection, &self.path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            *slot = Some(connection);
        }
        OwnedMutexGuard::try_map(slot, Option::as_mut).map_err(|_| Error::internal("a connection vanished").into())
    }

    /// `create`: the flag that creates a missing file, or none. The journal mode is left to those who may change the
    /// file: it is a property of the file.
    fn connect(&self, create: OpenFlags) -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        checksum::bring_functions(&connection)?;
        Ok(connection)
    }

    fn no_folder(&self, folder: &Path, error: std::io::Error) -> Error {
        let role = self.component.name;
        Error::config(format!("the folder {} of the {role} database can't be created", folder.display()))
            .hint("check its permissions")
            .caused_by(error)
    }
}

/// An open `BEGIN IMMEDIATE`. Dropped, it is rolled back.
pub(super) struct OpenTransaction {
    held: Held,
}

impl OpenTransaction {
    pub fn connection(&self) -> &Connection {
        &self.held
    }

    pub fn commit(self) -> Result<(), Fault> {
        Ok(self.held.execute_batch("COMMIT")?)
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if !self.held.is_autocommit() {
            // SQLite has rolled back already where this fails.
            let _ = self.held.execute_batch("ROLLBACK");
        }
    }
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("work on the database did not end").caused_by(error))
}
