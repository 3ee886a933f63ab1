//! One connection through the proxy: two directions, each of which may end both.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::packets::{Packets, Piece, is_ok};
use super::shared::{Cut, Shared};
use super::{Kind, LostCommit, Towards};

const CHUNK: usize = 16 * 1024;

pub struct Connection {
    shared: Arc<Shared>,
    /// What becomes of the answer that comes next: a client asks one thing at a time.
    answer: Mutex<Option<LostCommit>>,
}

impl Connection {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, answer: Mutex::default() }
    }

    /// To the end of both directions, or to the first cut.
    pub async fn run(self, mut client: TcpStream, mut server: TcpStream) -> Result<()> {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = self.towards_server(from_client, to_server);
        let back = self.towards_client(from_server, to_client);
        tokio::try_join!(there, back).map(|_| ())
    }

    async fn towards_server(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<()> {
        let (mut chunk, mut packets, mut cut) = (vec![0; CHUNK], Packets::default(), None);
        loop {
            let bytes = self.read(&mut from, &mut chunk).await?;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            if !self.shared.is_mysql {
                self.write(bytes, &mut to, Towards::Server, &mut cut).await?;
                continue;
            }
            packets.push(bytes);
            while let Some(piece) = packets.next() {
                let bytes = match piece {
                    Piece::Bytes(bytes) => bytes,
                    Piece::Commit(bytes) => {
                        self.commit()?;
                        bytes
                    }
                };
                self.write(&bytes, &mut to, Towards::Server, &mut cut).await?;
            }
        }
    }

    async fn towards_client(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<()> {
        let (mut chunk, mut cut) = (vec![0; CHUNK], None);
        loop {
            let bytes = self.read(&mut from, &mut chunk).await?;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            self.lose_answer(bytes).await?;
            self.write(bytes, &mut to, Towards::Client, &mut cut).await?;
        }
    }

    /// What came, once the weather lets it through; nothing: the end.
    async fn read<'a>(&self, from: &mut (impl AsyncRead + Unpin), chunk: &'a mut [u8]) -> Result<&'a [u8]> {
        let read = from.read(chunk).await;
        self.shared.pass().await;
        Ok(&chunk[..read?])
    }

    async fn write(
        &self,
        bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        towards: Towards,
        cut: &mut Option<Cut>,
    ) -> Result<()> {
        if cut.is_none() {
            *cut = Shared::draw_cut(&self.shared, towards);
        }
        match cut.as_mut().and_then(|cut| cut.after(bytes.len())) {
            None => to.write_all(bytes).await,
            Some(last) => {
                to.write_all(&bytes[..last]).await?;
                Err(cut_off())
            }
        }
    }

    /// A COMMIT is about to be handed on.
    fn commit(&self) -> Result<()> {
        let lost = self.shared.draw_commit();
        if lost == Some(LostCommit::NeverSent) {
            self.shared.count(Kind::CommitNeverSent, 1);
            return Err(cut_off());
        }
        *self.answer.lock().unwrap() = lost;
        Ok(())
    }

    /// Ends the connection where this is the answer to a COMMIT that is to be lost.
    async fn lose_answer(&self, answer: &[u8]) -> Result<()> {
        let lost = self.answer.lock().unwrap().take();
        let kind = match lost {
            Some(LostCommit::Swallowed) => Kind::CommitSwallowed,
            Some(LostCommit::Late(delay)) => {
                tokio::time::sleep(delay).await;
                Kind::CommitLate
            }
            Some(LostCommit::NeverSent) | None => return Ok(()),
        };
        // A COMMIT that the server refuses is an error like any other, and no fault of the proxy.
        if is_ok(answer) {
            self.shared.count(kind, 1);
        }
        Err(cut_off())
    }
}

fn cut_off() -> Error {
    ErrorKind::ConnectionAborted.into()
}
