//! The bytes of one version of one file, whatever happens on the way.
//!
//! Invariant: bytes come out in order, each once, all from the version that was registered. After a failure the next
//! request begins where the last byte came from and names the version again; failures in a row without a byte between
//! them are bounded.

use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE};
use object_store::client::{HttpError, HttpResponse};

use super::client::{root_of, silence};
use super::patience::Pace;
use super::refusal::{Asked, Refusal};
use super::{Request, S3, is_addressable, version};
use crate::error::{Error, Result};
use crate::source::FileRef;
use crate::source::pinned::{ByteStream, changed};

/// Opens the file, so that what is wrong with it is known before the first byte.
pub(super) async fn read(s3: S3, file: FileRef) -> Result<ByteStream> {
    if !is_addressable(&file.key) {
        return Err(Error::data("its key can't be addressed"));
    }
    let mut reading =
        Reading { s3, file, offset: 0, skip: 0, failures: 0, pace: Pace::default(), has_trickled: false, body: None };
    reading.open().await?;
    let bytes = stream::try_unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Ok(chunk.map(|chunk| (chunk, reading)))
    });
    Ok(bytes.boxed())
}

struct Reading {
    s3: S3,
    file: FileRef,
    /// Bytes given out.
    offset: u64,
    /// Bytes of the body that were given out before: from a server that does not know ranges.
    skip: u64,
    failures: u32,
    pace: Pace,
    has_trickled: bool,
    body: Option<BoxStream<'static, Result<Bytes, HttpError>>>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.offset < self.file.size {
            if self.body.is_none() {
                self.open().await?;
            }
            let Some(body) = &mut self.body else { continue };
            let asked = Instant::now();
            let failure = match tokio::time::timeout(self.s3.patience.stall, body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    let keeps_up = self.pace.keeps_up(&self.s3.patience, asked.elapsed(), chunk.len());
                    let chunk = self.take(chunk)?;
                    if !keeps_up {
                        self.trickled()?;
                    }
                    match chunk {
                        Some(chunk) => return Ok(Some(chunk)),
                        None => continue,
                    }
                }
                Ok(Some(Err(error))) => root_of(&error),
                Ok(None) => "the answer ended too early".to_owned(),
                Err(_) => silence(&self.s3.patience),
            };
            self.body = None;
            self.failed(Refusal::Passing(failure)).await?;
        }
        Ok(None)
    }

    /// What of the chunk was not given out before.
    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>> {
        let known = self.skip.min(chunk.len() as u64);
        self.skip -= known;
        let chunk = chunk.split_off(known as usize);
        if chunk.is_empty() {
            return Ok(None);
        }
        self.offset += chunk.len() as u64;
        self.failures = 0;
        if self.offset > self.file.size {
            return Err(changed(&self.file.version, &format!("longer than its {} bytes", self.file.size)));
        }
        Ok(Some(chunk))
    }

    /// The bytes hardly come any more: another connection may fare better, once.
    fn trickled(&mut self) -> Result<()> {
        let (key, offset) = (&self.file.key, self.offset);
        tracing::info!(key, offset, "the bytes only trickle");
        self.body = None;
        if !std::mem::replace(&mut self.has_trickled, true) {
            return Ok(());
        }
        let read = format!("{offset} of {} bytes were read", self.file.size);
        Err(Error::unavailable("the S3 server's bytes only trickle").context(read))
    }

    /// Asks for the rest until it comes.
    async fn open(&mut self) -> Result<()> {
        let request = self.request();
        loop {
            match self.s3.client.ask_once(&self.s3.patience, &request).await {
                Ok(answer) => {
                    self.skip = self.check(&answer)?;
                    self.body = Some(answer.into_body().bytes_stream());
                    return Ok(());
                }
                Err(refusal) => self.failed(refusal).await?,
            }
        }
    }

    /// Servers that list no ETags have versions made of size and time.
    fn is_etag(&self) -> bool {
        self.file.version.ends_with('"')
    }

    fn request(&self) -> Request {
        let mut headers = Vec::new();
        // Any other version, and a weak ETag, can't be asked for; it is compared with what comes.
        if self.file.version.starts_with('"') {
            headers.push((IF_MATCH, self.file.version.clone()));
        }
        if self.offset > 0 {
            headers.push((RANGE, format!("bytes={}-", self.offset)));
        }
        Request { key: Some(self.s3.full_key(&self.file.key)), headers, ..Default::default() }
    }

    /// The answer is about the version that was registered, from where it was asked for. Gives how many of its bytes
    /// are known.
    fn check(&self, answer: &HttpResponse) -> Result<u64> {
        let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let (from, size) = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = text(CONTENT_RANGE).and_then(content_range);
            let (from, size) =
                range.ok_or_else(|| Error::unavailable("the S3 server's answer does not say its range"))?;
            (from, Some(size))
        } else {
            (0, length)
        };
        let modified = text(LAST_MODIFIED).and_then(|time| DateTime::parse_from_rfc2822(time).ok());
        let found = match text(ETAG).filter(|_| self.is_etag()) {
            Some(etag) => Some(version(Some(etag), self.file.size, DateTime::UNIX_EPOCH)),
            None if self.is_etag() => None,
            None => modified.map(|time| version(None, size.unwrap_or(self.file.size), time.with_timezone(&Utc))),
        };
        if let Some(found) = found.filter(|found| *found != self.file.version) {
            return Err(changed(&self.file.version, &found));
        }
        if let Some(size) = size.filter(|size| *size != self.file.size) {
            return Err(changed(&self.file.version, &format!("of {size} bytes, not {}", self.file.size)));
        }
        match self.offset.checked_sub(from) {
            Some(known) if from == 0 || known == 0 => Ok(known),
            _ => Err(Error::unavailable("the S3 server answered with another range than was asked for")),
        }
    }

    /// Waits after what may pass; anything else, or too much of it, is the end.
    async fn failed(&mut self, refusal: Refusal) -> Result<()> {
        if let Refusal::Changed = refusal {
            return Err(changed(&self.file.version, "another"));
        }
        if !refusal.is_passing() {
            return Err(refusal.into_error(&self.s3.client, Asked::Read));
        }
        self.failures += 1;
        let (key, offset, failures) = (&self.file.key, self.offset, self.failures);
        tracing::info!(key, offset, failures, ?refusal, "reading broke off; going on from there");
        if self.s3.patience.wait(self.failures).await {
            return Ok(());
        }
        let error = refusal.into_error(&self.s3.client, Asked::Read);
        Err(error.context(format!("{} of {} bytes were read", self.offset, self.file.size)))
    }
}

/// First byte and size of the whole, from `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}
