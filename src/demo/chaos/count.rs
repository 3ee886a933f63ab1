//! Counting a table against the truth: every id that is to be there, once.
//!
//! Invariant: it knows ids only. Nothing of what it counts with was written by a loader, and both sides are counted by
//! the same code.

use std::collections::BTreeMap;

use super::world::{FileKind, Truth};

/// What the rows of one side come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub rows: u64,
    /// Ids that are to be there and are not. Before the end: not yet.
    pub lost: u64,
    /// Rows beyond the first of an id that is to be there.
    pub doubled: u64,
    /// Rows of an id that the newest bytes of its file don't hold any more, or that was no valid record.
    pub outdated: u64,
    /// Files of which some ids are there and some are not.
    pub partial_files: u64,
    /// Lost and doubled, by what happened to their files.
    pub by_kind: BTreeMap<FileKind, Harm>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harm {
    pub lost: u64,
    pub doubled: u64,
}

impl Tally {
    pub fn is_exact(&self) -> bool {
        self.lost + self.doubled + self.outdated + self.partial_files == 0
    }
}

/// Show it every row, then ask.
pub struct Counter<'a> {
    truth: &'a Truth,
    /// How often each id was seen; ids are small and dense.
    seen: Vec<u32>,
    rows: u64,
}

impl<'a> Counter<'a> {
    pub fn new(truth: &'a Truth) -> Self {
        Self { truth, seen: Vec::new(), rows: 0 }
    }

    pub fn see(&mut self, id: u64) {
        let place = usize::try_from(id).unwrap_or(usize::MAX);
        self.rows += 1;
        // Rows of any other id are counted as rows, and so come out as outdated.
        if place < MAX_ID {
            if place >= self.seen.len() {
                self.seen.resize(place + 1, 0);
            }
            self.seen[place] += 1;
        }
    }

    pub fn finish(self) -> Tally {
        let mut tally = Tally { rows: self.rows, ..Tally::default() };
        let mut of_truth = 0;
        for file in &self.truth.files {
            let mut harm = Harm::default();
            for id in file.ids.iter() {
                let times = usize::try_from(*id).ok().and_then(|id| self.seen.get(id)).copied().unwrap_or_default();
                of_truth += u64::from(times);
                harm.lost += u64::from(times == 0);
                harm.doubled += u64::from(times.saturating_sub(1));
            }
            tally.lost += harm.lost;
            tally.doubled += harm.doubled;
            tally.partial_files += u64::from(harm.lost > 0 && harm.lost < file.ids.len() as u64);
            if harm != Harm::default() {
                let of_kind = tally.by_kind.entry(file.kind).or_default();
                of_kind.lost += harm.lost;
                of_kind.doubled += harm.doubled;
            }
        }
        tally.outdated = self.rows - of_truth;
        tally
    }
}

/// More than any run makes, and no memory to speak of.
const MAX_ID: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::super::world::WrittenFile;
    use super::*;

    fn file(kind: FileKind, ids: &[u64]) -> WrittenFile {
        WrittenFile { key: String::new(), kind, ids: ids.into(), bad: 0 }
    }

    fn tally(truth: &Truth, ids: &[u64]) -> Tally {
        let mut counter = Counter::new(truth);
        ids.iter().for_each(|id| counter.see(*id));
        counter.finish()
    }

    #[test]
    fn every_way_of_being_wrong_is_counted() {
        let files = vec![file(FileKind::Ordinary, &[1, 2, 3]), file(FileKind::Late, &[5, 6])];
        let truth = Truth { files };
        let exact = tally(&truth, &[6, 1, 2, 3, 5]);
        assert!(exact.is_exact() && exact.rows == 5, "{exact:?}");

        let wrong = tally(&truth, &[1, 1, 1, 3, 4, 4, u64::MAX]);
        let found = (wrong.rows, wrong.lost, wrong.doubled, wrong.outdated, wrong.partial_files);
        assert_eq!(found, (7, 3, 2, 3, 1));
        assert_eq!(wrong.by_kind[&FileKind::Ordinary], Harm { lost: 1, doubled: 2 });
        assert_eq!(wrong.by_kind[&FileKind::Late], Harm { lost: 2, doubled: 0 });
        assert!(!wrong.is_exact());
    }
}
