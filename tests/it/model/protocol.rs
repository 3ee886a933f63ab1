//! The sentences of the protocol that can be left out, one by one, to see that the model would notice.

/// What goes wrong without the sentence stands at each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hole {
    /// The claim is not confirmed behind the take: whoever slept in between loads into a job that has ended.
    NoConfirm,
    /// The metadata is told by job and count of attempts, not by token: after a loss both come again.
    JobAndCount,
    /// The worker goes on behind an unanswered COMMIT as if it had failed. Harmless by itself: see `FromAsRead`.
    GoesOn,
    /// A segment moves the ledger from where it stands, not from where the worker's stream stands.
    FromAsRead,
    /// A segment does not look at the epoch.
    NoFence,
    /// Whoever finds no row leaves it locked, and the owner waits for ever.
    KeepsLock,
    /// A take makes the plan its own without a look: rows of two plans mix.
    PlanUnseen,
    /// A take does not look at the version: two versions mix.
    VersionUnseen,
    /// A take names the version that comes while another is complete: one that comes late leaves the wrong one there.
    RenamesLoaded,
    /// FAILED is written without a walk back.
    FailsWithRows,
    /// A file is walked back before the registry calls it UNLOADED.
    UnloadsFirst,
    /// UNLOADED stands in the registry alone, which may be lost.
    UnloadForgotten,
    /// The rows are committed, then the ledger.
    RowsFirst,
}

/// The real one is without any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Protocol(u16);

impl Protocol {
    pub fn without(holes: &[Hole]) -> Self {
        Self(holes.iter().fold(0, |bits, hole| bits | 1 << *hole as u16))
    }

    pub fn has(self, hole: Hole) -> bool {
        self.0 & (1 << hole as u16) != 0
    }
}
