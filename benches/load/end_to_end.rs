//! Scan and etl of the demo's folder, 30 hourly files of together about 100,000 records, into new databases: SQLite, and
//! MariaDB where the machine has it.
//!
//! SQLite: bounded by the CPU of all stages and by waiting for the disk: every file is a transaction of its own, and every
//! commit is synced, so that a folder in memory loads in two thirds of the time. `sqlite_write` is SQLite's one writer
//! alone: one segment of the same rows from BEGIN to COMMIT. `one_worker` loads a job at a time, of which two files are
//! read side by side on two cores; `two_workers` is the default.
//!
//! MariaDB: bounded by one core of the server for each connection, and by its two synced commits a file (rows and binary
//! log). `mariadb_write` is one segment over one connection: binding, encoding and the server's work on the statements.

use std::sync::Arc;

use arrow::array::RecordBatch;
use criterion::{BatchSize, Criterion, Throughput};
use loadline::backend;
use loadline::clock;
use loadline::config::{Config, Database};
use loadline::engine::LoadPlanner;
use loadline::job::{JobOrder, JobStore};
use loadline::progress::unobserved;
use loadline::scanner::{Scan, ScanRequest};
use loadline::source::Source;
use loadline::warehouse::{Begun, Fence, LedgerKey, Progress, TableSpec, Taker, Warehouse};
use loadline::worker::{Etl, EtlSettings, SegmentLimits, Stop};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::input::{Input, Loans};
use crate::servers::{self, Kind, Server};
use crate::stages::rows;

pub fn end_to_end(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let loans = runtime.block_on(Loans::make());
    let mut group = criterion.benchmark_group("end_to_end");
    let (records, bytes) = (loans.planned.records, loans.planned.bytes);
    group.throughput(Throughput::ElementsAndBytes { elements: records, bytes });
    let mariadb = Server::shared(Kind::MariaDb);
    for (name, workers) in [("one_worker", 1), ("two_workers", 2)] {
        let load = |target: Target| {
            runtime.block_on(target.load(&loans, workers));
            target
        };
        group.bench_function(name, |b| {
            b.iter_batched(|| runtime.block_on(Target::sqlite(&loans)), load, BatchSize::PerIteration);
        });
        if let Some(server) = mariadb {
            group.bench_function(format!("mariadb_{name}"), |b| {
                b.iter_batched(|| runtime.block_on(Target::on(server, &loans)), load, BatchSize::PerIteration);
            });
        }
    }
    let rows = runtime.block_on(rows(&runtime.block_on(Input::in_memory(loans.feed(), &loans.text()))));
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    group.throughput(Throughput::Elements(count as u64));
    let write = |target: Target| {
        runtime.block_on(target.write(&rows));
        target
    };
    group.bench_function("sqlite_write", |b| {
        b.iter_batched(|| runtime.block_on(Target::sqlite(&loans)), write, BatchSize::PerIteration);
    });
    if let Some(server) = mariadb {
        group.bench_function("mariadb_write", |b| {
            b.iter_batched(|| runtime.block_on(Target::on(server, &loans)), write, BatchSize::PerIteration);
        });
    }
}

/// New databases, set up for the feed.
struct Target {
    metadata: Database,
    table: TableSpec,
    store: Arc<dyn JobStore>,
    warehouse: Arc<dyn Warehouse>,
    /// Where SQLite's files are.
    _folder: Option<TempDir>,
    /// Both databases on a server.
    _database: Option<servers::Database<'static>>,
}

impl Target {
    async fn sqlite(loans: &Loans) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| Database::Sqlite { path: folder.path().join(name) };
        let (metadata, reporting) = (file("metadata.db"), file("reporting.db"));
        Self { _folder: Some(folder), ..Self::set_up(loans, metadata, &reporting).await }
    }

    async fn on(server: &'static Server, loans: &Loans) -> Self {
        let database = server.fresh();
        let url = database.url();
        let config = std::fs::read_to_string(&loans.config.path).unwrap();
        let config = config.replace("sqlite:metadata.db", &url).replace("sqlite:reporting.db", &url);
        let path = loans.config.path.with_file_name("on_a_server.yaml");
        std::fs::write(&path, config).unwrap();
        let config = Config::load(&path).unwrap();
        let target = Self::set_up(loans, config.metadata_database, &config.reporting_database).await;
        Self { _database: Some(database), ..target }
    }

    async fn set_up(loans: &Loans, metadata: Database, reporting: &Database) -> Self {
        let store: Arc<dyn JobStore> = backend::open_job_store(&metadata).unwrap().into();
        let warehouse: Arc<dyn Warehouse> = backend::open_warehouse(reporting).unwrap().into();
        let table = TableSpec::of(loans.feed());
        store.migrate(None).await.unwrap();
        warehouse.migrate().await.unwrap();
        warehouse.create_table(&table).await.unwrap();
        store.record_feeds(&[loans.feed().name.clone()]).await.unwrap();
        Self { metadata, table, store, warehouse, _folder: None, _database: None }
    }

    /// Scan and etl, as the commands of these names run them.
    async fn load(&self, loans: &Loans, workers: usize) {
        let source = Source::open(&loans.config.source.url).unwrap();
        let (settings, observer) = (&loans.config.scanner, unobserved());
        let request = ScanRequest::default();
        let (store, feed, now) = (self.store.as_ref(), loans.feed(), clock::now());
        let scan = Scan { source: &source, store, feed, settings, request: &request, observer: &observer, now };
        let jobs = scan.run().await.unwrap().jobs.len();
        let report = Arc::new(self.etl(loans, source, workers).await).run(&Stop::default()).await.unwrap();
        assert_eq!((report.loaded, report.failed), (jobs, 0));
    }

    async fn etl(&self, loans: &Loans, source: Source, workers: usize) -> Etl {
        let metadata = self.metadata.clone();
        let config = &loans.config.etl;
        let planner = LoadPlanner::new(&source, &loans.config.feeds[0]).await.unwrap();
        Etl {
            store: self.store.clone(),
            store_factory: Arc::new(move || backend::open_job_store(&metadata)),
            warehouse: self.warehouse.clone(),
            source,
            planners: vec![planner],
            settings: EtlSettings {
                workers,
                connections: config.connections,
                max_attempts: config.max_attempts,
                max_expiries: config.max_expiries,
                lease: config.lease,
                order: JobOrder::Oldest,
                feed: None,
                max_reject_ratio: config.max_reject_ratio,
                max_invalid_ratio: config.max_invalid_ratio,
                segment: SegmentLimits::shared_by(config.connections),
            },
            observer: unobserved(),
        }
    }

    /// All rows as one segment of one file.
    async fn write(&self, rows: &[RecordBatch]) {
        let key = LedgerKey { key: "a.csv".to_owned(), version: "1".to_owned(), hour: clock::now() };
        let (feed, table) = ("loan_applications".to_owned(), self.table.name.clone());
        let taker = Taker { feed, job: 1, table, plan_hash: "plan".to_owned(), reload: false };
        let taken = self.warehouse.take(&taker, &[key]).await.unwrap();
        let fence = Fence { file: taken[0].file, epoch: taken[0].epoch, plan_hash: "plan".to_owned() };
        let Begun::Segment(mut segment) = self.warehouse.begin(&fence, 0).await.unwrap() else { panic!() };
        for batch in rows {
            segment.write(&self.table, batch).await.unwrap();
        }
        let records = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        let progress = Progress { records_done: records, rows: records, complete: true, ..Default::default() };
        segment.commit(&progress).await.unwrap();
    }
}
