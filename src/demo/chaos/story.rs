//! One run: the plan is carried out, then everything comes to rest and is counted.
//!
//! Invariant: a fault counts for a side only where it was really done to it: who is away or frozen already can't be killed
//! or frozen at that moment.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::Places;
use super::count::{Counter, Tally};
use super::database;
use super::plan::{self, Event, FaultKind, WORKERS, What};
use super::processes::{self, Job, Shown, Team, Undertaker};
use super::world::{Truth, World};
use crate::error::{Error, Result};

const TICK: Duration = Duration::from_millis(40);
/// A little more than `settle`.
const SETTLED: Duration = Duration::from_millis(1_300);
/// The pause between two counts, as a multiple of how long one takes, and at least.
const COUNT_PAUSE: (u32, Duration) = (2, Duration::from_millis(500));
const SCAN_PAUSE: Duration = Duration::from_millis(400);
/// How long all may take to come to rest, and how much longer for each second of faults.
const DRAIN_MAX: (Duration, u32) = (Duration::from_secs(180), 4);
const LOG_LINES: usize = 12;
/// loadline's scanner stands behind its workers.
const SCANNER: usize = WORKERS;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// This program.
    pub program: PathBuf,
    pub places: Places,
    pub seed: u64,
    /// How long files and faults come.
    pub length: Duration,
}

/// The two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Loadline,
    Naive,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Loadline, Self::Naive];
}

/// How often each fault was done, to loadline and to the naive loader.
pub type FaultCounts = BTreeMap<FaultKind, [u64; 2]>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Since the start.
    pub at: Duration,
    pub kind: FaultKind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Faults {
        left: Duration,
    },
    /// The faults are over; both sides load what is left.
    Draining,
}

/// A moment of the run.
pub struct Picture<'a> {
    pub seed: u64,
    pub phase: Phase,
    pub since_start: Duration,
    pub files: usize,
    /// Valid records of the newest bytes of all files.
    pub records: u64,
    pub teams: [Vec<Shown>; 2],
    /// The last count, if there was one.
    pub tallies: Option<&'a [Tally; 2]>,
    pub faults: &'a FaultCounts,
    /// The last faults, oldest first.
    pub log: &'a VecDeque<LogLine>,
}

/// What it came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub seed: u64,
    pub length: Duration,
    pub files: usize,
    /// Valid records of the newest bytes of all files.
    pub records: u64,
    pub faults: FaultCounts,
    pub longest_freeze: Duration,
    pub tallies: [Tally; 2],
    /// Bad records of the newest bytes of all files.
    pub bad: u64,
    /// Rejects that loadline keeps.
    pub rejects: u64,
    /// Files of which loadline does not keep exactly the bad records.
    pub files_with_wrong_rejects: u64,
    /// Files and jobs of loadline's that are not at their end.
    pub unfinished: u64,
    /// How often a job of loadline's was taken over from a worker that had died or frozen over it.
    pub rescued: u64,
    /// How often a process ended that nobody had told to.
    pub fell: [u64; 2],
}

impl Outcome {
    /// Whether loadline has every valid record once, every bad one as a reject, and nothing else.
    pub fn is_exact(&self) -> bool {
        self.tallies[0].is_exact() && self.files_with_wrong_rejects == 0 && self.unfinished == 0
    }
}

impl Chaos {
    /// Carries it out. Dropped in between, it kills what it has started.
    pub async fn run(&self, show: &mut dyn FnMut(&Picture<'_>)) -> Result<Outcome> {
        let mut story = Story::begin(self, show)?;
        story.faults().await?;
        story.drain().await?;
        story.end().await
    }

    /// What a person would type behind `loadline`.
    fn arguments(&self, command: &[&str]) -> Vec<String> {
        let config = self.places.config.display().to_string();
        ["-c", config.as_str()].iter().chain(command).map(|argument| (*argument).to_owned()).collect()
    }

    fn job(&self, name: String, arguments: Vec<String>) -> Job {
        let log = self.places.logs.join(format!("{}.log", name.replace(' ', "-")));
        Job { name, arguments, log, repeat: None }
    }

    fn loadline_jobs(&self) -> Vec<Job> {
        let worker = |number| self.job(format!("loadline run {number}"), self.arguments(&["run"]));
        let mut jobs: Vec<Job> = (1..=WORKERS).map(worker).collect();
        let scanner = self.job("loadline scan".to_owned(), self.arguments(&["scan"]));
        jobs.push(Job { repeat: Some(SCAN_PAUSE), ..scanner });
        jobs
    }

    fn naive_jobs(&self) -> Vec<Job> {
        let dir = self.places.config.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
        let job = |worker: usize| {
            let arguments = ["demo-naive", "--dir", &dir, "--worker", &worker.to_string()].map(str::to_owned).to_vec();
            self.job(format!("naive loader {}", worker + 1), arguments)
        };
        (0..WORKERS).map(job).collect()
    }
}

struct Story<'a> {
    chaos: &'a Chaos,
    show: &'a mut dyn FnMut(&Picture<'_>),
    started: Instant,
    world: World,
    loadline: Team,
    naive: Team,
    /// Loadline's last scan and load, one at a time.
    last: Option<Team>,
    // Dropped behind the teams.
    undertaker: Undertaker,
    phase: Phase,
    faults: FaultCounts,
    longest_freeze: Duration,
    log: VecDeque<LogLine>,
    scanner_is_to_die: bool,
    tallies: Option<[Tally; 2]>,
    counting: Option<JoinHandle<Result<[Tally; 2]>>>,
    count_next: Instant,
    count_started: Instant,
}

impl<'a> Story<'a> {
    fn begin(chaos: &'a Chaos, show: &'a mut dyn FnMut(&Picture<'_>)) -> Result<Self> {
        let undertaker = Undertaker::hire()?;
        let now = Instant::now();
        Ok(Self {
            chaos,
            show,
            started: now,
            world: World::new(&chaos.places.source, chaos.seed),
            loadline: Team::start(&chaos.program, undertaker.group(), chaos.loadline_jobs())?,
            naive: Team::start(&chaos.program, undertaker.group(), chaos.naive_jobs())?,
            last: None,
            undertaker,
            phase: Phase::Faults { left: chaos.length },
            faults: BTreeMap::new(),
            longest_freeze: Duration::ZERO,
            log: VecDeque::new(),
            scanner_is_to_die: false,
            tallies: None,
            counting: None,
            count_next: now + COUNT_PAUSE.1,
            count_started: now,
        })
    }

    /// Carries the plan out.
    async fn faults(&mut self) -> Result<()> {
        let mut events = VecDeque::from(plan::plan(self.chaos.seed, self.chaos.length));
        while self.started.elapsed() < self.chaos.length {
            let now = self.started.elapsed();
            while let Some(event) = events.pop_front_if(|event| event.at <= now) {
                self.carry_out(event)?;
            }
            self.phase = Phase::Faults { left: self.chaos.length.saturating_sub(self.started.elapsed()) };
            self.tick().await?;
        }
        // The machine may be late; the plan is carried out to its end, so that the files are those of the seed.
        events.into_iter().try_for_each(|event| self.carry_out(event))
    }

    fn carry_out(&mut self, event: Event) -> Result<()> {
        let kind = event.what.fault();
        let done = match event.what {
            What::Arrive(drafts) => {
                for draft in drafts {
                    self.world.add(draft)?;
                }
                None
            }
            What::EndFile => {
                self.world.end()?;
                None
            }
            What::Kill { worker, pause } => self.end_worker("KILL", worker, pause)?,
            What::Terminate { worker, pause } => self.end_worker("TERM", worker, pause)?,
            What::Freeze { worker, length } => self.freeze(worker, length)?,
            What::KillScanner => {
                self.scanner_is_to_die = true;
                None
            }
            What::SendAgain { nth } => self.world.send_again(nth)?.map(of_files),
            What::Late { draft, age } => {
                let key = self.world.add_late(draft, age)?;
                Some(of_files(format!("{key}, {} s late", age.as_secs())))
            }
            What::SameSecond(drafts) => {
                self.world.add_in_one_second(&drafts)?;
                Some(of_files(format!("{} of them", drafts.len())))
            }
            What::BeginFile(draft) => Some(of_files(self.world.begin(draft)?)),
            What::Empty => Some(of_files(self.world.add_empty()?)),
            What::Bad(draft) => Some(of_files(format!("{}, {} bad", self.world.add(draft)?, draft.bad))),
        };
        if let (Some(kind), Some((sides, text))) = (kind, done) {
            self.done(kind, sides, text);
        }
        Ok(())
    }

    /// Writes a fault down, for the sides it was done to.
    fn done(&mut self, kind: FaultKind, sides: [bool; 2], text: String) {
        let counts = self.faults.entry(kind).or_default();
        counts.iter_mut().zip(sides).for_each(|(count, done)| *count += u64::from(done));
        self.log.push_back(LogLine { at: self.started.elapsed(), kind, text });
        if self.log.len() > LOG_LINES {
            self.log.pop_front();
        }
    }

    fn team(&mut self, side: Side) -> &mut Team {
        match side {
            Side::Loadline => &mut self.loadline,
            Side::Naive => &mut self.naive,
        }
    }

    /// Kills the worker of both sides, or tells it to end. One that is frozen can't hear that.
    fn end_worker(&mut self, name: &str, worker: usize, pause: Duration) -> Result<Option<([bool; 2], String)>> {
        let kills = name == "KILL";
        let there = self.there(worker, kills);
        processes::signal(name, &there.iter().flatten().copied().collect::<Vec<_>>())?;
        for (side, _) in Side::BOTH.into_iter().zip(there).filter(|(_, pid)| pid.is_some()) {
            self.team(side).is_ending(worker, pause);
        }
        Ok(told(worker, there, ""))
    }

    fn freeze(&mut self, worker: usize, length: Duration) -> Result<Option<([bool; 2], String)>> {
        let there = self.there(worker, false);
        processes::signal("STOP", &there.iter().flatten().copied().collect::<Vec<_>>())?;
        let until = Instant::now() + length;
        for (side, _) in Side::BOTH.into_iter().zip(there).filter(|(_, pid)| pid.is_some()) {
            self.team(side).is_stopped(worker, until);
            self.longest_freeze = self.longest_freeze.max(length);
        }
        Ok(told(worker, there, &format!(" for {:.1} s", length.as_secs_f64())))
    }

    /// The worker's process id on either side.
    fn there(&mut self, worker: usize, even_frozen: bool) -> [Option<u32>; 2] {
        Side::BOTH.map(|side| {
            let team = self.team(side);
            team.pid(worker).filter(|_| even_frozen || !team.is_frozen(worker))
        })
    }

    /// A scan is short: it is killed as soon as there is one.
    fn kill_scanner(&mut self) -> Result<()> {
        let Some(pid) = self.loadline.pid(SCANNER).filter(|_| self.scanner_is_to_die) else { return Ok(()) };
        processes::signal("KILL", &[pid])?;
        self.loadline.is_ending(SCANNER, SCAN_PAUSE);
        self.scanner_is_to_die = false;
        self.done(FaultKind::ScannerKilled, [true, false], format!("loadline {pid}"));
        Ok(())
    }

    /// Looks after the processes and the picture, for a moment.
    async fn tick(&mut self) -> Result<()> {
        let now = Instant::now();
        self.loadline.tick(now)?;
        self.naive.tick(now)?;
        if let Some(last) = &mut self.last {
            last.tick(now)?;
        }
        self.kill_scanner()?;
        self.count_along(now).await?;
        self.draw();
        sleep(TICK).await;
        Ok(())
    }

    /// Takes a count that is done, and begins another one now and then.
    async fn count_along(&mut self, now: Instant) -> Result<()> {
        if let Some(counting) = self.counting.take_if(|counting| counting.is_finished()) {
            // A count that failed is made again.
            if let Ok(tallies) = joined(counting.await) {
                self.tallies = Some(tallies);
            }
            let (times, least) = COUNT_PAUSE;
            self.count_next = now + ((now - self.count_started) * times).max(least);
        }
        if self.counting.is_none() && self.count_next <= now {
            self.count_started = now;
            self.counting = Some(self.start_count());
        }
        Ok(())
    }

    fn start_count(&self) -> JoinHandle<Result<[Tally; 2]>> {
        let (places, truth) = (self.chaos.places.clone(), self.world.truth().clone());
        spawn_blocking(move || count(&places, &truth))
    }

    fn draw(&mut self) {
        let truth = self.world.truth();
        let picture = Picture {
            seed: self.chaos.seed,
            phase: self.phase,
            since_start: self.started.elapsed(),
            files: truth.files.len(),
            records: truth.records(),
            teams: [self.loadline.shown(), self.naive.shown()],
            tallies: self.tallies.as_ref(),
            faults: &self.faults,
            log: &self.log,
        };
        (self.show)(&picture);
    }

    /// No more faults: the naive loader goes on until it finds nothing new, loadline's workers are told to end, and one
    /// full scan after the other is loaded until nothing is left. A job whose file was overwritten while it waited is
    /// FAILED; it is retried, as a person would.
    async fn drain(&mut self) -> Result<()> {
        self.phase = Phase::Draining;
        self.scanner_is_to_die = false;
        let now = Instant::now();
        self.loadline.wake(now)?;
        self.naive.wake(now)?;
        self.ticks(SETTLED).await?;
        std::fs::write(&self.chaos.places.over, "")
            .map_err(|error| Error::config("can't write into the demo's folder").caused_by(error))?;
        let now = Instant::now();
        self.naive.dismiss(true, now)?;
        self.loadline.dismiss(false, now)?;
        self.loadline.terminate()?;
        let until = now + DRAIN_MAX.0 + self.chaos.length * DRAIN_MAX.1;
        while Instant::now() < until && !self.loadline.is_done() {
            self.tick().await?;
        }
        loop {
            for command in [&["scan", "--full"][..], &["retry", "--failed"], &["etl"]] {
                self.run_to_its_end(command, until).await?;
            }
            let metadata = self.chaos.places.metadata.clone();
            let left = joined(spawn_blocking(move || database::unfinished(&metadata)).await)?;
            if left == 0 || Instant::now() >= until {
                break;
            }
        }
        while Instant::now() < until && !self.naive.is_done() {
            self.tick().await?;
        }
        Ok(())
    }

    async fn run_to_its_end(&mut self, command: &[&str], until: Instant) -> Result<()> {
        let name = format!("loadline {}", command.join(" "));
        let log = self.chaos.places.logs.join("loadline-last.log");
        let (program, group) = (&self.chaos.program, self.undertaker.group());
        self.last = Some(processes::once(program, group, &name, &self.chaos.arguments(command), &log)?);
        while Instant::now() < until && self.last.as_ref().is_some_and(|last| !last.is_done()) {
            self.tick().await?;
        }
        self.last = None;
        Ok(())
    }

    async fn ticks(&mut self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.tick().await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<Outcome> {
        if let Some(counting) = self.counting.take() {
            let _ = counting.await;
        }
        let tallies = joined(self.start_count().await)?;
        let places = self.chaos.places.clone();
        let rejects = joined(spawn_blocking(move || database::rejects(&places.reporting)).await)?;
        let metadata = self.chaos.places.metadata.clone();
        let looked = spawn_blocking(move || Ok((database::unfinished(&metadata)?, database::rescued(&metadata)?)));
        let (unfinished, rescued) = joined(looked.await)?;
        let truth = self.world.truth();
        let kept = |key: &str| rejects.get(key).copied().unwrap_or_default();
        Ok(Outcome {
            seed: self.chaos.seed,
            length: self.chaos.length,
            files: truth.files.len(),
            records: truth.records(),
            faults: self.faults.clone(),
            longest_freeze: self.longest_freeze,
            tallies,
            bad: truth.files.iter().map(|file| file.bad).sum(),
            rejects: rejects.values().sum(),
            files_with_wrong_rejects: truth.files.iter().filter(|file| kept(&file.key) != file.bad).count() as u64,
            unfinished,
            rescued,
            fell: [self.loadline.fell, self.naive.fell],
        })
    }
}

/// Done to files, which both sides share.
fn of_files(text: String) -> ([bool; 2], String) {
    ([true; 2], text)
}

/// Which sides a worker was there on, and its process ids; `None` where it was on neither.
fn told(worker: usize, there: [Option<u32>; 2], how: &str) -> Option<([bool; 2], String)> {
    let number = worker + 1;
    let text = match there {
        [None, None] => return None,
        [Some(loadline), Some(naive)] => format!("no. {number}{how} (loadline {loadline}, naive {naive})"),
        [Some(loadline), None] => format!("no. {number}{how} (loadline {loadline})"),
        [None, Some(naive)] => format!("no. {number}{how} (naive {naive})"),
    };
    Some((there.map(|pid| pid.is_some()), text))
}

/// Counts both tables.
fn count(places: &Places, truth: &Truth) -> Result<[Tally; 2]> {
    let of = |path| {
        let mut counter = Counter::new(truth);
        database::ids(path, |id| counter.see(id))?;
        Ok(counter.finish())
    };
    Ok([of(&places.reporting)?, of(&places.naive)?])
}

fn joined<T>(result: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.map_err(|error| Error::internal("a count broke down").caused_by(error))?
}
