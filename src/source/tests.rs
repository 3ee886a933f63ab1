//! Reading files as they lie in a folder: versions, compression, what goes wrong on the way.

use std::path::Path;

use async_compression::tokio::bufread::GzipEncoder;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::decompress::decompress;
use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;

const KEY: &str = "2026/01/01/00/a b,ü%.csv";

/// A source over a folder that holds one file.
fn folder_with(key: &str, bytes: &[u8]) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), key, bytes);
    let source = Source::open(&url::Url::from_directory_path(folder.path()).unwrap()).unwrap();
    (folder, source)
}

fn put(folder: &Path, key: &str, bytes: &[u8]) {
    let path = folder.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn file_now(source: &Source, key: &str) -> FileRef {
    let entry = head(source, key).await.unwrap().unwrap();
    FileRef { key: entry.key, version: entry.version, size: entry.size }
}

async fn read(source: &Source, file: &FileRef) -> Result<Vec<u8>> {
    let bytes = decompress(&file.key, pinned::open(source, file).await?);
    bytes
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzipEncoder::new(bytes).read_to_end(&mut packed).await.unwrap();
    packed
}

#[tokio::test]
async fn keys_with_odd_characters_are_listed_and_read() {
    let (_folder, source) = folder_with(KEY, b"a\n1\n");
    assert_eq!(read(&source, &file_now(&source, KEY).await).await.unwrap(), b"a\n1\n");
    let uri = source.uri(KEY);
    assert!(uri.ends_with("/2026/01/01/00/a%20b%2C%C3%BC%25.csv"), "{uri}");
    assert_eq!(source.key_of(&uri).as_deref(), Some(KEY));
    assert_eq!(source.key_of("file:///elsewhere/a.csv"), None);
    assert!(probe(&source, "").await.unwrap());
}

#[tokio::test]
async fn another_version_is_refused_before_the_first_byte() {
    let (folder, source) = folder_with(KEY, b"a\n1\n");
    let before = file_now(&source, KEY).await;
    put(folder.path(), KEY, b"a\n1\n2\n");
    let error = read(&source, &before).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed);
    assert!(error.to_string().starts_with("changed since the scan: registered as version 4-"), "{error}");
}

#[tokio::test]
async fn a_change_while_reading_is_an_error_at_the_end() {
    let (folder, source) = folder_with(KEY, &vec![b'x'; 600_000]);
    let file = file_now(&source, KEY).await;
    let mut bytes = pinned::open(&source, &file).await.unwrap();
    bytes.try_next().await.unwrap().unwrap();
    put(folder.path(), KEY, &vec![b'y'; 600_000]);
    let rest: Result<Vec<_>> = bytes.try_collect().await;
    assert!(rest.unwrap_err().to_string().starts_with("changed since the scan"));
}

#[tokio::test]
async fn a_missing_file_is_a_data_error_and_a_missing_folder_is_not() {
    let (folder, source) = folder_with(KEY, b"a\n");
    let file = file_now(&source, KEY).await;
    std::fs::remove_file(folder.path().join(KEY)).unwrap();
    assert_eq!(read(&source, &file).await.unwrap_err().kind(), ErrorKind::Data);
    assert!(head(&source, KEY).await.unwrap().is_none());
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(read(&source, &file).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(head(&source, KEY).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn gzip_of_several_members_is_read_to_its_end() {
    let packed = [gzip(b"a\n1\n").await, gzip(b"2\n").await].concat();
    let (_folder, source) = folder_with("x.csv.gz", &packed);
    assert_eq!(read(&source, &file_now(&source, "x.csv.gz").await).await.unwrap(), b"a\n1\n2\n");

    // The fingerprint is that of the packed bytes, all of them.
    let cell = FingerprintCell::default();
    let bytes = pinned::open(&source, &file_now(&source, "x.csv.gz").await).await.unwrap();
    let plain = decompress("x.csv.gz", fingerprint::fingerprinted(bytes, cell.clone()));
    assert_eq!(cell.get(), None);
    assert_eq!(plain.map(|chunk| chunk.unwrap().len()).collect::<Vec<_>>().await.iter().sum::<usize>(), 6);
    let expected: [u8; 32] = Sha256::digest(&packed).into();
    assert_eq!(cell.get(), Some(Fingerprint { bytes: packed.len() as u64, sha256: expected }));
}

#[tokio::test]
async fn truncated_and_corrupt_gzip_are_data_errors() {
    let plain: Vec<u8> = (0..200_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let packed = gzip(&plain).await;
    let mut corrupt = packed.clone();
    let end = corrupt.len() - 8;
    corrupt[end] ^= 1;
    for (bytes, reason) in [(&packed[..packed.len() - 9], "truncated gzip"), (&corrupt[..], "corrupt gzip")] {
        let (_folder, source) = folder_with("x.csv.gz", bytes);
        let error: Error = read(&source, &file_now(&source, "x.csv.gz").await).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.chain().starts_with(reason), "{}", error.chain());
    }
}
