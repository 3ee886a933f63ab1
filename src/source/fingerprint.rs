//! The fingerprint of a file, taken on the way from the bytes that its records are made of.
//!
//! Invariant: a cell is filled only by a stream that came to its end without an error, hence with every byte of the
//! version that was asked for, in order.

use std::sync::{Arc, OnceLock};

use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::pinned::ByteStream;
use crate::fingerprint::Fingerprint;

/// Where whoever reads a file leaves its fingerprint for whoever asked for it.
#[derive(Debug, Clone, Default)]
pub struct FingerprintCell(Arc<OnceLock<Fingerprint>>);

impl FingerprintCell {
    /// `None` until the last byte has been read.
    pub fn get(&self) -> Option<Fingerprint> {
        self.0.get().copied()
    }
}

/// The same bytes.
pub(super) fn fingerprinted(bytes: ByteStream, cell: FingerprintCell) -> ByteStream {
    let state = (bytes, Sha256::new(), 0_u64, cell);
    stream::unfold(state, |(mut bytes, mut hash, mut count, cell)| async move {
        match bytes.next().await {
            Some(chunk) => {
                if let Ok(chunk) = &chunk {
                    hash.update(chunk);
                    count += chunk.len() as u64;
                }
                Some((chunk, (bytes, hash, count, cell)))
            }
            None => {
                // Filled before only by another stream over the same file.
                let _ = cell.0.set(Fingerprint { bytes: count, sha256: hash.finalize().into() });
                None
            }
        }
    })
    .boxed()
}
