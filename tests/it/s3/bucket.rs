//! A bucket in memory, behind `s3s`, which speaks S3 and checks the signatures: any key, any time, If-Match, ranges,
//! and listings in pages, in key order, from behind a key.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream;
use s3s::dto::{
    ETag, EncodingType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, StreamingBlob, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

pub const BUCKET: &str = "hourly-files";
const PAGE_MAX: usize = 1000;
const CHUNK: usize = 16 * 1024;

#[derive(Debug, Clone)]
struct Stored {
    bytes: Bytes,
    etag: String,
    modified: SystemTime,
}

#[derive(Default)]
struct Inner {
    objects: Mutex<BTreeMap<String, Stored>>,
    ignores_start_after: AtomicBool,
    ignores_ranges: AtomicBool,
    ignores_tokens: AtomicBool,
    tokens_given: AtomicUsize,
    forbids_listing: AtomicBool,
}

#[derive(Clone, Default)]
pub struct MemoryBucket(Arc<Inner>);

impl MemoryBucket {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.0.objects.lock().unwrap()
    }

    /// Puts an object whose LastModified is so many seconds after a fixed time.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>, second: u64) {
        let bytes = bytes.into();
        let etag = format!("{:08x}{:08x}", crc32fast::hash(&bytes), bytes.len());
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600 + second);
        self.objects().insert(key.to_owned(), Stored { bytes, etag, modified });
    }

    pub fn remove(&self, key: &str) {
        self.objects().remove(key);
    }

    /// As some servers do.
    pub fn ignore_start_after(&self) {
        self.0.ignores_start_after.store(true, Ordering::Relaxed);
    }

    /// As some proxies do: the whole object comes.
    pub fn ignore_ranges(&self) {
        self.0.ignores_ranges.store(true, Ordering::Relaxed);
    }

    /// As a proxy that drops what it does not know: the first page comes again and again, with another token each time.
    pub fn ignore_tokens(&self) {
        self.0.ignores_tokens.store(true, Ordering::Relaxed);
    }

    /// As without `s3:ListBucket`.
    pub fn forbid_listing(&self) {
        self.0.forbids_listing.store(true, Ordering::Relaxed);
    }

    fn stored(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        check_bucket(bucket)?;
        self.objects().get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

fn check_bucket(bucket: &str) -> S3Result<()> {
    if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

/// As Amazon's: a space is a plus sign.
fn url_encoded(key: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'*')
        .remove(b' ');
    percent_encoding::utf8_percent_encode(key, KEPT).to_string().replace(' ', "+")
}

#[async_trait::async_trait]
impl S3 for MemoryBucket {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.stored(&input.bucket, &input.key)?;
        let wanted = input.if_match.as_ref().and_then(|condition| condition.as_etag().cloned());
        if wanted.is_some_and(|etag| etag.value() != stored.etag) {
            return Err(s3_error!(PreconditionFailed));
        }
        let size = stored.bytes.len() as u64;
        let asked = input.range.filter(|_| !self.0.ignores_ranges.load(Ordering::Relaxed));
        let range = match &asked {
            Some(range) => range.check(size).map_err(|_| s3_error!(InvalidRange))?,
            None => 0..size,
        };
        let content_range = asked.map(|_| format!("bytes {}-{}/{size}", range.start, range.end - 1));
        let bytes = stored.bytes.slice(range.start as usize..range.end as usize);
        let length = bytes.len();
        let starts = (0..length).step_by(CHUNK);
        let chunks: Vec<_> = starts.map(|at| Ok::<_, S3Error>(bytes.slice(at..(at + CHUNK).min(length)))).collect();
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(stream::iter(chunks))),
            content_length: Some(length as i64),
            content_range,
            e_tag: Some(ETag::Strong(stored.etag)),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.stored(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(stored.bytes.len() as i64),
            e_tag: Some(ETag::Strong(stored.etag)),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        check_bucket(&input.bucket)?;
        if self.0.forbids_listing.load(Ordering::Relaxed) {
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied"));
        }
        let prefix = input.prefix.unwrap_or_default();
        let start = input.start_after.filter(|_| !self.0.ignores_start_after.load(Ordering::Relaxed));
        let known = input.continuation_token.filter(|_| !self.0.ignores_tokens.load(Ordering::Relaxed));
        let token = known.and_then(|token| Some(token.split_once(":behind:")?.1.to_owned()));
        let behind = token.or(start).unwrap_or_default();
        let from = if behind >= prefix { Bound::Excluded(behind) } else { Bound::Included(prefix.clone()) };
        let most = input.max_keys.map_or(PAGE_MAX, |most| (most as usize).min(PAGE_MAX));
        let objects = self.objects();
        let mut found = objects.range((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(&prefix));
        let page: Vec<_> = found.by_ref().take(most).collect();
        let more = found.next().is_some();
        let encoded = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == "url");
        let number = self.0.tokens_given.fetch_add(1, Ordering::Relaxed);
        let contents = page.iter().map(|(key, stored)| Object {
            key: Some(if encoded { url_encoded(key) } else { (*key).clone() }),
            size: Some(stored.bytes.len() as i64),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        });
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents.collect()),
            is_truncated: Some(more),
            next_continuation_token: page.last().filter(|_| more).map(|(key, _)| format!("{number}:behind:{key}")),
            encoding_type: encoded.then(|| EncodingType::from_static(EncodingType::URL)),
            ..Default::default()
        }))
    }
}
