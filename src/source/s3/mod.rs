//! A bucket as a source: listing by raw keys, reading pinned versions, going on after what passes.
//!
//! ```text
//! config + environment --open--> Client          (open.rs)
//! Client --one signed request--> answer | Refusal (client.rs, refusal.rs), again while it may pass (patience.rs)
//!   --ListObjectsV2, page by page--> Listed keys  (listing.rs, list_xml.rs)
//!   --GET with If-Match, from where it stopped--> bytes of one version (reading.rs)
//! ```
//!
//! `object_store` finds the credentials and signs. It does not list here, because one key that it can't address (`a//b`)
//! fails its whole listing; nor does it read, because what a failure means has to be known from the answer.
//!
//! Invariant: every request that reads a file names its version, and what passes by itself (500, 503, SlowDown, a reset,
//! a short or silent answer) is tried again here and nowhere below, a bounded number of times.

mod client;
mod list_xml;
mod listing;
mod open;
mod patience;
mod reading;
mod refusal;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use http::Method;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use super::pinned::ByteStream;
use super::{Entry, FileRef};
use crate::config::S3Options;
use crate::error::{Error, Result};
use client::{Client, Request};
pub(super) use listing::{Listed, Span};
pub use open::{Variables, environment};
pub use patience::Patience;
use refusal::{Asked, Refusal};

/// Keys that one list request gives at most; S3 gives no more.
const LIST_PAGE: usize = 1000;

#[derive(Clone)]
pub(super) struct S3 {
    client: Arc<Client>,
    store: Arc<dyn ObjectStore>,
    /// What every key of the source begins with; empty, or ending in `/`.
    prefix: String,
    patience: Patience,
    /// Set when it was said that the server can't begin a listing in the middle.
    said_unordered: Arc<AtomicBool>,
}

impl S3 {
    /// Opens an `s3://` url. Nothing is sent yet.
    pub fn open(url: &Url, options: &S3Options, env: &Variables) -> Result<Self> {
        let (client, store) = open::open(url, options, env)?;
        let prefix = percent_encoding::percent_decode_str(url.path().trim_start_matches('/')).decode_utf8();
        let prefix =
            prefix.map_err(|error| Error::config(format!("source.url `{url}`")).caused_by(error))?.into_owned();
        let said_unordered = Arc::new(AtomicBool::new(false));
        Ok(Self {
            client: Arc::new(client),
            store: Arc::new(store),
            prefix,
            patience: Patience::default(),
            said_unordered,
        })
    }

    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The bytes of a file, ending in an error where they were not those of its version.
    pub async fn read(&self, file: &FileRef) -> Result<ByteStream> {
        reading::read(self.clone(), file.clone()).await
    }

    /// What the key is now; `None` where it is gone.
    pub async fn head(&self, key: &str) -> Result<Option<Entry>> {
        if !is_addressable(key) {
            return Ok(None);
        }
        let request = Request { method: Method::HEAD, key: Some(self.full_key(key)), ..Default::default() };
        let (headers, _) = match self.client.ask(&self.patience, &request).await {
            Ok(answer) => answer,
            // Without a body, a missing bucket looks like a missing key.
            Err(Refusal::Gone) => return self.reachable().await.map(|()| None),
            Err(refusal) => return Err(refusal.into_error(&self.client, Asked::Head)),
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let size = text(http::header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
        let modified = text(http::header::LAST_MODIFIED).and_then(|time| DateTime::parse_from_rfc2822(time).ok());
        let (Some(size), Some(modified)) = (size, modified) else {
            return Err(Error::unavailable("the S3 server's answer to HEAD has no size or no time"));
        };
        let modified = modified.with_timezone(&Utc);
        let version = version(text(http::header::ETAG), size, modified);
        Ok(Some(Entry { key: key.to_owned(), version, size, modified }))
    }

    /// Whether the source can be listed at all: one request for one key.
    pub async fn reachable(&self) -> Result<()> {
        listing::first_page(self, "", 1).await.map(drop)
    }

    /// Lists the first keys below `prefix` and reads a byte of one. `false`: there is none.
    pub async fn probe(&self, prefix: &str) -> Result<bool> {
        let listed = listing::first_page(self, prefix, LIST_PAGE).await?;
        let file = listed.iter().find_map(|listed| match listed {
            Listed::Key(entry) if entry.size > 0 && is_addressable(&entry.key) => Some(entry),
            _ => None,
        });
        if let Some(file) = file {
            let range = Some((http::header::RANGE, "bytes=0-0".to_owned()));
            let key = Some(self.full_key(&file.key));
            let request = Request { key, headers: range.into_iter().collect(), ..Default::default() };
            let read = self.client.ask(&self.patience, &request).await;
            read.map_err(|refusal| {
                refusal.into_error(&self.client, Asked::Probe).context(format!("{} can't be read", file.key))
            })?;
        }
        Ok(!listed.is_empty())
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// Whether `object_store`, and with it everything above, can name exactly this key.
fn is_addressable(key: &str) -> bool {
    Path::parse(key).is_ok_and(|path| !key.is_empty() && path.as_ref() == key)
}

/// The ETag in its quotes, which some servers leave out in one place and not in another. Without one, size and time, to
/// the second, which is what every answer has.
fn version(etag: Option<&str>, size: u64, modified: DateTime<Utc>) -> String {
    match etag {
        Some(etag) if etag.starts_with("W/") => etag.to_owned(),
        Some(etag) => format!("\"{}\"", etag.trim_matches('"')),
        None => format!("{size}-{}", modified.format("%Y%m%dT%H%M%S")),
    }
}
