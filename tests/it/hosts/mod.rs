//! Workers on several hosts: one is cut off in mid-load, others finish its job, and when it is back, what it still has
//! to commit changes nothing.
//!
//! The hosts are network namespaces with addresses of their own, the cut is a cable that is pulled, and the servers are
//! those of a bridge. Where namespaces are not allowed the test says so; the same story is told with a black hole of the
//! proxy, anywhere.
//!
//! Invariant: neither side is told of the cut: no connection is reset, and what is under way stays under way.

#![cfg(feature = "failpoints")]

mod network;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tempfile::TempDir;

use crate::directed::oracle::{assert_whole, everything};
use crate::directed::stories::{LONG, SHORT, long, undisturbed};
use crate::e2e::project::{Db, KEYED_EVENTS_SCHEMA, Project, Ran, events, eventually};
use crate::proxy::Proxy;
use crate::s3::server::S3Server;
use crate::servers::{Database, Kind, Server};
use crate::skip::say;
use network::{Host, Network};

/// The long file has four segments of so many records. The cut comes in its second.
const SEGMENT_RECORDS: &str = "16";
const SETTINGS: &str = "etl: {lease: 2s, connections: 1, max_attempts: 50, max_expiries: 50}";
/// Before it begins its transaction, and behind its last statement, when it holds the file's row in the ledger: then the
/// server cuts it off after its `wait_timeout`.
const CUT_AT: [&str; 2] = ["segment.encoded", "segment.rejects"];

/// How the two hosts reach the servers, and how host A is cut off.
enum Way {
    Cable(Network),
    /// In front of the database server and the bucket, for A only.
    BlackHole(Box<[Proxy; 2]>),
}

impl Way {
    fn on(&self, host: Host) -> Vec<String> {
        match self {
            Self::Cable(network) => network.on(host),
            Self::BlackHole(_) => vec!["env".to_owned()],
        }
    }

    /// What a host's config has in place of the addresses of the database server and the bucket.
    fn addresses(&self, host: Host, here: [SocketAddr; 2]) -> [SocketAddr; 2] {
        match self {
            Self::Cable(network) => here.map(|address| (network.servers(), address.port()).into()),
            Self::BlackHole(proxies) if host == Host::A => [0, 1].map(|index| proxies[index].address()),
            Self::BlackHole(_) => here,
        }
    }

    fn cut(&self) {
        match self {
            Self::Cable(network) => network.unplug(Host::A),
            Self::BlackHole(proxies) => proxies.iter().for_each(Proxy::black_hole),
        }
    }

    fn mend(&self) {
        match self {
            Self::Cable(network) => network.plug_in(Host::A),
            Self::BlackHole(proxies) => proxies.iter().for_each(Proxy::heal),
        }
    }
}

/// A project whose workers are on two hosts.
struct Site<'s> {
    way: &'s Way,
    project: Project,
    /// Where A says what it has reached, and is told to go on.
    folder: TempDir,
}

impl<'s> Site<'s> {
    /// Set up and scanned: one job of two files.
    fn new(way: &'s Way, s3: &S3Server, databases: [&Database<'_>; 2]) -> Self {
        let mut variables = s3.variables();
        variables.push(("LOADLINE_SEGMENT_RECORDS".to_owned(), SEGMENT_RECORDS.to_owned()));
        let [metadata, reporting] = databases;
        let project = Project::over(&s3.source(""), &variables, "events", KEYED_EVENTS_SCHEMA, SETTINGS);
        let project = project.on(metadata, reporting, SETTINGS);
        let site = Self { way, project, folder: tempfile::tempdir().unwrap() };
        for host in [Host::A, Host::B] {
            site.configure(host, [([127, 0, 0, 1], metadata.server.port()).into(), s3.address()]);
        }
        s3.bucket.put(LONG, long(), 1);
        s3.bucket.put(SHORT, events(101..=105), 2);
        site.project.run(&["setup"]).ok();
        site.project.scan().ok();
        site
    }

    /// The config of a host, as a user who may come from anywhere.
    fn configure(&self, host: Host, here: [SocketAddr; 2]) {
        let [database, bucket] = self.way.addresses(host, here);
        let config = fs::read_to_string(self.project.path("config.yaml")).unwrap();
        let config = config.replace(&format!("root@{}/", here[0]), &format!("loader:secret@{database}/"));
        let config = config.replace("_database: {", "_database: {tls: disabled, ");
        let config = config.replace(&here[1].to_string(), &bucket.to_string());
        fs::write(self.project.path(config_of(host)), config).unwrap();
    }

    fn start(&self, host: Host, failpoints: &str) -> Worker {
        let folder = self.folder.path().to_str().unwrap();
        let variables = [("LOADLINE_FAILPOINTS", failpoints), ("LOADLINE_FAILPOINT_DIR", folder)];
        Worker(Some(self.project.start_behind(&self.way.on(host), &etl(host), &variables)))
    }

    /// B works until both files are loaded; it finds nothing to do until A's lease is over.
    fn finish_on_b(&self) -> Vec<Ran> {
        let mut runs = Vec::new();
        eventually("host B loads the job", || {
            runs.push(self.start(Host::B, "").finish(&self.project, Host::B).ok());
            self.project.statuses() == ["LOADED"]
        });
        runs
    }
}

/// A running `etl`. Dropped, it is killed.
struct Worker(Option<Child>);

impl Worker {
    fn is_over(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    fn finish(mut self, project: &Project, host: Host) -> Ran {
        project.finish(&etl(host), self.0.take().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn config_of(host: Host) -> &'static str {
    match host {
        Host::A => "a.yaml",
        Host::B => "b.yaml",
    }
}

fn etl(host: Host) -> [&'static str; 5] {
    ["--config", config_of(host), "etl", "--workers", "1"]
}

fn file(folder: &Path, point: &str, what: &str) -> PathBuf {
    folder.join(format!("{point}.{what}"))
}

/// One cut, from the claim of A to its end.
fn tell(way: &Way, s3: &S3Server, server: &Server, point: &'static str) {
    let (metadata, reporting) = (server.fresh(), server.fresh());
    for database in [&metadata, &reporting] {
        server.execute(&[&format!("GRANT ALL ON `{}`.* TO 'loader'@'%'", database.name)]);
    }
    let site = Site::new(way, s3, [&metadata, &reporting]);
    let (project, folder) = (&site.project, site.folder.path());

    let mut a = site.start(Host::A, &format!("{point}=stall@2"));
    eventually("A stands in its second segment, or ends", || file(folder, point, "reached").exists() || a.is_over());
    let records = "SELECT max(records_done), min(records_done) FROM loadline_files";
    assert_eq!(project.row(Db::Reporting, records), format!("{SEGMENT_RECORDS}|0"), "{point}");
    if let Way::Cable(network) = way {
        let from = format!(
            "SELECT count(*) > 0 FROM information_schema.processlist WHERE host LIKE '{}:%'",
            network.address(Host::A)
        );
        assert_eq!(project.row(Db::Reporting, &from), "1", "A does not come from its own address");
    }

    way.cut();
    let runs = site.finish_on_b();
    assert_whole(project, undisturbed(), &format!("{point}: A is cut off, B has loaded: {runs:?}"));
    assert!(!a.is_over(), "A has ended, and this shows nothing");

    let before = everything(project);
    way.mend();
    fs::write(file(folder, point, "go"), "").unwrap();
    let woken = a.finish(project, Host::A);
    assert_eq!(everything(project), before, "{point}: {woken}");
    woken.ok();
}

fn let_in_from_anywhere(server: &Server) {
    server.execute(&["CREATE USER IF NOT EXISTS 'loader'@'%' IDENTIFIED BY 'secret'"]);
}

fn over_cables(kind: Kind) {
    let network = match Network::lay() {
        Ok(network) => network,
        Err(why) => return say(&format!("no network namespaces here ({why}): the black hole tells the story alone")),
    };
    let listen = format!("--bind-address=127.0.0.1,{}", network.servers());
    let Some(server) = Server::start(kind, &[&listen]) else { return };
    let_in_from_anywhere(&server);
    let (servers, way) = (network.servers(), Way::Cable(network));
    for point in CUT_AT {
        tell(&way, &S3Server::start_at(servers), &server, point);
    }
}

#[test]
fn a_host_cut_off_from_mariadb_changes_nothing_when_it_is_back() {
    over_cables(Kind::MariaDb);
}

#[test]
fn a_host_cut_off_from_mysql_changes_nothing_when_it_is_back() {
    over_cables(Kind::MySql);
}

#[test]
fn a_worker_in_a_black_hole_changes_nothing_when_it_is_back() {
    let Some(server) = Server::start(Kind::MariaDb, &[]) else { return };
    let_in_from_anywhere(&server);
    for point in CUT_AT {
        let s3 = S3Server::start();
        let proxies = [Proxy::mysql(([127, 0, 0, 1], server.port()).into()), Proxy::start(s3.address())];
        tell(&Way::BlackHole(Box::new(proxies)), &s3, &server, point);
    }
}

#[test]
fn a_network_leaves_nothing_behind() {
    let left = || {
        let listed = |arguments: &[&str]| {
            let ran = Command::new("ip").args(arguments).output();
            ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default()
        };
        [listed(&["netns", "list"]), listed(&["-o", "link"])].concat()
    };
    let Ok(network) = Network::lay() else { return };
    let name = network.name().to_owned();
    assert!(left().contains(&name));
    drop(network);
    assert!(!left().contains(&name), "{}", left());
}
