//! Full URIs of files, and the comma-separated list of them in `scanner_jobs.files`.
//!
//! Invariant: splitting a list gives back the URIs it was made of, and decoding a URI gives back the key.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What a key may not contain as it stands: the separators of URIs and of the list.
const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b',').add(b'<').add(b'>').add(b'?').add(b'`').add(b'\\');

fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, RESERVED).to_string()
}

/// `source_url` without or with its last `/`.
pub fn file_uri(source_url: &str, key: &str) -> String {
    format!("{}/{}", source_url.trim_end_matches('/'), encode_key(key))
}

/// The key of a full URI below the source; `None` where it lies elsewhere.
pub fn key_of(source_url: &str, uri: &str) -> Option<String> {
    let key = uri.strip_prefix(source_url.trim_end_matches('/'))?.strip_prefix('/')?;
    percent_encoding::percent_decode_str(key).decode_utf8().ok().map(|key| key.into_owned())
}

pub fn uri_list(uris: impl Iterator<Item = String>) -> String {
    uris.collect::<Vec<_>>().join(",")
}

pub fn split_uri_list(list: &str) -> Vec<&str> {
    list.split(',').filter(|uri| !uri.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_commas_and_percents_come_back() {
        let keys = ["2026/01/01/00/a,b.csv", "2026/01/01/00/100%2C.csv", "2026/01/01/00/ü x.csv"];
        let list = uri_list(keys.iter().map(|key| file_uri("s3://bucket/in/", key)));
        let back: Vec<String> =
            split_uri_list(&list).iter().map(|uri| key_of("s3://bucket/in", uri).unwrap()).collect();
        assert_eq!(back, keys);
        assert_eq!(key_of("s3://bucket/in", "s3://bucket/input/a.csv"), None);
    }
}
