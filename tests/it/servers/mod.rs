//! Private database servers: a MariaDB and a MySQL that live as long as the test process, and more where a test asks.
//!
//! [`Server::shared`] starts the one of its kind at its first use; every test takes a database of its own in it
//! ([`Server::fresh`]). [`Server::start`] gives a test a server to itself, with the options it needs, to be killed and
//! started again. Each is `None` where the machine has no such server, and has said SKIPPED then.
//!
//! ```ignore
//! let Some(server) = Server::shared(Kind::MariaDb) else { return };
//! let database = server.fresh();            // dropped with the value
//! let url = database.url();                 // mysql://root@127.0.0.1:PORT/NAME
//! ```
//!
//! Invariant: no server outlives the test process, however that ends.

mod database;
mod install;
mod process;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use mysql_async::Conn;

pub use database::{Address, Database};
use process::Process;

use crate::skip::skipped;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    /// 8.4 or 9.x.
    MySql,
}

/// What every server runs with: small, logging rows, and with the commits of a real one.
const OPTIONS: [&str; 6] = [
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=1",
    "--max-connections=500",
    "--log-bin=binlog",
    "--server-id=1",
    "--binlog-format=ROW",
];

/// How often a server that did not come up, as another program took its port, is started on another one.
const PORTS_TRIED: usize = 3;

pub struct Server {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    command: Vec<String>,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// The one that all tests share. Leave it running, and its global variables as they are.
    pub fn shared(kind: Kind) -> Option<&'static Self> {
        static SHARED: [OnceLock<Option<Server>>; 2] = [OnceLock::new(), OnceLock::new()];
        let server =
            SHARED[kind as usize].get_or_init(|| Self::find_and_start(kind, &std::env::temp_dir(), &[])).as_ref();
        if server.is_none() {
            skipped(&format!("{kind:?} is not on this machine"));
        }
        server
    }

    /// A server of the test's own, with options behind those of all, such as `--binlog-format=STATEMENT`. Later ones win.
    pub fn start(kind: Kind, options: &[&str]) -> Option<Self> {
        Self::start_in(&std::env::temp_dir(), kind, options)
    }

    /// The same with its data below a folder that the test has chosen.
    pub fn start_in(parent: &Path, kind: Kind, options: &[&str]) -> Option<Self> {
        let server = Self::find_and_start(kind, parent, options);
        if server.is_none() {
            skipped(&format!("{kind:?} is not on this machine"));
        }
        server
    }

    fn find_and_start(kind: Kind, parent: &Path, options: &[&str]) -> Option<Self> {
        let installed = install::find(kind)?;
        let folder = tempfile::Builder::new().prefix("loadline-server-").tempdir_in(parent).unwrap().keep();
        if !Process::prepare(&installed.create_data(&folder), &folder) {
            give_up(kind, &folder);
        }
        for _ in 0..PORTS_TRIED {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = installed.command(&folder, port);
            command.extend(OPTIONS.iter().chain(options).map(|&option| option.to_owned()));
            if let Some(process) = Process::start(&command, &folder) {
                return Some(Self { kind, folder, port, command, process: Mutex::new(Some(process)) });
            }
        }
        give_up(kind, &folder);
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join(process::SOCKET)
    }

    /// Data and log of the server; what a test puts here (certificates, say) goes with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// For signals such as STOP and CONT. `None` while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.process.lock().unwrap().as_ref().map(Process::pid)
    }

    /// As `kill -9` does. Its port stays its own until [`Server::start_again`].
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.kill();
        }
    }

    /// Whether it has ended by itself.
    pub fn has_died(&self) -> bool {
        self.process.lock().unwrap().as_ref().is_some_and(Process::has_ended)
    }

    /// After [`Server::kill`]: on the same port and data. Returns when it answers.
    pub fn start_again(&self) {
        let mut process = self.process.lock().unwrap();
        assert!(process.is_none(), "the server is running");
        *process = Process::start(&self.command, &self.folder);
        assert!(process.is_some(), "the server does not start again:\n{}", process::end_of_log(&self.folder));
    }

    /// A new database with a random name.
    pub fn fresh(&self) -> Database<'_> {
        Database::create(self)
    }

    /// A connection as root, without a database or in one.
    pub async fn connect(&self, database: Option<&str>) -> Conn {
        let connected = database::connect(self.port, database).await;
        connected.unwrap_or_else(|error| panic!("{:?}: {error}\n{}", self.kind, process::end_of_log(&self.folder)))
    }

    /// Runs statements as root, one after another: for users, grants and global variables.
    pub fn execute(&self, statements: &[&str]) {
        database::execute(self, statements);
    }
}

/// Says why, and leaves nothing behind.
fn give_up(kind: Kind, folder: &Path) -> ! {
    let log = process::end_of_log(folder);
    std::fs::remove_dir_all(folder).unwrap();
    panic!("{kind:?} does not start:\n{log}");
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.process.lock().unwrap().take() {
            Some(process) => process.end(),
            None => std::fs::remove_dir_all(&self.folder).unwrap(),
        }
    }
}
