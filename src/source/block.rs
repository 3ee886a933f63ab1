//! A block: some whole records, ready for the decoder, with their places beside them.

/// How much of a malformed record's bytes is kept for the rejects.
pub const RAW_BYTES_MAX: usize = 64 * 1024;

/// What is wrong with one record of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Index in the block.
    pub row: usize,
    pub reason: String,
    /// The record as it stands in the file, without its line end, capped at [`RAW_BYTES_MAX`].
    pub raw: Vec<u8>,
}

/// Invariant: `text` holds exactly `lines.len()` records of the header's width, each ended by one `\n`.
#[derive(Debug, Default)]
pub struct Block {
    /// Number of the first record, from 1.
    pub first_record: u64,
    pub text: Vec<u8>,
    /// Where each record's text ends in `text`, its `\n` not counted.
    pub ends: Vec<usize>,
    /// Line on which each record starts, from 1.
    pub lines: Vec<u64>,
    /// Byte at which each record starts in the plain file, from 0.
    pub offsets: Vec<u64>,
    pub malformed: Vec<Malformed>,
}

impl Block {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The bytes of each record as they stand in the file, without line ends; malformed ones as they were.
    pub fn raws(&self) -> impl Iterator<Item = &[u8]> {
        let mut malformed = self.malformed.iter().peekable();
        (0..self.len()).map(move |row| match malformed.next_if(|bad| bad.row == row) {
            Some(bad) => bad.raw.as_slice(),
            None => {
                let start = if row == 0 { 0 } else { self.ends[row - 1] + 1 };
                &self.text[start..self.ends[row]]
            }
        })
    }

    pub(super) fn push(&mut self, text: &[u8], line: u64, offset: u64) {
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len());
        self.text.push(b'\n');
        self.lines.push(line);
        self.offsets.push(offset);
    }
}
