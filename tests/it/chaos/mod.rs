//! Exactly once, under attack: real processes of the real binary, killed, frozen, told to stop and given a wrong clock,
//! on servers that are killed, behind proxies that lose what they carry, over a bucket that fails and changes. Then all
//! is healed and drained, and an oracle that knows every record looks where each of them is.
//!
//! ```text
//! world     what is put at the source, record by record
//! actors    workers and scanners                operator  a person who is cut off
//! faults    what may happen, and how often      attack    lets it happen
//! drain     the morning after                   oracle    what must be true then
//! ```
//!
//! A minute of it on MariaDB and on SQLite is in the suite; `tests/chaos` runs it for as long as one likes, and on MySQL.
//! A seed replays what is drawn, though not what the machine makes of it.

mod actors;
mod attack;
mod disk;
mod drain;
mod faults;
mod operator;
mod oracle;
mod power;
mod reclaim;
mod report;
mod site;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use attack::{Between, Outcome, Plan, attack};
use disk::Disk;
use report::Report;
use site::{Databases, Setup, Site};
use world::{Source, World};

use crate::e2e::project::Db;
use crate::proxy::Proxy;
use crate::s3::server::S3Server;
use crate::servers::{Kind, Server};
use crate::skip;

/// Seconds in the suite.
const SHORT: u64 = 60;
/// From so many seconds on, everything that may happen must have happened.
const LONG: u64 = 300;
const SEED: u64 = 20_260_101;
/// So many deadlocks may come by chance in a short time; beyond that, fewer than one in 10,000 segments.
const DEADLOCKS_SPARED: u64 = 2;
/// Records of a segment, so that small files have several.
const SEGMENT: &str = "25";

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn seconds() -> u64 {
    asked("LOADLINE_CHAOS_SECONDS").unwrap_or(SHORT)
}

fn seed() -> u64 {
    let seed = asked("LOADLINE_CHAOS_SEED").unwrap_or(SEED);
    skip::say(&format!("LOADLINE_CHAOS_SEED={seed}"));
    seed
}

fn plan(on_servers: bool) -> Plan {
    let seed = seed();
    Plan {
        seed,
        time: Duration::from_secs(seconds()),
        workers: asked("LOADLINE_CHAOS_WORKERS").unwrap_or(2),
        lease: [2.0, 3.0, 5.0][(seed % 3) as usize],
        reloads: seed % 4 == 3,
        weights: if on_servers { &faults::ON_SERVERS } else { &faults::ON_SQLITE },
        pause: if on_servers { 0.35 } else { 0.6 },
        backlog: 120,
        ends_when_doubled: false,
    }
}

#[test]
fn on_mariadb() {
    on_servers(Kind::MariaDb);
}

#[test]
#[ignore = "a minute on MariaDB is in the suite; tests/chaos --backend mysql asks for this one"]
fn on_mysql() {
    on_servers(Kind::MySql);
}

#[test]
fn on_sqlite() {
    let plan = plan(false);
    let (mut site, mut world, disk) = sqlite(vec![], plan.lease, plan.reloads);
    prepare(&site);
    let outcome = attack(&plan, &site, &mut world, None, disk.as_ref());
    finish(&mut site, &world, &plan, "SQLite", outcome, &["kill -9 of a worker", "worker frozen"]);
}

fn on_servers(kind: Kind) {
    let options: &[&str] = match kind {
        Kind::MariaDb => &["--innodb-print-all-deadlocks=ON"],
        Kind::MySql => &["--innodb-print-all-deadlocks=ON", "--log-error-verbosity=3"],
    };
    // In a long run: a server may take a minute to notice that a full disk has room again.
    let small = tempfile::tempdir().unwrap();
    let disk = (seconds() >= LONG).then(|| Disk::mount(small.path(), 600 + 2 * seconds())).flatten();
    let elsewhere = std::env::temp_dir();
    let of_reporting = if disk.is_some() { small.path() } else { &elsewhere };
    let reporting = Server::start_in(of_reporting, kind, options);
    let (Some(metadata), Some(reporting)) = (Server::start(kind, options), reporting) else { return };
    let databases = [metadata.fresh(), reporting.fresh(), metadata.fresh(), reporting.fresh()];
    let [metadata_address, reporting_address, side_metadata, side_reporting] =
        [0, 1, 2, 3].map(|at| databases[at].address());
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let s3 = S3Server::start_without_clock();
    let proxies =
        [Proxy::mysql(local(metadata.port())), Proxy::mysql(local(reporting.port())), Proxy::start(s3.address())];
    let [metadata_port, reporting_port] = [0, 1].map(|at: usize| proxies[at].address().port());
    let plan = plan(true);
    let setup = Setup {
        source: s3.source_through(proxies[2].address(), ""),
        urls: [metadata_address.url_through(metadata_port), reporting_address.url_through(reporting_port)],
        side_urls: Some([side_metadata.url_through(metadata_port), side_reporting.url_through(reporting_port)]),
        variables: [s3.variables(), segments()].concat(),
        lease: plan.lease,
        reloads: plan.reloads,
    };
    let mut world = World::new(Source::Bucket(s3.bucket.clone()));
    let addresses = [metadata_address, reporting_address];
    let side = [side_metadata, side_reporting];
    let databases_of_site = Databases::Servers { addresses: addresses.clone(), side };
    let mut site = Site::new(tempfile::tempdir().unwrap(), databases_of_site, setup);
    prepare(&site);
    let between = Between { servers: [&metadata, &reporting], addresses, proxies, s3 };
    let outcome = attack(&plan, &site, &mut world, Some(&between), disk.as_ref());
    for (name, server) in ["metadata", "reporting"].iter().zip(between.servers) {
        let log = site.path("logs").join(format!("{name}-server"));
        std::fs::copy(server.folder().join("log"), log).unwrap();
    }
    let expected = if seconds() >= LONG { &faults::ALL_ON_SERVERS[..] } else { &faults::ALL_ON_SERVERS[..3] };
    finish(&mut site, &world, &plan, &format!("{kind:?}"), outcome, expected);
}

fn segments() -> Vec<(String, String)> {
    vec![("LOADLINE_SEGMENT_RECORDS".to_owned(), SEGMENT.to_owned())]
}

/// A folder of files and two SQLite files, on a disk of its own where one may be mounted.
fn sqlite(variables: Vec<(String, String)>, lease: f64, reloads: bool) -> (Site, World, Option<Disk>) {
    let folder = tempfile::tempdir().unwrap();
    let incoming = folder.path().join("incoming");
    let db: PathBuf = folder.path().join("db");
    std::fs::create_dir(&incoming).unwrap();
    std::fs::create_dir(&db).unwrap();
    let disk = Disk::mount(&db, 256);
    let setup = Setup {
        source: "{url: \"file:incoming\"}".to_owned(),
        urls: ["metadata", "reporting"].map(|name| format!("sqlite:db/{name}.db")),
        side_urls: None,
        variables: [segments(), variables].concat(),
        lease,
        reloads,
    };
    (Site::new(folder, Databases::Sqlite, setup), World::new(Source::Folder(incoming)), disk)
}

/// Set up, and with a witness of every segment that is committed.
fn prepare(site: &Site) {
    let ended = site.run(&["setup"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let moved = "NEW.records_done > OLD.records_done OR NEW.complete > OLD.complete";
    let insert = "INSERT INTO chaos_segments (file, epoch, done) ";
    let values = "NEW.file, NEW.epoch, NEW.records_done";
    let (key, trigger) = match site.is_sqlite() {
        true => ("INTEGER PRIMARY KEY", format!("WHEN {moved} BEGIN {insert} VALUES ({values}); END")),
        false => (
            "BIGINT AUTO_INCREMENT PRIMARY KEY",
            format!("FOR EACH ROW {insert} SELECT {values} FROM DUAL WHERE {moved}"),
        ),
    };
    site.execute(
        Db::Reporting,
        &format!("CREATE TABLE chaos_segments (n {key}, file BIGINT, epoch BIGINT, done BIGINT)"),
    );
    site.execute(Db::Reporting, &format!("CREATE TRIGGER chaos_witness AFTER UPDATE ON loadline_files {trigger}"));
}

/// Drains, judges, prints, and fails where something is not as it should be.
fn finish(site: &mut Site, world: &World, plan: &Plan, title: &str, outcome: Outcome, expected: &[&str]) {
    let mut report = Report {
        title: format!("{title}{}", if plan.reloads { ", on_overwrite: reload" } else { "" }),
        seed: plan.seed,
        seconds: outcome.seconds,
        lease: plan.lease,
        files: world.files.len(),
        records: world.records(),
        faults: outcome.faults,
        failures: outcome.failures,
        reclaims: outcome.reclaims,
        ..Report::default()
    };
    if !site.is_sqlite() {
        report.deadlocks = vec![("metadata", outcome.deadlocks[0]), ("reporting", outcome.deadlocks[1])];
    }
    report.segments = site.number(Db::Reporting, "SELECT count(*) FROM chaos_segments");
    if outcome.owes_setup {
        report.failures.extend(drain::set_up(site));
    }
    report.failures.extend(drain::drain(site));
    report.verdict = oracle::judge(site, world);
    if report.verdict.is_clean() {
        report.failures.extend(drain::replace_quarantined(site));
        report.verdict = oracle::judge(site, world);
        let audited = drain::audit(site);
        report.audited = audited.as_ref().map(Vec::is_empty);
        report.failures.extend(audited.unwrap_or_default());
    }
    if !site.is_sqlite() {
        report.failures.extend(drain::set_up_side(site));
    }
    report.jobs = site.number(Db::Metadata, "SELECT count(*) FROM scanner_jobs WHERE status <> 'NONE'");
    let deadlocks: u64 = outcome.deadlocks.iter().sum();
    if deadlocks > DEADLOCKS_SPARED && deadlocks * 10_000 > report.segments {
        report.failures.push(format!("{deadlocks} deadlocks: the servers' logs tell of each"));
    }
    let missing = expected.iter().filter(|name| report.faults.of(name) == 0);
    report.failures.extend(missing.map(|name| format!("`{name}` never happened")));
    if !report.is_clean() {
        report.kept = Some(site.keep());
    }
    left_out(&mut report);
    skip::say(&report.render());
    assert!(report.is_clean(), "see above; seed {}", plan.seed);
}

fn left_out(report: &mut Report) {
    if actors::faketime().is_none() {
        report.left_out.push("clocks a day off: there is no libfaketime; tests/install says how to get it".to_owned());
    }
    if report.faults.of("full disk") == 0 {
        report.left_out.push("a full disk: nothing may be mounted here, or the time was too short".to_owned());
    }
}
