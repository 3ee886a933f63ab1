//! Where files come from: one object store under the source url.
//!
//! Invariant: a key is relative to the url and says nothing of the machine, so that a moved folder keeps its files.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use url::Url;

use crate::error::{Error, Result};
use crate::job::{file_uri, key_of};

/// A file to read: which bytes, under which name.
#[derive(Debug, Clone)]
pub struct FileRef {
    /// Relative to the source url.
    pub key: String,
    /// As [`Source::version_of`] gave it when the file was registered.
    pub version: String,
    pub size: u64,
}

#[derive(Clone)]
pub struct Source {
    url: Url,
    store: Arc<dyn ObjectStore>,
    /// The folder behind a `file://` url.
    folder: Option<PathBuf>,
}

impl Source {
    /// Opens a `file://` url. The folder must be there.
    pub fn open(url: &Url) -> Result<Self> {
        let folder = url.to_file_path().map_err(|()| {
            Error::config(format!("source.url `{url}` is not the url of a folder")).hint(FILE_URL_HINT)
        })?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|error| {
            Error::unavailable(format!("the source folder {} can't be opened", folder.display()))
                .hint("check source.url in the config, that the folder is there (mounted?) and that you may read it")
                .caused_by(error)
        })?;
        Ok(Self { url: url.clone(), store: Arc::new(store), folder: Some(folder) })
    }

    /// Any store under a url of its own, without a folder behind it.
    pub fn with_store(url: Url, store: Arc<dyn ObjectStore>) -> Self {
        Self { url, store, folder: None }
    }

    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The full URI of a key.
    pub fn uri(&self, key: &str) -> String {
        file_uri(self.url.as_str(), key)
    }

    /// The key of a full URI under this source; `None` where it lies elsewhere.
    pub fn key_of(&self, uri: &str) -> Option<String> {
        key_of(self.url.as_str(), uri)
    }

    /// Whether keys come in an order that a listing may start in the middle of.
    pub fn lists_in_key_order(&self) -> bool {
        self.folder.is_none()
    }

    /// How long a file must have been left alone before it counts as written: a folder shows half-written files, an
    /// object store does not.
    pub fn default_settle(&self) -> chrono::Duration {
        if self.folder.is_some() { chrono::Duration::seconds(10) } else { chrono::Duration::zero() }
    }

    /// Which bytes a listing or a read is about: the ETag; for a folder size and modified time, because its ETag holds
    /// the inode, which changes when a folder is copied.
    pub fn version_of(&self, meta: &ObjectMeta) -> String {
        match (&self.folder, &meta.e_tag) {
            (None, Some(etag)) => etag.clone(),
            _ => format!("{}-{}", meta.size, meta.last_modified.format("%Y%m%dT%H%M%S%.9f")),
        }
    }

    /// True where the whole source has gone, so that a missing file says nothing about the file.
    pub(super) fn is_gone(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| !folder.is_dir())
    }

    pub(super) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    pub(super) fn folder(&self) -> Option<&PathBuf> {
        self.folder.as_ref()
    }
}

/// A folder below the source's url as it is written; `None` is the source itself. [`Path::from`] would percent-encode it,
/// and list a folder that is not there.
pub(super) fn folder_path(folder: &str) -> Result<Option<Path>> {
    if folder.is_empty() {
        return Ok(None);
    }
    let path = Path::parse(folder);
    path.map(Some).map_err(|error| Error::config(format!("the folder `{folder}` can't be addressed")).caused_by(error))
}

const FILE_URL_HINT: &str = "write it as file:///absolute/path";
