//! A bucket without bytes, which lists as S3 does: in key order, from a start key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// An object store that can be listed, and whose objects have the times we say.
#[derive(Debug, Default)]
pub struct Bucket {
    objects: Mutex<BTreeMap<String, ObjectMeta>>,
    /// Keys after which the next listing breaks off.
    breaks_after: Mutex<Option<usize>>,
}

impl Bucket {
    pub fn put(&self, key: &str, modified: DateTime<Utc>, etag: String, size: u64) {
        let location = Path::parse(key).unwrap();
        let meta = ObjectMeta { location, last_modified: modified, size, e_tag: Some(etag), version: None };
        self.objects.lock().unwrap().insert(key.to_owned(), meta);
    }

    /// The next listing is an error behind so many keys.
    pub fn break_after(&self, keys: usize) {
        *self.breaks_after.lock().unwrap() = Some(keys);
    }

    fn listing(&self, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let objects = self.objects.lock().unwrap();
        let after = after.map(ToString::to_string).unwrap_or_default();
        let metas: Vec<_> = objects.range(after.clone()..).filter(|(key, _)| **key != after).collect();
        let mut metas: Vec<_> = metas.into_iter().map(|(_, meta)| Ok(meta.clone())).collect();
        if let Some(keys) = self.breaks_after.lock().unwrap().take() {
            metas.truncate(keys);
            metas.push(Err(Error::Generic { store: "Bucket", source: "the connection was reset".into() }));
        }
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
