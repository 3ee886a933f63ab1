//! The guard: finds where records begin and end, and keeps malformed ones away from the decoder.
//!
//! Between newlines without a quote, memchr finds the boundaries and counts the delimiters; from the first quote of a
//! record on, csv-core walks through it. A record of another width than the header's, or of invalid UTF-8, or longer
//! than [`RECORD_BYTES_MAX`], is replaced in the block by an empty one of the right width and its reason and bytes are
//! put beside it, so that row index = record number whatever the file holds. Blank lines are no records.
//!
//! Invariant: the records, their order and their bytes don't depend on how the input was cut into chunks. Memory is
//! bounded by one record's maximum, one chunk and one block, whatever the file holds.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::{memchr, memchr_iter};

use super::block::{Block, Malformed, RAW_BYTES_MAX};
use crate::error::{Error, Result};

/// A record may be this long; a longer one that ends is a reject.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// A block is handed out when it has so many records or bytes.
pub const BLOCK_RECORDS_MAX: usize = 8192;
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;

const QUOTE: u8 = b'"';
const BOM: &[u8] = b"\xef\xbb\xbf";

pub struct Guard {
    delimiter: u8,
    /// Bytes not handed out yet. The current record starts at `start`.
    buffer: Vec<u8>,
    start: usize,
    /// Place of `start` in the plain file.
    offset: u64,
    line: u64,
    /// Everything before it in `buffer` was searched for a quote; the first one found, if any.
    quote_searched: usize,
    next_quote: Option<usize>,
    /// Between two walks it stands at the start of a record.
    reader: Reader,
    walk: Option<Walk>,
    /// The last record ended in `\r`: a `\n` right behind it belongs to the same line end.
    after_carriage_return: bool,
    begun: bool,
    ended: bool,
    width: usize,
    block: Block,
    next_record: u64,
}

/// A record that csv-core is walking through.
struct Walk {
    /// Up to here in `buffer` the reader has been.
    at: usize,
    fields: usize,
    newlines: u64,
    /// Bytes of this record that were dropped from the buffer because it is too long; its head is kept.
    dropped: u64,
    head: Vec<u8>,
}

impl Guard {
    pub fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            line: 1,
            quote_searched: 0,
            next_quote: None,
            reader: new_reader(delimiter),
            walk: None,
            after_carriage_return: false,
            begun: false,
            ended: false,
            width: 0,
            block: Block::default(),
            next_record: 1,
        }
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.forget_consumed();
        self.buffer.extend_from_slice(chunk);
    }

    /// Says that there are no more bytes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The first record, without its line end: the header. `None`: more bytes are needed, or, after [`Self::end`], the
    /// file holds no record at all. The records that follow are held to its width.
    pub fn header(&mut self) -> Result<Option<Vec<u8>>> {
        self.width = 0;
        match self.next_span()? {
            None => Ok(None),
            Some(span) if span.length > RECORD_BYTES_MAX as u64 => {
                Err(Error::data(format!("the header is longer than {RECORD_BYTES_MAX} bytes")))
            }
            Some(span) => {
                self.width = span.fields;
                let header = self.buffer[span.start..span.end].to_vec();
                self.consume(&span);
                Ok(Some(header))
            }
        }
    }

    /// The next full block; after [`Self::end`] also the last, partial one. `None`: more bytes are needed, or there is
    /// nothing left.
    pub fn next_block(&mut self) -> Result<Option<Block>> {
        while self.block.len() < BLOCK_RECORDS_MAX && self.block.text.len() < BLOCK_BYTES_MAX {
            match self.next_span()? {
                Some(span) => {
                    self.take(&span);
                    self.consume(&span);
                }
                None if self.ended && !self.block.is_empty() => break,
                None => return Ok(None),
            }
        }
        let mut block = std::mem::take(&mut self.block);
        block.first_record = self.next_record;
        self.next_record += block.len() as u64;
        Ok(Some(block))
    }

    fn take(&mut self, span: &Span) {
        let bytes = &self.buffer[span.start..span.end];
        let reason = if span.length > RECORD_BYTES_MAX as u64 {
            Some(format!("longer than {RECORD_BYTES_MAX} bytes"))
        } else if span.fields != self.width {
            Some(format!("has {} fields, the header has {}", span.fields, self.width))
        } else if std::str::from_utf8(bytes).is_err() {
            Some("is not valid UTF-8".to_owned())
        } else {
            None
        };
        let Some(reason) = reason else {
            self.block.push(bytes, self.line, self.offset);
            return;
        };
        let raw = span.dropped_head.as_deref().unwrap_or(bytes);
        let raw = raw[..raw.len().min(RAW_BYTES_MAX)].to_vec();
        self.block.malformed.push(Malformed { row: self.block.len(), reason, raw });
        self.block.push(&empty_record(self.width, self.delimiter), self.line, self.offset);
    }

    fn consume(&mut self, span: &Span) {
        let end_of_line = span.next - span.end;
        self.offset += span.length + end_of_line as u64;
        self.line += span.newlines + u64::from(end_of_line > 0);
        self.start = span.next;
        self.after_carriage_return = self.start > 0 && end_of_line > 0 && self.buffer[self.start - 1] == b'\r';
        self.walk = None;
    }

    /// Drops what was handed out, so that the buffer holds no more than the current record and the next chunk.
    fn forget_consumed(&mut self) {
        self.buffer.drain(..self.start);
        self.quote_searched = self.quote_searched.saturating_sub(self.start);
        self.next_quote = self.next_quote.and_then(|quote| quote.checked_sub(self.start));
        if let Some(walk) = &mut self.walk {
            walk.at -= self.start;
        }
        self.start = 0;
    }

    /// The next record. `None`: more bytes are needed, or there are none left.
    fn next_span(&mut self) -> Result<Option<Span>> {
        if self.walk.is_none() && !self.skip_blank_lines() {
            return Ok(None);
        }
        if self.walk.is_none() {
            if let Some(span) = self.plain_span() {
                return Ok(Some(span));
            }
            let rest = self.buffer.len() - self.start;
            let walkable = self.quote_in(self.buffer.len()) || self.ended || rest > RECORD_BYTES_MAX;
            if !walkable && memchr(b'\r', &self.buffer[self.start..]).is_none() {
                return Ok(None);
            }
            self.walk = Some(Walk::new(self.start));
        }
        self.walk_on()
    }

    /// Moves over the byte-order mark and blank lines. False: no record has begun yet.
    fn skip_blank_lines(&mut self) -> bool {
        if !self.begun {
            let head = &self.buffer[self.start..];
            if head.len() < BOM.len() && BOM.starts_with(head) && !self.ended {
                return false;
            }
            if head.starts_with(BOM) {
                self.start += BOM.len();
                self.offset += BOM.len() as u64;
            }
            self.begun = true;
        }
        while let Some(&byte) = self.buffer.get(self.start) {
            match byte {
                b'\n' if self.after_carriage_return => {}
                b'\n' | b'\r' => self.line += 1,
                _ => {
                    self.after_carriage_return = false;
                    return true;
                }
            }
            self.after_carriage_return = byte == b'\r';
            self.start += 1;
            self.offset += 1;
        }
        false
    }

    /// The record up to the next newline, if neither a quote nor a lone carriage return stands in it.
    fn plain_span(&mut self) -> Option<Span> {
        let newline = self.start + memchr(b'\n', &self.buffer[self.start..])?;
        if self.quote_in(newline) {
            return None;
        }
        let line = &self.buffer[self.start..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if memchr(b'\r', line).is_some() {
            return None;
        }
        let fields = memchr_iter(self.delimiter, line).count() + 1;
        let end = self.start + line.len();
        let length = line.len() as u64;
        Some(Span { start: self.start, end, next: newline + 1, length, fields, newlines: 0, dropped_head: None })
    }

    /// Whether a quote stands between `start` and `end` of the buffer. Each byte is searched once.
    fn quote_in(&mut self, end: usize) -> bool {
        if self.next_quote.is_some_and(|quote| quote < self.start) {
            self.next_quote = None;
        }
        if self.next_quote.is_none() {
            let from = self.quote_searched.max(self.start);
            self.next_quote = memchr(QUOTE, &self.buffer[from..]).map(|found| from + found);
            self.quote_searched = self.next_quote.map_or(self.buffer.len(), |quote| quote + 1);
        }
        self.next_quote.is_some_and(|quote| quote < end)
    }

    /// Lets csv-core walk on to the end of the record it is in.
    fn walk_on(&mut self) -> Result<Option<Span>> {
        let Some(walk) = &mut self.walk else {
            return Err(Error::internal("there is no record to walk through"));
        };
        if walk.advance(&mut self.reader, &self.buffer) {
            return Ok(Some(walk.span(&self.buffer, self.start)));
        }
        if !self.ended {
            let length = walk.at - self.start;
            if length > RECORD_BYTES_MAX {
                walk.drop_bytes(&mut self.buffer, self.start);
                self.quote_searched = self.start;
                self.next_quote = None;
            }
            return Ok(None);
        }
        if is_inside_quotes(&mut self.reader) {
            return Err(self.unterminated());
        }
        walk.fields += 1;
        Ok(Some(walk.span_to(&self.buffer, self.start, self.buffer.len())))
    }

    fn unterminated(&self) -> Error {
        let (head, whole) = match &self.walk {
            Some(walk) if walk.dropped > 0 => (walk.head.as_slice(), false),
            _ => (&self.buffer[self.start..], true),
        };
        let record = self.next_record + self.block.len() as u64;
        let mut place = format!("record {record} (line {}, byte {})", self.line, self.offset);
        let open_field = self.walk.as_ref().map_or(0, |walk| walk.fields) + 1;
        // What was dropped can't be looked at again: the quote is in the head if no field has ended since.
        let opened = open_quote(head, self.delimiter).filter(|(field, _)| *field == open_field);
        if opened.is_none() {
            place = format!("field {open_field} of {place}");
        }
        if let Some((field, at)) = opened {
            let line = self.line + memchr_iter(b'\n', &head[..at]).count() as u64;
            let byte = self.offset + at as u64;
            place = format!("field {field} of {place}, on line {line} at byte {byte}");
        }
        let rest = if whole { "" } else { "; it swallows the rest of the file" };
        Error::data(format!("unterminated quote: opened in {place} and never closed{rest}"))
            .hint("close or double the quote in the file, put it in place again, and `loadline retry` the job")
    }
}

/// A record in the buffer: its bytes and what was counted on the way.
struct Span {
    start: usize,
    /// Without the line end.
    end: usize,
    /// Where the next record (or the rest of a `\r\n`) starts.
    next: usize,
    /// All bytes of the record, dropped ones included.
    length: u64,
    fields: usize,
    /// Newlines inside the record.
    newlines: u64,
    /// The first bytes of a record that was too long to keep.
    dropped_head: Option<Vec<u8>>,
}

impl Walk {
    fn new(start: usize) -> Self {
        Self { at: start, fields: 0, newlines: 0, dropped: 0, head: Vec::new() }
    }

    /// True when the record has ended before `at`.
    fn advance(&mut self, reader: &mut Reader, buffer: &[u8]) -> bool {
        let mut fields = [0_u8; 4096];
        let mut ends = [0_usize; 256];
        while self.at < buffer.len() {
            let (result, read, _, ended) = reader.read_record(&buffer[self.at..], &mut fields, &mut ends);
            self.at += read;
            self.fields += ended;
            match result {
                ReadRecordResult::Record => return true,
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return false,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
        false
    }

    /// The record that ended with the byte before `at`.
    fn span(&mut self, buffer: &[u8], start: usize) -> Span {
        let mut span = self.span_to(buffer, start, self.at - 1);
        span.next = self.at;
        span
    }

    fn span_to(&mut self, buffer: &[u8], start: usize, end: usize) -> Span {
        let length = self.dropped + (end - start) as u64;
        let newlines = self.newlines + memchr_iter(b'\n', &buffer[start..end]).count() as u64;
        let dropped_head = (self.dropped > 0).then(|| std::mem::take(&mut self.head));
        Span { start, end, next: end, length, fields: self.fields, newlines, dropped_head }
    }

    /// Forgets what was walked over of a record that is too long, all but its head.
    fn drop_bytes(&mut self, buffer: &mut Vec<u8>, start: usize) {
        if self.dropped == 0 {
            self.head = buffer[start..self.at.min(start + RAW_BYTES_MAX)].to_vec();
        }
        self.newlines += memchr_iter(b'\n', &buffer[start..self.at]).count() as u64;
        self.dropped += (self.at - start) as u64;
        buffer.drain(start..self.at);
        self.at = start;
    }
}

/// Whether a newline here would be part of a value. The reader is of no use afterwards.
fn is_inside_quotes(reader: &mut Reader) -> bool {
    let (result, ..) = reader.read_record(b"\n", &mut [0; 8], &mut [0; 8]);
    result != ReadRecordResult::Record
}

fn new_reader(delimiter: u8) -> Reader {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).quote(QUOTE).build();
    // An empty read, so that the reader does not take the first bytes for a byte-order mark.
    let _ = reader.read_record(b"\n", &mut [0; 8], &mut [0; 8]);
    reader
}

/// One empty record of `width` fields, without its line end.
fn empty_record(width: usize, delimiter: u8) -> Vec<u8> {
    if width == 1 { b"\"\"".to_vec() } else { vec![delimiter; width.saturating_sub(1)] }
}

/// The field (from 1) and the position at which the quote was opened that is still open at the end of `head`.
fn open_quote(head: &[u8], delimiter: u8) -> Option<(usize, usize)> {
    let mut reader = new_reader(delimiter);
    let (mut fields, mut field_start) = (0, 0);
    for position in 0..head.len() {
        let (.., ended) = reader.read_record(&head[position..=position], &mut [0; 8], &mut [0; 8]);
        if ended > 0 {
            fields += ended;
            field_start = position + 1;
        }
    }
    is_inside_quotes(&mut reader).then_some((fields + 1, field_start))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
