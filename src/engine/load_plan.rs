//! The plan of a load: made once a feed, and put over every file of a job by itself, in record order, when it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryViewArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{and, filter_record_batch, is_null};
use arrow::datatypes::UInt64Type;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream};
use futures::StreamExt;

use super::clean_sql::{FAIL_COLUMN, FAIL_REASON, REJECT_COLUMN, REJECT_REASON, counted, load_sql};
use super::errors::from_datafusion;
use super::session::{Grouping, JobFiles, new_session, register_job};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::fingerprint::Fingerprint;
use crate::source::{FileRef, FingerprintCell, RAW_BYTES_MAX, Source, over_file};
use crate::warehouse::Reject;

/// How the files of a feed are loaded.
pub struct LoadPlanner {
    feed: Feed,
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    shape: Arc<Shape>,
}

/// How the files of one job are loaded.
pub struct LoadPlan {
    plan: Arc<dyn ExecutionPlan>,
    files: Vec<FileRef>,
    task: Arc<TaskContext>,
    shape: Arc<Shape>,
}

/// Which column of a cleaned batch is what.
struct Shape {
    /// Number of declared columns, which come first; `_record` is the one behind them.
    declared: usize,
    /// (name, position of `_invalid_N`, position of `_present_N`)
    counted: Vec<(String, usize, usize)>,
}

impl LoadPlanner {
    /// Plans the cleaning, without data.
    ///
    /// # Errors
    /// Config where the schema's SQL can't be planned.
    pub async fn new(source: &Source, feed: &Feed) -> Result<Self> {
        let ctx = new_session(source, 1)?;
        // Stands for the files to come, and is never opened.
        let files = &[FileRef { key: "any".to_owned(), version: String::new(), size: 0 }];
        register_job(&ctx, &JobFiles { source, feed, files, grouping: Grouping::PerFile }).await?;
        let frame = ctx.sql(&load_sql(&feed.schema)).await.map_err(from_datafusion)?;
        let plan = frame.create_physical_plan().await.map_err(from_datafusion)?;
        let schema = plan.schema();
        let position = |name: String| schema.index_of(&name).map_err(|e| Error::internal("load plan").caused_by(e));
        let counted: Result<Vec<_>> = counted(&feed.schema)
            .map(|(index, column)| {
                let invalid = position(format!("_invalid_{index}"))?;
                Ok((column.name.clone(), invalid, position(format!("_present_{index}"))?))
            })
            .collect();
        let shape = Shape { declared: feed.schema.columns.len(), counted: counted? };
        Ok(Self { feed: feed.clone(), plan, task: ctx.task_ctx(), shape: Arc::new(shape) })
    }

    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The plan over `files`, none of which is opened yet.
    pub fn over(&self, files: &[FileRef]) -> LoadPlan {
        let (plan, task, shape) = (self.plan.clone(), self.task.clone(), self.shape.clone());
        LoadPlan { plan, files: files.to_vec(), task, shape }
    }
}

impl LoadPlan {
    /// The cleaned records of file `index` from its first one on. May be called again for another pass.
    pub fn file(&self, index: usize) -> Result<CleanStream> {
        let file = self.files.get(index).ok_or_else(|| Error::internal(format!("no file {index} was planned")))?;
        // A plan keeps the metrics of every pass, some 80 KiB; those of a copy end with the stream.
        let fingerprint = FingerprintCell::default();
        let plan = reset_plan_states(self.plan.clone()).and_then(|plan| over_file(plan, file, &fingerprint));
        let plan = plan.map_err(from_datafusion)?;
        let partitions = plan.output_partitioning().partition_count();
        if partitions != 1 {
            return Err(Error::internal(format!("one file was planned as {partitions} partitions")));
        }
        let batches = plan.execute(0, self.task.clone()).map_err(from_datafusion)?;
        Ok(CleanStream { batches, shape: self.shape.clone(), fingerprint })
    }
}

pub struct CleanStream {
    batches: SendableRecordBatchStream,
    shape: Arc<Shape>,
    fingerprint: FingerprintCell,
}

impl CleanStream {
    /// Of the file's bytes, once [`Self::next`] has come to its end.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint.get()
    }

    pub async fn next(&mut self) -> Result<Option<CleanBatch>> {
        match self.batches.next().await {
            None => Ok(None),
            Some(batch) => {
                let batch = CleanBatch { batch: batch.map_err(from_datafusion)?, shape: self.shape.clone() };
                batch.compacted().map(Some)
            }
        }
    }
}

/// Some consecutive records of one file, cleaned.
#[derive(Clone)]
pub struct CleanBatch {
    batch: RecordBatch,
    shape: Arc<Shape>,
}

/// A value whose column says that it fails the file.
#[derive(Debug, Clone)]
pub struct Failure {
    pub record: u64,
    pub line: u64,
    pub column: String,
    pub reason: String,
}

impl CleanBatch {
    pub fn records(&self) -> usize {
        self.batch.num_rows()
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        self.batch.get_array_memory_size()
    }

    /// Numbers of the first and the last record; `None` where there is none.
    pub fn range(&self) -> Option<(u64, u64)> {
        let numbers = self.numbers("_record").ok()?;
        (!numbers.is_empty()).then(|| (numbers.value(0), numbers.value(numbers.len() - 1)))
    }

    /// The records behind `record`.
    pub fn after(&self, record: u64) -> Self {
        let skip = match self.range() {
            Some((first, _)) => (record + 1).saturating_sub(first).min(self.records() as u64) as usize,
            None => 0,
        };
        self.slice(skip, self.records() - skip)
    }

    pub fn slice(&self, start: usize, length: usize) -> Self {
        Self { batch: self.batch.slice(start, length), shape: self.shape.clone() }
    }

    /// The same without what is not needed any more, because a segment holds all of its batches: `_raw` of records
    /// that load, and memory that was reserved for more text than there is.
    fn compacted(self) -> Result<Self> {
        let (reasons, raws) = (self.texts(REJECT_REASON)?, self.raws()?);
        let kept = (0..raws.len()).map(|row| if reasons.is_valid(row) { capped(raws.value(row)) } else { b"" });
        let kept = BinaryViewArray::from_iter_values(kept);
        let (schema, mut columns, _) = self.batch.into_parts();
        columns[schema.index_of("_raw").map_err(arrow_error)?] = Arc::new(kept);
        columns.iter_mut().for_each(Array::shrink_to_fit);
        let batch = RecordBatch::try_new(schema, columns).map_err(arrow_error)?;
        Ok(Self { batch, shape: self.shape })
    }

    /// The declared columns and `_record` of the records that load.
    pub fn rows(&self) -> Result<RecordBatch> {
        let wanted: Vec<usize> = (0..=self.shape.declared).collect();
        let rows = self.batch.project(&wanted).map_err(arrow_error)?;
        let reasons = self.texts(REJECT_REASON)?;
        if reasons.null_count() == reasons.len() {
            return Ok(rows);
        }
        filter_record_batch(&rows, &is_null(reasons).map_err(arrow_error)?).map_err(arrow_error)
    }

    /// How many records don't load.
    pub fn reject_count(&self) -> Result<u64> {
        let reasons = self.texts(REJECT_REASON)?;
        Ok((reasons.len() - reasons.null_count()) as u64)
    }

    pub fn rejects(&self) -> Result<Vec<Reject>> {
        let reasons = self.texts(REJECT_REASON)?;
        if reasons.null_count() == reasons.len() {
            return Ok(Vec::new());
        }
        let columns = self.texts(REJECT_COLUMN)?;
        let (records, lines, offsets) = (self.numbers("_record")?, self.numbers("_line")?, self.numbers("_offset")?);
        let raws = self.raws()?;
        let rejected = (0..reasons.len()).filter(|row| reasons.is_valid(*row));
        let reject = |row: usize| Reject {
            record: records.value(row),
            line: lines.value(row),
            byte_offset: offsets.value(row),
            column: columns.is_valid(row).then(|| columns.value(row).to_owned()),
            reason: reasons.value(row).to_owned(),
            raw: raws.value(row).to_vec(),
        };
        Ok(rejected.map(reject).collect())
    }

    /// The first value that fails the file.
    pub fn failure(&self) -> Result<Option<Failure>> {
        let columns = self.texts(FAIL_COLUMN)?;
        let Some(row) = (0..columns.len()).find(|row| columns.is_valid(*row)) else { return Ok(None) };
        let (record, line) = (self.numbers("_record")?.value(row), self.numbers("_line")?.value(row));
        let reason = self.texts(FAIL_REASON)?.value(row).to_owned();
        Ok(Some(Failure { record, line, column: columns.value(row).to_owned(), reason }))
    }

    /// Adds up, by column, values of the records that load: those that are present, and those that became NULL because
    /// they are invalid.
    pub fn count_values(&self, invalid: &mut Counts, present: &mut Counts) -> Result<()> {
        let loads = is_null(self.texts(REJECT_REASON)?).map_err(arrow_error)?;
        for (name, invalid_at, present_at) in &self.shape.counted {
            for (counts, at) in [(&mut *invalid, *invalid_at), (&mut *present, *present_at)] {
                let flags = and(self.batch.column(at).as_boolean(), &loads).map_err(arrow_error)?;
                add(counts, name, &flags);
            }
        }
        Ok(())
    }

    /// The line on which `record` of this batch starts.
    pub fn line_of(&self, record: u64) -> Option<u64> {
        let (first, last) = self.range()?;
        let row = (first..=last).contains(&record).then(|| (record - first) as usize)?;
        self.numbers("_line").ok().map(|lines| lines.value(row))
    }

    /// Byte offsets in the plain file at which the first and the last record start.
    pub fn offsets(&self) -> Option<(u64, u64)> {
        let offsets = self.numbers("_offset").ok()?;
        (!offsets.is_empty()).then(|| (offsets.value(0), offsets.value(offsets.len() - 1)))
    }

    fn column(&self, name: &str) -> Result<&Arc<dyn Array>> {
        self.batch.column_by_name(name).ok_or_else(|| Error::internal(format!("the load plan has no `{name}`")))
    }

    fn raws(&self) -> Result<&BinaryViewArray> {
        self.column("_raw")?.as_binary_view_opt().ok_or_else(|| Error::internal("`_raw` is not binary"))
    }

    fn texts(&self, name: &str) -> Result<&StringArray> {
        self.column(name)?.as_string_opt().ok_or_else(|| Error::internal(format!("`{name}` is not text")))
    }

    fn numbers(&self, name: &str) -> Result<&UInt64Array> {
        let column = self.column(name)?.as_primitive_opt::<UInt64Type>();
        column.ok_or_else(|| Error::internal(format!("`{name}` is not a number")))
    }
}

/// Counts by column.
pub type Counts = BTreeMap<String, u64>;

fn add(counts: &mut Counts, name: &str, flags: &BooleanArray) {
    let count = flags.true_count() as u64;
    if count > 0 {
        *counts.entry(name.to_owned()).or_default() += count;
    }
}

fn capped(raw: &[u8]) -> &[u8] {
    &raw[..raw.len().min(RAW_BYTES_MAX)]
}

fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::internal("splitting a batch").caused_by(error)
}
