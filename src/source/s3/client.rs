//! Signed requests to one bucket.
//!
//! Invariant: a request that failed for a reason that may pass is sent again, with fresh credentials, a bounded number
//! of times; any other failure is told at once.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::patience::Patience;
use super::refusal::{EXPORT_HINT, Refusal};
use crate::error::{Error, Result};

/// Answers that are read whole are refused beyond this. A page of a listing has a thousand keys of a kilobyte at most.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is read of an error.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// What a URI and a signature take as it stands.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

pub(super) struct Client {
    pub http: HttpClient,
    pub credentials: AwsCredentialProvider,
    /// Where the credentials come from, when nothing names them: the machine, if it has any.
    pub credentials_assumed: bool,
    /// Set when credentials were got once.
    pub had_credentials: AtomicBool,
    pub bucket: String,
    pub region: String,
    /// Of the bucket, without a last `/`.
    pub endpoint: String,
    pub unsigned: bool,
    pub sign_payload: bool,
    pub request_payer: bool,
}

/// A request on the bucket, or on one of its keys.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub method: Method,
    pub key: Option<String>,
    pub query: Vec<(&'static str, String)>,
    pub headers: Vec<(HeaderName, String)>,
}

impl Client {
    /// Sends until there is an answer, read whole, or a refusal that asking again does not change.
    pub async fn ask(&self, patience: &Patience, request: &Request) -> Result<(HeaderMap, Bytes), Refusal> {
        let mut failures = 0;
        loop {
            match self.ask_whole(patience, request).await {
                Err(refusal) if refusal.is_passing() => {
                    failures += 1;
                    tracing::info!(?refusal, failures, "the bucket did not answer");
                    if !patience.wait(failures).await {
                        return Err(refusal);
                    }
                }
                answered => return answered,
            }
        }
    }

    async fn ask_whole(&self, patience: &Patience, request: &Request) -> Result<(HeaderMap, Bytes), Refusal> {
        let (parts, body) = self.ask_once(patience, request).await?.into_parts();
        Ok((parts.headers, whole(patience, body, ANSWER_BYTES_MAX).await?))
    }

    /// One request, one answer.
    pub async fn ask_once(&self, patience: &Patience, request: &Request) -> Result<HttpResponse, Refusal> {
        let mut http = self.build(request).map_err(Refusal::Other)?;
        if !self.unsigned {
            let found = tokio::time::timeout(patience.stall, self.credentials.get_credential()).await;
            let found = found.map_err(|_| "they were waited for in vain".to_owned());
            let credential = found.and_then(|found| found.map_err(|error| error.to_string()));
            let credential = credential.map_err(|error| Refusal::Credentials(self.no_credentials(error)))?;
            let texts = [Some(&credential.key_id), credential.token.as_ref()];
            if texts.into_iter().flatten().any(|text| HeaderValue::from_str(text).is_err()) {
                let error =
                    Error::config("the AWS credentials hold a line end or another character that no header takes");
                return Err(Refusal::Credentials(error.hint("set AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN without it")));
            }
            self.had_credentials.store(true, Ordering::Relaxed);
            AwsAuthorizer::new(&credential, "s3", &self.region)
                .with_sign_payload(self.sign_payload)
                .with_request_payer(self.request_payer)
                .authorize(&mut http, None);
        }
        let answer = tokio::time::timeout(patience.stall, self.http.execute(http)).await;
        let answer = answer.map_err(|_| Refusal::Passing(silence(patience)))?;
        let answer = answer.map_err(|error| Refusal::Passing(root_of(&error)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        // What the error says is a help, not a condition.
        let body = whole(patience, body, ERROR_BYTES_MAX).await.unwrap_or_default();
        Err(Refusal::of(parts.status, &parts.headers, &body))
    }

    fn build(&self, request: &Request) -> Result<HttpRequest, String> {
        let mut uri = self.endpoint.clone();
        if let Some(key) = &request.key {
            uri.push('/');
            uri.extend(utf8_percent_encode(key, PATH));
        }
        for (index, (name, value)) in request.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.extend(utf8_percent_encode(value, QUERY));
        }
        let mut builder = http::Request::builder().method(&request.method).uri(uri);
        for (name, value) in &request.headers {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            builder = builder.header(name, value);
        }
        builder.body(HttpRequestBody::empty()).map_err(|error| error.to_string())
    }

    /// Where none were ever found, somebody has to name them; where there were some, their source is out of reach.
    fn no_credentials(&self, cause: String) -> Error {
        if self.had_credentials.load(Ordering::Relaxed) || !self.credentials_assumed {
            return Error::unavailable("AWS credentials can't be got now")
                .hint("check what gives them: the role (AWS_ROLE_ARN), the container's or the instance's service")
                .caused_by(cause);
        }
        Error::config("there are no AWS credentials in the environment, and this machine has no role of its own")
            .hint(format!("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; {EXPORT_HINT}"))
            .caused_by(cause)
    }
}

/// The body, up to `most` bytes.
async fn whole(patience: &Patience, body: HttpResponseBody, most: usize) -> Result<Bytes, Refusal> {
    let mut stream = body.bytes_stream();
    let mut all = Vec::new();
    loop {
        let next = tokio::time::timeout(patience.stall, stream.next()).await;
        match next.map_err(|_| Refusal::Passing(silence(patience)))? {
            None => return Ok(all.into()),
            Some(Err(error)) => return Err(Refusal::Passing(root_of(&error))),
            Some(Ok(chunk)) if all.len() + chunk.len() > most => {
                return Err(Refusal::Other(format!("its answer is longer than {most} bytes")));
            }
            Some(Ok(chunk)) => all.extend_from_slice(&chunk),
        }
    }
}

pub(super) fn silence(patience: &Patience) -> String {
    format!("not a byte for {} s", patience.stall.as_secs_f32())
}

/// What happened at the bottom: the layers above only say that a request failed.
pub(super) fn root_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(below) = root.source() {
        root = below;
    }
    root.to_string()
}
