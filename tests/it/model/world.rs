//! Everything at one moment: both databases, the source, and whoever is at work; and what may happen next.

use loadline::job::{JobStatus, OnOverwrite};

use super::metadata::{JobId, Metadata, Token};
use super::person::{Person, Wish};
use super::protocol::Protocol;
use super::reporting::Reporting;
use super::right::Wrong;
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
    pub wrong: Option<Wrong>,
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

    pub fn is_complete(&self, file: usize) -> bool {
        self.reporting.ledger[file].is_some_and(|row| row.complete)
    }

    /// Whether the ledger says so, and nothing is left.
    pub fn is_out(&self, file: usize) -> bool {
        self.reporting.ledger[file].is_some_and(|row| row.unloaded && row.done == 0 && !row.complete)
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
