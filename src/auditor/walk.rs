//! The first reading: all books of a feed, page by page, and what is suspicious in them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Duration, Utc};
use futures::StreamExt;

use super::compare::{self, AtSource, Claimed, Registered, Rules};
use super::look::runs;
use super::{Auditor, FeedAudit};
use crate::error::Result;
use crate::job::{FileState, Job, JobFilter, JobId, JobStatus};
use crate::source::{Entry, Listing};
use crate::warehouse::{AuditedFile, FileNumber};

/// Registry rows and listed keys read at a time.
const PAGE: usize = 1000;
/// Ledger rows read at a time, at most, and about as many rows of the table beside them.
const FILES_MAX: usize = 1000;
/// So many before it is known how long they are.
const FILES_AT_FIRST: usize = 10;
const ROWS_A_PAGE: u64 = 2_000_000;
/// With checksums, which cost the database more.
const ROWS_A_DEEP_PAGE: u64 = 200_000;
/// How long a lease may be over before the job counts as stuck: any worker takes it over.
const LEASE_OVER_MAX: Duration = Duration::hours(1);

/// What the source holds of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
}

/// A file that is to be looked at again.
#[derive(Debug, Clone, Default)]
pub struct Suspect {
    /// `scanner_files.id`, where it is registered.
    pub id: Option<i64>,
    /// Its number, where the ledger has it.
    pub number: Option<FileNumber>,
    pub listed: Option<Listed>,
}

#[derive(Debug, Default)]
pub struct Suspects {
    /// By key.
    pub files: BTreeMap<String, Suspect>,
    pub jobs: Vec<JobId>,
}

/// A registered file, and where it was met besides.
struct Slot {
    registered: Registered,
    /// In the ledger.
    number: Option<FileNumber>,
    at_source: bool,
}

/// Of a job what is compared.
struct JobBook {
    is_open: bool,
    is_stuck: bool,
    /// `rows_loaded` and `rows_rejected`, where it has ended.
    sums: Option<(u64, u64)>,
    /// Those of its files that are loaded.
    of_files: (u64, u64),
}

pub fn is_open(job: &Job) -> bool {
    matches!(job.status, JobStatus::SentForEtl | JobStatus::Processing)
}

pub fn is_stuck(job: &Job, now: DateTime<Utc>) -> bool {
    job.status == JobStatus::Processing && job.lease_until.is_some_and(|until| until < now - LEASE_OVER_MAX)
}

/// What a job that has ended says of its files.
pub fn sums(job: &Job) -> Option<(u64, u64)> {
    matches!(job.status, JobStatus::Loaded | JobStatus::Failed)
        .then(|| (job.rows_loaded.unwrap_or_default(), job.rows_rejected.unwrap_or_default()))
}

/// The books of one feed while they are read.
struct Walk<'a> {
    rules: Rules,
    since: Option<DateTime<Utc>>,
    /// By key.
    slots: HashMap<Box<str>, Slot>,
    jobs: HashMap<JobId, JobBook>,
    suspects: BTreeMap<String, Suspect>,
    audit: &'a mut FeedAudit,
}

impl Auditor<'_> {
    /// Reads everything once; the sums go into `audit`.
    pub(super) async fn walk(&self, audit: &mut FeedAudit) -> Result<Suspects> {
        let (rules, since) = (self.rules(), self.request.since);
        let (slots, suspects) = (HashMap::new(), BTreeMap::new());
        let mut walk = Walk { rules, since, slots, jobs: HashMap::new(), suspects, audit };
        let filter = JobFilter { status: None, feed: Some(self.feed.name.clone()) };
        for job in self.store.jobs(&filter).await? {
            walk.job(&job);
        }
        self.walk_registry(&mut walk).await?;
        self.walk_ledger(&mut walk).await?;
        self.walk_source(&mut walk).await?;
        Ok(walk.end())
    }

    async fn walk_registry(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut after = 0;
        loop {
            let page = self.store.registry(&self.feed.name, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for file in page {
                let in_scope = walk.since.is_none_or(|since| file.hour >= since);
                walk.registered(Registered::from(&file), file.key, in_scope);
            }
        }
    }

    async fn walk_ledger(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut limit = FILES_AT_FIRST;
        match walk.since {
            None => self.walk_numbers(walk, (1, FileNumber::MAX), &mut limit).await?,
            // Rows of earlier files are not even counted.
            Some(since) => {
                let mut after = 0;
                loop {
                    let page = self.warehouse.ledger(&self.feed.name, after, PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = last.entry.file;
                    let numbers = page.iter().filter(|file| file.hour >= since).map(|file| file.entry.file).collect();
                    for (first, length) in runs(numbers) {
                        self.walk_numbers(walk, (first, first - 1 + length as i64), &mut limit).await?;
                    }
                }
            }
        }
        walk.not_in_ledger();
        Ok(())
    }

    async fn walk_numbers(
        &self,
        walk: &mut Walk<'_>,
        (first, last): (FileNumber, FileNumber),
        limit: &mut usize,
    ) -> Result<()> {
        let (table, since, mut after) = (self.table(), walk.since, first - 1);
        while after < last {
            let left = usize::try_from(last - after).unwrap_or(usize::MAX);
            let at_a_time = (*limit).min(left);
            let page = self.warehouse.audit(&self.feed.name, &table, after, at_a_time, self.request.deep).await?;
            let Some(end) = page.last() else { break };
            after = end.entry.file;
            *limit = next_limit(&page, self.request.deep);
            (self.seen)(page.len() as u64);
            let in_scope =
                |file: &&AuditedFile| file.entry.file <= last && since.is_none_or(|since| file.hour >= since);
            page.iter().filter(in_scope).for_each(|file| walk.ledger(file, self.request.deep));
        }
        Ok(())
    }

    async fn walk_source(&self, walk: &mut Walk<'_>) -> Result<()> {
        let ordered = self.source.lists_in_key_order() && self.feed.layout.key_order_is_time_order();
        let (from, start_at) = (walk.since, walk.since.filter(|_| ordered));
        let listing = Listing { from, to: None, start_at, settle: Duration::zero(), now: self.now };
        let mut pages = listing.pages(self.source, self.feed, PAGE);
        while let Some(page) = pages.next().await {
            for entry in page?.into_iter().flatten() {
                let Ok(hour) = Listing::place(self.feed, &entry.key) else { continue };
                if walk.since.is_none_or(|since| hour >= since) {
                    let is_of_scans = self.scanner.start_from.is_none_or(|start| hour >= start);
                    walk.listed(entry, is_of_scans);
                }
            }
        }
        walk.not_at_source();
        Ok(())
    }
}

/// As many files as have about so many rows as a page should.
fn next_limit(page: &[AuditedFile], deep: bool) -> usize {
    let rows: u64 = page.iter().map(|file| file.rows.max(file.entry.progress.rows)).sum();
    let a_page = if deep { ROWS_A_DEEP_PAGE } else { ROWS_A_PAGE };
    let rows_a_file = (rows / page.len().max(1) as u64).max(1);
    usize::try_from(a_page / rows_a_file).unwrap_or(FILES_MAX).clamp(1, FILES_MAX)
}

impl Walk<'_> {
    fn job(&mut self, job: &Job) {
        let book = JobBook {
            is_open: is_open(job),
            is_stuck: is_stuck(job, self.rules.now),
            sums: sums(job),
            of_files: (0, 0),
        };
        self.jobs.insert(job.id, book);
    }

    fn registered(&mut self, registered: Registered, key: String, in_scope: bool) {
        let claims = claims(&self.jobs, &registered);
        let (rows, rejects) = (registered.rows.unwrap_or_default(), registered.rejects.unwrap_or_default());
        // Of any hour: the job may have others too.
        if claims == Claimed::In
            && let Some(job) = registered.job.and_then(|job| self.jobs.get_mut(&job))
        {
            job.of_files = (job.of_files.0 + rows, job.of_files.1 + rejects);
        }
        if !in_scope {
            return;
        }
        self.audit.known += 1;
        match claims {
            Claimed::In => self.audit.registry.add(rows, rejects),
            Claimed::OnTheWay => self.audit.notes.on_the_way += 1,
            Claimed::Out => {}
        }
        if claims == Claimed::In && registered.state == FileState::Quarantined {
            self.audit.notes.quarantined += 1;
        }
        self.slots.insert(key.into_boxed_str(), Slot { registered, number: None, at_source: false });
    }

    fn ledger(&mut self, file: &AuditedFile, deep: bool) {
        let progress = &file.entry.progress;
        if progress.complete {
            self.audit.ledger.add(progress.rows, progress.rejects);
            self.audit.tables.add(file.rows, file.rejects);
            self.audit.notes.uncompared += u64::from(deep && file.checksum.is_none());
        } else if progress.records_done > 0 {
            self.audit.notes.incomplete += 1;
        }
        let slot = self.slots.get_mut(file.key.as_str());
        let registered = slot.map(|slot| {
            slot.number = Some(file.entry.file);
            &slot.registered
        });
        let is_open = registered.is_some_and(|file| job_is_open(&self.jobs, file));
        if !compare::books(registered, is_open, Some(file), &self.rules).is_empty() {
            let (id, number) = (registered.map(|registered| registered.id), Some(file.entry.file));
            self.suspects.insert(file.key.clone(), Suspect { id, number, listed: None });
        }
    }

    fn not_in_ledger(&mut self) {
        for (key, slot) in self.slots.iter().filter(|(_, slot)| slot.number.is_none()) {
            let is_open = job_is_open(&self.jobs, &slot.registered);
            if !compare::books(Some(&slot.registered), is_open, None, &self.rules).is_empty() {
                self.suspects.insert(key.to_string(), slot.suspect());
            }
        }
    }

    fn listed(&mut self, entry: Entry, is_of_scans: bool) {
        let Entry { key, version, size, modified } = entry;
        let listed = Some(Listed { version, size, modified });
        let digest = listed.as_ref().map(|listed| compare::digest(&listed.version));
        self.audit.listed += 1;
        self.audit.listed_bytes += size;
        let Some(slot) = self.slots.get_mut(key.as_str()) else {
            match self.suspects.get_mut(&key) {
                Some(suspect) => suspect.listed = listed,
                // What has no byte yet is no file yet.
                None => self.audit.notes.unregistered += u64::from(is_of_scans && size > 0),
            }
            return;
        };
        slot.at_source = true;
        let says = compare::source(&slot.registered, digest, &self.rules);
        match says {
            AtSource::Wrong(_) => self.suspects.entry(key).or_insert_with(|| slot.suspect()).listed = listed,
            AtSource::AsRegistered | AtSource::Replaced | AtSource::Gone => {
                self.audit.notes.replaced += u64::from(says == AtSource::Replaced && !slot.is_noted());
                if let Some(suspect) = self.suspects.get_mut(&key) {
                    suspect.listed = listed;
                }
            }
        }
    }

    fn not_at_source(&mut self) {
        for (key, slot) in self.slots.iter().filter(|(_, slot)| !slot.at_source) {
            match compare::source(&slot.registered, None, &self.rules) {
                AtSource::Wrong(_) => {
                    self.suspects.entry(key.to_string()).or_insert_with(|| slot.suspect());
                }
                AtSource::Gone => self.audit.notes.gone += 1,
                AtSource::AsRegistered | AtSource::Replaced => {}
            }
        }
    }

    fn end(self) -> Suspects {
        let suspicious = |book: &JobBook| book.is_stuck || book.sums.is_some_and(|sums| sums != book.of_files);
        let jobs = self.jobs.iter().filter(|(_, book)| suspicious(book));
        let mut jobs: Vec<JobId> = jobs.map(|(id, _)| *id).collect();
        jobs.sort_unstable();
        Suspects { files: self.suspects, jobs }
    }
}

impl Slot {
    fn suspect(&self) -> Suspect {
        Suspect { id: Some(self.registered.id), number: self.number, listed: None }
    }

    /// Among those in quarantine.
    fn is_noted(&self) -> bool {
        self.registered.state == FileState::Quarantined && self.registered.was_loaded
    }
}

fn job_is_open(jobs: &HashMap<JobId, JobBook>, file: &Registered) -> bool {
    file.job.and_then(|job| jobs.get(&job)).is_some_and(|book| book.is_open)
}

fn claims(jobs: &HashMap<JobId, JobBook>, file: &Registered) -> Claimed {
    file.claims(job_is_open(jobs, file))
}
