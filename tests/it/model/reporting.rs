//! The reporting database: the ledger and the rows. Each method is one transaction, but for a segment, which is two:
//! it begins with the lock of the ledger row and ends with its COMMIT.
//!
//! A record stands for a segment, and a row for its rows and rejects.

use loadline::warehouse::{Standing, WalkEnd};

use super::metadata::Entries;
use super::protocol::{Hole, Protocol};
use super::{FILES, Plan, RECORDS_MAX, Version};

/// Records that one step of a walk back takes out: less than a file may have.
const WALK_BACK_MAX: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    pub version: Version,
    /// `None`: a walk back was announced or begun, and has not ended.
    pub plan: Option<Plan>,
    pub epoch: u16,
    pub done: u8,
    pub complete: bool,
    pub unloaded: bool,
    /// By the open transaction of this actor.
    pub locked_by: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Taken {
    pub epoch: u16,
    pub standing: Standing,
    pub done: u8,
    pub complete: bool,
}

/// What a segment or a step of a walk back must find.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fence {
    pub file: usize,
    pub epoch: u16,
    pub plan: Plan,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    Segment,
    Moved { done: u8, complete: bool },
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walked {
    Lost,
    Partly,
    Wholly,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Reporting {
    pub ledger: [Option<Row>; FILES],
    /// The version and plan of every row that stands in the table, by file and record (from 0).
    pub rows: [[Option<(Version, Plan)>; RECORDS_MAX]; FILES],
    /// A record that was inserted though it stood there.
    pub doubled: Option<(usize, u8)>,
}

impl Reporting {
    pub fn is_locked(&self, file: usize) -> bool {
        self.ledger[file].is_some_and(|row| row.locked_by.is_some())
    }

    pub fn count(&self, file: usize) -> u8 {
        self.rows[file].iter().flatten().count() as u8
    }

    pub fn make_missing(&mut self, plan: Plan, files: &Entries) {
        let new = |version| Row {
            version,
            plan: Some(plan),
            epoch: 0,
            done: 0,
            complete: false,
            unloaded: false,
            locked_by: None,
        };
        for (row, file) in self.ledger.iter_mut().zip(files) {
            let Some(file) = file else { continue };
            row.get_or_insert_with(|| new(file.version));
        }
    }

    pub fn take(&mut self, plan: Plan, reload: bool, files: &Entries, protocol: Protocol) -> [Option<Taken>; FILES] {
        self.make_missing(plan, files);
        let mut all = [None; FILES];
        for ((row, file), taken) in self.ledger.iter_mut().zip(files).zip(&mut all) {
            let (Some(row), Some(file)) = (row, file) else { continue };
            row.epoch += 1;
            let (done, complete) = (row.done, row.complete);
            let standing = judge(row, file.version, plan, reload, protocol);
            *taken = Some(Taken { epoch: row.epoch, standing, done, complete });
        }
        all
    }

    fn behind(&mut self, fence: Fence, protocol: Protocol) -> Option<&mut Row> {
        let any_epoch = protocol.has(Hole::NoFence);
        let row = self.ledger[fence.file].as_mut()?;
        let is_ours = (any_epoch || row.epoch == fence.epoch) && row.plan == Some(fence.plan);
        (is_ours && !row.unloaded).then_some(row)
    }

    /// Locks the row, and keeps it locked only for a segment.
    pub fn begin(&mut self, fence: Fence, from: u8, by: usize, protocol: Protocol) -> Begun {
        let any_progress = protocol.has(Hole::FromAsRead);
        let begun = match self.behind(fence, protocol) {
            None => Begun::Lost,
            Some(row) if !any_progress && (row.done != from || row.complete) => {
                Begun::Moved { done: row.done, complete: row.complete }
            }
            Some(_) => Begun::Segment,
        };
        let keeps = begun == Begun::Segment || (begun == Begun::Lost && protocol.has(Hole::KeepsLock));
        if let Some(row) = self.ledger[fence.file].as_mut().filter(|_| keeps) {
            row.locked_by = Some(by);
        }
        begun
    }

    /// Inserts the records up to `to` and moves the ledger there.
    pub fn commit(&mut self, fence: Fence, version: Version, from: u8, to: u8, complete: bool) {
        self.insert(fence, version, from, to);
        self.move_on(fence, to, complete);
    }

    pub fn insert(&mut self, fence: Fence, version: Version, from: u8, to: u8) {
        for record in from..to {
            let row = &mut self.rows[fence.file][usize::from(record)];
            if row.replace((version, fence.plan)).is_some() {
                self.doubled = Some((fence.file, record));
            }
        }
    }

    pub fn move_on(&mut self, fence: Fence, to: u8, complete: bool) {
        if let Some(row) = &mut self.ledger[fence.file] {
            (row.done, row.complete) = (to, complete);
        }
    }

    pub fn unlock(&mut self, file: usize, by: usize) {
        if let Some(row) = self.ledger[file].as_mut().filter(|row| row.locked_by == Some(by)) {
            row.locked_by = None;
        }
    }

    /// What the server does with the transactions of a client that is gone.
    pub fn roll_back(&mut self, by: usize) {
        (0..FILES).for_each(|file| self.unlock(file, by));
    }

    pub fn walk_back_step(&mut self, fence: Fence, end: WalkEnd, protocol: Protocol) -> Walked {
        let Some(row) = self.ledger[fence.file].as_mut().filter(|row| row.epoch == fence.epoch) else {
            return Walked::Lost;
        };
        row.done = row.done.saturating_sub(WALK_BACK_MAX);
        row.complete = false;
        row.unloaded |= end == WalkEnd::Unloaded && !protocol.has(Hole::UnloadForgotten);
        row.plan = (row.done == 0).then_some(fence.plan);
        self.rows[fence.file][usize::from(row.done)..].fill(None);
        if row.done == 0 { Walked::Wholly } else { Walked::Partly }
    }

    pub fn readmit(&mut self, file: usize) -> bool {
        let out = |row: &&mut Row| row.unloaded && row.done == 0;
        let Some(row) = self.ledger[file].as_mut().filter(out) else { return false };
        (row.unloaded, row.epoch) = (false, row.epoch + 1);
        true
    }
}

/// Says where the row stands for a taker, and writes into it what the taker may.
fn judge(row: &mut Row, version: Version, plan: Plan, reload: bool, protocol: Protocol) -> Standing {
    let nothing_done = row.done == 0 && !row.complete;
    let other_version = row.version != version && !protocol.has(Hole::VersionUnseen);
    let walking_back = row.plan.is_none() || (other_version && (!row.complete || reload));
    let standing = match () {
        () if row.unloaded => Standing::Unloaded,
        () if nothing_done => Standing::Ready,
        () if walking_back => Standing::OtherPlan,
        () if other_version => Standing::OtherVersion,
        () if row.complete || row.plan == Some(plan) => Standing::Ready,
        () if protocol.has(Hole::PlanUnseen) => {
            row.plan = Some(plan);
            Standing::Ready
        }
        () => Standing::OtherPlan,
    };
    if nothing_done {
        (row.version, row.plan) = (version, Some(plan));
    } else if walking_back && !row.unloaded && (!row.complete || protocol.has(Hole::RenamesLoaded)) {
        (row.version, row.plan) = (version, None);
    }
    standing
}
