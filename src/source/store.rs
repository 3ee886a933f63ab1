//! Where files come from: one folder or bucket under the source url.
//!
//! Invariant: a key is relative to the url and says nothing of the machine, so that a moved folder keeps its files.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use url::Url;

use super::s3::{Patience, S3, Variables, environment};
use crate::config::SourceConfig;
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
    place: Place,
}

#[derive(Clone)]
enum Place {
    Folder {
        path: PathBuf,
        store: Arc<dyn ObjectStore>,
    },
    S3(Box<S3>),
    /// Some other store, whose keys begin at the url.
    Store(Arc<dyn ObjectStore>),
}

impl Source {
    /// Opens what the config names. The folder must be there; of a bucket nothing is asked yet.
    ///
    /// # Errors
    /// Config where the bucket's endpoint or credentials can't be used, Unavailable where the folder can't be opened.
    pub fn from_config(config: &SourceConfig) -> Result<Self> {
        Self::with_environment(config, &environment())
    }

    /// The same, with these variables in place of those of the process.
    pub fn with_environment(config: &SourceConfig, env: &Variables) -> Result<Self> {
        if config.url.scheme() != "s3" {
            return Self::open(&config.url);
        }
        let s3 = S3::open(&config.url, &config.s3, env)?;
        Ok(Self { url: config.url.clone(), place: Place::S3(Box::new(s3)) })
    }

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
        Ok(Self { url: url.clone(), place: Place::Folder { path: folder, store: Arc::new(store) } })
    }

    /// Any store under a url of its own, without a folder behind it.
    pub fn with_store(url: Url, store: Arc<dyn ObjectStore>) -> Self {
        Self { url, place: Place::Store(store) }
    }

    /// The same source, with other bounds of what is tried again; only a bucket has any.
    pub fn with_patience(self, patience: Patience) -> Self {
        match self.place {
            Place::S3(s3) => Self { url: self.url, place: Place::S3(Box::new(s3.with_patience(patience))) },
            place => Self { url: self.url, place },
        }
    }

    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        match &self.place {
            Place::Folder { store, .. } | Place::Store(store) => store,
            Place::S3(s3) => s3.store(),
        }
    }

    pub(super) fn s3(&self) -> Option<&S3> {
        match &self.place {
            Place::S3(s3) => Some(s3),
            Place::Folder { .. } | Place::Store(_) => None,
        }
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
        !self.is_folder()
    }

    /// How long a file must have been left alone before it counts as written: a folder shows half-written files, an
    /// object store does not.
    pub fn default_settle(&self) -> chrono::Duration {
        if self.is_folder() { chrono::Duration::seconds(10) } else { chrono::Duration::zero() }
    }

    /// Which bytes a listing or a read is about: the ETag; for a folder size and modified time, because its ETag holds
    /// the inode, which changes when a folder is copied.
    pub fn version_of(&self, meta: &ObjectMeta) -> String {
        match (self.folder(), &meta.e_tag) {
            (None, Some(etag)) => etag.clone(),
            _ => format!("{}-{}", meta.size, meta.last_modified.format("%Y%m%dT%H%M%S%.9f")),
        }
    }

    /// True where the whole source has gone, so that a missing file says nothing about the file.
    pub(super) fn is_gone(&self) -> bool {
        self.folder().is_some_and(|folder| !folder.is_dir())
    }

    pub(super) fn is_folder(&self) -> bool {
        self.folder().is_some()
    }

    pub(super) fn folder(&self) -> Option<&PathBuf> {
        match &self.place {
            Place::Folder { path, .. } => Some(path),
            Place::S3(_) | Place::Store(_) => None,
        }
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
