//! What the three places know of one key.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::cli::{Context, human};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::{FileRecord, Job, JobStore};
use crate::progress;
use crate::scanner::{Scan, ScanRequest};
use crate::source::{self, Classified, Entry, Ignored, Listing, Source};
use crate::warehouse::{LedgerEntry, Warehouse};

/// The places that can be reached.
pub struct Places {
    pub store: Option<Arc<dyn JobStore>>,
    pub warehouse: Option<Arc<dyn Warehouse>>,
    pub source: Option<Source>,
}

impl Places {
    /// With the names of those that can't be reached, and why.
    pub async fn open(context: &Context) -> (Self, Vec<(&'static str, Error)>) {
        let mut out_of_reach = Vec::new();
        let mut keep = |what, error| out_of_reach.push((what, error));
        let store = context.job_store().await.map_err(|error| keep("metadata database", error)).ok();
        let warehouse = context.warehouse().await.map_err(|error| keep("reporting database", error)).ok();
        let source = context.source().map_err(|error| keep("source", error)).ok();
        (Self { store, warehouse, source }, out_of_reach)
    }

    /// Whether the registry or the source has the key.
    pub async fn know(&self, key: &str, config: &Config) -> Result<bool> {
        if let Some(store) = &self.store {
            for feed in &config.feeds {
                if store.file(&feed.name, key).await?.is_some() {
                    return Ok(true);
                }
            }
        }
        match &self.source {
            // One that can't be asked is told of later.
            Some(source) => Ok(source::head(source, key).await.ok().flatten().is_some()),
            None => Ok(false),
        }
    }
}

pub struct Facts {
    pub key: String,
    pub now: DateTime<Utc>,
    /// What the key is at the source; the inner `None`: nothing is there. `None`: that is not known.
    pub entry: Option<Option<Entry>>,
    /// Why the source could not be asked for it.
    pub source_error: Option<Error>,
    /// In the order of the config.
    pub feeds: Vec<FeedFacts>,
}

/// What a key is to one feed.
pub struct FeedFacts {
    pub feed: Feed,
    /// Whether the key is the feed's by its name.
    pub place: Result<DateTime<Utc>, Ignored>,
    /// What the next scan would make of it; `None` where that can't be told, or nothing is there.
    pub verdict: Option<Verdict>,
    /// `None`: the registry does not have it, or is out of reach.
    pub record: Option<FileRecord>,
    pub registry_known: bool,
    pub job: Option<Job>,
    pub ledger: Option<LedgerEntry>,
}

/// As the scanner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    File,
    Ignored(Ignored),
    /// In a folder before the one at which an incremental listing begins.
    BehindLookBack,
}

impl Facts {
    pub async fn gather(key: &str, places: &Places, config: &Config, now: DateTime<Utc>) -> Result<Self> {
        let (entry, source_error) = match &places.source {
            None => (None, None),
            Some(source) => match source::head(source, key).await {
                Ok(entry) => (Some(entry), None),
                Err(error) => (None, Some(error)),
            },
        };
        let mut feeds = Vec::with_capacity(config.feeds.len());
        for feed in &config.feeds {
            feeds.push(FeedFacts::gather(key, feed, entry.as_ref(), places, config, now).await?);
        }
        Ok(Self { key: key.to_owned(), now, entry, source_error, feeds })
    }

    /// A sentence on what is there now.
    pub fn at_source(&self) -> String {
        match &self.entry {
            None => "not known".to_owned(),
            Some(None) => "nothing under this key".to_owned(),
            Some(Some(entry)) => format!(
                "{}, modified {} ({} ago)",
                human::size(entry.size),
                time(entry.modified),
                human::age((self.now - entry.modified).max(chrono::Duration::zero()))
            ),
        }
    }

    pub fn source_json(&self) -> Option<serde_json::Value> {
        let entry = self.entry.as_ref()?;
        Some(match entry {
            None => json!({"there": false}),
            Some(Entry { version, size, modified, .. }) => json!({
                "there": true, "size_in_bytes": size, "modified_time": time(*modified), "version": version
            }),
        })
    }
}

impl FeedFacts {
    async fn gather(
        key: &str,
        feed: &Feed,
        entry: Option<&Option<Entry>>,
        places: &Places,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let (mut record, mut job, mut ledger, mut verdict) = (None, None, None, None);
        if let Some(store) = &places.store {
            record = store.file(&feed.name, key).await?;
            if let Some(id) = record.as_ref().and_then(|record| record.job_id) {
                job = store.job(id).await?;
            }
            if let (Some(source), Some(Some(entry))) = (&places.source, entry) {
                verdict = Some(judge(source, store.as_ref(), feed, entry, config, now).await?);
            }
        }
        if let Some(warehouse) = &places.warehouse {
            ledger = warehouse.entry(&feed.name, key).await?;
        }
        let place = Listing::place(feed, key);
        Ok(Self { feed: feed.clone(), place, verdict, record, registry_known: places.store.is_some(), job, ledger })
    }
}

/// What the next scan would make of the key.
async fn judge(
    source: &Source,
    store: &dyn JobStore,
    feed: &Feed,
    entry: &Entry,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    let (settings, request, observer) = (&config.scanner, &ScanRequest::default(), &progress::unobserved());
    let scan = Scan { source, store, feed, settings, request, observer, now };
    let (listing, _) = scan.listing(store.watermark(&feed.name).await?);
    Ok(match listing.classify(feed, Some(entry.clone())) {
        Classified::Ignored(reason) => Verdict::Ignored(reason),
        // A listing begins with the folder of that time.
        Classified::File(file) if listing.start_at.is_some_and(|start| file.hour + feed.layout.period() <= start) => {
            Verdict::BehindLookBack
        }
        Classified::File(_) => Verdict::File,
    })
}

pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
