//! The scanner: lists a feed, registers what is new, forms jobs.
//!
//! Invariant: the registry decides what is new; where a listing starts only narrows what is looked at. Whatever dies
//! when, a listed file is FOUND or in exactly one job, and the next scan goes on from there. A second scanner at the
//! same time costs work, not correctness.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use futures::StreamExt;

use crate::config::ScannerConfig;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::feed::Feed;
use crate::job::{FoundFile, JobDraft, JobId, JobLimits, JobStore, Known, ListedFile, OnOverwrite, Planner, Watermark};
use crate::progress::{Event, Observer};
use crate::source::{Classified, Ignored, Listing, Source};

/// Keys looked at, and files planned, at a time: what bounds the memory.
const PAGE: usize = 1000;
/// How many quarantined keys a report names.
const KEYS_NAMED: usize = 10;
/// How often planning begins anew because another scanner took files of a draft.
const PLANNING_ATTEMPTS: usize = 1000;

/// What one scan was asked for.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// List everything, whatever the watermark says.
    pub full: bool,
    /// A backfill: only folders from here (inclusive), whatever `start_from` says.
    pub from: Option<DateTime<Utc>>,
    /// Only folders before this.
    pub to: Option<DateTime<Utc>>,
    /// Change nothing, say what would be done.
    pub dry_run: bool,
}

/// What one scan of one feed saw and did.
#[derive(Debug, Default)]
pub struct ScanReport {
    pub feed: String,
    pub full: bool,
    /// Keys listed.
    pub keys: u64,
    pub new: u64,
    pub new_bytes: u64,
    pub first_hour: Option<DateTime<Utc>>,
    pub last_hour: Option<DateTime<Utc>>,
    pub known: u64,
    /// Known keys with another version, put into quarantine by this scan.
    pub quarantined: u64,
    /// The first [`KEYS_NAMED`] of them.
    pub quarantined_keys: Vec<String>,
    /// Known keys that will be loaded in the version they have now.
    pub renewed: u64,
    /// Known keys with another version of which the loaded one is kept.
    pub kept: u64,
    pub ignored: BTreeMap<Ignored, u64>,
    pub jobs: Vec<FormedJob>,
    /// Files that wait for a fuller job.
    pub waiting: u64,
    /// Why the listing broke off, if it did. The next scan goes on.
    pub broken_off: Option<Error>,
}

#[derive(Debug, Clone)]
pub struct FormedJob {
    /// `None` in a dry run.
    pub id: Option<JobId>,
    pub files: usize,
    pub bytes: u64,
    pub latest_file_modified_time: DateTime<Utc>,
}

/// One scan of one feed.
pub struct Scan<'a> {
    pub source: &'a Source,
    pub store: &'a dyn JobStore,
    pub feed: &'a Feed,
    pub settings: &'a ScannerConfig,
    pub request: &'a ScanRequest,
    pub observer: &'a Observer,
    pub now: DateTime<Utc>,
}

impl Scan<'_> {
    /// Lists, registers and forms jobs. Where the listing breaks off, jobs are formed of what was found, and the next
    /// scan goes on.
    pub async fn run(&self) -> Result<ScanReport> {
        let watermark = self.store.watermark(&self.feed.name).await?;
        let (listing, full) = self.listing(watermark);
        let from = listing.start_at.map_or_else(|| "the start".to_owned(), |at| self.feed.layout.folder(at));
        tracing::info!(feed = self.feed.name, from, "listing");
        let mut report = ScanReport { feed: self.feed.name.clone(), full, ..Default::default() };
        let mut unregistered = Vec::new();
        let listed = self.list(&listing, &mut report, &mut unregistered).await;
        (self.observer)(Event::ListingEnded { feed: self.feed.name.clone() });
        report.broken_off = listed.err();
        if report.quarantined > 0 && !self.request.dry_run {
            let (feed, files) = (&self.feed.name, report.quarantined);
            let keys = report.quarantined_keys.join(", ");
            tracing::info!(feed, files, keys, "changed since they were registered: QUARANTINED, not loaded");
        }
        if self.request.dry_run {
            self.plan_only(unregistered, &mut report).await?;
            return Ok(report);
        }
        if report.broken_off.is_none() {
            self.store.scanned(&self.feed.name, self.now, full).await?;
        }
        failpoint::reach("scanned").await?;
        let former = Former {
            store: self.store,
            feed: self.feed,
            source_url: self.source.url(),
            limits: self.settings.limits,
            now: self.now,
        };
        Formed { jobs: report.jobs, waiting: report.waiting } = former.run().await?;
        Ok(report)
    }

    /// Where to look, and whether that is all there is: everything, or from the look-back of the watermark on.
    pub fn listing(&self, watermark: Watermark) -> (Listing, bool) {
        let settings = self.settings;
        let from = self.request.from.or(settings.start_from);
        let ordered = self.source.lists_in_key_order() && self.feed.layout.key_order_is_time_order();
        let due = watermark.last_full_listing.is_none_or(|last| self.now - last >= settings.full_every);
        let backfill = self.request.from.is_some() || self.request.to.is_some();
        // A file dated in the future must not carry the listing past what arrives until then.
        let look_back = watermark.newest.map(|newest| newest.min(self.now) - settings.lookback);
        let start_at = match (ordered, backfill || self.request.full || due) {
            (false, _) => None,
            (true, true) => from,
            (true, false) => look_back.max(from),
        };
        let full = !backfill && (!ordered || self.request.full || due);
        let listing = Listing {
            from,
            to: self.request.to,
            start_at,
            settle: settings.settle.unwrap_or_else(|| self.source.default_settle()),
            now: self.now,
        };
        (listing, full)
    }

    async fn list(&self, listing: &Listing, report: &mut ScanReport, unregistered: &mut Vec<ListedFile>) -> Result<()> {
        let mut pages = listing.pages(self.source, self.feed, PAGE);
        while let Some(page) = pages.next().await {
            let page = page?;
            report.keys += page.len() as u64;
            let mut files = Vec::with_capacity(page.len());
            for entry in page {
                match listing.classify(self.feed, entry) {
                    Classified::File(file) => files.push(file),
                    Classified::Ignored(reason) => *report.ignored.entry(reason).or_default() += 1,
                }
            }
            self.register(files, report, unregistered).await?;
            (self.observer)(Event::Listed { feed: self.feed.name.clone(), keys: report.keys });
        }
        Ok(())
    }

    async fn register(
        &self,
        files: Vec<ListedFile>,
        report: &mut ScanReport,
        unregistered: &mut Vec<ListedFile>,
    ) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let known = if self.request.dry_run {
            self.store.classify(&self.feed.name, &files).await?
        } else {
            self.store.register(&self.feed.name, &files, self.feed.on_overwrite, self.now).await?
        };
        failpoint::reach("registered").await?;
        for (file, known) in files.into_iter().zip(known) {
            match self.foreseen(known) {
                Known::Same => report.known += 1,
                Known::Kept => report.kept += 1,
                Known::Renewed => {
                    report.renewed += 1;
                    if self.request.dry_run {
                        unregistered.push(file);
                    }
                }
                Known::Changed => {
                    report.quarantined += 1;
                    if report.quarantined_keys.len() < KEYS_NAMED {
                        report.quarantined_keys.push(file.key);
                    }
                }
                Known::New => {
                    report.new += 1;
                    report.new_bytes += file.size;
                    report.first_hour = Some(report.first_hour.map_or(file.hour, |first| first.min(file.hour)));
                    report.last_hour = report.last_hour.max(Some(file.hour));
                    if self.request.dry_run {
                        unregistered.push(file);
                    }
                }
            }
        }
        Ok(())
    }

    /// What a dry run says of a changed file: what the policy makes of one that is loaded.
    fn foreseen(&self, known: Known) -> Known {
        match (known, self.feed.on_overwrite) {
            (Known::Changed, OnOverwrite::Reload) if self.request.dry_run => Known::Renewed,
            (Known::Changed, OnOverwrite::Ignore) if self.request.dry_run => Known::Kept,
            _ => known,
        }
    }

    /// The jobs that the files found so far and the new ones would make. Holds them all in memory.
    async fn plan_only(&self, unregistered: Vec<ListedFile>, report: &mut ScanReport) -> Result<()> {
        let mut files = Vec::new();
        loop {
            let page = self.store.found(&self.feed.name, files.last(), PAGE).await?;
            if page.is_empty() {
                break;
            }
            files.extend(page);
        }
        let listed: HashSet<&str> = unregistered.iter().map(|file| file.key.as_str()).collect();
        files.retain(|file: &FoundFile| !listed.contains(file.key.as_str()));
        files.extend(unregistered.into_iter().map(|file| {
            let ListedFile { key, size, modified, hour, .. } = file;
            FoundFile { id: 0, key, size, modified, hour, found: self.now }
        }));
        files.sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
        let all = files.len();
        let mut planner = self.planner();
        let mut drafts: Vec<JobDraft> = files.into_iter().filter_map(|file| planner.push(file)).collect();
        drafts.extend(planner.finish(self.now));
        report.jobs = drafts.iter().map(|draft| formed_job(None, draft)).collect();
        report.waiting = (all - drafts.iter().map(|draft| draft.files.len()).sum::<usize>()) as u64;
        Ok(())
    }

    fn planner(&self) -> Planner<'_> {
        Planner::new(&self.feed.name, self.source.url(), self.settings.limits)
    }
}

/// Forms jobs of the files of a feed that are FOUND, whoever found them.
pub struct Former<'a> {
    pub store: &'a dyn JobStore,
    pub feed: &'a Feed,
    pub source_url: &'a str,
    pub limits: JobLimits,
    pub now: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub struct Formed {
    pub jobs: Vec<FormedJob>,
    /// Files that wait for a fuller job.
    pub waiting: u64,
}

impl Former<'_> {
    /// Forms jobs of every FOUND file, beginning anew where another scanner was quicker.
    pub async fn run(&self) -> Result<Formed> {
        let mut formed = Formed::default();
        for _ in 0..PLANNING_ATTEMPTS {
            if self.run_once(&mut formed).await? {
                return Ok(formed);
            }
        }
        Err(Error::unavailable(format!("other scanners keep taking the files of feed `{}`", self.feed.name))
            .hint("one scanner at a time is enough; nothing is lost, the next scan forms the jobs"))
    }

    async fn run_once(&self, formed: &mut Formed) -> Result<bool> {
        let (mut planned, mut taken) = (0, 0);
        let mut planner = Planner::new(&self.feed.name, self.source_url, self.limits);
        let mut after: Option<FoundFile> = None;
        loop {
            let page = self.store.found(&self.feed.name, after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            for file in page {
                planned += 1;
                if let Some(draft) = planner.push(file) {
                    taken += draft.files.len();
                    if !self.form(&draft, formed).await? {
                        return Ok(false);
                    }
                }
            }
            after = Some(last);
        }
        if let Some(draft) = planner.finish(self.now) {
            taken += draft.files.len();
            if !self.form(&draft, formed).await? {
                return Ok(false);
            }
        }
        formed.waiting = (planned - taken) as u64;
        Ok(true)
    }

    async fn form(&self, draft: &JobDraft, formed: &mut Formed) -> Result<bool> {
        failpoint::reach("job.planned").await?;
        match self.store.form_job(draft).await? {
            None => Ok(false),
            Some(id) => {
                failpoint::reach("job.formed").await?;
                tracing::info!(job = id, files = draft.files.len(), bytes = draft.total_size_in_bytes, "job formed");
                formed.jobs.push(formed_job(Some(id), draft));
                Ok(true)
            }
        }
    }
}

fn formed_job(id: Option<JobId>, draft: &JobDraft) -> FormedJob {
    FormedJob {
        id,
        files: draft.files.len(),
        bytes: draft.total_size_in_bytes,
        latest_file_modified_time: draft.latest_file_modified_time,
    }
}
