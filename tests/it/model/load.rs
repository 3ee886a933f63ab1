//! One file of a claim: the program of `worker::load_file`.

use loadline::job::FileState;
use loadline::warehouse::{Standing, WalkEnd};

use super::Version;
use super::protocol::Hole;
use super::reporting::{Begun, Fence, Taken, Walked};
use super::world::{Fate, Shared};

const MOVES_MAX: u8 = 5;

/// One file of the claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Load {
    pub at: At,
    pub epoch: u16,
    moves: u8,
    was_complete: bool,
    /// Its failure has been walked back.
    pub is_out: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// Not in the claim.
    #[default]
    Absent,
    /// About to be opened at the source, behind so many records.
    Opening(u8),
    /// Its stream stands there, and the next segment is in memory.
    Read(u8),
    /// In an open transaction; the server may have cut it.
    Writing {
        from: u8,
        is_cut: bool,
    },
    /// Its rows are committed, the ledger is not: only where the protocol has that hole.
    Moving {
        from: u8,
    },
    Walking(WalkEnd),
    Ended(Ended),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ended {
    Complete,
    Unloaded,
    OtherVersion,
    /// An answer was lost: the next claim sees.
    Unavailable,
    Changed,
    Data,
    Lost,
}

impl Load {
    /// What there is to do about a file that was taken.
    pub fn new(taken: &Taken, state: FileState, given_up: bool) -> Self {
        let at = match taken.standing {
            Standing::Unloaded if taken.done > 0 => At::Walking(WalkEnd::Unloaded),
            Standing::Unloaded => At::Ended(Ended::Unloaded),
            Standing::OtherVersion => At::Ended(Ended::OtherVersion),
            Standing::Ready if taken.complete => At::Ended(Ended::Complete),
            _ if state == FileState::Quarantined => At::Ended(Ended::Changed),
            _ if given_up => At::Ended(Ended::Data),
            Standing::OtherPlan => At::Walking(WalkEnd::Anew),
            Standing::Ready => At::Opening(taken.done),
        };
        Self { at, epoch: taken.epoch, was_complete: taken.complete, ..Self::default() }
    }

    /// The next transaction or message of it. `version`: the one that was claimed.
    pub fn step(&mut self, me: usize, fence: Fence, version: Version, fate: Fate, shared: &mut Shared) {
        let (file, protocol) = (fence.file, shared.protocol);
        let size = shared.records(file, version);
        self.at = match self.at {
            At::Opening(done) => match fate.of(|| shared.source[file]) {
                Err(_) => At::Ended(Ended::Unavailable),
                Ok(now) if now != version => At::Ended(Ended::Changed),
                Ok(_) => At::Read(done),
            },
            At::Read(from) => match fate.of(|| shared.reporting.begin(fence, from, me, protocol)) {
                // The connection is dropped, and the server rolls back.
                Err(_) => {
                    shared.reporting.unlock(file, me);
                    At::Ended(Ended::Unavailable)
                }
                Ok(Begun::Lost) => At::Ended(Ended::Lost),
                Ok(Begun::Moved { complete: true, .. }) => At::Ended(Ended::Complete),
                Ok(Begun::Moved { done, .. }) => self.moved(done),
                Ok(Begun::Segment) => At::Writing { from, is_cut: false },
            },
            At::Writing { is_cut: true, .. } => At::Ended(Ended::Unavailable),
            At::Writing { from, .. } if from + 1 == size && shared.is_bad(file, version) => {
                shared.reporting.unlock(file, me);
                At::Ended(Ended::Data)
            }
            At::Writing { from, .. } if protocol.has(Hole::RowsFirst) => {
                shared.reporting.insert(fence, version, from, (from + 1).min(size));
                shared.reporting.unlock(file, me);
                At::Moving { from }
            }
            At::Writing { from, .. } => {
                // A file without a record is committed too, from 0 to 0.
                let to = (from + 1).min(size);
                let committed = fate.of(|| shared.reporting.commit(fence, version, from, to, to == size));
                shared.reporting.unlock(file, me);
                match committed {
                    Ok(()) if to == size => At::Ended(Ended::Complete),
                    Ok(()) => At::Read(to),
                    Err(_) if protocol.has(Hole::GoesOn) => At::Read(from),
                    Err(_) => At::Ended(Ended::Unavailable),
                }
            }
            At::Moving { from } => {
                let to = (from + 1).min(size);
                match fate.of(|| shared.reporting.move_on(fence, to, to == size)) {
                    Ok(()) if to == size => At::Ended(Ended::Complete),
                    Ok(()) => At::Read(to),
                    Err(_) => At::Ended(Ended::Unavailable),
                }
            }
            At::Walking(end) => match fate.of(|| shared.reporting.walk_back_step(fence, end, protocol)) {
                Err(_) => At::Ended(Ended::Unavailable),
                Ok(Walked::Lost) => At::Ended(Ended::Lost),
                Ok(Walked::Partly) => At::Walking(end),
                Ok(Walked::Wholly) if end == WalkEnd::Unloaded => At::Ended(Ended::Unloaded),
                // It still bears the version that was complete: taken again, it gets the one that comes.
                Ok(Walked::Wholly) if self.was_complete => At::Ended(Ended::Lost),
                Ok(Walked::Wholly) => At::Opening(0),
            },
            at @ (At::Absent | At::Ended(_)) => at,
        };
    }

    /// The ledger stands elsewhere: the stream is opened anew there.
    fn moved(&mut self, done: u8) -> At {
        self.moves += 1;
        if self.moves > MOVES_MAX { At::Ended(Ended::Unavailable) } else { At::Opening(done) }
    }
}
