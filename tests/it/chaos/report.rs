//! What is printed at the end.

use std::fmt::Write;
use std::path::PathBuf;

use super::faults::Counts;
use super::oracle::Verdict;
use super::reclaim::Sample;

#[derive(Default)]
pub struct Report {
    pub title: String,
    pub seed: u64,
    pub seconds: f64,
    pub lease: f64,
    pub faults: Counts,
    pub files: usize,
    pub records: u64,
    pub segments: u64,
    pub jobs: u64,
    /// Of each server.
    pub deadlocks: Vec<(&'static str, u64)>,
    pub reclaims: Vec<Sample>,
    pub verdict: Verdict,
    /// Processes that ended as they never should, and commands of the drain that failed.
    pub failures: Vec<String>,
    /// Whether `audit --deep` agreed; `None` where the program has no such command.
    pub audited: Option<bool>,
    pub left_out: Vec<String>,
    /// Where the logs are, if something was wrong.
    pub kept: Option<PathBuf>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.failures.is_empty() && self.audited != Some(false)
    }

    pub fn render(&self) -> String {
        let mut text =
            format!("\n=== {}, seed {}, {:.0} s, lease {} s\n", self.title, self.seed, self.seconds, self.lease);
        let mut line = |what: &str, value: String| writeln!(text, "{what:<42} {value:>8}").unwrap();
        for (name, count) in self.faults.iter() {
            line(name, count.to_string());
        }
        line("FAULTS", self.faults.total().to_string());
        line("files", self.files.to_string());
        line("records, all versions", self.records.to_string());
        line("jobs", self.jobs.to_string());
        line("segments committed", self.segments.to_string());
        let Verdict { lost, doubled, partial, foreign, rejects_lost, rejects_doubled, wrong, .. } = &self.verdict;
        line("lost", lost.to_string());
        line("doubled", doubled.to_string());
        line("partial", partial.to_string());
        line("of no file", foreign.to_string());
        line("rejects lost", rejects_lost.to_string());
        line("rejects doubled", rejects_doubled.to_string());
        line("sums, states and jobs that are wrong", wrong.to_string());
        line(
            "audit --deep",
            self.audited.map_or("not known", |agrees| if agrees { "agrees" } else { "DIFFERS" }).to_owned(),
        );
        for (server, deadlocks) in &self.deadlocks {
            let rate = *deadlocks as f64 * 10_000.0 / self.segments.max(1) as f64;
            line(&format!("{server}: deadlocks, and per 10,000 segments"), format!("{deadlocks} {rate:.1}"));
        }
        line("reclaims seen, p50 / max", spread(&self.reclaims));
        let calm: Vec<Sample> = self.reclaims.iter().filter(|sample| sample.is_calm).copied().collect();
        line("  while the metadata could be reached", spread(&calm));
        let late = calm.iter().filter(|sample| sample.seconds > 1.25 * self.lease).count();
        line("  of these, later than lease and heartbeat", late.to_string());
        for what in &self.left_out {
            writeln!(text, "SKIPPED: {what}").unwrap();
        }
        for what in self.verdict.named.iter().chain(&self.failures) {
            writeln!(text, "! {what}").unwrap();
        }
        if let Some(folder) = &self.kept {
            writeln!(text, "logs and databases are kept in {}", folder.display()).unwrap();
        }
        text
    }
}

fn spread(samples: &[Sample]) -> String {
    let mut seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    match seconds.last() {
        None => "none".to_owned(),
        Some(max) => format!("{}: {:.1} s / {max:.1} s", seconds.len(), seconds[seconds.len() / 2]),
    }
}
