//! What a run came to, counted from the ends of its jobs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::output::printable;
use super::{Exit, human, report};
use crate::job::JobId;
use crate::progress::{JobEnd, Outcome};

/// Single jobs that are remembered: a run may last for weeks.
pub const KEPT_MAX: usize = 1000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub jobs_loaded: u64,
    pub jobs_failed: u64,
    /// To be tried again later, by themselves: the last [`KEPT_MAX`] of them.
    pub postponed: BTreeSet<JobId>,
    /// Given back to the queue because the run was stopped.
    pub jobs_given_back: u64,
    /// Taken over by another worker, which counts them.
    pub jobs_lost: u64,
    /// Files of the jobs that were loaded or failed.
    pub files: u64,
    pub bytes: u64,
    pub rows: u64,
    pub rejects: u64,
    pub elapsed: Duration,
    /// The first [`KEPT_MAX`] failed jobs, each with its `failure_msg`.
    pub failures: Vec<(JobId, String)>,
}

impl Summary {
    /// A postponed or lost job ends again, here or elsewhere, and its records are counted there.
    pub fn add(&mut self, end: &JobEnd) {
        match &end.outcome {
            Outcome::Loaded => self.jobs_loaded += 1,
            Outcome::Failed(reason) => {
                self.jobs_failed += 1;
                if self.failures.len() < KEPT_MAX {
                    self.failures.push((end.job, reason.clone()));
                }
            }
            Outcome::Postponed(..) => {
                self.postponed.insert(end.job);
                if self.postponed.len() > KEPT_MAX {
                    self.postponed.pop_first();
                }
                return;
            }
            Outcome::GivenBack(_) => {
                self.jobs_given_back += 1;
                return;
            }
            Outcome::Lost => {
                self.jobs_lost += 1;
                return;
            }
        }
        self.postponed.remove(&end.job);
        self.files += end.files as u64;
        self.bytes += end.bytes;
        self.rows += end.rows;
        self.rejects += end.rejects;
    }

    pub fn jobs_postponed(&self) -> u64 {
        self.postponed.len() as u64
    }

    /// No job ended: there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.jobs_loaded + self.jobs_failed + self.jobs_postponed() + self.jobs_given_back + self.jobs_lost == 0
    }

    pub fn records(&self) -> u64 {
        self.rows + self.rejects
    }

    pub fn exit(&self) -> Exit {
        match (self.jobs_failed, self.jobs_postponed()) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::SomePostponed,
            _ => Exit::SomeFailed,
        }
    }

    /// `4 jobs loaded, 1 failed; 30 files (4.8 MiB); 106,000 records = 105,990 rows + 10 rejects; 52,995 rows/s; 2.0 s`
    pub fn render(&self) -> String {
        if self.is_empty() {
            return "nothing was loaded: no job was waiting".to_owned();
        }
        let mut text = format!("{} loaded", human::counted(self.jobs_loaded, "job"));
        let others = [
            (self.jobs_failed, "failed"),
            (self.jobs_postponed(), "postponed"),
            (self.jobs_given_back, "given back"),
            (self.jobs_lost, "taken over"),
        ];
        for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, ", {} {word}", human::count(count));
        }
        let (files, bytes) = (human::counted(self.files, "file"), human::size(self.bytes));
        let rate = human::count(human::per_second(self.rows, self.elapsed));
        let _ = write!(
            text,
            "; {files} ({bytes}); {}; {rate} rows/s; {}",
            records(self.rows, self.rejects),
            human::duration(self.elapsed)
        );
        text
    }
}

/// `106,000 records = 105,990 rows + 10 rejects`
pub(super) fn records(rows: u64, rejects: u64) -> String {
    format!(
        "{} = {} + {}",
        human::counted(rows + rejects, "record"),
        human::counted(rows, "row"),
        human::counted(rejects, "reject")
    )
}

/// One line on a job that ended.
pub(super) fn job_line(end: &JobEnd) -> String {
    let (job, feed) = (end.job, printable(&end.feed));
    let took = human::duration(end.took);
    match &end.outcome {
        Outcome::Loaded => {
            let files = human::counted(end.files as u64, "file");
            let rate = human::count(human::per_second(end.rows, end.took));
            format!(
                "job {job} ({feed}) loaded: {files} ({}), {}, {took}, {rate} rows/s",
                human::size(end.bytes),
                records(end.rows, end.rejects)
            )
        }
        // A line for each file that failed.
        Outcome::Failed(reason) => {
            format!("job {job} ({feed}) failed after {took}: {}", report::lines(reason, None, ""))
        }
        Outcome::Postponed(delay, reason) => {
            format!("job {job} ({feed}) will be tried again in {}: {}", human::duration(*delay), printable(reason))
        }
        Outcome::GivenBack(reason) => format!("job {job} ({feed}) given back to the queue: {}", printable(reason)),
        Outcome::Lost => format!("job {job} ({feed}) was taken over by another worker"),
    }
}

/// The same for programs.
pub(super) fn job_json(end: &JobEnd) -> String {
    let (outcome, reason, retry_in) = match &end.outcome {
        Outcome::Loaded => ("loaded", None, None),
        Outcome::Failed(reason) => ("failed", Some(reason), None),
        Outcome::Postponed(delay, reason) => ("postponed", Some(reason), Some(delay.as_secs_f64())),
        Outcome::GivenBack(reason) => ("given_back", Some(reason), None),
        Outcome::Lost => ("lost", None, None),
    };
    serde_json::json!({
        "event": "job_ended",
        "job": end.job,
        "feed": end.feed,
        "outcome": outcome,
        "reason": reason,
        "retry_in_seconds": retry_in,
        "files": end.files,
        "bytes": end.bytes,
        "rows": end.rows,
        "rejects": end.rejects,
        "took_seconds": end.took.as_secs_f64(),
    })
    .to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn end(job: JobId, outcome: Outcome) -> JobEnd {
        let took = Duration::from_millis(2000);
        JobEnd { job, feed: "loans".to_owned(), outcome, files: 6, bytes: 1 << 20, rows: 21_000, rejects: 10, took }
    }

    #[test]
    fn only_what_ended_here_for_good_is_counted() {
        let mut summary = Summary { elapsed: Duration::from_secs(2), ..Summary::default() };
        assert!(summary.is_empty());
        summary.add(&end(1, Outcome::Loaded));
        assert_eq!(summary.exit(), Exit::Done);
        summary.add(&end(2, Outcome::Postponed(Duration::from_secs(3), "busy".to_owned())));
        assert_eq!(summary.exit(), Exit::SomePostponed);
        summary.add(&end(3, Outcome::Failed("a.csv: bad".to_owned())));
        summary.add(&end(4, Outcome::Lost));
        assert_eq!((summary.records(), summary.exit()), (42_020, Exit::SomeFailed));
        assert_eq!(summary.failures, [(3, "a.csv: bad".to_owned())]);
        assert_eq!(
            summary.render(),
            "1 job loaded, 1 failed, 1 postponed, 1 taken over; 12 files (2.0 MiB); \
             42,020 records = 42,000 rows + 20 rejects; 21,000 rows/s; 2.0 s"
        );
    }

    #[test]
    fn a_line_per_job() {
        assert_eq!(
            job_line(&end(1, Outcome::Loaded)),
            "job 1 (loans) loaded: 6 files (1.0 MiB), 21,010 records = 21,000 rows + 10 rejects, 2.0 s, 10,500 rows/s"
        );
        let failed = end(2, Outcome::Failed("a\u{1b}.csv".to_owned()));
        assert_eq!(job_line(&failed), "job 2 (loans) failed after 2.0 s: a\\u{1b}.csv");
        let value: serde_json::Value = serde_json::from_str(&job_json(&failed)).unwrap();
        assert_eq!((value["outcome"].as_str(), value["reason"].as_str()), (Some("failed"), Some("a\u{1b}.csv")));
    }
}
