//! A worker: the program of `worker::load_job`, a transaction or a message a step.
//!
//! ```text
//! claim -> make missing rows -> take -> confirm -> load every file -> complete | postpone
//!                                 ^------ confirm <---- superseded    \-> confirm -> walk back -> fail
//! ```
//!
//! Its files are loaded side by side: which one goes on is the scheduler's choice.

use loadline::job::{FileState, JobStatus};
use loadline::warehouse::WalkEnd;

use super::load::{At, Ended, Load};
use super::metadata::{Claim, Entries, Entry, Outcome, Outcomes};
use super::protocol::Hole;
use super::reporting::{Fence, Taken, Walked};
use super::world::{Fate, Shared, Unanswered};
use super::{FILES, Plan};

const TAKES_MAX: u8 = 5;
const ATTEMPTS_MAX: u8 = 3;
const EXPIRIES_MAX: u8 = 3;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Worker {
    /// Of the schema file that the process was started with.
    plan: Plan,
    claim: Option<Claim>,
    phase: Phase,
    takes: u8,
    pub files: [Load; FILES],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Idle,
    Missing,
    Take,
    Confirm,
    Load,
    /// A file was superseded.
    ConfirmLost,
    ConfirmFail,
    WalkFailed,
    Tell(Ending),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ending {
    Complete,
    Fail,
    Postpone,
}

impl Worker {
    pub fn new(plan: Plan) -> Self {
        Self { plan, claim: None, phase: Phase::Idle, takes: 0, files: Default::default() }
    }

    /// The token of the claim that it works on.
    pub fn token(&self) -> Option<u16> {
        self.claim.as_ref().map(|claim| claim.token)
    }

    /// The choices of a next step: files to go on with, or one that is none.
    pub fn choices(&self, shared: &Shared) -> [bool; FILES] {
        let mut choices = [false; FILES];
        let free = |file: usize| !shared.reporting.is_locked(file);
        match self.phase {
            Phase::Idle => choices[0] = shared.has_waiting_job(),
            Phase::Take => {
                let files = self.claim.map(open_files).unwrap_or_default();
                choices[0] = (0..FILES).all(|file| files[file].is_none() || free(file));
            }
            Phase::Load => {
                for (file, choice) in choices.iter_mut().enumerate() {
                    *choice = match self.files[file].at {
                        At::Absent | At::Ended(_) => false,
                        At::Read(_) | At::Walking(_) => free(file),
                        At::Opening(_) | At::Writing { .. } | At::Moving { .. } => true,
                    };
                }
            }
            Phase::WalkFailed => choices[0] = self.next_failed().is_none_or(free),
            _ => choices[0] = true,
        }
        choices
    }

    pub fn step(&mut self, me: usize, file: usize, fate: Fate, shared: &mut Shared) {
        let Some(claim) = self.claim else { return self.claim_one(fate, shared) };
        let (plan, protocol) = (self.plan, shared.protocol);
        match self.phase {
            Phase::Idle => {}
            Phase::Missing => {
                let made = fate.of(|| shared.reporting.make_missing(plan, &open_files(claim)));
                self.go_on_or_give_back(made, Phase::Take);
            }
            Phase::Take => {
                let (files, reload) = (open_files(claim), shared.reloads());
                let taken = fate.of(|| shared.reporting.take(plan, reload, &files, protocol));
                if let Ok(taken) = taken {
                    self.begin_loads(&claim, &taken);
                }
                self.takes += 1;
                let next = if protocol.has(Hole::NoConfirm) { Phase::Load } else { Phase::Confirm };
                self.go_on_or_give_back(taken, next);
                self.conclude_where_ended(&claim);
            }
            Phase::Confirm => match fate.of(|| shared.metadata.confirm(&claim, protocol)) {
                Ok(true) => {
                    self.phase = Phase::Load;
                    self.conclude_where_ended(&claim);
                }
                Ok(false) => self.stop(),
                Err(_) => self.phase = Phase::Tell(Ending::Postpone),
            },
            Phase::Load => {
                if let Some(entry) = &claim.files[file] {
                    let fence = self.fence(file);
                    self.files[file].step(me, fence, entry.version, fate, shared);
                }
                self.conclude_where_ended(&claim);
            }
            Phase::ConfirmLost => match fate.of(|| shared.metadata.confirm(&claim, protocol)) {
                Ok(true) if self.takes < TAKES_MAX => self.phase = Phase::Take,
                Ok(false) => self.stop(),
                _ => self.phase = Phase::Tell(Ending::Postpone),
            },
            Phase::ConfirmFail => match fate.of(|| shared.metadata.confirm(&claim, protocol)) {
                Ok(true) if protocol.has(Hole::FailsWithRows) => self.phase = Phase::Tell(Ending::Fail),
                Ok(true) => self.phase = Phase::WalkFailed,
                Ok(false) => self.stop(),
                Err(_) => self.phase = Phase::Tell(Ending::Postpone),
            },
            Phase::WalkFailed => self.walk_failed(fate, shared),
            Phase::Tell(ending) => {
                let told = fate.of(|| match ending {
                    Ending::Postpone => shared.metadata.postpone(&claim, true, protocol),
                    Ending::Complete => shared.end(&claim, JobStatus::Loaded, &self.outcomes()),
                    Ending::Fail => shared.end(&claim, JobStatus::Failed, &self.outcomes()),
                });
                // An answer that was lost is asked for again.
                if told.is_ok() {
                    self.stop();
                }
            }
        }
    }

    fn claim_one(&mut self, fate: Fate, shared: &mut Shared) {
        let token = shared.new_token();
        let claimed = fate.of(|| shared.metadata.claim(token));
        if let Ok(Some(claim)) = claimed {
            (self.takes, self.files) = (0, Default::default());
            (self.claim, self.phase) = (Some(claim), Phase::Missing);
        }
    }

    fn stop(&mut self) {
        *self = Self::new(self.plan);
    }

    fn go_on_or_give_back<T>(&mut self, answer: Result<T, Unanswered>, next: Phase) {
        self.phase = if answer.is_ok() { next } else { Phase::Tell(Ending::Postpone) };
    }

    fn begin_loads(&mut self, claim: &Claim, taken: &[Option<Taken>; FILES]) {
        let given_up = claim.expiries >= EXPIRIES_MAX || claim.attempts > ATTEMPTS_MAX;
        for ((load, taken), entry) in self.files.iter_mut().zip(taken).zip(&claim.files) {
            if let (Some(taken), Some(entry)) = (taken, entry) {
                *load = Load::new(taken, entry.state, given_up);
            }
        }
    }

    fn fence(&self, file: usize) -> Fence {
        Fence { file, epoch: self.files[file].epoch, plan: self.plan }
    }

    fn ends(&self) -> impl Iterator<Item = Ended> {
        self.files.iter().filter_map(|load| if let At::Ended(ended) = load.at { Some(ended) } else { None })
    }

    /// What comes when no file is left to be worked on.
    fn conclude_where_ended(&mut self, claim: &Claim) {
        let has_ended = self.files.iter().all(|load| matches!(load.at, At::Absent | At::Ended(_)));
        if self.phase != Phase::Load || !has_ended {
            return;
        }
        let any = |what: &[Ended]| self.ends().any(|ended| what.contains(&ended));
        self.phase = if any(&[Ended::Lost]) {
            Phase::ConfirmLost
        } else if any(&[Ended::Unavailable]) && claim.attempts < ATTEMPTS_MAX {
            Phase::Tell(Ending::Postpone)
        } else if self.ends().all(|ended| matches!(ended, Ended::Complete | Ended::Unloaded)) {
            Phase::Tell(Ending::Complete)
        } else {
            Phase::ConfirmFail
        };
    }

    /// Files that did not load, and are not walked back yet.
    fn next_failed(&self) -> Option<usize> {
        let failed = |load: &Load| matches!(load.at, At::Ended(Ended::Unavailable | Ended::Changed | Ended::Data));
        self.files.iter().position(|load| failed(load) && !load.is_out)
    }

    fn walk_failed(&mut self, fate: Fate, shared: &mut Shared) {
        let Some(file) = self.next_failed() else {
            self.phase = Phase::Tell(Ending::Fail);
            return;
        };
        let (fence, protocol) = (self.fence(file), shared.protocol);
        match fate.of(|| shared.reporting.walk_back_step(fence, WalkEnd::Anew, protocol)) {
            Ok(Walked::Partly) => {}
            Ok(Walked::Wholly) => self.files[file].is_out = true,
            Ok(Walked::Lost) => self.stop(),
            Err(_) => self.phase = Phase::Tell(Ending::Postpone),
        }
    }

    fn outcomes(&self) -> Outcomes {
        self.files.map(|load| {
            let At::Ended(ended) = load.at else { return None };
            let (state, is_loaded) = match ended {
                Ended::Complete => (FileState::Loaded, true),
                Ended::Unloaded => (FileState::Unloaded, false),
                Ended::OtherVersion => (FileState::Quarantined, true),
                Ended::Changed => (FileState::Quarantined, false),
                Ended::Unavailable | Ended::Data | Ended::Lost => (FileState::Failed, false),
            };
            Some(Outcome { state, is_loaded })
        })
    }

    /// The server ends the transaction of a client that stands still. False: none is open.
    pub fn cut(&mut self) -> bool {
        let mut any = false;
        for load in &mut self.files {
            if let At::Writing { from, is_cut: false } = load.at {
                load.at = At::Writing { from, is_cut: true };
                any = true;
            }
        }
        any
    }
}

/// Those that the job has to answer for.
fn open_files(claim: Claim) -> Entries {
    let is_open = |entry: &Entry| match entry.state {
        FileState::InJob => true,
        FileState::Quarantined => !entry.was_loaded,
        _ => false,
    };
    claim.files.map(|entry| entry.filter(is_open))
}
