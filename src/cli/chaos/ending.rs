//! What `demo --chaos` says in the end, on stdout.

use std::fmt::Write as _;

use super::super::demo::DemoArgs;
use super::super::output::{Format, Table, Value};
use super::super::{human, shell};
use crate::demo::chaos::{FaultKind, FileKind, Harm, LEASE, Outcome, Tally};

pub struct Ending<'a> {
    /// How this program was called, as a shell takes it.
    pub program: &'a str,
    pub args: &'a DemoArgs,
    pub outcome: &'a Outcome,
}

impl Ending<'_> {
    pub fn render(&self) -> String {
        let outcome = self.outcome;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "\n{} s, seed {}: {} of {}\n",
            outcome.length.as_secs(),
            outcome.seed,
            human::counted(outcome.files as u64, "file"),
            human::counted(outcome.records, "valid record")
        );
        text.push_str(&table("fault", self.faults()));
        text.push('\n');
        text.push_str(&table("counted in the tables, when all was loaded", self.counts()));
        text.push('\n');
        self.causes(&mut text);
        self.verdict(&mut text);
        let _ = writeln!(
            text,
            "\nThe same files and faults again; only the machine's own timing differs:\n\n  {}",
            self.again()
        );
        let _ = writeln!(text, "\nTo look at what loadline made of them:\n\n  {}", self.look());
        text
    }

    fn faults(&self) -> Vec<Vec<Value>> {
        let outcome = self.outcome;
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for kind in FaultKind::ALL {
            let [loadline, naive] = outcome.faults.get(&kind).copied().unwrap_or_default();
            let name = match kind {
                FaultKind::Frozen if loadline + naive > 0 => {
                    let leases = outcome.longest_freeze.as_secs_f64() / LEASE.as_secs_f64();
                    format!("{kind}, up to {leases:.1} leases")
                }
                _ => kind.to_string(),
            };
            let naive = if kind == FaultKind::ScannerKilled { "has none".into() } else { count(naive) };
            rows.push(vec![name.into(), count(loadline), naive]);
        }
        rows.push(row("in all", self.total(0), self.total(1)));
        let [loadline, naive] = outcome.fell;
        if loadline + naive > 0 {
            rows.push(row("processes that fell by themselves", loadline, naive));
        }
        rows
    }

    fn total(&self, side: usize) -> u64 {
        self.outcome.faults.values().map(|sides| sides[side]).sum()
    }

    fn counts(&self) -> Vec<Vec<Value>> {
        let outcome = self.outcome;
        let both = |name: &str, of: fn(&Tally) -> u64| {
            let [loadline, naive] = &outcome.tallies;
            row(name, of(loadline), of(naive))
        };
        let mut rows = vec![
            both("rows", |tally| tally.rows),
            both("LOST: valid records that are not there", |tally| tally.lost),
            both("DOUBLED: rows beyond the first of a record", |tally| tally.doubled),
            both("outdated: rows of bytes since overwritten", |tally| tally.outdated),
            both("files of which a part is there", |tally| tally.partial_files),
        ];
        let kept = format!("{} of {}", human::count(outcome.rejects), human::count(outcome.bad));
        let none = format!("0 of {}", human::count(outcome.bad));
        rows.push(vec!["bad records kept, with place and reason".into(), kept.into(), none.into()]);
        rows
    }

    /// What the naive loader's harm came of, by what happened to the files.
    fn causes(&self, text: &mut String) {
        let by_kind = &self.outcome.tallies[1].by_kind;
        let told = |of: fn(&Harm) -> u64| {
            let parts = by_kind.iter().filter(|(_, harm)| of(harm) > 0);
            parts.map(|(kind, harm)| format!("{} {}", human::count(of(harm)), origin(*kind))).collect::<Vec<_>>()
        };
        for (what, parts) in [("lost", told(|harm| harm.lost)), ("doubled", told(|harm| harm.doubled))] {
            if !parts.is_empty() {
                let _ = writeln!(text, "The naive loader {what} {}.", parts.join(", "));
            }
        }
    }

    fn verdict(&self, text: &mut String) {
        let outcome = self.outcome;
        let faults = human::counted(self.total(0), "fault");
        if outcome.is_exact() {
            let _ = writeln!(text, "loadline: {faults}, 0 lost, 0 doubled.");
            return;
        }
        let tally = &outcome.tallies[0];
        let _ = writeln!(
            text,
            "loadline did NOT keep its promise: {faults}, {} lost, {} doubled, {} outdated, {} in part, {} with wrong \
             rejects, {} unfinished.\nPlease report it with the seed, and keep {}.",
            human::count(tally.lost),
            human::count(tally.doubled),
            human::count(tally.outdated),
            human::counted(tally.partial_files, "file"),
            human::counted(outcome.files_with_wrong_rejects, "file"),
            human::counted(outcome.unfinished, "file or job"),
            shell::path(&self.args.dir)
        );
    }

    fn again(&self) -> String {
        let outcome = self.outcome;
        format!("{} demo --chaos --seconds {} --seed {}", self.program, outcome.length.as_secs(), outcome.seed)
    }

    fn look(&self) -> String {
        format!("{} -c {} status", self.program, shell::path(&self.args.dir.join(crate::demo::CONFIG_FILE)))
    }
}

fn row(name: &str, loadline: u64, naive: u64) -> Vec<Value> {
    vec![name.into(), count(loadline), count(naive)]
}

fn count(number: u64) -> Value {
    human::count(number).into()
}

fn table(heading: &str, rows: Vec<Vec<Value>>) -> String {
    let mut table = Table::new([heading, "loadline", "naive loader"]);
    table.rows = rows;
    let mut out = Vec::new();
    // Writing to a Vec does not fail.
    let _ = table.print(Format::Table, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn origin(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Ordinary => "of ordinary files",
        FileKind::Overwritten => "of overwritten files",
        FileKind::Late => "of late files",
        FileKind::SameSecond => "of files of the same second",
    }
}
