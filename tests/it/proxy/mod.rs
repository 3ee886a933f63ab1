//! A TCP proxy in this process, in front of a server that a test wants to be hard to reach: it drops connections, cuts
//! them in the middle of a packet, loses the answer to COMMIT, lets nothing through for a time, and is slow.
//!
//! ```ignore
//! let proxy = Proxy::mysql(server_address);
//! let url = format!("mysql://root@{}/events", proxy.address());
//! proxy.arm(Fault::Commit(LostCommit::Swallowed));   // the next COMMIT suffers it
//! proxy.count(Kind::CommitSwallowed);                // 1, once it has happened
//! ```
//!
//! It has a runtime thread of its own. Dropped, it breaks everything off.
//!
//! Invariant: a fault is counted when it has hit a connection, and only then.

mod connection;
mod packets;
mod shared;
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use connection::Connection;
use shared::Shared;

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    Server,
    Client,
}

/// What becomes of a COMMIT. The connection is cut in every case, and the client never learns how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostCommit {
    /// The server has done it; its answer is thrown away.
    Swallowed,
    /// The server never sees it.
    NeverSent,
    /// The server has done it; its answer is held for so long, and then thrown away.
    Late(Duration),
}

/// A fault that waits for its victim: the first connection that it can hit, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A connection ends after so many more bytes in this direction, most likely in the middle of a packet.
    CutAfter(Towards, usize),
    /// Only in front of MySQL, and only without TLS.
    Commit(LostCommit),
}

/// Names under which faults are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An open connection was dropped; each counts.
    Dropped,
    HalfSent,
    HalfAnswered,
    CommitSwallowed,
    CommitNeverSent,
    CommitLate,
    /// A black hole that held at least one chunk or one new connection.
    BlackHole,
    /// A delay that held at least one chunk.
    Delay,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// In front of any server; COMMIT is not looked for.
    pub fn start(target: SocketAddr) -> Self {
        Self::listen(target, false)
    }

    /// In front of a MySQL or MariaDB server.
    pub fn mysql(target: SocketAddr) -> Self {
        Self::listen(target, true)
    }

    fn listen(target: SocketAddr, is_mysql: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::new(target, is_mysql));
        let accepting = shared.clone();
        runtime.spawn(async move { accept(TcpListener::from_std(listener).unwrap(), accepting).await });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go there from now on.
    pub fn retarget(&self, target: SocketAddr) {
        self.shared.retarget(target);
    }

    /// Drops all open connections; returns how many.
    pub fn drop_connections(&self) -> usize {
        let dropped = self.shared.drop_connections();
        self.shared.count(Kind::Dropped, dropped);
        dropped
    }

    /// Waits for a victim until [`Proxy::heal`].
    pub fn arm(&self, fault: Fault) {
        self.shared.arm(fault);
    }

    /// From now until [`Proxy::heal`] nothing comes through, neither way, not even the end of a connection; new
    /// connections are taken and hear nothing.
    pub fn black_hole(&self) {
        self.shared.black_hole(true);
    }

    /// From now until [`Proxy::heal`] every chunk takes so much longer.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay(delay);
    }

    /// No black hole, no delay, and armed faults that have not happened never do. What a black hole has held goes on.
    pub fn heal(&self) {
        self.shared.heal();
    }

    /// How many faults of this kind have happened.
    pub fn count(&self, kind: Kind) -> usize {
        self.counts().get(&kind).copied().unwrap_or_default()
    }

    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        self.shared.counts()
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        Shared::serve(&shared, client);
    }
}

/// One client from its coming to its end; an error is a cut, or a server that is not there.
async fn serve(client: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    shared.pass().await;
    let server = TcpStream::connect(shared.target()).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Connection::new(shared).run(client, server).await
}
