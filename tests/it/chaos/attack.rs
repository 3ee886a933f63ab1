//! The attack: keeps the processes going, the source busy, and everything in between in trouble, until the time is up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::actors::{self, Actor};
use super::disk::Disk;
use super::faults::{self, Counts, Fault, S3Faults};
use super::operator::Operator;
use super::oracle;
use super::reclaim::Reclaims;
use super::site::Site;
use super::world::World;
use crate::e2e::project::Db;
use crate::proxy::{self, LostCommit, Proxy, Towards};
use crate::s3::server::S3Server;
use crate::servers::{Address, Kind, Server};

const TICK: Duration = Duration::from_millis(15);
/// How often the source is filled up.
const FEED_EVERY: Duration = Duration::from_millis(700);
/// New files at a time.
const FED_MAX: usize = 60;
/// Between two deaths of one server.
const SERVER_REST: Duration = Duration::from_secs(15);
/// Between two times that the disk of a server is full: it takes a minute to notice that there is room again.
const DISK_REST: Duration = Duration::from_secs(100);
/// Between two losses of the metadata; and how long after one a process may still say that it is not set up.
const METADATA_REST: Duration = Duration::from_secs(40);
const LACKING: Duration = Duration::from_secs(20);
/// How long the processes may take to end when the time is up.
const PARTING: Duration = Duration::from_secs(4);

/// What this attack is like.
pub struct Plan {
    pub seed: u64,
    pub time: Duration,
    pub workers: usize,
    pub lease: f64,
    /// `on_overwrite: reload`.
    pub reloads: bool,
    pub weights: &'static [(Fault, u32)],
    /// Between two faults, in seconds, on average.
    pub pause: f64,
    /// Files that wait to be loaded.
    pub backlog: usize,
    /// Ends as soon as an id stands in the table twice: it is what is looked for.
    pub ends_when_doubled: bool,
}

/// What lies between the program and its data.
pub struct Between<'a> {
    /// Metadata and reporting.
    pub servers: [&'a Server; 2],
    pub addresses: [Address; 2],
    /// In front of those two, and of S3.
    pub proxies: [Proxy; 3],
    pub s3: S3Server,
}

pub const PROXY_NAMES: [&str; 3] = ["metadata", "reporting", "S3"];
const REPORTING: usize = 1;
const S3: usize = 2;

/// What is found out beside the verdict.
#[derive(Default)]
pub struct Outcome {
    pub faults: Counts,
    pub failures: Vec<String>,
    /// Of metadata and reporting.
    pub deadlocks: [u64; 2],
    pub reclaims: Vec<super::reclaim::Sample>,
    pub seconds: f64,
    /// The metadata was lost, and nobody has set it up again.
    pub owes_setup: bool,
}

/// A server's deaths, and the deadlocks that it had counted before.
#[derive(Default)]
struct Deaths {
    is_down: AtomicBool,
    deadlocks: Mutex<u64>,
}

/// A black hole, a slowness or a full disk that ends by itself.
struct Spell {
    end_at: Instant,
    /// Which proxy; `None`: the disk.
    proxy: Option<usize>,
    /// It ends with all connections cut, instead of going on.
    cuts: bool,
}

struct Attack<'s, 'a> {
    plan: &'s Plan,
    site: &'s Site,
    between: Option<&'s Between<'a>>,
    disk: Option<&'s Disk>,
    deaths: &'s [Deaths; 2],
    reclaims: &'s Reclaims,
    random: ChaCha8Rng,
    actors: Vec<Actor>,
    operator: Operator,
    s3_faults: S3Faults,
    faults: Counts,
    failures: Vec<String>,
    spell: Option<Spell>,
    begun: Instant,
    died: [Instant; 2],
    /// When the disk was last full.
    filled: Option<Instant>,
    /// When the metadata was lost, or was found to be lacking.
    lost: Instant,
    /// What was to be dropped is dropped.
    is_gone: &'s AtomicBool,
}

/// Attacks until the time is up; then all processes are gone, all servers are up, and all is healed.
pub fn attack(
    plan: &Plan,
    site: &Site,
    world: &mut World,
    between: Option<&Between<'_>>,
    disk: Option<&Disk>,
) -> Outcome {
    let (deaths, reclaims, is_gone) = (<[Deaths; 2]>::default(), Reclaims::default(), AtomicBool::default());
    let begun = Instant::now();
    let mut attack = Attack {
        plan,
        site,
        between,
        disk,
        deaths: &deaths,
        reclaims: &reclaims,
        random: ChaCha8Rng::seed_from_u64(plan.seed),
        actors: actors::cast(plan.workers),
        operator: Operator::default(),
        s3_faults: S3Faults::default(),
        faults: Counts::default(),
        failures: Vec::new(),
        spell: None,
        begun,
        died: [begun; 2],
        filled: None,
        lost: begun,
        is_gone: &is_gone,
    };
    thread::scope(|scope| {
        scope.spawn(|| reclaims.watch(site));
        attack.go_on(scope, world);
        attack.end();
        reclaims.end();
    });
    let mut outcome =
        Outcome { reclaims: reclaims.samples(), seconds: begun.elapsed().as_secs_f64(), ..Outcome::default() };
    if let Some(between) = between {
        for (name, proxy) in PROXY_NAMES.iter().zip(&between.proxies) {
            attack.faults.add_proxy(name, proxy);
        }
        for ((server, address), (death, sum)) in
            between.servers.iter().zip(&between.addresses).zip(deaths.iter().zip(&mut outcome.deadlocks))
        {
            *sum = *death.deadlocks.lock().unwrap() + deadlocks(server.kind(), address).unwrap_or(0);
        }
    }
    world.mend(&mut attack.random);
    outcome.owes_setup = attack.operator.owes_setup;
    outcome.faults = std::mem::take(&mut attack.faults);
    outcome.failures = std::mem::take(&mut attack.failures);
    outcome
}

impl<'s, 'a: 's> Attack<'s, 'a> {
    fn go_on<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, world: &mut World)
    where
        's: 'scope,
    {
        let faketime = actors::faketime().filter(|_| self.plan.weights != faults::KILLS);
        let (mut next_fault, mut next_feed) = (Instant::now() + Duration::from_secs(2), Instant::now());
        while self.begun.elapsed() < self.plan.time {
            self.keep_actors(faketime.as_deref());
            self.failures.extend(self.operator.look(&mut self.faults));
            self.end_spell_if_due();
            self.mind_metadata();
            if let Some(between) = self.between {
                self.s3_faults.look(&between.s3, &mut self.faults);
            }
            let now = Instant::now();
            if now >= next_feed {
                next_feed = now + FEED_EVERY;
                if self.spell.is_none() {
                    self.revive();
                }
                self.feed(world);
                if self.plan.ends_when_doubled && oracle::doubled_now(self.site).is_some_and(|ids| ids > 0) {
                    return;
                }
            }
            if now >= next_fault {
                let pause = -self.plan.pause * self.random.random_range(0.0001_f64..1.0).ln();
                next_fault = now + Duration::from_secs_f64(pause.min(10.0 * self.plan.pause));
                let fault = faults::draw(self.plan.weights, &mut self.random);
                self.inject(fault, scope, world);
            }
            thread::sleep(TICK);
        }
    }

    fn lost_lately(&self) -> bool {
        self.faults.of("metadata lost") > 0 && self.lost.elapsed() < LACKING
    }

    fn since(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn keep_actors(&mut self, faketime: Option<&str>) {
        let since = self.since();
        let may_lack_tables = self.lost_lately();
        for actor in &mut self.actors {
            actor.thaw_if_due();
            if let Some(failure) = actor.look(&mut self.random, may_lack_tables) {
                self.failures.push(format!("at {since:.1} s: {failure}"));
            }
            if actor.start_if_due(self.site, &mut self.random, since, faketime) {
                self.faults.add("clock a day off", 1);
            }
        }
    }

    /// Writes new files while few wait.
    fn feed(&mut self, world: &mut World) {
        let sql = "SELECT count(*) FROM scanner_files WHERE state NOT IN ('FOUND', 'IN_JOB')";
        let Some(rows) = self.site.try_rows(Db::Metadata, sql) else { return };
        let waiting = world.files.len().saturating_sub(rows[0][0].parse().unwrap_or(0));
        for _ in 0..self.plan.backlog.saturating_sub(waiting).min(FED_MAX) {
            world.add(&mut self.random);
        }
    }

    fn inject<'scope>(&mut self, fault: Fault, scope: &'scope Scope<'scope, '_>, world: &mut World)
    where
        's: 'scope,
    {
        self.site.note(&format!("{:.1}s: {fault:?}", self.since()));
        match fault {
            Fault::KillWorker => self.kill(),
            Fault::FreezeWorker => self.freeze(),
            Fault::TermWorker => {
                let running = self.some_actor(Actor::is_running);
                if let Some(at) = running {
                    self.actors[at].terminate();
                    self.faults.add("SIGTERM", 1);
                }
            }
            Fault::KillServer => self.kill_server(scope),
            Fault::LoseMetadata => self.lose_metadata(scope),
            Fault::LateFile => {
                world.add_late(&mut self.random);
                self.faults.add("late file", 1);
            }
            Fault::Overwrite => {
                let overwritten = world.overwrite(&mut self.random);
                self.faults.add("overwritten object", u64::from(overwritten));
            }
            Fault::Operator => {
                let since = self.since();
                self.operator.act(self.site, &mut self.random, since);
            }
            Fault::FullDisk => self.fill_disk(),
            on_the_way => {
                if let Some(between) = self.between {
                    self.inject_between(on_the_way, between);
                }
            }
        }
    }

    fn some_actor(&mut self, fits: fn(&Actor) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.actors.len()).filter(|at| fits(&self.actors[*at])).collect();
        (!fitting.is_empty()).then(|| fitting[self.random.random_range(0..fitting.len())])
    }

    fn kill(&mut self) {
        let Some(at) = self.some_actor(|actor| actor.pid().is_some()) else { return };
        let held = self.actors[at].pid().map(|pid| Reclaims::held_by(self.site, pid)).unwrap_or_default();
        self.actors[at].kill();
        self.reclaims.killed(held);
        self.faults.add("kill -9 of a worker", 1);
    }

    /// At most half of them at a time, so that somebody is there to meet them when they wake up.
    fn freeze(&mut self) {
        let frozen = self.actors.iter().filter(|actor| actor.is_frozen()).count();
        if 2 * (frozen + 1) > self.actors.len() {
            return;
        }
        if let Some(at) = self.some_actor(Actor::is_running) {
            self.actors[at].freeze(faults::freeze(self.plan.lease, &mut self.random));
            self.faults.add("worker frozen", 1);
        }
    }

    fn kill_server<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        's: 'scope,
    {
        let Some(between) = self.between else { return };
        let which = self.random.random_range(0..2);
        let death = &self.deaths[which];
        let is_full = self.spell.as_ref().is_some_and(|spell| spell.proxy.is_none());
        if is_full || self.died[which].elapsed() < SERVER_REST || death.is_down.swap(true, Ordering::SeqCst) {
            return;
        }
        self.died[which] = Instant::now();
        let (server, address, reclaims) = (between.servers[which], &between.addresses[which], self.reclaims);
        let down = Duration::from_millis(self.random.random_range(50..3000));
        self.faults.add(&format!("{}: kill -9 of the server", PROXY_NAMES[which]), 1);
        reclaims.storms.fetch_add(1, Ordering::SeqCst);
        scope.spawn(move || {
            // They are forgotten with the server.
            *death.deadlocks.lock().unwrap() += deadlocks(server.kind(), address).unwrap_or(0);
            server.kill();
            thread::sleep(down);
            server.start_again();
            reclaims.storms.fetch_add(1, Ordering::SeqCst);
            death.is_down.store(false, Ordering::SeqCst);
        });
    }

    /// The metadata database is dropped under everybody's feet, made anew and set up again.
    fn lose_metadata<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        's: 'scope,
    {
        let Some(between) = self.between else { return };
        if self.operator.owes_setup || self.lost.elapsed() < METADATA_REST {
            return;
        }
        self.lost = Instant::now();
        self.operator.owes_setup = true;
        self.faults.add("metadata lost", 1);
        let (address, reclaims, is_gone) = (&between.addresses[0], self.reclaims, self.is_gone);
        is_gone.store(false, Ordering::SeqCst);
        scope.spawn(move || {
            let name = address.name();
            // Whoever holds a table is waited for; a server that dies meanwhile is asked again.
            for sql in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE IF NOT EXISTS {name}")] {
                while address.try_execute_on_server(&sql).is_err() {
                    thread::sleep(TICK);
                }
            }
            reclaims.forget();
            is_gone.store(true, Ordering::SeqCst);
        });
    }

    /// What the loss of the metadata brings with it: until it is set up again, and for a moment longer.
    fn mind_metadata(&mut self) {
        if self.operator.owes_setup {
            self.lost = Instant::now();
            if self.is_gone.load(Ordering::SeqCst) {
                let since = self.since();
                self.operator.act(self.site, &mut self.random, since);
            }
        }
    }

    fn inject_between(&mut self, fault: Fault, between: &Between<'_>) {
        let of_databases = self.random.random_range(0..2);
        let of_all = if self.random.random_bool(0.2) { S3 } else { of_databases };
        let proxy = &between.proxies[of_databases];
        match fault {
            Fault::DropConnections => {
                let dropped = between.proxies[of_all].drop_connections();
                self.faults.add(&format!("{}: connections dropped", PROXY_NAMES[of_all]), dropped.min(1) as u64);
            }
            Fault::HalfSend => {
                let bytes = self.random.random_range(1..6000);
                proxy.arm(proxy::Fault::CutAfter(Towards::Server, bytes));
            }
            Fault::HalfAnswer => {
                let bytes = self.random.random_range(1..6000);
                between.proxies[of_all].arm(proxy::Fault::CutAfter(Towards::Client, bytes));
            }
            Fault::SwallowCommit => proxy.arm(proxy::Fault::Commit(LostCommit::Swallowed)),
            Fault::WithholdCommit => proxy.arm(proxy::Fault::Commit(LostCommit::NeverSent)),
            Fault::DelayCommit => {
                let late = Duration::from_secs_f64(self.random.random_range(0.1..1.5) * self.plan.lease);
                proxy.arm(proxy::Fault::Commit(LostCommit::Late(late)));
            }
            Fault::BlackHole if self.spell.is_none() => {
                between.proxies[of_all].black_hole();
                self.reclaims.storms.fetch_add(1, Ordering::SeqCst);
                let time = self.random.random_range(0.3..2.0) * self.plan.lease;
                self.begin_spell(Some(of_all), time, 0.5);
            }
            Fault::Slowness if self.spell.is_none() => {
                between.proxies[of_all].delay(Duration::from_millis(self.random.random_range(5..80)));
                self.begin_spell(Some(of_all), 2.0, 0.0);
            }
            Fault::S3 => self.s3_faults.inject(&between.s3, &mut self.random),
            _ => {}
        }
    }

    fn fill_disk(&mut self) {
        let has_rested = self.between.is_none() || self.filled.is_none_or(|at| at.elapsed() > DISK_REST);
        let is_up = !self.deaths[REPORTING].is_down.load(Ordering::SeqCst);
        if let Some(disk) = self.disk.filter(|_| self.spell.is_none() && has_rested && is_up) {
            disk.fill();
            self.filled = Some(Instant::now());
            self.faults.add("full disk", 1);
            let time = self.random.random_range(0.2..2.5);
            self.begin_spell(None, time, 0.0);
        }
    }

    fn begin_spell(&mut self, proxy: Option<usize>, seconds: f64, cut_share: f64) {
        let cuts = self.random.random_bool(cut_share);
        self.spell = Some(Spell { end_at: Instant::now() + Duration::from_secs_f64(seconds), proxy, cuts });
    }

    fn end_spell_if_due(&mut self) {
        if self.spell.as_ref().is_some_and(|spell| Instant::now() >= spell.end_at) {
            self.end_spell();
        }
    }

    fn end_spell(&mut self) {
        let Some(spell) = self.spell.take() else { return };
        match (spell.proxy, self.between, self.disk) {
            (Some(proxy), Some(between), _) => {
                if spell.cuts {
                    between.proxies[proxy].drop_connections();
                }
                between.proxies[proxy].heal();
                self.reclaims.storms.fetch_add(1, Ordering::SeqCst);
            }
            (None, _, Some(disk)) => disk.free(),
            _ => {}
        }
    }

    /// A server whose disk was full may have given up: its keeper starts it again.
    fn revive(&self) {
        for (server, death) in self.between.iter().flat_map(|between| between.servers.iter().zip(self.deaths)) {
            if server.has_died() && !death.is_down.swap(true, Ordering::SeqCst) {
                self.site.note(&format!("{:.1}s: a server has ended by itself", self.since()));
                server.kill();
                server.start_again();
                death.is_down.store(false, Ordering::SeqCst);
            }
        }
    }

    /// Heals everything, and ends all processes: in peace where they can, and in any case.
    fn end(&mut self) {
        self.end_spell();
        self.revive();
        if let Some(between) = self.between {
            between.proxies.iter().for_each(Proxy::heal);
            self.s3_faults.heal(&between.s3);
        }
        for actor in &mut self.actors {
            actor.thaw();
            actor.terminate();
        }
        let (begun, may_lack_tables) = (Instant::now(), self.lost_lately());
        while begun.elapsed() < PARTING && self.actors.iter().any(|actor| actor.pid().is_some()) {
            for actor in &mut self.actors {
                self.failures.extend(actor.look(&mut self.random, may_lack_tables));
            }
            thread::sleep(TICK);
        }
        self.actors.iter_mut().for_each(Actor::end);
        self.operator.end();
    }
}

/// As the server has counted them since it started.
fn deadlocks(kind: Kind, address: &Address) -> Option<u64> {
    let (sql, at) = match kind {
        Kind::MariaDb => ("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'", 1),
        Kind::MySql => ("SELECT `count` FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'", 0),
    };
    address.try_rows(sql).ok()?.first()?.get(at)?.parse().ok()
}
