//! Reading with little patience, through the crate: what the binary would wait half a minute for.

use std::time::Duration;

use futures::TryStreamExt;
use loadline::config::Config;
use loadline::engine;
use loadline::fingerprint::Fingerprint;
use loadline::source::{FileRef, Patience, Source, head, reachable};
use sha2::{Digest, Sha256};

use super::server::{Effect, Kind, S3Server};
use super::whole_path::project;
use crate::e2e::project::{events, hour};

const PATIENCE: Patience = Patience {
    stall: Duration::from_millis(200),
    failures_max: 4,
    backoff: Duration::from_millis(1),
    backoff_max: Duration::from_millis(2),
};

struct Bench {
    server: S3Server,
    config: Config,
    source: Source,
    file: FileRef,
}

impl Bench {
    fn new() -> Self {
        let server = S3Server::start();
        let key = format!("{}/long.csv", hour(0));
        server.bucket.put(&key, events(0..6000), 0);
        let project = project(&server, "", "");
        let config = Config::load(&project.path("config.yaml")).unwrap();
        let source = Source::with_environment(&config.source, &server.variables()).unwrap().with_patience(PATIENCE);
        let entry = block_on(head(&source, &key)).unwrap().unwrap();
        let file = FileRef { key: entry.key, version: entry.version, size: entry.size };
        server.forget_seen();
        Self { server, config, source, file }
    }

    /// Reads the file to its end; how many records it has, or what went wrong.
    fn records(&self) -> Result<usize, String> {
        block_on(async {
            let (feed, files) = (&self.config.feeds[0], std::slice::from_ref(&self.file));
            let rows = engine::query(&self.source, feed, files, "SELECT id FROM source").await.unwrap();
            let counts = rows.map_ok(|batch| batch.num_rows()).try_collect::<Vec<_>>().await;
            let counts = counts.map_err(|error| engine::from_datafusion(error).chain());
            counts.map(|counts| counts.iter().sum())
        })
    }

    /// The fingerprint of a load of the file.
    fn fingerprint(&self) -> Option<Fingerprint> {
        block_on(async {
            let planner = engine::LoadPlanner::new(&self.source, &self.config.feeds[0]).await.unwrap();
            let mut stream = planner.over(std::slice::from_ref(&self.file)).file(0).unwrap();
            while stream.next().await.unwrap().is_some() {}
            stream.fingerprint()
        })
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_body_that_stalls_is_asked_for_again_from_there() {
    let bench = Bench::new();
    bench.server.inject(Kind::Get, 0, 1, Effect::Stall(0));
    bench.server.inject(Kind::Get, 0, 1, Effect::Stall(30_000));
    assert_eq!(bench.records(), Ok(6000));
    let ranges: Vec<_> = bench.server.seen(Kind::Get).into_iter().map(|get| get.range).collect();
    assert_eq!(ranges, [None, None, Some("bytes=30000-".to_owned())]);
}

#[test]
fn failures_in_a_row_are_bounded_and_a_byte_begins_the_count_anew() {
    let bench = Bench::new();
    bench.server.inject(Kind::Get, 0, 10, Effect::Cut(1000));
    assert_eq!(bench.records(), Ok(6000));
    bench.server.forget_seen();
    bench.server.inject(Kind::Get, 0, 1000, Effect::Cut(0));
    let said = bench.records().unwrap_err();
    assert!(said.contains("0 of") && said.contains("bytes were read"), "{said}");
    assert_eq!(bench.server.count(Kind::Get), PATIENCE.failures_max as usize);
}

#[test]
fn a_trickle_is_tried_on_another_connection_and_then_given_up() {
    let bench = Bench::new();
    let trickle = || Effect::Trickle(PATIENCE.stall / 10);
    bench.server.inject(Kind::Get, 0, 1, trickle());
    assert_eq!(bench.records(), Ok(6000));
    assert_eq!(bench.server.count(Kind::Get), 2);
    bench.server.inject(Kind::Get, 0, 2, trickle());
    let said = bench.records().unwrap_err();
    assert!(said.contains("trickle"), "{said}");
}

#[test]
fn a_server_without_ranges_is_read_from_the_start_and_gives_each_byte_once() {
    let bench = Bench::new();
    bench.server.bucket.ignore_ranges();
    bench.server.inject(Kind::Get, 0, 1, Effect::Cut(50_000));
    bench.server.inject(Kind::Get, 0, 1, Effect::Cut(20_000));
    assert_eq!(bench.records(), Ok(6000));
    assert_eq!(bench.server.count(Kind::Get), 3);
}

#[test]
fn the_fingerprint_is_that_of_the_whole_object_however_often_reading_broke_off() {
    let bench = Bench::new();
    let whole: [u8; 32] = Sha256::digest(events(0..6000)).into();
    let expected = Some(Fingerprint { bytes: bench.file.size, sha256: whole });
    assert_eq!(bench.fingerprint(), expected);
    bench.server.inject(Kind::Get, 0, 2, Effect::Cut(70_001));
    assert_eq!(bench.fingerprint(), expected);
    bench.server.bucket.ignore_ranges();
    bench.server.inject(Kind::Get, 0, 1, Effect::Cut(50_000));
    assert_eq!(bench.fingerprint(), expected);
    assert_eq!(bench.server.count(Kind::Get), 1 + 3 + 2);
}

#[test]
fn whether_the_source_is_there_takes_one_small_request() {
    let bench = Bench::new();
    block_on(reachable(&bench.source)).unwrap();
    let lists = bench.server.seen(Kind::List);
    assert!(
        lists.len() == 1 && lists[0].query.contains("max-keys=1&") | lists[0].query.ends_with("max-keys=1"),
        "{lists:?}"
    );
    assert!(block_on(head(&bench.source, "nothing/here.csv")).unwrap().is_none());
    assert!(block_on(head(&bench.source, "a//b.csv")).unwrap().is_none());
}
