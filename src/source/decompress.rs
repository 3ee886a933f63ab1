//! Decompression on the way, chosen by the key's ending.
//!
//! Invariant: a stream that ends in the middle of a member, or whose checksum is wrong, ends in an error.

use async_compression::tokio::bufread::GzipDecoder;
use futures::{StreamExt, TryStreamExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::pinned::ByteStream;
use crate::error::Error;

const DECOMPRESSED_CHUNK: usize = 256 * 1024;

/// The plain bytes of a file: those of all gzip members for `*.gz`, the bytes as they are otherwise.
pub fn decompress(key: &str, bytes: ByteStream) -> ByteStream {
    if !key.to_ascii_lowercase().ends_with(".gz") {
        return bytes;
    }
    let reader = StreamReader::new(bytes.map_err(std::io::Error::other));
    let mut decoder = GzipDecoder::new(reader);
    decoder.multiple_members(true);
    ReaderStream::with_capacity(decoder, DECOMPRESSED_CHUNK).map(|chunk| chunk.map_err(gzip_error)).boxed()
}

/// An error of the bytes below keeps its kind; the others are the decoder's.
fn gzip_error(error: std::io::Error) -> Error {
    let truncated = error.kind() == std::io::ErrorKind::UnexpectedEof;
    match error.downcast::<Error>() {
        Ok(below) => below,
        Err(error) if truncated => Error::data("truncated gzip: it ends before its last block").caused_by(error),
        Err(error) => Error::data("corrupt gzip").caused_by(error),
    }
}
