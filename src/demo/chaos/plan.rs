//! What happens when, from the seed alone: the files that arrive and the faults.
//!
//! Invariant: the same seed and length give the same plan. What the machine makes of it, such as how far a worker was
//! when it was killed, is its own.

use std::fmt;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Workers on each side.
pub const WORKERS: usize = 3;
/// The lease of loadline's config here: the shortest that there is.
pub const LEASE: Duration = Duration::from_secs(2);

/// Between two batches of ordinary files, in milliseconds.
const BATCH_EVERY: std::ops::Range<u64> = 500..1_100;
const BATCH_FILES: std::ops::RangeInclusive<usize> = 3..=9;
/// Between two faults, in milliseconds.
const FAULT_EVERY: std::ops::Range<u64> = 200..800;
/// The first fault finds something to spoil.
const FIRST_FAULT: u64 = 1_000;
const RECORDS: std::ops::RangeInclusive<u32> = 300..=3_000;
/// Fewer than ten never fail a file.
const BAD_RECORDS: std::ops::RangeInclusive<u32> = 1..=8;
/// A freeze, in leases: from the first to the second, short ones more often.
const FREEZE: (f64, f64) = (0.5, 10.0);

/// One of each deck is drawn before the next deck is shuffled, so that a short run meets every kind too.
const DECK: [(FaultKind, usize); FaultKind::ALL.len()] = [
    (FaultKind::Killed, 6),
    (FaultKind::Frozen, 3),
    (FaultKind::Terminated, 2),
    (FaultKind::ScannerKilled, 2),
    (FaultKind::SentAgain, 2),
    (FaultKind::Late, 2),
    (FaultKind::SameSecond, 1),
    (FaultKind::Unfinished, 1),
    (FaultKind::Empty, 1),
    (FaultKind::BadRecords, 1),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    Killed,
    Frozen,
    Terminated,
    ScannerKilled,
    SentAgain,
    Late,
    SameSecond,
    Unfinished,
    Empty,
    BadRecords,
}

impl FaultKind {
    pub const ALL: [Self; 10] = [
        Self::Killed,
        Self::Frozen,
        Self::Terminated,
        Self::ScannerKilled,
        Self::SentAgain,
        Self::Late,
        Self::SameSecond,
        Self::Unfinished,
        Self::Empty,
        Self::BadRecords,
    ];

    /// Whether it is done to a process, of either side; the others are done to files, which both sides share.
    pub fn is_of_processes(self) -> bool {
        matches!(self, Self::Killed | Self::Frozen | Self::Terminated | Self::ScannerKilled)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "worker killed (kill -9)",
            Self::Frozen => "worker frozen (SIGSTOP)",
            Self::Terminated => "worker told to end (SIGTERM)",
            Self::ScannerKilled => "scanner killed (kill -9)",
            Self::SentAgain => "file overwritten",
            Self::Late => "file late, its time older",
            Self::SameSecond => "files of one and the same second",
            Self::Unfinished => "file that is still being written",
            Self::Empty => "file without records",
            Self::BadRecords => "file with bad records",
        })
    }
}

/// An ordinary or a bad file, before it has ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draft {
    pub records: u32,
    /// How many of them no loader can take.
    pub bad: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Ordinary files, one after the other.
    Arrive(Vec<Draft>),
    /// The process is back after `pause`.
    Kill {
        worker: usize,
        pause: Duration,
    },
    Freeze {
        worker: usize,
        length: Duration,
    },
    Terminate {
        worker: usize,
        pause: Duration,
    },
    KillScanner,
    /// The `nth` newest file, counted from 0, or the oldest there is.
    SendAgain {
        nth: usize,
    },
    /// With a modified time and a folder of the past.
    Late {
        draft: Draft,
        age: Duration,
    },
    SameSecond(Vec<Draft>),
    /// The first half of a file.
    BeginFile(Draft),
    /// Its other half.
    EndFile,
    Empty,
    Bad(Draft),
}

impl What {
    /// `None`: no fault, or the second half of one.
    pub fn fault(&self) -> Option<FaultKind> {
        Some(match self {
            Self::Arrive(_) | Self::EndFile => return None,
            Self::Kill { .. } => FaultKind::Killed,
            Self::Freeze { .. } => FaultKind::Frozen,
            Self::Terminate { .. } => FaultKind::Terminated,
            Self::KillScanner => FaultKind::ScannerKilled,
            Self::SendAgain { .. } => FaultKind::SentAgain,
            Self::Late { .. } => FaultKind::Late,
            Self::SameSecond(_) => FaultKind::SameSecond,
            Self::BeginFile(_) => FaultKind::Unfinished,
            Self::Empty => FaultKind::Empty,
            Self::Bad(_) => FaultKind::BadRecords,
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Since the start.
    pub at: Duration,
    pub what: What,
}

/// The events of a run, in their order.
pub fn plan(seed: u64, length: Duration) -> Vec<Event> {
    let mut planner = Planner { rng: ChaCha8Rng::seed_from_u64(seed), events: Vec::new(), deck: Vec::new() };
    let end = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    planner.arrivals(end);
    planner.faults(end);
    planner.events.sort_by_key(|event| event.at);
    planner.events
}

struct Planner {
    rng: ChaCha8Rng,
    events: Vec<Event>,
    deck: Vec<FaultKind>,
}

impl Planner {
    fn arrivals(&mut self, end: u64) {
        let mut at = 0;
        while at < end {
            let files = self.rng.random_range(BATCH_FILES);
            let drafts = (0..files).map(|_| self.draft()).collect();
            self.push(at, What::Arrive(drafts));
            at += self.rng.random_range(BATCH_EVERY);
        }
    }

    fn faults(&mut self, end: u64) {
        let mut at = FIRST_FAULT;
        while at < end {
            let kind = self.draw();
            let what = self.what(kind);
            if let What::BeginFile(_) = what {
                let pause = self.rng.random_range(100..600);
                self.push(at + pause, What::EndFile);
            }
            self.push(at, what);
            at += self.rng.random_range(FAULT_EVERY);
        }
    }

    fn push(&mut self, at: u64, what: What) {
        self.events.push(Event { at: Duration::from_millis(at), what });
    }

    fn draw(&mut self) -> FaultKind {
        if self.deck.is_empty() {
            self.deck = DECK.iter().flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times)).collect();
            self.deck.shuffle(&mut self.rng);
        }
        self.deck.pop().unwrap_or(FaultKind::Killed)
    }

    fn what(&mut self, kind: FaultKind) -> What {
        let worker = self.rng.random_range(0..WORKERS);
        let pause = Duration::from_millis(self.rng.random_range(100..1_000));
        match kind {
            FaultKind::Killed => What::Kill { worker, pause },
            FaultKind::Frozen => What::Freeze { worker, length: self.freeze() },
            FaultKind::Terminated => What::Terminate { worker, pause },
            FaultKind::ScannerKilled => What::KillScanner,
            FaultKind::SentAgain => {
                // Half of them files that may still wait, the others long loaded.
                let within = if self.rng.random_bool(0.5) { 8 } else { 60 };
                What::SendAgain { nth: self.rng.random_range(0..within) }
            }
            FaultKind::Late => {
                let age = Duration::from_secs(self.rng.random_range(5..4_000));
                What::Late { draft: self.draft(), age }
            }
            FaultKind::SameSecond => What::SameSecond((0..5).map(|_| self.draft()).collect()),
            FaultKind::Unfinished => What::BeginFile(self.draft()),
            FaultKind::Empty => What::Empty,
            FaultKind::BadRecords => {
                let draft = self.draft();
                What::Bad(Draft { bad: self.rng.random_range(BAD_RECORDS), ..draft })
            }
        }
    }

    fn draft(&mut self) -> Draft {
        Draft { records: self.rng.random_range(RECORDS), bad: 0 }
    }

    fn freeze(&mut self) -> Duration {
        let (shortest, longest) = FREEZE;
        let share: f64 = self.rng.random();
        LEASE.mul_f64(shortest * (longest / shortest).powf(share * share))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_seed_is_the_plan() {
        let minute = Duration::from_secs(60);
        assert_eq!(plan(7, minute), plan(7, minute));
        assert_ne!(plan(7, minute), plan(8, minute));
        let events = plan(7, minute);
        assert!(events.is_sorted_by_key(|event| event.at));
        assert!(events.iter().filter(|event| event.what.fault().is_some()).count() >= 80);
    }

    #[test]
    fn a_run_of_a_dozen_seconds_meets_every_kind_of_fault() {
        for seed in 0..20 {
            let events = plan(seed, Duration::from_secs(13));
            let kinds: HashSet<_> = events.iter().filter_map(|event| event.what.fault()).collect();
            assert_eq!(kinds.len(), FaultKind::ALL.len(), "seed {seed}: {kinds:?}");
        }
    }

    #[test]
    fn freezes_are_of_half_a_lease_to_ten() {
        let lengths: Vec<Duration> = (0..50)
            .flat_map(|seed| plan(seed, Duration::from_secs(60)))
            .filter_map(|event| match event.what {
                What::Freeze { length, .. } => Some(length),
                _ => None,
            })
            .collect();
        assert!(lengths.iter().all(|length| (LEASE / 2..=LEASE * 10).contains(length)));
        assert!(lengths.iter().any(|length| *length > LEASE * 8));
        let beyond_the_lease = lengths.iter().filter(|length| **length > LEASE).count();
        assert!(beyond_the_lease * 3 > lengths.len(), "{beyond_the_lease} of {}", lengths.len());
    }
}
