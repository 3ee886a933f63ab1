//! One open segment: a transaction from the check of the ledger row, which it locks, to its COMMIT.
//!
//! Invariant: an error closes the connection at once, and the server rolls back. What is left of the segment refuses
//! to go on.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::connection::{Database, Session, Transaction};
use super::fault::Fault;
use super::insert::{self, Refused, Rows};
use super::ledger::{self, invalid_json};
use super::rows::{BatchRows, RejectRows};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::warehouse::{Begun, Fence, Progress, Reject, Segment, TableSpec, WriteError};

struct MysqlSegment {
    database: Database,
    /// `None` after an error.
    transaction: Option<Transaction>,
    fence: Fence,
    from: u64,
}

pub(super) async fn begin(database: &Database, fence: &Fence, from: u64) -> Result<Begun, Fault> {
    let mut transaction = database.begin().await?;
    let behind = ledger::progress_behind(&mut transaction, fence).await?;
    match behind {
        Some(progress) if progress.records_done == from && !progress.complete => {
            let (database, fence) = (database.clone(), fence.clone());
            Ok(Begun::Segment(Box::new(MysqlSegment { database, transaction: Some(transaction), fence, from })))
        }
        // At once: the row is locked, found or not.
        elsewhere => {
            transaction.rollback().await?;
            Ok(elsewhere.map_or(Begun::Lost, Begun::Moved))
        }
    }
}

impl MysqlSegment {
    /// Inserts inside the transaction, and keeps it open only where that went well: it is out of reach meanwhile, so
    /// that a call that is cancelled leaves nothing to commit.
    async fn insert(&mut self, rows: &dyn Rows, finds_duplicates: bool) -> Result<(), WriteError> {
        let mut transaction = self.transaction.take().ok_or_else(used_after_an_error)?;
        match insert::insert(&mut transaction, rows, finds_duplicates).await {
            Ok(()) => {
                self.transaction = Some(transaction);
                Ok(())
            }
            Err(Refused::Duplicate { record }) => Err(WriteError::Duplicate { record }),
            Err(Refused::Fault(fault)) => Err(WriteError::Other(self.database.explain(fault))),
        }
    }
}

#[async_trait]
impl Segment for MysqlSegment {
    async fn write(&mut self, table: &TableSpec, rows: &RecordBatch) -> Result<(), WriteError> {
        let rows = BatchRows::of(table, self.fence.file, rows)?;
        // Without a declared key, (_file, _record) is the key, and that is ours.
        self.insert(&rows, !table.primary_key.is_empty()).await
    }

    async fn reject(&mut self, rejects: &[Reject]) -> Result<()> {
        let rows = RejectRows { file: self.fence.file, rejects };
        self.insert(&rows, false).await.map_err(|error| match error {
            WriteError::Other(error) => error,
            WriteError::Duplicate { record } => Error::internal(format!("record {record} was rejected twice")),
        })
    }

    async fn commit(mut self: Box<Self>, progress: &Progress) -> Result<()> {
        let mut transaction = self.transaction.take().ok_or_else(used_after_an_error)?;
        let committed = async {
            move_on(&mut transaction, &self.fence, self.from, progress).await?;
            failpoint::reach("segment.moved").await?;
            transaction.commit().await
        };
        committed.await.map_err(|fault| self.database.explain(fault))
    }
}

fn used_after_an_error() -> Error {
    Error::internal("a segment was used after an error")
}

async fn move_on(session: &mut Session, fence: &Fence, from: u64, progress: &Progress) -> Result<(), Fault> {
    if progress.records_done < from {
        return Err(Error::internal("a segment ends before it begins").into());
    }
    let sql = "UPDATE loadline_files SET records_done = ?, `rows` = ?, rejects = ?, checksum = ?, checksum_rule = ?, \
               invalid = ?, bytes = ?, sha256 = ?, \
               complete = ?, updated_time = NOW(6), completed_time = IF(?, NOW(6), NULL) \
               WHERE file = ? AND epoch = ? AND plan_hash = ? AND records_done = ? AND complete = 0";
    let Progress { records_done, rows, rejects, checksum, checksum_rule, invalid: _, complete, fingerprint } = progress;
    let params: Vec<mysql_async::Value> = vec![
        records_done.into(),
        rows.into(),
        rejects.into(),
        checksum.into(),
        checksum_rule.as_deref().into(),
        invalid_json(progress)?.into(),
        fingerprint.map(|print| print.bytes).into(),
        fingerprint.as_ref().map(|print| print.sha256.as_slice()).into(),
        complete.into(),
        complete.into(),
        fence.file.into(),
        fence.epoch.into(),
        (&fence.plan_hash).into(),
        from.into(),
    ];
    if session.execute(sql, params).await? != 1 {
        return Err(Error::internal("the ledger row changed under an open segment").into());
    }
    Ok(())
}
