//! The worker against the two databases, in the situations that a command line can't make happen.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loadline::backend::sqlite::{SqliteJobStore, SqliteWarehouse};
use loadline::clock;
use loadline::config::Config;
use loadline::engine::LoadPlanner;
use loadline::job::{ClaimRequest, FileState, JobFilter, JobOrder, JobStatus, JobStore, Replacement};
use loadline::progress::{Event, Observer, Outcome};
use loadline::scanner::{Scan, ScanRequest};
use loadline::source::{Entry, Source};
use loadline::warehouse::{LedgerKey, Standing, TableSpec, Taker, Warehouse};
use loadline::worker::{Etl, EtlReport, EtlSettings, SegmentLimits, Stop};
use rusqlite::Connection;

/// A feed of two columns in a folder of its own, set up, with its databases open.
struct Bench {
    folder: tempfile::TempDir,
    config: Config,
    store: Arc<SqliteJobStore>,
    warehouse: Arc<SqliteWarehouse>,
    source: Source,
}

const SCHEMA: &str =
    "columns:\n  - {name: id, type: int64, required: true, on_invalid: reject}\n  - {name: v, type: int8}\n";

impl Bench {
    async fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("schemas")).unwrap();
        std::fs::create_dir_all(folder.path().join("incoming")).unwrap();
        std::fs::write(folder.path().join("schemas/numbers.yaml"), SCHEMA).unwrap();
        let config = "source: {url: \"file:incoming\"}\nmetadata_database: {url: \"sqlite:m.db\"}\n\
                      reporting_database: {url: \"sqlite:r.db\"}\nfeeds: [{name: numbers}]\n\
                      scanner: {settle: 0s}\netl: {max_attempts: 2}\n";
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        for (key, text) in files {
            write(folder.path(), key, text);
        }
        let config = Config::load(&folder.path().join("config.yaml")).unwrap();
        let store = Arc::new(SqliteJobStore::open(&folder.path().join("m.db")).unwrap());
        let warehouse = Arc::new(SqliteWarehouse::open(&folder.path().join("r.db")).unwrap());
        store.migrate(None).await.unwrap();
        warehouse.migrate().await.unwrap();
        warehouse.create_table(&TableSpec::of(&config.feeds[0])).await.unwrap();
        let source = Source::open(&config.source.url).unwrap();
        let bench = Self { folder, config, store, warehouse, source };
        bench.scan().await;
        bench
    }

    async fn scan(&self) {
        let (feed, settings, request) = (&self.config.feeds[0], &self.config.scanner, &ScanRequest::default());
        let observer = &loadline::progress::unobserved();
        let (source, store, now) = (&self.source, self.store.as_ref(), clock::now());
        Scan { source, store, feed, settings, request, observer, now }.run().await.unwrap();
    }

    async fn etl(&self, observer: Observer) -> EtlReport {
        self.try_etl(observer).await.unwrap()
    }

    async fn try_etl(&self, observer: Observer) -> loadline::error::Result<EtlReport> {
        let path = self.folder.path().join("m.db");
        let etl = Etl {
            store: self.store.clone(),
            store_factory: Arc::new(move || Ok(Box::new(SqliteJobStore::open(&path)?))),
            warehouse: self.warehouse.clone(),
            source: self.source.clone(),
            planners: vec![LoadPlanner::new(&self.source, &self.config.feeds[0]).await.unwrap()],
            settings: EtlSettings {
                workers: 1,
                connections: 2,
                max_attempts: self.config.etl.max_attempts,
                max_expiries: self.config.etl.max_expiries,
                lease: self.config.etl.lease,
                order: JobOrder::Oldest,
                feed: None,
                max_reject_ratio: 0.05,
                max_invalid_ratio: 0.05,
                segment: SegmentLimits { records_max: 10, bytes_max: 1 << 20 },
            },
            observer,
        };
        Arc::new(etl).run(&Stop::default()).await
    }

    async fn head(&self, key: &str) -> Entry {
        loadline::source::head(&self.source, key).await.unwrap().unwrap()
    }

    async fn job_status(&self) -> (JobStatus, Option<String>) {
        let jobs = self.store.jobs(&JobFilter::default()).await.unwrap();
        (jobs[0].status, jobs[0].failure_msg.clone())
    }

    /// (rows, distinct ids) of the table.
    fn rows(&self) -> (i64, i64) {
        let reporting = Connection::open(self.folder.path().join("r.db")).unwrap();
        let sql = "SELECT count(*), count(DISTINCT id) FROM numbers";
        reporting.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    /// The take of a worker that knows nothing of the claim.
    async fn stray_take(&self, key: &str) -> Standing {
        let feed = &self.config.feeds[0];
        let head = self.head(key).await;
        let key = LedgerKey { key: key.to_owned(), version: head.version, hour: head.modified };
        let (name, table) = (feed.name.clone(), feed.table.clone());
        let taker = Taker { feed: name, job: 99, table, plan_hash: feed.plan_hash(), reload: false };
        self.warehouse.take(&taker, &[key]).await.unwrap()[0].standing
    }
}

fn write(folder: &Path, key: &str, text: &str) {
    let path = folder.join("incoming").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn numbers(count: usize) -> String {
    (1..=count).fold("id,v\n".to_owned(), |text, id| text + &format!("{id},1\n"))
}

const KEY: &str = "2026/01/01/00/a.csv";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_file_has_its_fingerprint_whatever_its_segments() {
    use sha2::Digest;
    let files = [(KEY, numbers(95)), ("2026/01/01/01/b.csv", numbers(10)), ("2026/01/01/02/c.csv", numbers(0))];
    let bench = Bench::new(&files.each_ref().map(|(key, text)| (*key, text.as_str()))).await;
    assert_eq!(bench.etl(loadline::progress::unobserved()).await.loaded, 1);
    for (key, text) in &files {
        let entry = bench.warehouse.entry("numbers", key).await.unwrap().unwrap();
        let fingerprint = entry.progress.fingerprint.unwrap();
        assert_eq!(fingerprint.bytes, text.len() as u64, "{key}");
        assert_eq!(fingerprint.sha256[..], sha2::Sha256::digest(text)[..], "{key}");
    }
    let table = TableSpec::of(&bench.config.feeds[0]);
    for file in bench.warehouse.audit("numbers", &table, 0, 10, true).await.unwrap() {
        assert_eq!(file.checksum, Some(file.entry.progress.checksum), "{}", file.key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_take_in_the_middle_of_a_load_is_taken_back() {
    let bench = Arc::new(Bench::new(&[(KEY, &numbers(95))]).await);
    // After the third of ten segments somebody with an old claim takes the file.
    let (disturbed, seen) = (bench.clone(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let observer: Observer = Arc::new(move |event| {
        if matches!(event, Event::Advanced { .. }) && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
            let bench = disturbed.clone();
            let take = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(bench.stray_take(KEY))
            });
            assert_eq!(take.join().unwrap(), Standing::Ready);
        }
    });
    assert_eq!(bench.etl(observer).await, EtlReport { loaded: 1, ..Default::default() });
    assert_eq!(bench.rows(), (95, 95));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lost_its_claim_changes_nothing_more() {
    let bench = Arc::new(Bench::new(&[(KEY, &numbers(95))]).await);
    let path = bench.folder.path().join("m.db");
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, told) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), ends.clone());
    let disturbed = bench.clone();
    let observer: Observer = Arc::new(move |event| match event {
        Event::Advanced { .. } if seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 => {
            // The lease is given to another worker, which takes the file as well.
            let metadata = Connection::open(&path).unwrap();
            metadata
                .execute("UPDATE scanner_jobs SET claim_token = 'another' WHERE status = 'PROCESSING'", [])
                .unwrap();
            let bench = disturbed.clone();
            let take = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(bench.stray_take(KEY))
            });
            take.join().unwrap();
        }
        Event::JobEnded(end) => told.lock().unwrap().push(end.outcome),
        _ => {}
    });
    assert_eq!(bench.etl(observer).await, EtlReport { lost: 1, ..Default::default() });
    assert!(matches!(ends.lock().unwrap()[..], [Outcome::Lost]));
    assert_eq!(bench.rows(), (30, 30), "rows came after the claim was lost");
    assert_eq!(bench.job_status().await.0, JobStatus::Processing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_workers_keep_dying_ends_in_failed_without_a_row() {
    let bench = Bench::new(&[(KEY, &numbers(95)), ("2026/01/01/01/b.csv", &numbers(5))]).await;
    // Three workers died with the job; the last one had committed rows of a.csv.
    let request = ClaimRequest { owner: "gone".to_owned(), order: JobOrder::Oldest, feed: None, lease: Duration::ZERO };
    for _ in 0..3 {
        bench.store.rescue(&["gone".to_owned()]).await.unwrap();
        bench.store.claim(&request).await.unwrap().unwrap();
    }
    bench.store.rescue(&["gone".to_owned()]).await.unwrap();
    assert_eq!(bench.etl(loadline::progress::unobserved()).await, EtlReport { failed: 1, ..Default::default() });
    let (status, reason) = bench.job_status().await;
    assert_eq!(status, JobStatus::Failed);
    let reason = reason.unwrap();
    assert!(reason.starts_with("given up: its worker died 3 times\n2026/01/01/00/a.csv: not loaded"), "{reason}");
    assert_eq!(bench.rows(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeat_keeps_a_claim_while_its_load_takes_longer_than_the_lease() {
    let mut bench = Bench::new(&[(KEY, &numbers(95))]).await;
    bench.config.etl.lease = Duration::from_secs(2);
    let path = bench.folder.path().join("m.db");
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let observer: Observer = Arc::new(move |event| {
        if matches!(event, Event::Advanced { .. }) && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
            // The third segment takes as long as four beats.
            let metadata = Connection::open(&path).unwrap();
            let until = || -> String {
                let sql = "SELECT lease_until FROM scanner_jobs WHERE status = 'PROCESSING'";
                metadata.query_row(sql, [], |row| row.get(0)).unwrap()
            };
            let mut last = until();
            for _ in 0..4 {
                while until() == last {
                    std::thread::yield_now();
                }
                assert!(until() > last);
                last = until();
            }
        }
    });
    assert_eq!(bench.etl(observer).await, EtlReport { loaded: 1, ..Default::default() });
    assert_eq!(bench.rows(), (95, 95));
}

/// An observer that ends the metadata's reach after the third segment: the worker stops as if it had died there.
fn dies_after_three_segments(bench: &Bench) -> Observer {
    let path = bench.folder.path().join("m.db");
    let seen = std::sync::atomic::AtomicUsize::new(0);
    Arc::new(move |event| {
        if matches!(event, Event::Advanced { .. }) && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
            let metadata = Connection::open(&path).unwrap();
            let sql = "UPDATE scanner_jobs SET status = 'SENT_FOR_ETL', claim_token = NULL, \
                       run_after = '9999-12-31 00:00:00.000000' WHERE status = 'PROCESSING'";
            metadata.execute(sql, []).unwrap();
            let reporting = Connection::open(path.with_file_name("r.db")).unwrap();
            reporting.execute("UPDATE loadline_files SET epoch = epoch + 1", []).unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_replaced_when_it_was_half_loaded_leaves_nothing_and_loads_anew() {
    let bench = Bench::new(&[(KEY, &numbers(95))]).await;
    assert_eq!(bench.etl(dies_after_three_segments(&bench)).await.lost, 1);
    assert_eq!(bench.rows(), (30, 30));
    let metadata = Connection::open(bench.folder.path().join("m.db")).unwrap();
    metadata.execute("UPDATE scanner_jobs SET run_after = '1970-01-01 00:00:00.000000'", []).unwrap();

    write(bench.folder.path(), KEY, &numbers(7));
    bench.scan().await;
    assert_eq!(bench.etl(loadline::progress::unobserved()).await, EtlReport { failed: 1, ..Default::default() });
    assert_eq!(bench.rows(), (0, 0), "a file that is not loaded left rows behind");
    let (_, reason) = bench.job_status().await;
    assert!(reason.unwrap().contains("quarantined: changed at the source"));

    // A person lets it in as it is now.
    let job = bench.store.jobs(&JobFilter::default()).await.unwrap()[0].id;
    let (file, now) = (&bench.store.files_of(job).await.unwrap()[0], bench.head(KEY).await);
    let replacement = Replacement { id: file.id, version: now.version, size: now.size, modified: now.modified };
    assert!(bench.store.retry(job, &[replacement]).await.unwrap());
    assert_eq!(bench.etl(loadline::progress::unobserved()).await.loaded, 1);
    assert_eq!(bench.rows(), (7, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_complete_when_it_changed_ends_its_job() {
    let bench = Bench::new(&[(KEY, &numbers(20))]).await;
    assert_eq!(bench.etl(loadline::progress::unobserved()).await.loaded, 1);
    // The worker died between the ledger's commit and the metadata's; then the file changed.
    let metadata = Connection::open(bench.folder.path().join("m.db")).unwrap();
    metadata.execute("UPDATE scanner_jobs SET status = 'SENT_FOR_ETL' WHERE status = 'LOADED'", []).unwrap();
    metadata.execute("UPDATE scanner_files SET state = 'IN_JOB', loaded_time = NULL, rows_loaded = NULL", []).unwrap();
    write(bench.folder.path(), KEY, &numbers(7));
    bench.scan().await;
    assert_eq!(bench.etl(loadline::progress::unobserved()).await, EtlReport { loaded: 1, ..Default::default() });
    let job = bench.store.jobs(&JobFilter::default()).await.unwrap().remove(0);
    let file = bench.store.files_of(job.id).await.unwrap().remove(0);
    assert_eq!((job.status, job.rows_loaded), (JobStatus::Loaded, Some(20)));
    assert_eq!((file.state, file.rows_loaded, file.loaded_time.is_some()), (FileState::Quarantined, Some(20), true));
    assert_eq!(bench.rows(), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_stops_the_run_and_uses_no_attempt_up() {
    let files: Vec<(String, String)> =
        (0..24).map(|hour| (format!("2026/01/01/{hour:02}/a.csv"), numbers(3))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    let bench = Bench::new(&files).await;
    let incoming = bench.folder.path().join("incoming");
    std::fs::rename(&incoming, bench.folder.path().join("away")).unwrap();
    let error = bench.try_etl(loadline::progress::unobserved()).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    let job = bench.store.jobs(&JobFilter::default()).await.unwrap().remove(0);
    assert_eq!((job.status, job.attempts), (JobStatus::SentForEtl, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_another_version_are_never_taken_out() {
    let bench = Bench::new(&[(KEY, &numbers(20))]).await;
    assert_eq!(bench.etl(loadline::progress::unobserved()).await.loaded, 1);
    // The metadata is lost, and the file was overwritten before the next scan.
    for name in ["m.db", "m.db-wal", "m.db-shm"] {
        let _ = std::fs::remove_file(bench.folder.path().join(name));
    }
    write(bench.folder.path(), KEY, &numbers(7));
    let fresh = SqliteJobStore::open(&bench.folder.path().join("m.db")).unwrap();
    fresh.migrate(None).await.unwrap();
    let bench = Bench { store: Arc::new(fresh), ..bench };
    bench.scan().await;
    assert_eq!(bench.etl(loadline::progress::unobserved()).await, EtlReport { failed: 1, ..Default::default() });
    let job = bench.store.jobs(&JobFilter::default()).await.unwrap()[0].id;
    assert_eq!(bench.store.files_of(job).await.unwrap()[0].state, FileState::Quarantined);
    assert_eq!(bench.rows(), (20, 20));
}
