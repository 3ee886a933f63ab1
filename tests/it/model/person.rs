//! A person at the command line: `unload`, `retry` and `retry --unloaded`, as `unloader` and `cli::retry` do them.
//!
//! ```text
//! unload:  look -> revoke -> take -> look again -> walk back
//! retry:   look           -> take -> look again -> walk back -> readmit -> retry or release
//! ```

use loadline::job::{FileState, JobStatus};
use loadline::warehouse::{Standing, WalkEnd};

use super::metadata::{Entries, JobId, is_loaded, is_missing};
use super::protocol::Hole;
use super::reporting::{Fence, Taken, Walked};
use super::world::{Fate, Shared};
use super::{FILES, Plan, Version};

const TAKES_MAX: u8 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wish {
    Unload(usize),
    Retry(JobId),
    /// An unloaded file, or one that was quarantined before a job took it.
    Release(usize),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Person {
    plan: Plan,
    wish: Option<Wish>,
    phase: Phase,
    takes: u8,
    /// What is to be taken out; gone when it is.
    out: Entries,
    /// What is to be let in, as the first look found it, and its versions at the source.
    files: Entries,
    now: [Option<Version>; FILES],
    taken: [Option<Taken>; FILES],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Look,
    Revoke,
    Take,
    LookAgain,
    Walk,
    RevokeLate,
    Readmit,
    Admit,
}

impl Person {
    pub fn new(plan: Plan) -> Self {
        let none = [None; FILES];
        Self {
            plan,
            wish: None,
            phase: Phase::Look,
            takes: 0,
            out: none,
            files: none,
            now: [None; FILES],
            taken: [None; FILES],
        }
    }

    pub fn is_idle(&self) -> bool {
        self.wish.is_none()
    }

    /// False: busy with another.
    pub fn begin(&mut self, wish: Wish, plan: Plan) -> bool {
        let is_idle = self.is_idle();
        if is_idle {
            (self.wish, self.plan) = (Some(wish), plan);
        }
        is_idle
    }

    pub fn can_step(&self, shared: &Shared) -> bool {
        let locked = |file: usize| shared.reporting.is_locked(file);
        self.wish.is_some()
            && match self.phase {
                Phase::Take => (0..FILES).all(|file| self.out[file].is_none() || !locked(file)),
                Phase::Walk => self.next().is_none_or(|file| !locked(file)),
                Phase::Readmit => (0..FILES).all(|file| self.files[file].is_none() || !locked(file)),
                _ => true,
            }
    }

    /// The file that is taken out next.
    fn next(&self) -> Option<usize> {
        self.out.iter().position(Option::is_some)
    }

    /// An error ends the command. The same one goes on where it was.
    pub fn step(&mut self, fate: Fate, shared: &mut Shared) {
        let Some(wish) = self.wish else { return };
        let protocol = shared.protocol;
        let next = match self.phase {
            Phase::Look => fate.of(|| self.look(wish, shared)),
            Phase::Revoke => fate.of(|| {
                let loaded = (0..FILES).filter(|file| self.out[*file].is_some_and(|entry| is_loaded(&entry)));
                loaded.for_each(|file| _ = shared.metadata.revoke(file));
                Some(Phase::Take)
            }),
            Phase::Take => fate.of(|| {
                self.taken = shared.reporting.take(self.plan, false, &self.out, protocol);
                self.takes += 1;
                Some(self.after_take())
            }),
            Phase::LookAgain => fate.of(|| {
                let file = self.next()?;
                let late = protocol.has(Hole::UnloadsFirst) && matches!(wish, Wish::Unload(_));
                let now = shared.metadata.files[file];
                if late || now.is_some_and(|now| now.state == FileState::Unloaded) {
                    return Some(Phase::Walk);
                }
                self.out[file] = None;
                Some(self.after_take())
            }),
            Phase::Walk => fate.of(|| self.walk(wish, shared)),
            Phase::RevokeLate => fate.of(|| {
                if let Wish::Unload(file) = wish {
                    shared.metadata.revoke(file);
                }
                None
            }),
            Phase::Readmit => fate.of(|| {
                self.let_in(shared);
                (0..FILES)
                    .filter(|file| self.files[*file].is_some())
                    .for_each(|file| _ = shared.reporting.readmit(file));
                Some(Phase::Admit)
            }),
            Phase::Admit => fate.of(|| {
                self.let_in(shared);
                match wish {
                    Wish::Retry(job) => _ = shared.metadata.retry(job, &self.now),
                    Wish::Release(file) => _ = shared.metadata.release(file, self.now[file].unwrap_or_default()),
                    Wish::Unload(_) => {}
                }
                None
            }),
        };
        match next {
            Ok(Some(phase)) => self.phase = phase,
            Ok(None) | Err(_) => *self = Self::new(self.plan),
        }
    }

    fn look(&mut self, wish: Wish, shared: &mut Shared) -> Option<Phase> {
        let is_out = |entry: &super::metadata::Entry| entry.state == FileState::Unloaded;
        match wish {
            Wish::Unload(file) => {
                self.out[file] = shared.metadata.files[file].filter(|entry| is_loaded(entry) || is_out(entry));
                self.out[file]?;
                let late = shared.protocol.has(Hole::UnloadsFirst);
                return Some(if late { Phase::Take } else { Phase::Revoke });
            }
            Wish::Retry(job) => {
                let files = shared.metadata.files_of(job);
                let has_unloaded = files.iter().flatten().any(is_out);
                let status = shared.metadata.job(job)?.status;
                let may = status == JobStatus::Failed || (status == JobStatus::Loaded && has_unloaded);
                self.files = may.then(|| files.map(|entry| entry.filter(is_missing)))?;
            }
            Wish::Release(file) => {
                let free = |entry: &super::metadata::Entry| is_missing(entry) && entry.job.is_none();
                self.files[file] = shared.metadata.files[file].filter(|entry| is_out(entry) || free(entry));
                self.files[file]?;
            }
        }
        for file in 0..FILES {
            self.now[file] = self.files[file].map(|_| shared.source[file]);
        }
        self.out = self.files.map(|entry| entry.filter(is_out));
        self.let_in(shared);
        Some(match wish {
            _ if self.next().is_some() => Phase::Take,
            // Never loaded: the ledger is not asked.
            Wish::Release(_) => Phase::Admit,
            _ => Phase::Readmit,
        })
    }

    /// What is out already needs no walk.
    fn after_take(&mut self) -> Phase {
        while let Some(file) = self.next() {
            let was_out = |taken: &Taken| taken.standing == Standing::Unloaded && taken.done == 0 && !taken.complete;
            if !self.taken[file].is_some_and(|taken| was_out(&taken)) {
                return Phase::LookAgain;
            }
            self.out[file] = None;
        }
        Phase::Readmit
    }

    fn walk(&mut self, wish: Wish, shared: &mut Shared) -> Option<Phase> {
        let file = self.next()?;
        let fence = Fence { file, epoch: self.taken[file]?.epoch, plan: self.plan };
        match shared.reporting.walk_back_step(fence, WalkEnd::Unloaded, shared.protocol) {
            Walked::Partly => Some(Phase::Walk),
            Walked::Wholly => {
                self.out[file] = None;
                if let Wish::Unload(file) = wish {
                    shared.unloaded[file] = true;
                    return shared.protocol.has(Hole::UnloadsFirst).then_some(Phase::RevokeLate);
                }
                Some(self.after_take())
            }
            Walked::Lost => (self.takes < TAKES_MAX).then_some(Phase::Take),
        }
    }

    /// From here on these files may have rows again.
    fn let_in(&self, shared: &mut Shared) {
        for (file, unloaded) in shared.unloaded.iter_mut().enumerate() {
            *unloaded &= self.files[file].is_none();
        }
    }
}
