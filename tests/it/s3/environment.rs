//! Endpoints, credentials and rights that are not what they should be: what is said, and what a script sees.

use super::server::{Effect, Kind, S3Server};
use super::whole_path::project;
use crate::e2e::project::{EVENTS_SCHEMA, Project, Ran, events, hour};

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn setup(source: &str, variables: &[(String, String)]) -> Ran {
    Project::over(source, variables, "events", EVENTS_SCHEMA, "").run(&["setup"])
}

#[test]
fn a_profile_gets_the_command_that_makes_it_work() {
    let server = S3Server::start();
    let says = ["aws configure export-credentials --format env"];
    let with_profile = setup(&server.source(""), &variables(&[("AWS_PROFILE", "work")]));
    with_profile.exits(2).says(&says).says(&["AWS_PROFILE"]);
    let alone = setup(&server.source(""), &variables(&[("AWS_EC2_METADATA_DISABLED", "true")]));
    alone.exits(2).says(&says).says(&["AWS_ACCESS_KEY_ID"]);
    // A machine that should have a role, and does not answer.
    let nowhere = [("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")];
    setup(&server.source(""), &variables(&nowhere)).exits(2).says(&says);
    assert_eq!(server.count(Kind::List), 0);
}

#[test]
fn plain_http_is_used_where_it_is_allowed_only() {
    let server = S3Server::start();
    let endpoint = server.endpoint();
    let plain = format!("{{url: \"s3://hourly-files\", endpoint: \"{endpoint}\"}}");
    setup(&plain, &server.variables()).exits(2).says(&["source.endpoint", "plain http", "allow_http: true"]);
    let denied = format!("{{url: \"s3://hourly-files\", endpoint: \"{endpoint}\", allow_http: false}}");
    let mut allowed = server.variables();
    allowed.extend(variables(&[("AWS_ALLOW_HTTP", "true")]));
    setup(&denied, &allowed).exits(2).says(&["source.endpoint", "plain http"]);
    setup(&plain, &allowed).ok();

    let bare = "{url: \"s3://hourly-files\"}";
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let mut with_endpoint = server.variables();
        with_endpoint.extend(variables(&[(name, &endpoint), ("AWS_REGION", "eu-west-1")]));
        setup(bare, &with_endpoint).exits(2).says(&["plain http", "allow_http: true"]);
        with_endpoint.extend(variables(&[("AWS_ALLOW_HTTP", "true")]));
        setup(bare, &with_endpoint).ok();
    }
}

#[test]
fn what_is_refused_says_what_to_do() {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/x.csv", hour(0)), events(0..10), 0);
    let wrong = variables(&[("AWS_ACCESS_KEY_ID", "test-access-key"), ("AWS_SECRET_ACCESS_KEY", "hunter2-wrong")]);
    let ran = setup(&server.source(""), &wrong)
        .exits(2)
        .says(&["does not accept the AWS credentials", "AWS_SECRET_ACCESS_KEY"]);
    assert!(!ran.stderr.contains("hunter2"), "{ran}");
    let elsewhere = server.source("").replace("hourly-files", "no-such-bucket");
    setup(&elsewhere, &server.variables()).exits(2).says(&["there is no bucket `no-such-bucket`", "source.url"]);

    for (effect, says) in [
        (
            Effect::Status(301, "PermanentRedirect"),
            &["region eu-central-1, not in eu-west-1", "AWS_REGION=eu-central-1"][..],
        ),
        (Effect::Status(400, "ExpiredToken"), &["don't hold any more", "export-credentials"]),
        (Effect::Status(403, "RequestTimeTooSkewed"), &["clock"]),
        (Effect::Status(403, "AccessDenied"), &["may not be listed", "s3:ListBucket", "arn:aws:s3:::hourly-files"]),
    ] {
        server.inject(Kind::List, 0, 1, effect);
        setup(&server.source(""), &server.variables()).exits(2).says(says);
    }
    server.inject(Kind::Get, 0, 1, Effect::Status(403, "AccessDenied"));
    setup(&server.source(""), &server.variables()).exits(2).says(&["s3:GetObject", "kms:Decrypt"]);
    assert_eq!(server.faults_left(), 0);
    let mut no_url = server.variables();
    no_url.extend(variables(&[("AWS_ENDPOINT_URL", "localhost:9000")]));
    setup("{url: \"s3://hourly-files\"}", &no_url).exits(2).says(&["not a url", "AWS_ENDPOINT_URL"]);
    let mut cut_off = server.variables();
    cut_off.extend(variables(&[("AWS_SESSION_TOKEN", "sec\nret")]));
    let ran = setup(&server.source(""), &cut_off).exits(2).says(&["line end"]);
    assert!(!ran.stderr.contains("ret\n"), "{ran}");
    let down = server.source("").replace(&server.endpoint(), "http://127.0.0.1:1");
    setup(&down, &server.variables()).exits(4).says(&["can't be reached", "source.endpoint"]);
}

#[test]
fn rights_that_are_lost_fail_no_job() {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/x.csv", hour(0)), events(0..10), 0);
    let project = project(&server, "", "etl: {max_attempts: 1}");
    project.scan().ok();
    server.bucket.forbid_listing();
    server.inject(Kind::Get, 0, 1, Effect::Status(403, "AccessDenied"));
    project.scan().exits(2).says(&["s3:ListBucket"]);
    project.etl().exits(2).says(&["s3:ListBucket"]);
    assert_eq!(project.statuses(), ["SENT_FOR_ETL"]);
}
