//! The answers of an S3 server to the GET of a job's file, again and again until it is healed.

use super::End::{self, Failed, Later, Loaded, Outage, Quarantined};
use super::{assert_heals, ends};
use crate::e2e::project::{Db, events, hour};
use crate::s3::server::{Effect, Kind, S3Server};
use crate::s3::whole_path::project;

const RECORDS: usize = 3000;
const FOR_EVER: usize = usize::MAX;

/// Which requests, how many of them, what they suffer, and the end of the job.
type Case = (&'static [Kind], usize, Effect, End);

const READS: &[Kind] = &[Kind::Get];
/// The bucket as a whole: what every job needs.
const ALL: &[Kind] = &[Kind::Get, Kind::List, Kind::Head];

fn cases() -> Vec<Case> {
    let status = |times, status, code, end| (READS, times, Effect::Status(status, code), end);
    vec![
        // Of this request only: the bucket can be listed.
        status(FOR_EVER, 400, "InvalidRequest", Later),
        status(FOR_EVER, 400, "ExpiredToken", Later),
        status(FOR_EVER, 403, "AccessDenied", Later),
        status(FOR_EVER, 403, "SignatureDoesNotMatch", Later),
        status(FOR_EVER, 403, "RequestTimeTooSkewed", Later),
        status(FOR_EVER, 404, "NoSuchBucket", Later),
        status(FOR_EVER, 409, "OperationAborted", Later),
        status(FOR_EVER, 429, "TooManyRequests", Later),
        status(FOR_EVER, 500, "InternalError", Later),
        status(FOR_EVER, 503, "SlowDown", Later),
        status(FOR_EVER, 301, "PermanentRedirect", Later),
        status(FOR_EVER, 307, "TemporaryRedirect", Later),
        (READS, FOR_EVER, Effect::Reset, Later),
        (READS, FOR_EVER, Effect::Cut(0), Later),
        // Of the file.
        status(FOR_EVER, 403, "InvalidObjectState", Failed),
        status(FOR_EVER, 404, "NoSuchKey", Failed),
        status(FOR_EVER, 412, "PreconditionFailed", Quarantined),
        status(FOR_EVER, 416, "InvalidRange", Quarantined),
        (READS, FOR_EVER, Effect::Answer(""), Quarantined),
        // What passes.
        status(2, 429, "TooManyRequests", Loaded),
        status(2, 500, "InternalError", Loaded),
        status(2, 503, "SlowDown", Loaded),
        status(2, 503, "ServiceUnavailable", Loaded),
        status(2, 408, "RequestTimeout", Loaded),
        (READS, 2, Effect::Reset, Loaded),
        (READS, 2, Effect::Cut(20_000), Loaded),
        (READS, 1, Effect::Stall(20_000), Loaded),
        (READS, 1, Effect::Silence, Loaded),
        // Of the whole bucket.
        (ALL, FOR_EVER, Effect::Status(500, "InternalError"), Outage),
        (ALL, FOR_EVER, Effect::Status(503, "SlowDown"), Outage),
        (ALL, FOR_EVER, Effect::Reset, Outage),
    ]
}

/// What is not as the table says.
fn tell((kinds, times, effect, end): Case) -> Result<(), String> {
    let server = S3Server::start();
    server.bucket.put(&format!("{}/events.csv", hour(0)), events(0..RECORDS as u64), 0);
    let project = project(&server, "", "etl: {max_attempts: 1000}");
    project.scan().ok();
    for kind in kinds {
        server.inject(*kind, 0, times, effect.clone());
    }
    let ran = project.run(&["etl", "--workers", "1"]);
    let found = ends(&project)[0].1;
    let rows = project.row(Db::Reporting, "SELECT count(*) FROM events");
    server.heal();
    let loaded = if end == Loaded { RECORDS } else { 0 };
    if (ran.code, found, rows) != (Some(end.exit()), Some(end), loaded.to_string()) {
        return Err(format!("{kinds:?} {times} x {effect:?}: {found:?}, not {end:?}: {ran}"));
    }
    assert_heals(&project, RECORDS);
    Ok(())
}

#[test]
fn every_answer_leads_to_its_end_and_heals() {
    // Side by side, as two of them wait for a silence to be long enough.
    let cases = cases();
    let told = std::thread::scope(|scope| {
        let quarter = cases.len().div_ceil(4);
        let tellers: Vec<_> = cases
            .chunks(quarter)
            .map(|cases| scope.spawn(|| cases.iter().cloned().map(tell).collect::<Vec<_>>()))
            .collect();
        tellers.into_iter().flat_map(|teller| teller.join().unwrap()).collect::<Vec<_>>()
    });
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A listing that is none changes nothing, and the next scan finds everything.
#[test]
fn an_answer_to_a_listing_that_is_no_listing_registers_nothing() {
    for answer in ["", "garbage", "<html><body>It works!</body></html>", "<ListBucketResult><Contents><Key>a</Key>"] {
        let server = S3Server::start();
        server.bucket.put(&format!("{}/events.csv", hour(0)), events(0..10), 0);
        let project = project(&server, "", "");
        server.inject(Kind::List, 0, FOR_EVER, Effect::Answer(answer));
        let ran = project.scan();
        assert!(matches!(ran.code, Some(2 | 4)), "{answer}: {ran}");
        assert_eq!(project.row(Db::Metadata, "SELECT count(*) FROM scanner_files"), "0", "{answer}");
        server.heal();
        project.scan_and_load();
        assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "10");
    }
}
