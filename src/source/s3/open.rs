//! From the config and the environment to a client: endpoint, region, credentials.
//!
//! The config goes before the environment (`AWS_...`), which `object_store` understands: keys in it, web identity,
//! container, and at last the machine's own role.

use std::ffi::OsString;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::{ClientConfigKey, ClientOptions, RetryConfig};
use url::Url;

use super::client::Client;
use super::refusal::EXPORT_HINT;
use crate::config::S3Options;
use crate::error::{Error, Result};

const REGION_DEFAULT: &str = "us-east-1";

/// Variables of the environment, names and values.
pub type Variables = Vec<(String, String)>;

/// Those of this process that concern a bucket.
pub fn environment() -> Variables {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with("AWS_")).collect()
}

pub(super) fn open(url: &Url, options: &S3Options, env: &Variables) -> Result<(Client, AmazonS3)> {
    let bucket = url.host_str().ok_or_else(|| Error::config(format!("source.url `{url}` names no bucket")))?;
    let (mut builder, http_options) = read(env);
    builder = builder.with_bucket_name(bucket);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    let set = |key| builder.get_config_value(&key).filter(|value| !value.is_empty());
    let is_on = |key| set(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = set(AmazonS3ConfigKey::S3Endpoint).or_else(|| set(AmazonS3ConfigKey::Endpoint));
    endpoint.as_deref().map_or(Ok(()), check_endpoint)?;
    let from_env = is_on(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    let allow_http = options.allow_http.unwrap_or(from_env);
    if endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http:")) && !allow_http {
        return Err(Error::config(
            "the endpoint of the bucket is plain http, which anyone on the way can read and change",
        )
        .hint("use https://, or, where that is meant, set `source.allow_http: true` in the config"));
    }
    let unsigned = is_on(AmazonS3ConfigKey::SkipSignature);
    let credentials_assumed = !unsigned && !names_credentials(&builder);
    if credentials_assumed {
        refuse_profile(env)?;
    }
    let region = set(AmazonS3ConfigKey::Region).unwrap_or_else(|| REGION_DEFAULT.to_owned());
    let endpoint = bucket_endpoint(endpoint, bucket, &region, is_on(AmazonS3ConfigKey::VirtualHostedStyleRequest));
    let sign_payload = !is_on(AmazonS3ConfigKey::UnsignedPayload);
    let request_payer = is_on(AmazonS3ConfigKey::RequestPayer);

    let http_options = http_options.with_allow_http(allow_http).with_timeout_disabled();
    // Retries are ours; those below would multiply them.
    let retry = RetryConfig { max_retries: 0, ..Default::default() };
    let cannot =
        |error| Error::config(format!("the bucket `{bucket}` can't be opened")).hint(AWS_HINT).caused_by(error);
    let http = ReqwestConnector::default().connect(&http_options).map_err(cannot)?;
    let store = builder.with_client_options(http_options).with_retry(retry).build().map_err(cannot)?;
    let client = Client {
        http,
        credentials: store.credentials().clone(),
        credentials_assumed,
        had_credentials: AtomicBool::new(false),
        bucket: bucket.to_owned(),
        region,
        endpoint,
        unsigned,
        sign_payload,
        request_payer,
    };
    Ok((client, store))
}

/// From the environment it may be any text; signing needs a url.
fn check_endpoint(endpoint: &str) -> Result<()> {
    match Url::parse(endpoint) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.host().is_some() => Ok(()),
        _ => Err(Error::config("the endpoint of the bucket is not a url").hint(
            "write https://host:port into source.endpoint, or into AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, which the \
             environment has",
        )),
    }
}

/// As [`AmazonS3Builder::build`] has it.
fn bucket_endpoint(endpoint: Option<String>, bucket: &str, region: &str, virtual_hosted: bool) -> String {
    match (endpoint, virtual_hosted) {
        (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    }
}

/// As [`AmazonS3Builder::from_env`] reads it, with the options of the http client (proxies and the like), which the
/// builder does not show.
fn read(env: &Variables) -> (AmazonS3Builder, ClientOptions) {
    let (mut builder, mut http) = (AmazonS3Builder::new(), ClientOptions::new());
    for (name, value) in env.iter().filter(|(name, _)| name.starts_with("AWS_")) {
        let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) else { continue };
        if let AmazonS3ConfigKey::Client(key) = key {
            http = http.with_config(key, value);
        }
        builder = builder.with_config(key, value);
    }
    (builder, http)
}

/// Whether the environment names credentials, or who gives them. Else only the machine's role is left.
fn names_credentials(builder: &AmazonS3Builder) -> bool {
    let set = |key| builder.get_config_value(&key).is_some_and(|value| !value.is_empty());
    set(AmazonS3ConfigKey::AccessKeyId)
        || set(AmazonS3ConfigKey::SecretAccessKey)
        || (set(AmazonS3ConfigKey::WebIdentityTokenFile) && set(AmazonS3ConfigKey::RoleArn))
        || set(AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
        || (set(AmazonS3ConfigKey::ContainerCredentialsFullUri)
            && set(AmazonS3ConfigKey::ContainerAuthorizationTokenFile))
}

/// A profile that somebody named must not silently become the machine's role; nor must the machine be asked where it
/// may not be.
fn refuse_profile(env: &Variables) -> Result<()> {
    let var = |name: &str| env.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value);
    if var("AWS_PROFILE").is_some() {
        return Err(Error::config("AWS_PROFILE names a profile, and profiles can't be read here").hint(EXPORT_HINT));
    }
    let disabled = var("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if disabled {
        return Err(Error::config("there are no AWS credentials in the environment")
            .hint(format!("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; {EXPORT_HINT}")));
    }
    Ok(())
}

const AWS_HINT: &str = "check source.endpoint in the config and the AWS_... variables of the environment";
