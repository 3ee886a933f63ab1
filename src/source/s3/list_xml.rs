//! What S3 answers, as XML: a page of a listing, an error.
//!
//! Read event by event, because serde's reading trims texts, and a key may end in a space.
//!
//! Invariant: a key comes out as the server has it, byte for byte, or not at all.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::{Error, Result};

/// Longest part of a server's message that is repeated.
const MESSAGE_MAX: usize = 200;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub objects: Vec<Object>,
    pub truncated: bool,
    pub next: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// As the bucket has it, the source's prefix included.
    pub key: String,
    pub etag: Option<String>,
    pub size: u64,
    pub modified: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct RawObject {
    key: String,
    etag: Option<String>,
    size: Option<String>,
    modified: Option<String>,
}

/// An error as S3 tells it.
#[derive(Debug, Default)]
pub(super) struct S3Error {
    /// Empty where there was no body, as in an answer to HEAD.
    pub code: String,
    pub message: String,
    pub region: Option<String>,
}

impl S3Error {
    pub fn text(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", _) => "without a reason".to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// A page of ListObjectsV2.
pub(super) fn parse_page(body: &[u8]) -> Result<Page> {
    let (mut page, mut encoded, mut is_listing) = (Page::default(), false, false);
    let (mut raws, mut current): (Vec<RawObject>, RawObject) = (Vec::new(), RawObject::default());
    walk(body, |path, text| {
        is_listing |= path.first().is_some_and(|root| root == "ListBucketResult");
        let path: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        match path[..] {
            ["Contents"] => raws.push(std::mem::take(&mut current)),
            ["Contents", "Key"] => current.key = text,
            ["Contents", "ETag"] => current.etag = Some(text),
            ["Contents", "Size"] => current.size = Some(text),
            ["Contents", "LastModified"] => current.modified = Some(text),
            ["EncodingType"] => encoded = text == "url",
            ["IsTruncated"] => page.truncated = text.trim() == "true",
            ["NextContinuationToken"] => page.next = Some(text),
            _ => {}
        }
    })?;
    if !is_listing {
        return Err(unreadable("it is no ListBucketResult"));
    }
    page.objects = raws.into_iter().map(|raw| object(raw, encoded)).collect::<Result<_>>()?;
    Ok(page)
}

/// What can be read of an error; nothing is not an error of its own.
pub(super) fn parse_error(body: &[u8]) -> S3Error {
    let mut error = S3Error::default();
    let read = walk(body, |path, text| match path {
        [root, name] if root == "Error" && name == "Code" => error.code = text,
        [root, name] if root == "Error" && name == "Message" => error.message = text,
        [root, name] if root == "Error" && name == "Region" => error.region = Some(text),
        _ => {}
    });
    if read.is_err() {
        return S3Error::default();
    }
    error.message = error.message.chars().take(MESSAGE_MAX).collect();
    error
}

/// Calls `ended` at the end of every element, with the names from the root to it and its own text.
fn walk(body: &[u8], mut ended: impl FnMut(&[String], String)) -> Result<()> {
    let mut reader = Reader::from_reader(body);
    let (mut path, mut text): (Vec<String>, String) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(unreadable)? {
            Event::Start(start) => {
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                text.clear();
            }
            Event::Empty(empty) => {
                path.push(String::from_utf8_lossy(empty.local_name().as_ref()).into_owned());
                ended(&path, String::new());
                path.pop();
            }
            Event::Text(part) => text.push_str(&part.xml10_content().map_err(unreadable)?),
            Event::CData(part) => text.push_str(&part.decode().map_err(unreadable)?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(unreadable)? {
                Some(character) => text.push(character),
                None => {
                    let name = reference.decode().map_err(unreadable)?;
                    let known = quick_xml::escape::resolve_predefined_entity(&name);
                    text.push_str(known.ok_or_else(|| unreadable("it has an unknown entity"))?);
                }
            },
            Event::End(_) => {
                ended(&path, std::mem::take(&mut text));
                path.pop();
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err(unreadable("it ends in the middle")),
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
}

fn object(raw: RawObject, encoded: bool) -> Result<Object> {
    let key = if encoded { url_decoded(&raw.key)? } else { raw.key };
    let size = raw.size.and_then(|size| size.trim().parse().ok()).ok_or_else(|| unreadable("a key has no size"))?;
    let modified = raw.modified.and_then(|time| DateTime::parse_from_rfc3339(time.trim()).ok());
    let modified = modified.ok_or_else(|| unreadable("a key has no time"))?.with_timezone(&Utc);
    Ok(Object { key, etag: raw.etag, size, modified })
}

/// `encoding-type=url` is that of forms: a space is a plus sign.
fn url_decoded(text: &str) -> Result<String> {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| unreadable("a key is not UTF-8"))
}

fn unreadable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("the S3 server's answer to a list request can't be read")
        .hint("check source.endpoint: something that is no S3 server, such as a login page, may answer there")
        .caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_as_they_are() {
        let page = |encoding: &str, key: &str| {
            let xml = format!(
                "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\">\n  <Name>b</Name>{encoding}\n  <Contents><Key>{key}</Key>\
                 <LastModified>2026-01-31T05:00:00.000Z</LastModified><ETag>&quot;ab&#34;</ETag><Size>7</Size>\
                 <Owner><ID>o</ID></Owner></Contents>\n<IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>a+/=</NextContinuationToken></ListBucketResult>"
            );
            parse_page(xml.as_bytes()).unwrap()
        };
        for (listed, key) in [("a//b+c%2B%252F%2C%F0%9F%90%8C", "a//b c+%2F,🐌"), ("x+", "x "), ("..", "..")] {
            let page = page("<EncodingType>url</EncodingType>", listed);
            assert_eq!(page.objects[0].key, key);
            assert_eq!(page.objects[0].etag.as_deref(), Some("\"ab\""));
            assert_eq!((page.truncated, page.next.as_deref()), (true, Some("a+/=")));
        }
        for (listed, key) in [(" a+b%20&amp;&lt; ", " a+b%20&< "), ("<![CDATA[a&b ]]>", "a&b ")] {
            assert_eq!(page("", listed).objects[0].key, key);
        }
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for body in ["", "<html><body>Log in</body></html>", "<ListBucketResult><Contents>", "{}"] {
            assert!(parse_page(body.as_bytes()).is_err(), "{body}");
        }
        let error = parse_error(b"<Error><Code>SlowDown</Code><Message>wait</Message></Error>");
        assert_eq!(error.text(), "SlowDown: wait");
        assert_eq!(parse_error(b"<Error><Code>x").text(), "without a reason");
    }
}
