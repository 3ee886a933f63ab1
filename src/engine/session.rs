//! Sessions, and the tables of a job in them.

use std::sync::Arc;

use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::clean_sql::clean_sql;
use super::errors::from_datafusion;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::source::{FileRef, STORE_URL, Source, SourceTable};

/// How files become partitions.
#[derive(Debug, Clone, Copy)]
pub enum Grouping {
    /// One partition a file, in order: for loading.
    PerFile,
    /// At most so many partitions, files dealt round: for queries.
    Dealt(usize),
}

/// Files of one feed.
pub struct JobFiles<'a> {
    pub source: &'a Source,
    pub feed: &'a Feed,
    pub files: &'a [FileRef],
    pub grouping: Grouping,
}

/// Registers `source` (every declared column as text, then `_uri`, `_record`, `_line`, `_offset`, `_error`, `_raw`) and
/// the view `clean` (the typed columns, `_uri`, `_record`, `_line`, `_offset`, `_reject`).
///
/// # Errors
/// Config where the schema's SQL can't be planned. The files are not opened yet.
pub async fn register_job(ctx: &SessionContext, job: &JobFiles<'_>) -> Result<()> {
    let groups = match job.grouping {
        Grouping::PerFile => job.files.iter().map(|file| vec![file.clone()]).collect(),
        Grouping::Dealt(most) => deal(job.files, most),
    };
    let table = SourceTable::new(job.source.clone(), &job.feed.schema, groups);
    ctx.register_table("source", Arc::new(table)).map_err(from_datafusion)?;
    let clean = ctx.sql(&clean_sql(&job.feed.schema)).await.map_err(from_datafusion)?;
    ctx.register_table("clean", clean.into_view()).map_err(from_datafusion)?;
    Ok(())
}

fn deal(files: &[FileRef], most: usize) -> Vec<Vec<FileRef>> {
    let mut groups = vec![Vec::new(); most.clamp(1, files.len().max(1))];
    let count = groups.len();
    for (index, file) in files.iter().enumerate() {
        groups[index % count].push(file.clone());
    }
    groups
}

/// A session that sees the source and nothing else of the machine: DataFusion's own entry for the file system is not
/// in its registry.
pub fn new_session(source: &Source, partitions: usize) -> Result<SessionContext> {
    let url = url::Url::parse(STORE_URL).map_err(|error| Error::internal("the source's url").caused_by(error))?;
    let registry = DefaultObjectStoreRegistry::new();
    let files = url::Url::parse("file:///").map_err(|error| Error::internal("a url").caused_by(error))?;
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(registry)).build_arc();
    let runtime = runtime.map_err(from_datafusion)?;
    runtime.deregister_object_store(&files).map_err(from_datafusion)?;
    runtime.register_object_store(&url, source.store().clone());

    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_repartition_file_scans(false)
        .with_round_robin_repartition(false)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(true);
    Ok(SessionContext::new_with_config_rt(config, runtime))
}
