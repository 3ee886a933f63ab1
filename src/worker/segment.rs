//! Cuts a file's stream of cleaned batches into segments, with one record of look-ahead, and gets a segment ready for
//! its transaction.

use arrow::array::RecordBatch;

use super::SegmentLimits;
use super::totals::Totals;
use crate::engine::{CleanBatch, CleanStream};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::warehouse::{Checksum, Columns, Progress, Reject};

/// Consecutive records of one file, in memory.
pub struct SegmentData {
    pub batches: Vec<CleanBatch>,
    /// Record numbers: (from, to] .
    pub to: u64,
    /// Nothing comes behind it.
    pub is_last: bool,
    /// Byte of the plain file at which its last record starts.
    pub offset: u64,
    /// Of the whole file, where this is its end.
    pub fingerprint: Option<Fingerprint>,
}

/// A stream that stands at a record.
pub struct SegmentReader {
    stream: CleanStream,
    ahead: Option<CleanBatch>,
    /// Records up to here were handed out or skipped.
    at: u64,
    limits: SegmentLimits,
}

impl SegmentReader {
    /// Starts behind record `at`.
    pub fn new(stream: CleanStream, at: u64, limits: SegmentLimits) -> Self {
        Self { stream, ahead: None, at, limits }
    }

    /// The next batch, records up to `at` left out.
    pub async fn next_batch(&mut self) -> Result<Option<CleanBatch>> {
        if let Some(batch) = self.ahead.take() {
            return Ok(Some(batch));
        }
        while let Some(batch) = self.stream.next().await? {
            let batch = batch.after(self.at);
            if batch.records() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The next segment; at the end of the file an empty one that is the last.
    pub async fn next_segment(&mut self) -> Result<SegmentData> {
        let mut segment =
            SegmentData { batches: Vec::new(), to: self.at, is_last: false, offset: 0, fingerprint: None };
        let mut records = 0;
        let mut first_offset = None;
        while let Some(batch) = self.next_batch().await? {
            let room = self.limits.records_max - records;
            let (begins, offset) = batch.offsets().unwrap_or_default();
            let start = *first_offset.get_or_insert(begins);
            if room == 0 || (records > 0 && offset.saturating_sub(start) > self.limits.bytes_max) {
                self.ahead = Some(batch);
                return Ok(segment);
            }
            let taken = batch.slice(0, room.min(batch.records()));
            if taken.records() < batch.records() {
                self.ahead = Some(batch.slice(room, batch.records() - room));
            }
            records += taken.records();
            self.at = taken.range().map_or(self.at, |(_, last)| last);
            segment.to = self.at;
            segment.offset = taken.offsets().map_or(segment.offset, |(_, last)| last);
            segment.batches.push(taken);
        }
        segment.is_last = true;
        segment.fingerprint = self.stream.fingerprint();
        Ok(segment)
    }
}

/// A segment as it is written.
pub struct Encoded {
    pub rows: Vec<RecordBatch>,
    pub rejects: Vec<Reject>,
    pub row_count: u64,
    /// The ledger's progress once it is committed.
    pub progress: Progress,
}

impl SegmentData {
    /// Everything that can be done before the transaction is open. `before` is the ledger's progress, `rule` that of the
    /// table's checksum.
    pub fn encode(&self, before: &Progress, rule: &str) -> Result<Encoded> {
        let mut rows = Vec::with_capacity(self.batches.len());
        let mut rejects = Vec::new();
        let mut checksum = Checksum::from(before.checksum);
        let mut totals = Totals::from(&before.invalid);
        for batch in &self.batches {
            totals.add(batch)?;
            rejects.extend(batch.rejects()?);
            let batch = batch.rows()?;
            checksum.add(&Columns::of(&batch)?)?;
            rows.push(batch);
        }
        let row_count: u64 = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        let progress = Progress {
            records_done: self.to,
            rows: before.rows + row_count,
            rejects: before.rejects + rejects.len() as u64,
            checksum: checksum.sum(),
            checksum_rule: Some(rule.to_owned()),
            invalid: totals.invalid,
            complete: self.is_last,
            fingerprint: self.fingerprint,
        };
        Ok(Encoded { rows, rejects, row_count, progress })
    }

    pub fn line_of(&self, record: u64) -> Option<u64> {
        self.batches.iter().find_map(|batch| batch.line_of(record))
    }
}
