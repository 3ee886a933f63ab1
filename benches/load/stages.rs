//! The stages of a load, one at a time, on one file of about 100,000 records.
//!
//! `read` and `clean` run a plan of one partition, as the loader does for each file: one core, no waiting. What lies
//! between their figures is the cleaning. `bind` starts from cleaned rows in memory.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use criterion::Criterion;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use loadline::engine::{Grouping, JobFiles, LoadPlan, LoadPlanner, register_job};
use loadline::source::STORE_URL;
use loadline::warehouse::{Checksum, Columns};
use tokio::runtime::Runtime;

use crate::input::{Input, Loans, other_types, quoted};

/// From bytes to text columns. Bounded by two walks over the bytes: the guard's, by memchr where nothing is quoted and
/// by csv-core otherwise, and the decoder's, by csv-core. `gzip` adds the inflating, `count` leaves out the decoder.
pub fn read(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let loans = runtime.block_on(Loans::make());
    let (feed, text) = (loans.feed(), loans.text());
    let all = "SELECT * EXCEPT (_uri) FROM source";
    let mut group = criterion.benchmark_group("read");
    let mut bench = |name: &str, input: Input, sql: &str| {
        let scan = runtime.block_on(Scan::plan(&input, sql));
        group.throughput(input.throughput());
        group.bench_function(name, |b| b.iter(|| runtime.block_on(scan.run())));
    };
    bench("memory", runtime.block_on(Input::in_memory(feed, &text)), all);
    bench("disk", runtime.block_on(Input::on_disk(feed, &text)), all);
    bench("gzip", runtime.block_on(Input::gzipped(feed, &text)), all);
    bench("quoted", runtime.block_on(Input::in_memory(feed, &quoted(&text))), all);
    bench("one_column", runtime.block_on(Input::in_memory(feed, &text)), "SELECT age FROM source");
    bench("count", runtime.block_on(Input::in_memory(feed, &text)), "SELECT _record FROM source");
}

/// A planned scan, to be run again and again.
struct Scan {
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    records: u64,
}

impl Scan {
    async fn plan(input: &Input, sql: &str) -> Self {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        ctx.register_object_store(&url::Url::parse(STORE_URL).unwrap(), input.source.store().clone());
        let files = std::slice::from_ref(&input.file);
        let job = JobFiles { source: &input.source, feed: &input.feed, files, grouping: Grouping::PerFile };
        register_job(&ctx, &job).await.unwrap();
        let plan = ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        Self { plan, task: ctx.task_ctx(), records: input.records }
    }

    async fn run(&self) {
        let mut batches = self.plan.execute(0, self.task.clone()).unwrap();
        let mut records = 0;
        while let Some(batch) = batches.next().await {
            records += black_box(batch.unwrap()).num_rows() as u64;
        }
        assert_eq!(records, self.records);
    }
}

/// From bytes to typed rows and verdicts: `read` and what SQL adds. Bounded by the casts of the numbers and by the
/// comparisons with null tokens; for `other_types` by the regexes that say what a decimal or a time may look like.
pub fn clean(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let loans = runtime.block_on(Loans::make());
    let mut group = criterion.benchmark_group("clean");
    let mut bench = |name: &str, input: Input| {
        let plan = runtime.block_on(load_plan(&input));
        group.throughput(input.throughput());
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(runtime.block_on(count(&plan)), input.records));
        });
    };
    bench("loans", runtime.block_on(Input::in_memory(loans.feed(), &loans.text())));
    let (feed, text) = other_types(loans.feed(), 100_000);
    bench("other_types", runtime.block_on(Input::in_memory(&feed, &text)));
}

async fn load_plan(input: &Input) -> LoadPlan {
    let planner = LoadPlanner::new(&input.source, &input.feed).await.unwrap();
    planner.over(std::slice::from_ref(&input.file))
}

async fn count(plan: &LoadPlan) -> u64 {
    let mut batches = plan.file(0).unwrap();
    let mut records = 0;
    while let Some(batch) = batches.next().await.unwrap() {
        records += black_box(batch).records() as u64;
    }
    records
}

/// From typed rows to what a driver takes. `cells` looks at every value, as a driver does before it binds one;
/// `checksum` writes every value as text and hashes it: bounded by the digits of the doubles.
pub fn bind(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let loans = runtime.block_on(Loans::make());
    let (feed, text) = other_types(loans.feed(), 100_000);
    let loans = runtime.block_on(rows(&runtime.block_on(Input::in_memory(loans.feed(), &loans.text()))));
    let others = runtime.block_on(rows(&runtime.block_on(Input::in_memory(&feed, &text))));
    let mut group = criterion.benchmark_group("bind");
    for (name, rows) in [("loans", loans), ("other_types", others)] {
        let records: usize = rows.iter().map(RecordBatch::num_rows).sum();
        group.throughput(criterion::Throughput::Elements(records as u64));
        group.bench_function(format!("cells/{name}"), |b| b.iter(|| rows.iter().for_each(look_at_every_cell)));
        group.bench_function(format!("checksum/{name}"), |b| b.iter(|| checksum(&rows)));
    }
}

/// The rows that load, as the segments hold them.
pub async fn rows(input: &Input) -> Vec<RecordBatch> {
    let plan = load_plan(input).await;
    let mut batches = plan.file(0).unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await.unwrap() {
        rows.push(batch.rows().unwrap());
    }
    rows
}

fn look_at_every_cell(batch: &RecordBatch) {
    let columns = Columns::of(batch).unwrap();
    for row in 0..columns.rows() {
        for column in 0..columns.width() {
            black_box(columns.cell(row, column));
        }
    }
}

fn checksum(rows: &[RecordBatch]) -> i64 {
    let mut checksum = Checksum::default();
    for batch in rows {
        checksum.add(&Columns::of(batch).unwrap()).unwrap();
    }
    checksum.sum()
}
