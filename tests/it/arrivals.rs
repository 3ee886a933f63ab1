//! The scanner against 100,000 random arrivals: nothing missed, nothing twice.
//!
//! A bucket whose clock is ours gets files in every awkward way: several in one second, late ones with an old modified
//! time, ones dated in the future, rewritten ones. The folder moves, scans are cut off at a random await, two run at
//! once. The scanner lists it as it would list S3: in key order, from a start key, with a full listing now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use loadline::backend::sqlite::SqliteJobStore;
use loadline::config::ScannerConfig;
use loadline::feed::{Feed, Layout, Schema};
use loadline::job::{FileState, JobFilter, JobLimits, JobStore, Known, ListedFile, split_uri_list};
use loadline::progress::unobserved;
use loadline::scanner::{Scan, ScanRequest};
use loadline::source::Source;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

const ARRIVALS: usize = 100_000;
const ARRIVALS_A_STEP: usize = 500;
const SEED: u64 = 20_260_101;
const LIMITS: JobLimits = JobLimits { size_max: 40_000, files_max: 150, wait_max: Duration::zero() };

/// An object store that can be listed, and whose objects have the times we say.
#[derive(Debug, Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, ObjectMeta>>,
}

impl Bucket {
    fn put(&self, key: &str, modified: DateTime<Utc>, etag: String, size: u64) {
        let location = Path::parse(key).unwrap();
        let meta = ObjectMeta { location, last_modified: modified, size, e_tag: Some(etag), version: None };
        self.objects.lock().unwrap().insert(key.to_owned(), meta);
    }

    fn listing(&self, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let objects = self.objects.lock().unwrap();
        let after = after.map(ToString::to_string).unwrap_or_default();
        let metas: Vec<_> = objects.range(after.clone()..).filter(|(key, _)| **key != after).collect();
        let metas: Vec<_> = metas.into_iter().map(|(_, meta)| Ok(meta.clone())).collect();
        futures::stream::iter(metas).boxed()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

fn only_listed<T>() -> Result<T> {
    Err(Error::NotImplemented { operation: "anything but listing".to_owned(), implementer: "Bucket".to_owned() })
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        only_listed()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        only_listed()
    }

    async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
        only_listed()
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { only_listed() }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(None)
    }

    fn list_with_offset(&self, _: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(Some(offset))
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        only_listed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        only_listed()
    }
}

fn feed() -> Feed {
    Feed {
        name: "arrivals".to_owned(),
        prefix: String::new(),
        layout: Layout::parse("{yyyy}/{mm}/{dd}/{HH}/").unwrap(),
        files: glob::Pattern::new("*.csv").unwrap(),
        table: "arrivals".to_owned(),
        on_overwrite: Default::default(),
        schema: Schema { columns: Vec::new(), primary_key: Vec::new() },
        fresh_within: None,
    }
}

fn settings() -> ScannerConfig {
    ScannerConfig {
        frequency: std::time::Duration::from_secs(3600),
        start_from: None,
        lookback: Duration::hours(12),
        full_every: Duration::hours(48),
        settle: None,
        limits: LIMITS,
    }
}

/// What the test knows of the world.
struct World {
    bucket: Arc<Bucket>,
    rng: ChaCha8Rng,
    now: DateTime<Utc>,
    arrived: Vec<String>,
    rewritten: BTreeSet<String>,
}

impl World {
    /// One file arrives, in one of the awkward ways.
    fn arrive(&mut self) {
        let number = self.arrived.len();
        let seconds = Duration::seconds(self.rng.random_range(0..3));
        let (hour, modified) = match self.rng.random_range(0..20) {
            // Visible now, though its upload began long ago: in the look-back, or far behind it.
            0 => (self.now - Duration::hours(self.rng.random_range(1..10)), self.now - Duration::hours(9)),
            1 => (self.now - Duration::hours(self.rng.random_range(10..300)), self.now - Duration::hours(200)),
            // Of an old hour, put there just now.
            2 => (self.now - Duration::hours(self.rng.random_range(1..300)), self.now - seconds),
            // A clock that is ahead, by minutes or by years.
            3 => (self.now + Duration::hours(1), self.now + Duration::minutes(30)),
            4 => (self.now, self.now + Duration::days(self.rng.random_range(1..2000))),
            _ => (self.now, self.now - seconds),
        };
        let key = format!("{}{number:06}.csv", feed().layout.folder(hour));
        let size = self.rng.random_range(1..1000);
        self.bucket.put(&key, modified, format!("\"{number}\""), size);
        self.arrived.push(key);
    }

    /// A file that is there already gets other bytes.
    fn rewrite(&mut self) {
        let key = self.arrived[self.rng.random_range(0..self.arrived.len())].clone();
        self.bucket.put(&key, self.now, format!("\"again-{}\"", self.rng.random::<u32>()), 7);
        self.rewritten.insert(key);
    }
}

/// Lets `work` run for so many polls and drops it then, wherever it stands. True: it ended by itself.
async fn cut_off<T>(work: impl Future<Output = T>, polls: u32) -> bool {
    let mut work = std::pin::pin!(work);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        left = left.saturating_sub(1);
        if left == 0 { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_arrivals_are_neither_missed_nor_taken_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteJobStore::open(&folder.path().join("metadata.db")).unwrap();
    store.migrate(None).await.unwrap();
    let bucket = Arc::new(Bucket::default());
    let start = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
    let rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut world = World { bucket, rng, now: start, arrived: Vec::new(), rewritten: BTreeSet::new() };

    let (mut cut, mut moved) = (0, 0);
    while world.arrived.len() < ARRIVALS {
        let before = world.arrived.len();
        (0..ARRIVALS_A_STEP).for_each(|_| world.arrive());
        (0..3).for_each(|_| world.rewrite());
        world.now += Duration::hours(2);
        moved += usize::from(world.rng.random_ratio(1, 20));
        let source = source(&world, moved);
        let (feed, settings, request, observer) = (feed(), settings(), ScanRequest::default(), unobserved());
        let scan = || Scan {
            source: &source,
            store: &store,
            feed: &feed,
            settings: &settings,
            request: &request,
            observer: &observer,
            now: world.now,
        };
        match world.rng.random_range(0..10) {
            0 | 1 => {
                let polls = world.rng.random_range(1..40);
                cut += usize::from(!cut_off(scan().run(), polls).await);
            }
            2 => {
                let (first, second) = (scan(), scan());
                let (one, other) = tokio::join!(first.run(), second.run());
                // Where both took files, one of them may have given up; what it found is still there.
                assert!(one.is_ok() || other.is_ok());
            }
            _ => {
                scan().run().await.unwrap();
                assert_seen_at_once(&store, &world, before).await;
            }
        }
    }
    // Long after, when even the files from the future have their time behind them.
    world.now += Duration::days(3000);
    let (source, feed, settings, observer) = (source(&world, moved), feed(), settings(), unobserved());
    let request = ScanRequest { full: true, ..Default::default() };
    let (source, feed, settings, request) = (&source, &feed, &settings, &request);
    let last = Scan { source, store: &store, feed, settings, request, observer: &observer, now: world.now };
    assert_eq!(last.run().await.unwrap().waiting, 0);

    assert!(cut > 5 && moved > 5, "the test has lost its power: {cut} scans cut off, {moved} moves");
    check(&store, &world).await;
}

/// What arrived in this step in a folder of the look-back was registered by the scan that followed, full or not.
async fn assert_seen_at_once(store: &SqliteJobStore, world: &World, before: usize) {
    let since = world.now - settings().lookback + Duration::hours(1);
    let listed: Vec<ListedFile> = world.arrived[before..]
        .iter()
        .map(|key| (key, feed().layout.split(key).unwrap().0))
        .filter(|(_, hour)| *hour >= since)
        .map(|(key, hour)| ListedFile { key: key.clone(), version: String::new(), size: 0, modified: hour, hour })
        .collect();
    let known = store.classify("arrivals", &listed).await.unwrap();
    let missed: Vec<_> = listed.iter().zip(known).filter(|(_, known)| *known == Known::New).collect();
    assert!(missed.is_empty(), "{} of {} not seen at {}: {:?}", missed.len(), listed.len(), world.now, missed[0]);
}

/// The source under a url that depends on how often it has moved.
fn source(world: &World, moved: usize) -> Source {
    Source::with_store(format!("memory://bucket-{moved}/").parse().unwrap(), world.bucket.clone())
}

/// Every file is in exactly one job, or was rewritten and is in quarantine.
async fn check(store: &SqliteJobStore, world: &World) {
    let mut jobs_of: BTreeMap<String, usize> = BTreeMap::new();
    let mut quarantined = BTreeSet::new();
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    for job in &jobs {
        let files = store.files_of(job.id).await.unwrap();
        assert_eq!(files.len(), split_uri_list(&job.files).len(), "job {}", job.id);
        assert!(files.len() <= LIMITS.files_max && (job.total_size_in_bytes <= LIMITS.size_max || files.len() == 1));
        for file in files {
            if file.state == FileState::Quarantined {
                quarantined.insert(file.key.clone());
            }
            *jobs_of.entry(file.key).or_default() += 1;
        }
    }
    let twice: Vec<_> = jobs_of.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "in several jobs: {twice:?}");
    let missed: Vec<_> =
        world.arrived.iter().filter(|key| !jobs_of.contains_key(*key) && !world.rewritten.contains(*key)).collect();
    assert!(missed.is_empty(), "{} missed: {:?}", missed.len(), &missed[..missed.len().min(5)]);
    let in_no_job = world.arrived.iter().filter(|key| !jobs_of.contains_key(*key)).count();
    let all_quarantined = store.quarantined().await.unwrap().len();
    assert_eq!(all_quarantined, quarantined.len() + in_no_job, "files that are in no job and not in quarantine");
    assert!(quarantined.is_subset(&world.rewritten));
    assert!(store.found("arrivals", None, 1).await.unwrap().is_empty());
}
