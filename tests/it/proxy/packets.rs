//! As much of MySQL's protocol as it takes to see a COMMIT: packets of a 3-byte length, a number and a body, which for a
//! statement in text is the byte 3 and the statement.

const HEADER: usize = 4;
const COM_QUERY: u8 = 3;
const COMMIT: &[u8] = b"COMMIT";
/// Longer packets are no COMMIT, and pass without being looked at.
const LOOKED_AT: usize = 1 + COMMIT.len();

/// What a client sends, cut at the packets that may be a COMMIT.
#[derive(Default)]
pub struct Packets {
    /// Bytes that came and were not handed on.
    waiting: Vec<u8>,
    /// Of the packet that is passing, how many bytes are to come.
    passing: usize,
}

/// What may be handed on.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The whole packet.
    Commit(Vec<u8>),
}

impl Packets {
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next piece; `None`: more bytes have to come first.
    pub fn next(&mut self) -> Option<Piece> {
        let mut plain = 0;
        loop {
            let passing = self.passing.min(self.waiting.len() - plain);
            (plain, self.passing) = (plain + passing, self.passing - passing);
            let rest = &self.waiting[plain..];
            let Some(length) = length(rest) else { return self.take(plain).map(Piece::Bytes) };
            let packet = HEADER + length;
            if length != LOOKED_AT {
                self.passing = packet;
            } else if rest.len() < packet {
                return self.take(plain).map(Piece::Bytes);
            } else if !is_commit(&rest[HEADER..packet]) {
                plain += packet;
            } else if plain > 0 {
                return self.take(plain).map(Piece::Bytes);
            } else {
                return self.take(packet).map(Piece::Commit);
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        (bytes > 0).then(|| self.waiting.drain(..bytes).collect())
    }
}

fn length(packet: &[u8]) -> Option<usize> {
    let header = packet.get(..HEADER)?;
    Some(usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16)
}

fn is_commit(body: &[u8]) -> bool {
    body[0] == COM_QUERY && body[1..].eq_ignore_ascii_case(COMMIT)
}

/// Whether this answer begins with an OK packet.
pub fn is_ok(answer: &[u8]) -> bool {
    answer.get(HEADER) == Some(&0)
}
