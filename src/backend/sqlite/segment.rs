//! One open segment: the writer's transaction from the check of the ledger row to its COMMIT.
//!
//! Invariant: an error closes the transaction at once, rolled back. What is left of the segment refuses to go on.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::connection::{Database, OpenTransaction, blocking};
use super::fault::Fault;
use super::insert::{self, Refused};
use super::ledger::{self, invalid_json};
use super::value::{Count, time_text};
use crate::clock;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::warehouse::{Begun, Fence, FileNumber, Progress, Reject, Segment, TableSpec, WriteError};

struct SqliteSegment {
    database: Database,
    /// `None` after an error.
    transaction: Option<OpenTransaction>,
    fence: Fence,
    from: u64,
}

pub(super) async fn begin(database: &Database, fence: &Fence, from: u64) -> Result<Begun> {
    let transaction = database.begin().await?;
    let looked_for = fence.clone();
    let (transaction, behind) = blocking(move || {
        let behind = ledger::progress_behind(transaction.connection(), &looked_for);
        (transaction, behind)
    })
    .await?;
    match behind.map_err(|fault| database.explain(fault))? {
        None => Ok(Begun::Lost),
        Some(progress) if progress.records_done != from || progress.complete => Ok(Begun::Moved(progress)),
        Some(_) => Ok(Begun::Segment(Box::new(SqliteSegment {
            database: database.clone(),
            transaction: Some(transaction),
            fence: fence.clone(),
            from,
        }))),
    }
}

impl SqliteSegment {
    /// Runs `work` inside the transaction, and keeps it open only where that went well.
    async fn within<F>(&mut self, work: F) -> Result<(), WriteError>
    where
        F: FnOnce(&Connection) -> Result<(), Refused> + Send + 'static,
    {
        let transaction = self.transaction.take().ok_or_else(used_after_an_error)?;
        let (transaction, worked) = blocking(move || {
            let worked = work(transaction.connection());
            (worked.is_ok().then_some(transaction), worked)
        })
        .await?;
        self.transaction = transaction;
        worked.map_err(|refused| match refused {
            Refused::Duplicate { record } => WriteError::Duplicate { record },
            Refused::Fault(fault) => WriteError::Other(self.database.explain(fault)),
        })
    }
}

#[async_trait]
impl Segment for SqliteSegment {
    async fn write(&mut self, table: &TableSpec, rows: &RecordBatch) -> Result<(), WriteError> {
        let (table, rows, file) = (table.clone(), rows.clone(), self.fence.file);
        self.within(move |c| insert::insert(c, &table, file, &rows)).await
    }

    async fn reject(&mut self, rejects: &[Reject]) -> Result<()> {
        let (rejects, file) = (rejects.to_vec(), self.fence.file);
        let written = self.within(move |c| Ok(insert_rejects(c, file, &rejects)?)).await;
        written.map_err(|error| match error {
            WriteError::Other(error) => error,
            WriteError::Duplicate { record } => Error::internal(format!("record {record} was rejected twice")),
        })
    }

    async fn commit(mut self: Box<Self>, progress: &Progress) -> Result<()> {
        let transaction = self.transaction.take().ok_or_else(used_after_an_error)?;
        let (fence, from, progress) = (self.fence.clone(), self.from, progress.clone());
        let committed = blocking(move || {
            move_on(transaction.connection(), &fence, from, &progress)?;
            failpoint::reach_blocking("segment.moved")?;
            transaction.commit()
        })
        .await?;
        committed.map_err(|fault| self.database.explain(fault))
    }
}

fn used_after_an_error() -> Error {
    Error::internal("a segment was used after an error")
}

fn insert_rejects(c: &Connection, file: FileNumber, rejects: &[Reject]) -> Result<(), Fault> {
    let mut insert = c.prepare_cached(
        "INSERT INTO loadline_rejects (file, record, line, byte_offset, column_name, reason, raw) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for Reject { record, line, byte_offset, column, reason, raw } in rejects {
        insert.execute(params![file, Count(*record), Count(*line), Count(*byte_offset), column, reason, raw])?;
    }
    Ok(())
}

fn move_on(c: &Connection, fence: &Fence, from: u64, progress: &Progress) -> Result<(), Fault> {
    if progress.records_done < from {
        return Err(Error::internal("a segment ends before it begins").into());
    }
    let mut update = c.prepare_cached(
        "UPDATE loadline_files SET records_done = ?5, rows = ?6, rejects = ?7, checksum = ?8, invalid = ?9, \
         complete = ?10, updated_time = ?11, completed_time = CASE WHEN ?10 THEN ?11 END, checksum_rule = ?12, \
         bytes = ?13, sha256 = ?14 \
         WHERE file = ?1 AND epoch = ?2 AND plan_hash = ?3 AND records_done = ?4 AND complete = 0",
    )?;
    let Progress { records_done, rows, rejects, checksum, checksum_rule, invalid: _, complete, fingerprint } = progress;
    let (invalid, now) = (invalid_json(progress)?, time_text(clock::now()));
    let Fence { file, epoch, plan_hash } = fence;
    let updated = update.execute(params![
        file,
        epoch,
        plan_hash,
        Count(from),
        Count(*records_done),
        Count(*rows),
        Count(*rejects),
        checksum,
        invalid,
        complete,
        now,
        checksum_rule,
        fingerprint.map(|print| Count(print.bytes)),
        fingerprint.map(|print| print.sha256)
    ])?;
    if updated != 1 {
        return Err(Error::internal("the ledger row changed under an open segment").into());
    }
    Ok(())
}
