//! Everything at one moment: both databases, the source, and whoever is at work; what may happen next, and what must
//! hold whatever happens.

use std::fmt;

use loadline::job::{FileState, JobStatus, OnOverwrite};

use super::metadata::{Claim, Entry, Job, JobId, Metadata, Outcomes, Token, is_loaded};
use super::person::{Person, Wish};
use super::protocol::{Hole, Protocol};
use super::reporting::{Reporting, Row};
use super::scanner::Scanner;
use super::worker::Worker;
use super::{FILES, Plan, VERSIONS_MAX, Version};

/// What stays the same in a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Setup {
    pub files: usize,
    /// Records by file and version.
    pub sizes: [[u8; VERSIONS_MAX]; FILES],
    /// Whether the database refuses the last record.
    pub bad: [[bool; VERSIONS_MAX]; FILES],
    pub policy: OnOverwrite,
    pub job_files_max: usize,
    pub workers: usize,
    pub scanners: usize,
    pub people: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Shared {
    pub setup: Setup,
    pub protocol: Protocol,
    pub metadata: Metadata,
    pub reporting: Reporting,
    /// The version that each file has now.
    pub source: [Version; FILES],
    /// Of whoever is started now.
    pub plan: Plan,
    /// Whose unload has ended, and no retry has begun since.
    pub unloaded: [bool; FILES],
    tokens: Token,
    wrong: Option<Wrong>,
}

/// An invariant that does not hold, and for which file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wrong {
    Doubled(usize),
    /// Its rows are not those of its records 1 to `records_done`, of one version and plan.
    Mixed(usize),
    /// The ledger calls it complete, and it is not.
    NotComplete(usize),
    /// LOADED was written, and the ledger did not hold it complete.
    LoadedTooSoon(usize),
    FailedWithRows(usize),
    LoadedWhileUnloaded(usize),
    /// When all is quiet, the registry and the tables say different things.
    Ends(usize, FileState),
    /// Nobody can go on, or all do and nothing comes of it.
    NoEnd,
}

/// The answer did not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unanswered;

/// What becomes of one transaction or message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    Fine,
    NotDone,
    /// Done, and the answer is lost.
    AnswerLost,
}

impl Fate {
    pub fn of<T>(self, work: impl FnOnce() -> T) -> Result<T, Unanswered> {
        match self {
            Self::Fine => Ok(work()),
            Self::NotDone => Err(Unanswered),
            Self::AnswerLost => {
                work();
                Err(Unanswered)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Move {
    /// Who, with which of its files.
    Work(usize, usize, Fate),
    Scan(usize, Fate),
    Person(usize, Fate),
    Wish(usize, Wish),
    /// The process of a worker, a scanner or a person dies, and is started again.
    CrashWorker(usize),
    CrashScanner(usize),
    CrashPerson(usize),
    /// The server ends the open transactions of a worker that stands still.
    Cut(usize),
    /// The lease of a job ends, whoever holds it.
    Rescue(JobId),
    Overwrite(usize),
    /// Another schema file for whoever is started from now on.
    NewPlan,
    LoseMetadata,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub shared: Shared,
    pub workers: Vec<Worker>,
    pub scanners: Vec<Scanner>,
    pub people: Vec<Person>,
}

impl Shared {
    pub fn new_token(&mut self) -> Token {
        self.tokens += 1;
        self.tokens
    }

    pub fn has_waiting_job(&self) -> bool {
        self.metadata.jobs.iter().any(|job| job.status == JobStatus::SentForEtl)
    }

    pub fn reloads(&self) -> bool {
        self.setup.policy == OnOverwrite::Reload
    }

    pub fn records(&self, file: usize, version: Version) -> u8 {
        self.setup.sizes[file][usize::from(version)]
    }

    pub fn is_bad(&self, file: usize, version: Version) -> bool {
        self.setup.bad[file][usize::from(version)]
    }

    fn is_complete(&self, file: usize) -> bool {
        self.reporting.ledger[file].is_some_and(|row| row.complete)
    }

    /// Whether the ledger says so, and nothing is left.
    pub fn is_out(&self, file: usize) -> bool {
        self.reporting.ledger[file].is_some_and(|row| row.unloaded && row.done == 0 && !row.complete)
    }

    /// Says how a job ended, and looks at the ledger at that moment.
    pub fn end(&mut self, claim: &Claim, status: JobStatus, outcomes: &Outcomes) -> bool {
        let held = self.metadata.end(claim, status, outcomes, self.protocol);
        for (file, outcome) in outcomes.iter().enumerate() {
            let is_loaded = outcome.is_some_and(|outcome| outcome.state == FileState::Loaded);
            if held && is_loaded && !self.is_complete(file) {
                self.wrong = Some(Wrong::LoadedTooSoon(file));
            }
        }
        held
    }

    /// What must hold at every moment.
    fn check(&self) -> Result<(), Wrong> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if let Some((file, _)) = self.reporting.doubled {
            return Err(Wrong::Doubled(file));
        }
        for file in 0..self.setup.files {
            // Between its two transactions that hole is plain to see. What comes of it is the point.
            if !self.protocol.has(Hole::RowsFirst) {
                self.check_rows(file)?;
            }
            let stands = self.reporting.count(file) > 0;
            let failed = self.metadata.files[file].is_some_and(|entry| entry.state == FileState::Failed);
            if stands && failed {
                return Err(Wrong::FailedWithRows(file));
            }
            if stands && self.unloaded[file] {
                return Err(Wrong::LoadedWhileUnloaded(file));
            }
        }
        Ok(())
    }

    fn check_rows(&self, file: usize) -> Result<(), Wrong> {
        let rows = &self.reporting.rows[file];
        let Some(row) = &self.reporting.ledger[file] else {
            return if rows.iter().all(Option::is_none) { Ok(()) } else { Err(Wrong::Mixed(file)) };
        };
        let done = usize::from(row.done);
        let first = rows[0];
        let of_one = rows[..done].iter().all(|row| row.is_some() && *row == first);
        // Under an announced walk back the ledger names the version that comes next.
        let named = row.plan.is_none() || row.complete || first.is_none_or(|of| Some(of.1) == row.plan);
        let right = row.plan.is_none() || first.is_none_or(|of| of.0 == row.version);
        if !of_one || rows[done..].iter().any(Option::is_some) || !named || !right {
            return Err(Wrong::Mixed(file));
        }
        let whole = row.plan.is_none() || row.done == self.records(file, row.version);
        if row.complete && !whole { Err(Wrong::NotComplete(file)) } else { Ok(()) }
    }

    /// Whether the table has every record of the file in this version, and nothing else of it.
    fn holds(&self, file: usize, version: Version) -> bool {
        let rows = self.reporting.rows[file].iter().flatten();
        rows.clone().all(|row| row.0 == version) && rows.count() == usize::from(self.records(file, version))
    }

    /// What must hold when nothing goes wrong any more and nobody has anything to do.
    pub fn check_end(&self) -> Result<(), Wrong> {
        for file in 0..self.setup.files {
            let Some(entry) = self.metadata.files[file] else { return Err(Wrong::NoEnd) };
            let row = self.reporting.ledger[file];
            let complete = row.is_some_and(|row| row.complete && !row.unloaded);
            let right = match entry.state {
                FileState::Loaded => complete && self.holds(file, entry.version),
                FileState::Quarantined if is_loaded(&entry) => {
                    complete && (1..VERSIONS_MAX as Version).any(|version| self.holds(file, version))
                }
                FileState::Unloaded => self.is_out(file),
                FileState::Quarantined => self.reporting.count(file) == 0,
                FileState::Failed => self.reporting.count(file) == 0 && self.is_bad(file, entry.version),
                FileState::Found | FileState::InJob => false,
            };
            if !right {
                return Err(Wrong::Ends(file, entry.state));
            }
        }
        let is_open = |job: &Job| !matches!(job.status, JobStatus::Loaded | JobStatus::Failed);
        if self.metadata.jobs.iter().any(is_open) { Err(Wrong::NoEnd) } else { Ok(()) }
    }
}

impl World {
    pub fn new(setup: Setup, protocol: Protocol) -> Self {
        let shared = Shared {
            setup,
            protocol,
            metadata: Metadata::default(),
            reporting: Reporting::default(),
            source: [1; FILES],
            plan: 1,
            unloaded: [false; FILES],
            tokens: 0,
            wrong: None,
        };
        Self {
            workers: vec![Worker::new(1); setup.workers],
            scanners: vec![Scanner::default(); setup.scanners],
            people: vec![Person::new(1); setup.people],
            shared,
        }
    }

    /// `Ok(false)`: it can't happen now, and nothing did.
    pub fn apply(&mut self, step: Move) -> Result<bool, Wrong> {
        let happened = self.happen(step);
        if happened {
            self.shared.check()?;
        }
        Ok(happened)
    }

    fn happen(&mut self, step: Move) -> bool {
        let shared = &mut self.shared;
        match step {
            Move::Work(who, file, fate) => {
                let may = self.workers[who].choices(shared)[file];
                if may {
                    self.workers[who].step(who, file, fate, shared);
                }
                may
            }
            Move::Scan(who, fate) => {
                self.scanners[who].step(fate, shared);
                true
            }
            Move::Person(who, fate) => {
                let may = self.people[who].can_step(shared);
                if may {
                    self.people[who].step(fate, shared);
                }
                may
            }
            Move::Wish(who, wish) => self.people[who].begin(wish, shared.plan),
            Move::CrashWorker(who) => {
                self.workers[who] = Worker::new(shared.plan);
                shared.reporting.roll_back(who);
                true
            }
            Move::CrashScanner(who) => {
                self.scanners[who] = Scanner::default();
                true
            }
            Move::CrashPerson(who) => {
                self.people[who] = Person::new(shared.plan);
                true
            }
            Move::Cut(who) => {
                let was_open = self.workers[who].cut();
                shared.reporting.roll_back(who);
                was_open
            }
            Move::Rescue(job) => shared.metadata.rescue(job),
            Move::Overwrite(file) => {
                let may = usize::from(shared.source[file]) + 1 < VERSIONS_MAX;
                shared.source[file] += Version::from(may);
                may
            }
            Move::NewPlan => {
                shared.plan += 1;
                true
            }
            Move::LoseMetadata => {
                shared.metadata = Metadata::default();
                true
            }
        }
    }
}

/// For people who read a trace: jobs, then files, each with what the registry, the ledger and the table say.
impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, job) in self.metadata.jobs.iter().enumerate() {
            let Job { status, token, attempts, expiries } = job;
            writeln!(f, "    job {}: {} token {token}, {attempts}+{expiries}", at + 1, status.as_str())?;
        }
        for file in 0..self.setup.files {
            write!(f, "    file {file}: source v{}", self.source[file])?;
            if let Some(Entry { version, state, job, was_loaded }) = self.metadata.files[file] {
                write!(
                    f,
                    ", registry v{version} {} {job:?} {}",
                    state.as_str(),
                    if was_loaded { "loaded" } else { "" }
                )?;
            }
            if let Some(Row { version, plan, epoch, done, complete, unloaded, locked_by }) = self.reporting.ledger[file]
            {
                write!(f, ", ledger v{version} plan {plan:?} epoch {epoch} done {done}")?;
                let said = [(complete, "complete"), (unloaded, "unloaded"), (locked_by.is_some(), "locked")];
                said.iter().filter(|(is, _)| *is).try_for_each(|(_, what)| write!(f, " {what}"))?;
            }
            writeln!(f, ", rows {:?}", self.reporting.rows[file].iter().flatten().collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
