//! Answers that are not what was asked for, sorted by what follows from them.
//!
//! Invariant: nothing of an answer is repeated but its code, its message and the bucket's region: what else S3 puts
//! beside them (key ids, what was signed) stays out.

use http::{HeaderMap, StatusCode};

use super::client::Client;
use super::list_xml::{S3Error, parse_error};
use crate::error::Error;

/// What the request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    List,
    Head,
    /// One byte, to see whether files can be read.
    Probe,
    /// A file of a job.
    Read,
}

#[derive(Debug)]
pub(super) enum Refusal {
    /// It may succeed at once: the server is busy, or the connection broke. `.0` says what happened.
    Passing(String),
    /// 412: the key holds another version.
    Changed,
    /// 404 for a key.
    Gone,
    NoBucket,
    OtherRegion(String),
    /// 403, or the code of credentials that don't hold.
    Denied(S3Error),
    /// Archived: to be restored first.
    Archived,
    /// No credentials, or none that could be got.
    Credentials(Error),
    /// Anything else, which asking again won't change.
    Other(String),
}

impl Refusal {
    /// Sorts an answer that is no success.
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let error = parse_error(body);
        let region = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let region = region.or_else(|| error.region.clone());
        match (status.as_u16(), error.code.as_str()) {
            (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId") => Self::Denied(error),
            (_, "NoSuchBucket") => Self::NoBucket,
            (_, "InvalidObjectState") => Self::Archived,
            (_, "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable")
            | (408 | 429 | 500..=599, _) => Self::Passing(said(status, &error)),
            (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") | (301 | 307, _) => match region {
                Some(region) => Self::OtherRegion(region),
                None => Self::Other(said(status, &error)),
            },
            (401 | 403, _) => Self::Denied(error),
            // A range behind the end: the file has become shorter.
            (412 | 416, _) => Self::Changed,
            (404, _) => Self::Gone,
            _ => Self::Other(said(status, &error)),
        }
    }

    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Passing(_))
    }

    /// What it means to the person. While a job's files are read, all but what concerns the one file is an outage: a
    /// job must not fail for good because a token has expired.
    pub fn into_error(self, client: &Client, asked: Asked) -> Error {
        let (bucket, region) = (&client.bucket, &client.region);
        let environment = |message: String| match asked {
            Asked::Read => Error::unavailable(message),
            Asked::List | Asked::Head | Asked::Probe => Error::config(message),
        };
        match self {
            Self::Passing(what) => {
                Error::unavailable(format!("the bucket `{bucket}` can't be reached: {what}")).hint(UNREACHABLE_HINT)
            }
            Self::Changed => Error::changed("changed since the scan"),
            Self::Gone if asked == Asked::Read => Error::data("gone: it was there at the scan"),
            Self::Gone => environment(format!("the S3 server knows nothing at {}", client.endpoint)).hint(BUCKET_HINT),
            Self::NoBucket => environment(format!("there is no bucket `{bucket}`")).hint(BUCKET_HINT),
            Self::OtherRegion(other) => {
                environment(format!("the bucket `{bucket}` is in the region {other}, not in {region}"))
                    .hint(format!("set `source.region: {other}` in the config, or AWS_REGION={other}"))
            }
            Self::Denied(error) => denied(&error, bucket, asked, environment),
            Self::Archived => Error::data("it is archived, so that it can't be read")
                .hint("restore it, then `loadline retry` its job"),
            Self::Credentials(error) => match asked {
                Asked::Read => Error::unavailable("no credentials for the bucket").caused_by(error),
                _ => error,
            },
            Self::Other(what) => {
                environment(format!("the bucket `{bucket}` refuses the request: {what}")).hint(BUCKET_HINT)
            }
        }
    }
}

fn denied(error: &S3Error, bucket: &str, asked: Asked, environment: impl Fn(String) -> Error) -> Error {
    let said = error.text();
    match error.code.as_str() {
        "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" => {
            environment(format!("the AWS credentials don't hold any more ({said})")).hint(EXPORT_HINT)
        }
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "NotSignedUp" => {
            environment(format!("the bucket `{bucket}` does not accept the AWS credentials ({said})"))
                .hint("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they belong to this endpoint")
        }
        "RequestTimeTooSkewed" => environment("the clock of this machine is not the bucket's".to_owned())
            .hint("set the clock (NTP): S3 refuses requests that are more than 15 minutes off"),
        _ if asked == Asked::List => environment(format!("the bucket `{bucket}` may not be listed ({said})")).hint(format!(
            "allow `s3:ListBucket` on arn:aws:s3:::{bucket} (the bucket itself, not its objects) to these credentials"
        )),
        _ => environment(format!("the bucket `{bucket}` does not let its files be read ({said})")).hint(format!(
            "allow `s3:GetObject` on arn:aws:s3:::{bucket}/* to these credentials, and `kms:Decrypt` where it is \
             encrypted with a key of yours"
        )),
    }
}

fn said(status: StatusCode, error: &S3Error) -> String {
    if error.code.is_empty() {
        format!("status {status}")
    } else {
        format!("status {}, {}", status.as_u16(), error.text())
    }
}

/// How a profile or an SSO login, which only the AWS CLI can read, gets to this program.
pub(super) const EXPORT_HINT: &str =
    "for a profile or an SSO login: `eval \"$(aws configure export-credentials --format env)\"`";
const BUCKET_HINT: &str =
    "check source.url, source.endpoint and source.region in the config (or AWS_ENDPOINT_URL, AWS_REGION)";
const UNREACHABLE_HINT: &str = "check source.endpoint (or AWS_ENDPOINT_URL) and the network; if the server is only busy, the same command may succeed later";
