//! One history: a world of files that arrive, and a scanner that looks at it every few hours.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

use chrono::{DateTime, Duration, Utc};
use loadline::config::ScannerConfig;
use loadline::feed::{Feed, Layout, Schema};
use loadline::job::{FileState, JobFilter, JobLimits, JobStore, Known, ListedFile, OnOverwrite, split_uri_list};
use loadline::progress::unobserved;
use loadline::scanner::{Scan, ScanRequest};
use loadline::source::Source;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::bucket::Bucket;

/// What is special about a history.
#[derive(Debug, Clone)]
pub struct Habits {
    pub files: usize,
    pub files_a_step: usize,
    pub rewrites_a_step: usize,
    pub hours_a_step: i64,
    pub layout: &'static str,
    pub policy: OnOverwrite,
    /// What the scanner is told, and within what files must be seen at once.
    pub lookback: Duration,
    pub promised: Duration,
    pub full_every: Duration,
    pub limits: JobLimits,
}

/// What happened in it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub files: usize,
    pub rewritten: usize,
    pub scans: usize,
    pub cut: usize,
    pub broken: usize,
    pub doubled: usize,
    pub moved: usize,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        let Self { files, rewritten, scans, cut, broken, doubled, moved } = other;
        self.files += files;
        self.rewritten += rewritten;
        self.scans += scans;
        self.cut += cut;
        self.broken += broken;
        self.doubled += doubled;
        self.moved += moved;
    }
}

/// What the test knows of the world.
pub struct History<'a> {
    store: &'a dyn JobStore,
    feed: Feed,
    settings: ScannerConfig,
    habits: Habits,
    bucket: Arc<Bucket>,
    rng: ChaCha8Rng,
    now: DateTime<Utc>,
    arrived: Vec<String>,
    rewritten: BTreeSet<String>,
    tally: Tally,
}

impl<'a> History<'a> {
    pub fn new(store: &'a dyn JobStore, name: &str, seed: u64, habits: Habits) -> Self {
        let feed = Feed {
            name: name.to_owned(),
            prefix: String::new(),
            layout: Layout::parse(habits.layout).unwrap(),
            files: glob::Pattern::new("*.csv").unwrap(),
            table: "arrivals".to_owned(),
            on_overwrite: habits.policy,
            schema: Schema { columns: Vec::new(), primary_key: Vec::new() },
            fresh_within: None,
        };
        let settings = ScannerConfig {
            frequency: std::time::Duration::from_secs(3600),
            start_from: None,
            lookback: habits.lookback,
            full_every: habits.full_every,
            settle: None,
            limits: habits.limits,
        };
        Self {
            store,
            feed,
            settings,
            habits,
            bucket: Arc::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc(),
            arrived: Vec::new(),
            rewritten: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// What was missed or taken twice, if anything.
    pub async fn run(mut self) -> Result<Tally, String> {
        while self.arrived.len() < self.habits.files {
            let before = self.arrived.len();
            (0..self.habits.files_a_step).for_each(|_| self.arrive());
            (0..self.habits.rewrites_a_step).for_each(|_| self.rewrite());
            self.now += Duration::hours(self.habits.hours_a_step);
            self.tally.moved += usize::from(self.rng.random_ratio(1, 20));
            self.tally.scans += 1;
            if self.scan_somehow().await {
                self.check_seen_at_once(before).await?;
            }
        }
        // Long after, when even the files from the future have their time behind them.
        self.now += Duration::days(3000);
        let report = self.scan(&ScanRequest { full: true, ..Default::default() }).await.unwrap();
        if report.waiting > 0 {
            return Err(format!("{} files wait for more", report.waiting));
        }
        self.check().await?;
        (self.tally.files, self.tally.rewritten) = (self.arrived.len(), self.rewritten.len());
        Ok(self.tally)
    }

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
        let key = format!("{}{number:06}.csv", self.feed.layout.folder(hour));
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

    /// True: a whole scan ended well.
    async fn scan_somehow(&mut self) -> bool {
        let request = ScanRequest::default();
        match self.rng.random_range(0..12) {
            0 | 1 => {
                let polls = self.rng.random_range(1..40);
                let ended = cut_off(self.scan(&request), polls).await;
                self.tally.cut += usize::from(!ended);
                false
            }
            2 => {
                self.bucket.break_after(self.rng.random_range(0..=self.arrived.len()));
                let report = self.scan(&request).await.unwrap();
                self.tally.broken += usize::from(report.broken_off.is_some());
                false
            }
            3 => {
                let (one, other) = tokio::join!(self.scan(&request), self.scan(&request));
                // Where both took files, one of them may have given up; what it found is still there.
                assert!(one.is_ok() || other.is_ok());
                self.tally.doubled += 1;
                false
            }
            _ => {
                self.scan(&request).await.unwrap();
                true
            }
        }
    }

    /// The url depends on how often the bucket has moved.
    async fn scan(&self, request: &ScanRequest) -> loadline::error::Result<loadline::scanner::ScanReport> {
        let url = format!("memory://bucket-{}/", self.tally.moved).parse().unwrap();
        let source = Source::with_store(url, self.bucket.clone());
        let (store, feed, settings, observer) = (self.store, &self.feed, &self.settings, unobserved());
        Scan { source: &source, store, feed, settings, request, observer: &observer, now: self.now }.run().await
    }

    /// What arrived in this step in a folder of the look-back was registered by the scan that followed, full or not.
    async fn check_seen_at_once(&self, before: usize) -> Result<(), String> {
        let since = self.now - self.habits.promised + Duration::hours(1);
        let hour = |key: &String| self.feed.layout.split(key).unwrap().0;
        let listed: Vec<ListedFile> = self.arrived[before..]
            .iter()
            .map(|key| (key, hour(key)))
            .filter(|(_, hour)| *hour >= since)
            .map(|(key, hour)| ListedFile { key: key.clone(), version: String::new(), size: 0, modified: hour, hour })
            .collect();
        let known = self.store.classify(&self.feed.name, &listed).await.unwrap();
        let missed: Vec<_> = listed.iter().zip(known).filter(|(_, known)| *known == Known::New).collect();
        let Some((first, _)) = missed.first() else { return Ok(()) };
        Err(format!("{} of {} not seen at {}: {}", missed.len(), listed.len(), self.now, first.key))
    }

    /// Every file is in exactly one job, or was rewritten and is in quarantine.
    async fn check(&self) -> Result<(), String> {
        let mut jobs_of: BTreeMap<String, usize> = BTreeMap::new();
        let mut quarantined = BTreeSet::new();
        let filter = JobFilter { feed: Some(self.feed.name.clone()), ..JobFilter::default() };
        let limits = self.habits.limits;
        for job in self.store.jobs(&filter).await.unwrap() {
            let files = self.store.files_of(job.id).await.unwrap();
            assert_eq!(files.len(), split_uri_list(&job.files).len(), "job {}", job.id);
            assert!(
                files.len() <= limits.files_max && (job.total_size_in_bytes <= limits.size_max || files.len() == 1)
            );
            for file in files {
                if file.state == FileState::Quarantined {
                    quarantined.insert(file.key.clone());
                }
                *jobs_of.entry(file.key).or_default() += 1;
            }
        }
        let twice: Vec<_> = jobs_of.iter().filter(|(_, count)| **count != 1).collect();
        if !twice.is_empty() {
            return Err(format!("in several jobs: {twice:?}"));
        }
        let is_missed = |key: &&String| !jobs_of.contains_key(*key) && !self.rewritten.contains(*key);
        let missed: Vec<_> = self.arrived.iter().filter(is_missed).collect();
        if !missed.is_empty() {
            return Err(format!("{} missed: {:?}", missed.len(), &missed[..missed.len().min(5)]));
        }
        let in_no_job = self.arrived.iter().filter(|key| !jobs_of.contains_key(*key)).count();
        let all = self.store.quarantined().await.unwrap();
        let all = all.iter().filter(|file| file.feed == self.feed.name).count();
        if all != quarantined.len() + in_no_job || !quarantined.is_subset(&self.rewritten) {
            return Err(format!("{all} files in quarantine, {in_no_job} in no job, {} of jobs", quarantined.len()));
        }
        let left = self.store.found(&self.feed.name, None, 1).await.unwrap();
        if left.is_empty() { Ok(()) } else { Err(format!("still FOUND: {left:?}")) }
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
