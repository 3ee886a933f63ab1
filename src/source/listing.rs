//! Listing a feed: which keys the source holds, which of them are files of the feed, and why the others are not.
//!
//! Invariant: where a listing starts only narrows what is looked at. What is new is decided by the registry.

use chrono::{DateTime, Duration, Utc};
use futures::stream::{BoxStream, TryChunksError};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};

use super::Source;
use super::store::folder_path;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::ListedFile;

/// One key of the source.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
}

/// Why a key of a feed's prefix is not one of its files. Not errors: counted in the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// `.name`, or below a folder of that kind.
    Dotfile,
    /// `_SUCCESS` and other names that begin with `_`, or a folder marker.
    Marker,
    /// The folders don't fit the layout.
    Layout,
    /// The name does not match `files`.
    Name,
    /// Without a byte: a marker, or a file whose writing has not begun. Found once it holds something.
    Empty,
    /// In a folder before `start_from`, or outside `--from` and `--to`.
    OutsideWindow,
    /// Too young to be sure that it is whole; the next scan takes it.
    Unsettled,
    /// A name that is no text (not UTF-8), so that no URI can stand for it.
    Unaddressable,
}

impl Ignored {
    /// Goes behind a count.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Dotfile => "dotfiles",
            Self::Marker => "markers",
            Self::Layout => "outside the layout",
            Self::Name => "other names",
            Self::Empty => "without a byte",
            Self::OutsideWindow => "outside the window",
            Self::Unsettled => "not settled yet",
            Self::Unaddressable => "names that are not UTF-8",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classified {
    File(ListedFile),
    Ignored(Ignored),
}

/// What one scan looks at.
#[derive(Debug, Clone)]
pub struct Listing {
    /// First hour or day of the window, inclusive.
    pub from: Option<DateTime<Utc>>,
    /// End of the window, exclusive.
    pub to: Option<DateTime<Utc>>,
    /// The folder before which nothing is listed; `None`: the listing is full.
    pub start_at: Option<DateTime<Utc>>,
    /// Younger files are left for the next scan.
    pub settle: Duration,
    pub now: DateTime<Utc>,
}

impl Listing {
    /// The keys of the feed's prefix, in pages. Where the store lists in key order, from the window's first folder.
    /// `None` stands for a key that can't be addressed.
    pub fn pages<'a>(&self, source: &'a Source, feed: &Feed, page: usize) -> BoxStream<'a, Result<Vec<Option<Entry>>>> {
        let metas = match self.metas(source, feed) {
            Ok(metas) => metas,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let entries = metas.map(move |listed| match listed {
            Ok(meta) => Ok(Some(entry(source, meta))),
            Err(object_store::Error::InvalidPath { .. }) => Ok(None),
            Err(error) => Err(listing_error(error)),
        });
        // What was listed before an error is a page as well.
        let pages = entries.try_chunks(page).flat_map(|listed| match listed {
            Ok(page) => futures::stream::iter(vec![Ok(page)]),
            Err(TryChunksError(page, error)) => futures::stream::iter(vec![Ok(page), Err(error)]),
        });
        pages.boxed()
    }

    fn metas(&self, source: &Source, feed: &Feed) -> Result<BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let (store, prefix) = (source.store(), folder_path(&feed.prefix)?);
        // The folder itself, without its last `/`, sorts before every key inside it.
        let start = self.start_at.map(|at| folder_path(&format!("{}{}", feed.prefix, feed.layout.folder(at))));
        Ok(match start.transpose()?.flatten() {
            Some(start) => store.list_with_offset(prefix.as_ref(), &start),
            None => store.list(prefix.as_ref()),
        })
    }

    /// What a listed key is to the feed.
    pub fn classify(&self, feed: &Feed, entry: Option<Entry>) -> Classified {
        let Some(entry) = entry else { return Classified::Ignored(Ignored::Unaddressable) };
        match self.hour_of(feed, &entry) {
            Ok(hour) => {
                let Entry { key, version, size, modified } = entry;
                Classified::File(ListedFile { key, version, size, modified, hour })
            }
            Err(ignored) => Classified::Ignored(ignored),
        }
    }

    /// The hour or day of a key, where it is one of the feed's by its name alone.
    pub fn place(feed: &Feed, key: &str) -> Result<DateTime<Utc>, Ignored> {
        let inner = key.strip_prefix(&feed.prefix).ok_or(Ignored::Layout)?;
        if inner.split('/').any(|part| part.starts_with('.')) {
            return Err(Ignored::Dotfile);
        }
        if inner.ends_with('/') || inner.rsplit('/').next().is_some_and(|name| name.starts_with('_')) {
            return Err(Ignored::Marker);
        }
        let (hour, name) = feed.layout.split(inner).ok_or(Ignored::Layout)?;
        if !feed.files.matches(name) {
            return Err(Ignored::Name);
        }
        Ok(hour)
    }

    fn hour_of(&self, feed: &Feed, entry: &Entry) -> Result<DateTime<Utc>, Ignored> {
        let hour = Self::place(feed, &entry.key)?;
        if self.from.is_some_and(|from| hour < from) || self.to.is_some_and(|to| hour >= to) {
            return Err(Ignored::OutsideWindow);
        }
        if entry.size == 0 {
            return Err(Ignored::Empty);
        }
        // Up to a day in the future is another clock, and the file may be half written; further off is a wrong date,
        // and there is nothing to wait for.
        let age = self.now - entry.modified;
        if age < self.settle && age > -Duration::days(1) && !self.settle.is_zero() {
            return Err(Ignored::Unsettled);
        }
        Ok(hour)
    }
}

fn entry(source: &Source, meta: ObjectMeta) -> Entry {
    let version = source.version_of(&meta);
    Entry { key: meta.location.to_string(), version, size: meta.size, modified: meta.last_modified }
}

fn listing_error(error: object_store::Error) -> Error {
    Error::unavailable("the source can't be listed")
        .hint("check source.url, that all of it may be listed, and (in a folder) that no link leads back into it; the next scan goes on")
        .caused_by(error)
}
