//! ListObjectsV2, page by page, by the keys as the bucket has them.
//!
//! Invariant: every key of the span comes out once, in the order of the server, also where the server can't begin in
//! the middle; a page is asked for when the one before it has been taken.

use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::list_xml::{Object, Page, parse_page};
use super::refusal::Asked;
use super::{LIST_PAGE, Request, S3, is_addressable, version};
use crate::error::{Error, Result};
use crate::source::Entry;

/// One key of a listing, relative to the source's url.
#[derive(Debug)]
pub enum Listed {
    /// A file, or a folder marker (it ends in `/`).
    Key(Entry),
    /// A key that can't be named above, such as `a//b`.
    Unaddressable(String),
}

/// What is listed: keys relative to the source's url.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// Empty, or ending in `/`.
    pub prefix: String,
    /// Only keys behind this one.
    pub after: Option<String>,
    /// Only keys before this one.
    pub before: Option<String>,
}

impl S3 {
    /// The keys of the span, in pages of a thousand at most.
    pub fn list(&self, span: Span) -> BoxStream<'static, Result<Vec<Listed>>> {
        let pager = Pager {
            after: span.after.map(|key| self.full_key(&key)),
            before: span.before.map(|key| self.full_key(&key)),
            prefix: self.full_key(&span.prefix),
            s3: self.clone(),
            next: Next::First,
            last: None,
            ordered: true,
        };
        stream::try_unfold(pager, |mut pager| async move {
            let page = pager.page().await?;
            Ok(page.map(|page| (page, pager)))
        })
        .boxed()
    }
}

/// The first keys below the prefix, `most` at most.
pub(super) async fn first_page(s3: &S3, prefix: &str, most: usize) -> Result<Vec<Listed>> {
    let page = request(s3, &s3.full_key(prefix), &Next::First, None, most).await?;
    Ok(page.objects.into_iter().filter_map(|object| listed(s3, object)).collect())
}

enum Next {
    First,
    Token(String),
    /// A server that says there is more and not where.
    After(String),
    Ended,
}

/// Where a listing stands. Keys are those of the bucket.
struct Pager {
    s3: S3,
    prefix: String,
    after: Option<String>,
    before: Option<String>,
    next: Next,
    last: Option<String>,
    /// No key has come before a smaller one.
    ordered: bool,
}

impl Pager {
    async fn page(&mut self) -> Result<Option<Vec<Listed>>> {
        if matches!(self.next, Next::Ended) {
            return Ok(None);
        }
        let page = request(&self.s3, &self.prefix, &self.next, self.after.as_deref(), LIST_PAGE).await?;
        let begun_at = self.last.clone();
        // With another token each time, or without one: the same page again and again has no end.
        let repeated = page.objects.last().is_some_and(|object| self.last.as_ref() == Some(&object.key));
        let mut keys = Vec::with_capacity(page.objects.len());
        let mut beyond = false;
        for object in page.objects {
            self.ordered &= self.last.as_ref().is_none_or(|last| *last < object.key);
            self.last = Some(object.key.clone());
            if self.after.as_ref().is_some_and(|after| object.key <= *after) {
                self.say_unordered();
                continue;
            }
            if self.before.as_ref().is_some_and(|before| object.key >= *before) {
                beyond = true;
                continue;
            }
            keys.extend(listed(&self.s3, object));
        }
        let advanced = self.last != begun_at;
        self.next = match (page.truncated && !(beyond && self.ordered), page.next, &self.last) {
            (false, ..) => Next::Ended,
            (true, Some(token), _) if !repeated && !matches!(&self.next, Next::Token(last) if *last == token) => {
                Next::Token(token)
            }
            (true, None, Some(last)) if advanced && self.ordered => Next::After(last.clone()),
            (true, ..) => {
                return Err(Error::unavailable("the listing of the bucket does not advance")
                    .hint("the server says that there are more keys, and not where; nothing is lost, the next scan tries again"));
            }
        };
        Ok(Some(keys))
    }

    fn say_unordered(&self) {
        if !self.s3.said_unordered.swap(true, Ordering::Relaxed) {
            tracing::info!("the bucket can't be listed from the middle (start-after): every scan lists all of it");
        }
    }
}

async fn request(s3: &S3, prefix: &str, next: &Next, after: Option<&str>, most: usize) -> Result<Page> {
    let mut query = vec![
        ("list-type", "2".to_owned()),
        ("prefix", prefix.to_owned()),
        ("encoding-type", "url".to_owned()),
        ("max-keys", most.to_string()),
    ];
    match next {
        Next::Token(token) => query.push(("continuation-token", token.clone())),
        Next::After(key) => query.push(("start-after", key.clone())),
        Next::First | Next::Ended => query.extend(after.map(|key| ("start-after", key.to_owned()))),
    }
    let request = Request { query, ..Default::default() };
    let answer = s3.client.ask(&s3.patience, &request).await;
    let (_, body) = answer.map_err(|refusal| refusal.into_error(&s3.client, Asked::List))?;
    parse_page(&body)
}

/// `None`: the marker of the source's own folder.
fn listed(s3: &S3, object: Object) -> Option<Listed> {
    let key = object.key.strip_prefix(&s3.prefix)?.to_owned();
    if key.is_empty() {
        return None;
    }
    let marker = key.strip_suffix('/').is_some_and(is_addressable);
    if !marker && !is_addressable(&key) {
        return Some(Listed::Unaddressable(key));
    }
    let version = version(object.etag.as_deref(), object.size, object.modified);
    Some(Listed::Key(Entry { key, version, size: object.size, modified: object.modified }))
}
