//! The table `source` as DataFusion scans it: its own CSV scan with another opener.
//!
//! `FileScanConfig` and `DataSourceExec` are DataFusion's, projections included. [`SourceTable`] wraps a `CsvSource`
//! and replaces what opens a file, because DataFusion's opener splits files by byte ranges, does not look at the
//! header, and has no record numbers. Every group of files is one partition; files are neither split nor moved.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{
    CsvSource, FileGroup, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, PhysicalExpr, apply_expression_roots};
use datafusion_datasource::projection::{ProjectionOpener, SplitProjection};
use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;

use super::fingerprint::FingerprintCell;
use super::records::{RecordReader, Wanted};
use super::{FileRef, Source};
use crate::feed::Schema;

/// What stands beside the declared columns, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideColumn {
    Uri,
    Record,
    Line,
    Offset,
    Error,
    Raw,
}

impl SideColumn {
    pub const ALL: [Self; 6] = [Self::Uri, Self::Record, Self::Line, Self::Offset, Self::Error, Self::Raw];

    pub fn name(self) -> &'static str {
        match self {
            Self::Uri => "_uri",
            Self::Record => "_record",
            Self::Line => "_line",
            Self::Offset => "_offset",
            Self::Error => "_error",
            Self::Raw => "_raw",
        }
    }

    fn field(self) -> Field {
        match self {
            Self::Uri => Field::new(self.name(), DataType::Utf8, false),
            Self::Record | Self::Line | Self::Offset => Field::new(self.name(), DataType::UInt64, false),
            Self::Error => Field::new(self.name(), DataType::Utf8, true),
            Self::Raw => Field::new(self.name(), DataType::BinaryView, false),
        }
    }
}

/// Every declared column as text, by its name, then the side columns.
pub fn source_schema(schema: &Schema) -> SchemaRef {
    let declared = schema.columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, false));
    Arc::new(ArrowSchema::new(declared.chain(SideColumn::ALL.map(SideColumn::field)).collect::<Vec<_>>()))
}

/// Some files of one feed, in groups: a group is a partition of every plan over it.
pub struct SourceTable {
    source: Source,
    feed_schema: Arc<Schema>,
    arrow_schema: SchemaRef,
    groups: Vec<Vec<FileRef>>,
}

impl SourceTable {
    pub fn new(source: Source, schema: &Schema, groups: Vec<Vec<FileRef>>) -> Self {
        Self { source, feed_schema: Arc::new(schema.clone()), arrow_schema: source_schema(schema), groups }
    }

    fn scan_config(&self, projection: Option<&Vec<usize>>, limit: Option<usize>) -> DataFusionResult<FileScanConfig> {
        let table_schema = TableSchema::from(self.arrow_schema.clone());
        let file_source = GuardedCsvSource {
            inner: Arc::new(CsvSource::new(table_schema.clone())),
            source: self.source.clone(),
            feed_schema: self.feed_schema.clone(),
            projection: SplitProjection::unprojected(&table_schema),
            metrics: ExecutionPlanMetricsSet::new(),
        };
        let groups = self.groups.iter().map(|files| FileGroup::new(files.iter().map(partitioned_file).collect()));
        // The opener reads through the source it holds, so the url is a name only.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(file_source))
            .with_file_groups(groups.collect())
            .with_limit(limit)
            // Otherwise files move between partitions at run time.
            .with_preserve_order(true)
            .with_projection_indices(projection.cloned())?;
        Ok(config.build())
    }
}

/// The same plan over one other file of the same source, with metrics of its own: those of the scan belong to its file
/// source, which a reset of the plan leaves as it is, and would grow with every file. `fingerprint` is filled when the file
/// has been read to its end.
pub fn over_file(
    plan: Arc<dyn ExecutionPlan>,
    file: &FileRef,
    fingerprint: &FingerprintCell,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let scan = |node: Arc<dyn ExecutionPlan>| {
        let config =
            node.downcast_ref::<DataSourceExec>().and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let Some(config) = config.cloned() else { return Ok(Transformed::no(node)) };
        let Some(source) = config.file_source().downcast_ref::<GuardedCsvSource>().map(GuardedCsvSource::afresh) else {
            return Ok(Transformed::no(node));
        };
        let group = FileGroup::new(vec![partitioned_file(file).with_extension(fingerprint.clone())]);
        let config = FileScanConfigBuilder::from(config).with_file_groups(vec![group]).with_source(Arc::new(source));
        Ok(Transformed::yes(DataSourceExec::from_data_source(config.build()) as Arc<dyn ExecutionPlan>))
    };
    plan.transform(scan).data()
}

/// Names the source in DataFusion's registry of object stores.
pub const STORE_URL: &str = "loadline://source/";

fn partitioned_file(file: &FileRef) -> PartitionedFile {
    PartitionedFile::new(file.key.clone(), file.size).with_extension(file.clone())
}

impl fmt::Debug for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceTable").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.arrow_schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(DataSourceExec::from_data_source(self.scan_config(projection, limit)?))
    }
}

/// `CsvSource` with another opener.
#[derive(Clone)]
struct GuardedCsvSource {
    inner: Arc<dyn FileSource>,
    source: Source,
    feed_schema: Arc<Schema>,
    projection: SplitProjection,
    metrics: ExecutionPlanMetricsSet,
}

impl GuardedCsvSource {
    fn afresh(&self) -> Self {
        Self { metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }
}

impl FileSource for GuardedCsvSource {
    fn create_file_opener(
        &self,
        _object_store: Arc<dyn ObjectStore>,
        _config: &FileScanConfig,
        _partition: usize,
    ) -> DataFusionResult<Arc<dyn FileOpener>> {
        let schema = self.table_schema().file_schema();
        let declared = self.feed_schema.columns.len();
        let wanted = self.projection.file_indices.iter().map(|&index| match index.checked_sub(declared) {
            None => Wanted::Declared(index),
            Some(side) => Wanted::Side(SideColumn::ALL[side]),
        });
        let opener = GuardedCsvOpener {
            source: self.source.clone(),
            feed_schema: self.feed_schema.clone(),
            wanted: wanted.collect(),
            output: Arc::new(schema.project(&self.projection.file_indices)?),
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), schema)
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    /// Blocks have a size of their own.
    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { inner: self.inner.with_batch_size(batch_size), ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => f.write_str(", guarded=true"),
            DisplayFormatType::TreeRender => Ok(()),
        }
    }

    /// A record can't be found from the middle of a file.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DataFusionResult<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema().file_schema(), &merged);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter(), f)
    }
}

struct GuardedCsvOpener {
    source: Source,
    feed_schema: Arc<Schema>,
    wanted: Vec<Wanted>,
    output: SchemaRef,
}

impl FileOpener for GuardedCsvOpener {
    fn open(&self, file: PartitionedFile) -> DataFusionResult<FileOpenFuture> {
        let fingerprint = file.extension::<FingerprintCell>().cloned();
        let file = file.extension::<FileRef>().cloned();
        let file = file.ok_or_else(|| DataFusionError::Internal("a planned file has lost its version".to_owned()))?;
        let (source, schema) = (self.source.clone(), self.feed_schema.clone());
        let reader = RecordReader::new(source, file, fingerprint, schema, self.wanted.clone(), self.output.clone());
        let batches = futures::stream::try_unfold(reader, |mut reader| async move {
            let batch = reader.next_batch().await.map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(batch.map(|batch| (batch, reader)))
        });
        Ok(async move { Ok(batches.boxed()) }.boxed())
    }
}
