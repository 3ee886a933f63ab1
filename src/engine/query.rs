//! Ad-hoc SQL over files: read-only, over `source` and `clean` only.

use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::SendableRecordBatchStream;

use super::errors::from_datafusion;
use super::session::{Grouping, JobFiles, new_session, register_job};
use crate::error::Result;
use crate::feed::Feed;
use crate::source::{FileRef, Source};

/// Runs one query over all cores; the result streams.
///
/// # Errors
/// Config where the statement is not a query or does not plan; Data or Unavailable, while streaming, from the files.
pub async fn query(source: &Source, feed: &Feed, files: &[FileRef], sql: &str) -> Result<SendableRecordBatchStream> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ctx = new_session(source, cores)?;
    register_job(&ctx, &JobFiles { source, feed, files, grouping: Grouping::Dealt(cores) }).await?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = ctx.sql_with_options(sql, read_only).await.map_err(from_datafusion)?;
    frame.execute_stream().await.map_err(from_datafusion)
}

/// Plans the feed's cleaning without data, so that an error in it shows before anything runs.
pub async fn check_feed(feed: &Feed) -> Result<()> {
    let nowhere = object_store::memory::InMemory::new();
    let url = url::Url::parse("memory:///").map_err(|e| crate::error::Error::internal("a url").caused_by(e))?;
    let source = Source::with_store(url, std::sync::Arc::new(nowhere));
    super::LoadPlanner::new(&source, feed).await.map(|_| ())
}
