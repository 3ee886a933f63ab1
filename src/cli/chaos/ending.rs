//! What `demo --chaos` says in the end, on stdout.

use std::fmt::Write as _;
use std::path::Path;

use super::super::{human, shell};
use super::colour::{Colour, painted};
use crate::cli::demo::{DEFAULT_DIR, DemoArgs};
use crate::demo::chaos::{FaultKind, FileKind, Harm, LEASE, Outcome, Tally};

/// Columns of a table: what, and the two sides.
const COLUMNS: (usize, usize) = (46, 14);

pub struct Ending<'a> {
    /// How this program was called, as a shell takes it.
    pub program: &'a str,
    pub args: &'a DemoArgs,
    pub outcome: &'a Outcome,
    pub colours: bool,
}

impl Ending<'_> {
    pub fn render(&self) -> String {
        let mut text = String::new();
        let outcome = self.outcome;
        let seconds = outcome.length.as_secs();
        let (files, records) = (human::counted(outcome.files as u64, "file"), human::count(outcome.records));
        let title = format!("Seed {}, {seconds} s: {files} with {records} valid records", outcome.seed);
        let _ = writeln!(text, "\n{}\n", self.painted(&title, Colour::Bold));
        self.faults(&mut text);
        text.push('\n');
        self.counts(&mut text);
        text.push('\n');
        self.causes(&mut text);
        self.verdict(&mut text);
        let _ =
            writeln!(text, "\nThe same files and faults again; how far a worker is when it is hit, is the machine's:");
        let _ = writeln!(text, "\n  {}", self.again());
        let _ = writeln!(text, "\nWhat loadline made of them:\n\n  {}", self.look());
        text
    }

    fn painted(&self, text: &str, colour: Colour) -> String {
        painted(text, Some(colour), self.colours)
    }

    fn heading(&self, text: &mut String, heading: &str) {
        let (first, other) = COLUMNS;
        let line = format!("{heading:first$}{:>other$}{:>other$}", "loadline", "naive loader");
        let _ = writeln!(text, "{}", self.painted(&line, Colour::Bold));
    }

    fn faults(&self, text: &mut String) {
        let outcome = self.outcome;
        self.heading(text, "faults");
        for kind in FaultKind::ALL {
            let [loadline, naive] = outcome.faults.get(&kind).copied().unwrap_or_default();
            let mut name = kind.to_string();
            if kind == FaultKind::Frozen && loadline + naive > 0 {
                let leases = outcome.longest_freeze.as_secs_f64() / LEASE.as_secs_f64();
                let _ = write!(name, ", up to {leases:.1} leases");
            }
            let naive = if kind == FaultKind::ScannerKilled { "none to kill".to_owned() } else { human::count(naive) };
            row(text, &name, &human::count(loadline), &naive);
        }
        row(text, "in all", &human::count(self.total(0)), &human::count(self.total(1)));
        let [loadline, naive] = outcome.fell;
        if loadline + naive > 0 {
            row(text, "processes that fell by themselves", &human::count(loadline), &human::count(naive));
        }
    }

    fn total(&self, side: usize) -> u64 {
        self.outcome.faults.values().map(|sides| sides[side]).sum()
    }

    fn counts(&self, text: &mut String) {
        self.heading(text, "counted in the tables, when all was loaded");
        let [loadline, naive] = &self.outcome.tallies;
        row(text, "rows", &human::count(loadline.rows), &human::count(naive.rows));
        self.harm(text, "LOST: valid records that are not there", |tally| tally.lost);
        self.harm(text, "DOUBLED: rows beyond the first of a record", |tally| tally.doubled);
        self.harm(text, "outdated: rows of bytes since overwritten", |tally| tally.outdated);
        self.harm(text, "files of which only a part is there", |tally| tally.partial_files);
        let bad = human::count(self.outcome.bad);
        let kept = format!("{} of {bad}", human::count(self.outcome.rejects));
        row(text, "bad records kept, with place and reason", &kept, "keeps none");
    }

    /// A row of two counts that should be 0.
    fn harm(&self, text: &mut String, name: &str, of: fn(&Tally) -> u64) {
        let (first, other) = COLUMNS;
        let cell = |tally: &Tally| {
            let colour = if of(tally) == 0 { Colour::Green } else { Colour::Red };
            self.painted(&format!("{:>other$}", human::count(of(tally))), colour)
        };
        let [loadline, naive] = &self.outcome.tallies;
        let _ = writeln!(text, "{name:first$}{}{}", cell(loadline), cell(naive));
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
        let jobs = human::counted(outcome.rescued, "job");
        let rescued = format!("{jobs} taken over from a worker that died or froze over it");
        if outcome.is_exact() {
            let verdict = format!("loadline: {faults}, {rescued}, 0 lost, 0 doubled.");
            let _ = writeln!(text, "{}", self.painted(&verdict, Colour::Green));
            return;
        }
        let tally = &outcome.tallies[0];
        let verdict = format!(
            "loadline did NOT keep its promise: {faults}, {rescued}, {} lost, {} doubled, {} outdated, {} in part, \
             {} with wrong rejects, {} files or jobs not at an end.",
            human::count(tally.lost),
            human::count(tally.doubled),
            human::count(tally.outdated),
            human::counted(tally.partial_files, "file"),
            human::counted(outcome.files_with_wrong_rejects, "file"),
            human::count(outcome.unfinished),
        );
        let _ = writeln!(text, "{}", self.painted(&verdict, Colour::Red));
        let _ = writeln!(text, "Please report it with the seed, and keep the folder {}.", shell::path(&self.args.dir));
    }

    fn again(&self) -> String {
        let outcome = self.outcome;
        let (seconds, seed) = (outcome.length.as_secs(), outcome.seed);
        let again = format!("{} demo --chaos --seconds {seconds} --seed {seed}", self.program);
        let dir = &self.args.dir;
        if dir == Path::new(DEFAULT_DIR) { again } else { format!("{again} --dir {}", shell::path(dir)) }
    }

    fn look(&self) -> String {
        format!("{} -c {} status", self.program, shell::path(&self.args.dir.join(crate::demo::CONFIG_FILE)))
    }
}

fn row(text: &mut String, name: &str, loadline: &str, naive: &str) {
    let (first, other) = COLUMNS;
    let _ = writeln!(text, "{name:first$}{loadline:>other$}{naive:>other$}");
}

fn origin(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Ordinary => "of ordinary files",
        FileKind::Overwritten => "of overwritten files",
        FileKind::Late => "of late files",
        FileKind::SameSecond => "of files of one second",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn outcome(loadline: Tally) -> Outcome {
        let harm = Harm { lost: 4_000, doubled: 0 };
        let naive = Tally { rows: 96_000, lost: 4_000, by_kind: BTreeMap::from([(FileKind::Late, harm)]), ..loadline };
        Outcome {
            seed: 4711,
            length: Duration::from_secs(60),
            files: 300,
            records: 100_000,
            faults: BTreeMap::from([(FaultKind::Killed, [30, 29]), (FaultKind::ScannerKilled, [4, 0])]),
            longest_freeze: Duration::from_secs(17),
            tallies: [Tally { rows: 100_000, ..loadline }, naive],
            bad: 12,
            rejects: 12,
            files_with_wrong_rejects: 0,
            unfinished: 0,
            rescued: 3,
            fell: [0, 0],
        }
    }

    fn rendered(outcome: &Outcome) -> String {
        let args = DemoArgs { dir: PathBuf::from("my demo"), chaos: true, seconds: 60, seed: None };
        Ending { program: "loadline", args: &args, outcome, colours: false }.render()
    }

    #[test]
    fn it_ends_with_the_counts_and_the_seed() {
        let exact = outcome(Tally::default());
        let text = rendered(&exact);
        for part in [
            "Seed 4711, 60 s: 300 files with 100,000 valid records",
            "The naive loader lost 4,000 of late files.\n",
            "loadline: 34 faults, 3 jobs taken over from a worker that died or froze over it, 0 lost, 0 doubled.\n",
            "\n  loadline demo --chaos --seconds 60 --seed 4711 --dir 'my demo'\n",
            "\n  loadline -c 'my demo/config.yaml' status\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(exact.is_exact() && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_broken_promise_is_said_aloud() {
        let doubled = outcome(Tally { doubled: 1, ..Tally::default() });
        assert!(!doubled.is_exact() && rendered(&doubled).contains("did NOT keep its promise: 34 faults"));
        let unfinished = Outcome { unfinished: 1, ..outcome(Tally::default()) };
        let unkept = Outcome { files_with_wrong_rejects: 1, ..outcome(Tally::default()) };
        assert!(!unfinished.is_exact() && !unkept.is_exact());
    }
}
