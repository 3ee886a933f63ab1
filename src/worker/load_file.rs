//! One file into the table, segment after segment, from where the ledger says.
//!
//! Invariant: nothing of a file is inserted before the whole file was read once without a finding: a file of one
//! segment because it is in memory, a longer one by a pass of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::segment::{Encoded, SegmentData, SegmentReader};
use super::totals::Totals;
use super::{EtlSettings, Stop};
use crate::engine::LoadPlan;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::job::{FileRecord, JobId};
use crate::progress::{Event, Observer};
use crate::warehouse::{Begun, Fence, Progress, TableSpec, Warehouse, WriteError, checksum_rule};

/// How often a stream may be moved to where the ledger stands before something must be wrong.
const MOVES_MAX: usize = 5;

/// How often a segment that failed is begun again on the spot, how long the first wait is at most (it doubles), and how
/// long after the first failure there may be another try: what lasts longer is for the job's next attempt.
const TRIES_MAX: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const TRYING_MAX: Duration = Duration::from_secs(10);

pub struct FileLoader {
    pub job: JobId,
    pub file: FileRecord,
    pub plan: Arc<LoadPlan>,
    /// Which file of the plan.
    pub index: usize,
    pub fence: Fence,
    pub table: Arc<TableSpec>,
    pub warehouse: Arc<dyn Warehouse>,
    pub settings: EtlSettings,
    pub observer: Observer,
    /// Set when the claim was seen to be lost.
    pub lost: Arc<AtomicBool>,
    pub stop: Stop,
}

/// How the load of a file ended, errors aside.
#[derive(Debug, Clone)]
pub enum Loaded {
    Complete(Progress),
    /// Another take or claim has superseded this one.
    Lost,
    /// A stop was asked for. What is committed stays.
    Stopped,
}

/// What one segment came to.
enum Committed {
    Yes(Progress),
    Moved(Progress),
    Lost,
    Stopped,
}

impl FileLoader {
    /// Loads what is missing behind `progress`.
    ///
    /// # Errors
    /// Data where the file can't be loaded, Unavailable where it may be later; rows of earlier segments then stand in
    /// the table, and the caller walks back or leaves them to the next claim.
    pub async fn load(&self, mut progress: Progress) -> Result<Loaded> {
        if progress.records_done > 0 {
            tracing::info!(
                job = self.job,
                key = self.file.key,
                record = progress.records_done + 1,
                "going on at record"
            );
        }
        let mut reported = 0;
        for _ in 0..=MOVES_MAX {
            match self.load_from(progress, &mut reported).await? {
                Committed::Yes(done) => return Ok(Loaded::Complete(done)),
                Committed::Lost => return Ok(Loaded::Lost),
                Committed::Stopped => return Ok(Loaded::Stopped),
                Committed::Moved(to) if to.complete => return Ok(Loaded::Complete(to)),
                Committed::Moved(to) => progress = to,
            }
        }
        Err(Error::unavailable("the ledger keeps moving under this worker"))
    }

    /// One pass from the ledger's progress to the end of the file, or until the ledger turns out to stand elsewhere.
    async fn load_from(&self, mut progress: Progress, reported: &mut u64) -> Result<Committed> {
        let mut reader = self.reader(progress.records_done)?;
        let Some(mut segment) = self.read(reader.next_segment()).await? else { return Ok(Committed::Stopped) };
        failpoint::reach("file.opened").await?;
        if progress.records_done == 0 {
            let validated = self.read(self.validate(&segment, &mut reader)).await?;
            if validated.is_none() {
                return Ok(Committed::Stopped);
            }
            failpoint::reach("file.validated").await?;
            if !segment.is_last {
                reader = self.reader(segment.to)?;
            }
        }
        let rule = checksum_rule(&self.table);
        loop {
            if self.lost.load(Ordering::Relaxed) {
                return Ok(Committed::Lost);
            }
            let encoded = segment.encode(&progress, &rule)?;
            failpoint::reach("segment.encoded").await?;
            match self.commit_at_last(&segment, &encoded, progress.records_done).await? {
                Committed::Yes(done) => progress = done,
                other => return Ok(other),
            }
            self.report(&segment, encoded.row_count, reported);
            if segment.is_last {
                failpoint::reach("file.complete").await?;
                return Ok(Committed::Yes(progress));
            }
            // One segment in memory at a time: it may be as large as the limits allow.
            drop((encoded, segment));
            let Some(next) = self.read(reader.next_segment()).await? else { return Ok(Committed::Stopped) };
            segment = next;
            failpoint::reach("segment.read").await?;
        }
    }

    /// `None`: a stop was asked for. Reading changes nothing, so that it may be broken off anywhere.
    async fn read<T>(&self, reading: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        tokio::select! {
            biased;
            () = self.stop.asked() => Ok(None),
            read = reading => read.map(Some),
        }
    }

    fn reader(&self, at: u64) -> Result<SegmentReader> {
        Ok(SegmentReader::new(self.plan.file(self.index)?, at, self.settings.segment))
    }

    /// Reads to the end, keeping nothing but the sums.
    async fn validate(&self, first: &SegmentData, reader: &mut SegmentReader) -> Result<()> {
        let mut totals = Totals::default();
        for batch in &first.batches {
            totals.add(batch)?;
        }
        if !first.is_last {
            while let Some(batch) = reader.next_batch().await? {
                totals.add(&batch)?;
            }
        }
        totals.check(&self.settings)
    }

    /// Begins a segment again that met what may pass at once: a deadlock, a row held for too long, a connection that was
    /// cut, an answer that did not come. Beginning reads where the ledger stands, so that a COMMIT that landed without
    /// its answer is seen.
    async fn commit_at_last(&self, data: &SegmentData, encoded: &Encoded, from: u64) -> Result<Committed> {
        let (begun, mut failures) = (Instant::now(), 0);
        loop {
            match self.commit(data, encoded, from).await {
                Ok(Committed::Moved(to)) if failures > 0 && to == encoded.progress => return Ok(Committed::Yes(to)),
                Err(error) if error.is_retryable() && !error.is_outage() && self.may_try_again(failures, begun) => {
                    failures += 1;
                    let (job, key, error) = (self.job, &self.file.key, error.chain());
                    tracing::info!(job, key, from, failures, error, "a segment failed; beginning it again");
                    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures - 1));
                    tokio::time::sleep(longest.mul_f64(rand::random::<f64>())).await;
                    failpoint::reach("segment.again").await?;
                }
                ended => return ended,
            }
        }
    }

    fn may_try_again(&self, failures: u32, begun: Instant) -> bool {
        let is_wanted = !self.stop.is_asked() && !self.lost.load(Ordering::Relaxed);
        is_wanted && failures < TRIES_MAX && begun.elapsed() < TRYING_MAX
    }

    async fn commit(&self, data: &SegmentData, encoded: &Encoded, from: u64) -> Result<Committed> {
        let mut segment = match self.warehouse.begin(&self.fence, from).await? {
            Begun::Lost => return Ok(Committed::Lost),
            Begun::Moved(progress) => return Ok(Committed::Moved(progress)),
            Begun::Segment(segment) => segment,
        };
        failpoint::reach("segment.begun").await?;
        for batch in &encoded.rows {
            let written = segment.write(&self.table, batch).await;
            written.map_err(|error| self.write_error(error, data))?;
        }
        failpoint::reach("segment.rows").await?;
        segment.reject(&encoded.rejects).await?;
        failpoint::reach("segment.rejects").await?;
        segment.commit(&encoded.progress).await?;
        failpoint::reach("segment.committed").await?;
        let (rows, rejects) = (encoded.row_count, encoded.rejects.len());
        tracing::debug!(job = self.job, key = self.file.key, from, to = data.to, rows, rejects, "segment committed");
        Ok(Committed::Yes(encoded.progress.clone()))
    }

    fn write_error(&self, error: WriteError, data: &SegmentData) -> Error {
        match error {
            WriteError::Other(error) => error,
            WriteError::Duplicate { record } => {
                let line = data.line_of(record).map(|line| format!(" (line {line})")).unwrap_or_default();
                let key = self.table.primary_key.join(", ");
                Error::data(format!(
                    "record {record}{line}: duplicate key: a row with the same ({key}) stands in table {} already",
                    self.table.name
                ))
                .hint("correct the file, or the `primary_key` of the feed's schema file, and `loadline retry` the job")
            }
        }
    }

    fn report(&self, segment: &SegmentData, rows: u64, reported: &mut u64) {
        let size = self.file.size;
        let reached = if segment.is_last { size } else { segment.offset.min(size) };
        let bytes = reached.saturating_sub(*reported);
        *reported = (*reported).max(reached);
        (self.observer)(Event::Advanced { job: self.job, bytes, rows });
    }
}
