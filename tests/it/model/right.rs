//! What must hold: at every moment, and when all is quiet.

use std::fmt;

use loadline::job::{FileState, JobStatus};

use super::Version;
use super::metadata::{Claim, Entry, Job, Outcomes, is_loaded};
use super::protocol::Hole;
use super::reporting::Row;
use super::world::Shared;

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

impl Shared {
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
    pub fn check(&self) -> Result<(), Wrong> {
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
        let named =
            row.plan.is_none_or(|plan| first.is_none_or(|of| of.0 == row.version && (row.complete || of.1 == plan)));
        if !of_one || rows[done..].iter().any(Option::is_some) || !named {
            return Err(Wrong::Mixed(file));
        }
        let whole = row.plan.is_some() && row.done == self.records(file, row.version);
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
                FileState::Loaded => {
                    let named = row.is_some_and(|row| row.version == entry.version);
                    complete && named && self.holds(file, entry.version)
                }
                FileState::Quarantined if is_loaded(&entry) => {
                    complete && row.is_some_and(|row| self.holds(file, row.version))
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
