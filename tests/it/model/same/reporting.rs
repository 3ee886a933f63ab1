//! The transactions of the reporting database, and what stands in it at the end.

use loadline::job::FileState;
use loadline::warehouse::{self, Begun as RealBegun, LedgerKey, Progress, Taker, WalkEnd};

use super::{Pair, key, plan, version};
use crate::conformance::at;
use crate::conformance::ledger::{rows_of, table};
use crate::model::metadata::{Entries, Entry};
use crate::model::reporting::{Begun, Fence, Walked};
use crate::model::{FILES, Plan, RECORDS_MAX, Version};

impl Pair<'_> {
    pub(super) async fn take(&mut self) {
        let (mine, reload) = (1 + self.dice.below(2) as Plan, self.dice.one_in(2));
        let mut files: Entries = [None; FILES];
        for file in &mut files {
            let entry = Entry { version: self.version(), state: FileState::InJob, job: None, was_loaded: false };
            *file = self.dice.one_in(2).then_some(entry);
        }
        let (feed, table) = (self.feed.clone(), table(&[]).name);
        let taker = Taker { feed, job: 1, table, plan_hash: plan(mine), reload };
        let ledger_key = |(file, entry): (usize, &Option<Entry>)| {
            entry.map(|entry| LedgerKey { key: key(file), version: version(entry.version), hour: at(0) })
        };
        let keys: Vec<LedgerKey> = files.iter().enumerate().filter_map(ledger_key).collect();
        let taken = self.warehouse.take(&taker, &keys).await.unwrap();
        let expected = self.reporting.take(mine, reload, &files, self.protocol);
        let is = |taken: &warehouse::Taken| {
            let Progress { records_done, complete, .. } = taken.progress;
            (taken.epoch, taken.standing, records_done, complete)
        };
        let is: Vec<_> = taken.iter().map(is).collect();
        let should_be = expected.iter().flatten();
        let should_be = should_be
            .map(|taken| (taken.epoch.into(), taken.standing, u64::from(taken.done), taken.complete))
            .collect();
        let versions = files.map(|entry| entry.map(|entry| entry.version));
        self.same(format!("take {versions:?} under {mine}, reload {reload}"), &is, &should_be);
        let files = files.iter().zip(&expected).enumerate();
        let held = files.filter_map(|(file, (entry, taken))| Some((file, (*entry)?.version, (*taken)?.epoch)));
        for ((file, version, epoch), taken) in held.zip(taken) {
            let real = warehouse::Fence { file: taken.file, epoch: taken.epoch, plan_hash: plan(mine) };
            self.fences.push((Fence { file, epoch, plan: mine }, real, version));
        }
    }

    /// One that is newest, or was.
    fn any_fence(&mut self) -> Option<(Fence, warehouse::Fence, Version)> {
        let back = self.dice.below(4);
        self.fences.iter().rev().nth(back).cloned()
    }

    pub(super) async fn segment(&mut self) {
        let Some((fence, real, version)) = self.any_fence() else { return };
        let stands = self.reporting.ledger[fence.file].map_or(0, |row| row.done);
        let from = if self.dice.one_in(4) { self.dice.below(RECORDS_MAX as u64) as u8 } else { stands };
        let to = (from + self.dice.below(3) as u8).min(RECORDS_MAX as u8);
        let (complete, is_dropped) = (self.dice.one_in(3), self.dice.one_in(5));
        let begun = self.warehouse.begin(&real, u64::from(from)).await.unwrap();
        let expected = self.reporting.begin(fence, from, 0, self.protocol);
        let is = match &begun {
            RealBegun::Segment(_) => Begun::Segment,
            RealBegun::Moved(to) => Begun::Moved { done: to.records_done as u8, complete: to.complete },
            RealBegun::Lost => Begun::Lost,
        };
        self.reporting.unlock(fence.file, 0);
        self.same(format!("segment {fence:?} {from} to {to}, {complete}, dropped {is_dropped}"), &is, &expected);
        let RealBegun::Segment(mut segment) = begun else { return };
        if to > from {
            let id = 100 * i64::from(version) + i64::from(fence.plan);
            segment.write(&table(&[]), &rows_of(u64::from(from) + 1..=u64::from(to), id)).await.unwrap();
        }
        if !is_dropped {
            let records_done = u64::from(to);
            segment
                .commit(&Progress { records_done, rows: records_done, complete, ..Progress::default() })
                .await
                .unwrap();
            self.reporting.commit(fence, version, from, to, complete);
        }
    }

    pub(super) async fn walk_back(&mut self) {
        let Some((fence, real, _)) = self.any_fence() else { return };
        let end = if self.dice.one_in(2) { WalkEnd::Anew } else { WalkEnd::Unloaded };
        let walked = self.warehouse.walk_back(&real, &table(&[]), end).await.unwrap();
        let expected = loop {
            match self.reporting.walk_back_step(fence, end, self.protocol) {
                Walked::Partly => {}
                walked => break walked == Walked::Wholly,
            }
        };
        self.same(format!("walk back {fence:?} {end:?}"), &walked, &expected);
    }

    pub(super) async fn compare_rows(&mut self, file: usize) {
        let entry = self.warehouse.entry(&self.feed, &key(file)).await.unwrap();
        let Some(entry) = entry else {
            return self.same(format!("no ledger row of {file}"), &true, &self.reporting.ledger[file].is_none());
        };
        let (number, row) = (entry.file, self.reporting.ledger[file].unwrap());
        let plan_hash = format!("SELECT plan_hash FROM loadline_files WHERE file = {number}");
        let plan_hash = self.read.query(&plan_hash).await[0][0].clone();
        let is =
            (entry.version, plan_hash, entry.progress.records_done, entry.progress.complete, entry.unloaded.is_some());
        let named = Some(row.plan.map(plan).unwrap_or_default());
        let should_be = (version(row.version), named, u64::from(row.done), row.complete, row.unloaded);
        self.same(format!("ledger row of {file}"), &is, &should_be);
        let rows = format!("SELECT _record, id FROM {} WHERE _file = {number} ORDER BY _record", table(&[]).name);
        let rows: Vec<String> = self.read.query(&rows).await.into_iter().map(|row| texts(&row)).collect();
        let cell = |(at, (version, plan)): (usize, (Version, Plan))| {
            format!("{} {}", at + 1, 100 * u64::from(version) + u64::from(plan))
        };
        let cells = self.reporting.rows[file].iter().enumerate();
        let should_be = cells.filter_map(|(at, row)| Some((at, (*row)?))).map(cell).collect();
        self.same(format!("rows of {file}"), &rows, &should_be);
    }
}

fn texts(row: &[Option<String>]) -> String {
    row.iter().flatten().cloned().collect::<Vec<_>>().join(" ")
}
