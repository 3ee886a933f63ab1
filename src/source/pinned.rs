//! Reading exactly the version of a file that was registered.
//!
//! An object store is asked with `If-Match`. A folder has no such thing: its version is compared when the file is
//! opened and once more when it has been read, and the bytes are counted.

use futures::StreamExt;
use futures::future::ready;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt};
use tokio_util::io::ReaderStream;

use super::store::folder_path;
use super::{Entry, FileRef, Source};
use crate::error::{Error, Result};

/// Bytes asked of a local file at a time.
const READ_SIZE: usize = 256 * 1024;

pub type ByteStream = BoxStream<'static, Result<bytes::Bytes>>;

/// The bytes of a file, ending in an error where they were not those of its version.
pub async fn open(source: &Source, file: &FileRef) -> Result<ByteStream> {
    let path = Path::parse(&file.key).map_err(|error| Error::data("its key can't be addressed").caused_by(error))?;
    let if_match = (!source.is_folder()).then(|| file.version.clone());
    let options = GetOptions { if_match, ..Default::default() };
    let result = source.store().get_opts(&path, options).await.map_err(|error| read_error(source, error))?;

    let version = source.version_of(&result.meta);
    if version != file.version {
        return Err(changed(&file.version, &version));
    }
    let bytes: ByteStream = match result.payload {
        GetResultPayload::File(handle, _) => {
            let handle = tokio::fs::File::from_std(handle);
            ReaderStream::with_capacity(handle, READ_SIZE).map(|chunk| chunk.map_err(io_error)).boxed()
        }
        GetResultPayload::Stream(stream) => {
            let source = source.clone();
            stream.map(move |chunk| chunk.map_err(|error| read_error(&source, error))).boxed()
        }
    };
    Ok(checked(bytes, source.clone(), file.clone(), path))
}

/// What the key is at the source now; `None` where it is gone.
pub async fn head(source: &Source, key: &str) -> Result<Option<Entry>> {
    let Ok(path) = Path::parse(key) else { return Ok(None) };
    match source.store().head(&path).await {
        Ok(meta) => {
            let version = source.version_of(&meta);
            Ok(Some(Entry { key: key.to_owned(), version, size: meta.size, modified: meta.last_modified }))
        }
        Err(object_store::Error::NotFound { .. }) if !source.is_gone() => Ok(None),
        Err(error) => Err(read_error(source, error)),
    }
}

/// Whether anything of the source can be listed at all.
pub async fn reachable(source: &Source) -> Result<()> {
    if source.is_gone() {
        return Err(gone(source));
    }
    match source.store().list(None).next().await {
        None | Some(Ok(_) | Err(object_store::Error::InvalidPath { .. })) => Ok(()),
        Some(Err(error)) => Err(read_error(source, error)),
    }
}

/// Lists the first key below `prefix` and reads a byte of it. `false`: there is none.
pub async fn probe(source: &Source, prefix: &str) -> Result<bool> {
    let prefix = folder_path(prefix)?;
    // A name that is no text can't be read, but is no reason to refuse the others.
    let unaddressable =
        |listed: &object_store::Result<_>| matches!(listed, Err(object_store::Error::InvalidPath { .. }));
    let mut listed = source.store().list(prefix.as_ref()).filter(move |listed| ready(!unaddressable(listed)));
    let first = listed.next().await;
    let Some(meta) = first.transpose().map_err(|error| read_error(source, error))? else { return Ok(false) };
    if meta.size > 0 {
        let byte = source.store().get_range(&meta.location, 0..1).await;
        byte.map_err(|error| read_error(source, error).context(format!("{} can't be read", meta.location)))?;
    }
    Ok(true)
}

/// The same bytes, with the count and the version checked at their end.
fn checked(bytes: ByteStream, source: Source, file: FileRef, path: Path) -> ByteStream {
    let state = (bytes, 0_u64, false);
    futures::stream::unfold(state, move |(mut bytes, read, ended)| {
        let (source, file, path) = (source.clone(), file.clone(), path.clone());
        async move {
            if ended {
                return None;
            }
            match bytes.next().await {
                Some(Ok(chunk)) => {
                    let read = read + chunk.len() as u64;
                    Some((Ok(chunk), (bytes, read, false)))
                }
                Some(Err(error)) => Some((Err(error), (bytes, read, true))),
                None => match check_end(&source, &file, &path, read).await {
                    Ok(()) => None,
                    Err(error) => Some((Err(error), (bytes, read, true))),
                },
            }
        }
    })
    .boxed()
}

async fn check_end(source: &Source, file: &FileRef, path: &Path, read: u64) -> Result<()> {
    if source.is_folder() {
        let meta = source.store().head(path).await.map_err(|error| read_error(source, error))?;
        let version = source.version_of(&meta);
        if version != file.version {
            return Err(changed(&file.version, &version));
        }
    }
    if read != file.size {
        return Err(Error::unavailable(format!("the source sent {read} of {} bytes", file.size)));
    }
    Ok(())
}

fn changed(registered: &str, found: &str) -> Error {
    Error::changed(format!("changed since the scan: registered as version {registered}, now {found}"))
        .hint("`loadline sql --uri` reads the file as it is now; once its job has FAILED, `loadline retry` takes it so")
}

fn gone(source: &Source) -> Error {
    let folder = source.folder().map(|folder| folder.display().to_string()).unwrap_or_default();
    Error::unavailable(format!("the source folder {folder} is gone")).hint("is it mounted?")
}

fn read_error(source: &Source, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } if source.is_gone() => gone(source),
        object_store::Error::NotFound { .. } => Error::data("gone: it was there at the scan").caused_by(error),
        object_store::Error::Precondition { .. } => Error::changed("changed since the scan").caused_by(error),
        other => Error::unavailable("the source can't be read").caused_by(other),
    }
}

fn io_error(error: std::io::Error) -> Error {
    Error::unavailable("the source can't be read").caused_by(error)
}
