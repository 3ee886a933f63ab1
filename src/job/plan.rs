//! How FOUND files become jobs: in order of modified time, then key, filling each job up to its limits.
//!
//! Invariant: every file pushed is in exactly one draft, and a draft of more than one file is within all limits.

use chrono::{DateTime, Duration, Utc};

use super::{FoundFile, file_uri, uri_list};

/// Bytes of the list of URIs, below what servers take in one packet: long keys make a job full before its count does.
const URIS_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, Copy)]
pub struct JobLimits {
    pub size_max: u64,
    pub files_max: usize,
    /// How long a last job that is not full waits for more, from when its oldest file was found.
    pub wait_max: Duration,
}

/// A job that is to be formed.
#[derive(Debug, Clone)]
pub struct JobDraft {
    pub feed: String,
    pub files: Vec<FoundFile>,
    /// `scanner_jobs.files`.
    pub uris: String,
    pub latest_file_modified_time: DateTime<Utc>,
    pub total_size_in_bytes: u64,
}

/// Fed with files in order; hands out a draft whenever one is full.
pub struct Planner<'a> {
    feed: &'a str,
    source_url: &'a str,
    limits: JobLimits,
    open: Vec<FoundFile>,
    open_size: u64,
    /// One for each of the open files.
    uris: Vec<String>,
    uris_bytes: usize,
}

impl<'a> Planner<'a> {
    pub fn new(feed: &'a str, source_url: &'a str, limits: JobLimits) -> Self {
        Self { feed, source_url, limits, open: Vec::new(), open_size: 0, uris: Vec::new(), uris_bytes: 0 }
    }

    /// The draft that `file` did not fit into any more, if any.
    pub fn push(&mut self, file: FoundFile) -> Option<JobDraft> {
        let over_size = self.open_size.saturating_add(file.size) > self.limits.size_max;
        let uri = file_uri(self.source_url, &file.key);
        let over_bytes = self.uris_bytes + uri.len() + 1 > URIS_BYTES_MAX;
        let full = over_size || over_bytes || self.open.len() >= self.limits.files_max;
        let draft = if full { self.close() } else { None };
        self.open_size += file.size;
        self.uris_bytes += uri.len() + 1;
        self.uris.push(uri);
        self.open.push(file);
        draft
    }

    /// The last draft, unless it should wait for more files.
    pub fn finish(mut self, now: DateTime<Utc>) -> Option<JobDraft> {
        let oldest = self.open.iter().map(|file| file.found).min()?;
        let full = self.open_size >= self.limits.size_max || self.open.len() >= self.limits.files_max;
        (full || now - oldest >= self.limits.wait_max).then(|| self.close()).flatten()
    }

    fn close(&mut self) -> Option<JobDraft> {
        let files = std::mem::take(&mut self.open);
        let total_size_in_bytes = std::mem::take(&mut self.open_size);
        let uris = uri_list(std::mem::take(&mut self.uris).into_iter());
        self.uris_bytes = 0;
        let latest_file_modified_time = files.iter().map(|file| file.modified).max()?;
        Some(JobDraft { feed: self.feed.to_owned(), files, uris, latest_file_modified_time, total_size_in_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: i64, size: u64) -> FoundFile {
        let at = DateTime::from_timestamp(1_700_000_000 + id, 0).unwrap();
        FoundFile { id, key: format!("{id}.csv"), size, modified: at, hour: at, found: at }
    }

    fn plan(sizes: &[u64], limits: JobLimits) -> Vec<Vec<i64>> {
        let mut planner = Planner::new("f", "file:///data", limits);
        let mut drafts: Vec<JobDraft> =
            sizes.iter().enumerate().filter_map(|(i, size)| planner.push(file(i as i64, *size))).collect();
        drafts.extend(planner.finish(DateTime::from_timestamp(1_700_000_100, 0).unwrap()));
        drafts.iter().map(|draft| draft.files.iter().map(|file| file.id).collect()).collect()
    }

    fn limits(size_max: u64, files_max: usize, wait: i64) -> JobLimits {
        JobLimits { size_max, files_max, wait_max: Duration::seconds(wait) }
    }

    #[test]
    fn fills_up_to_the_size_without_going_over() {
        assert_eq!(plan(&[40, 60, 1, 99, 1], limits(100, 10, 0)), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn one_larger_file_is_alone() {
        assert_eq!(plan(&[10, 500, 10], limits(100, 10, 0)), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn the_count_bounds_too() {
        assert_eq!(plan(&[1, 1, 1], limits(100, 2, 0)), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn long_keys_make_a_job_full_before_its_count_does() {
        let mut planner = Planner::new("f", "s3://b", limits(u64::MAX, 10_000, 0));
        let long = |id| FoundFile { key: format!("{id:04}{}", ",".repeat(1_020)), ..file(id, 1) };
        let mut drafts: Vec<JobDraft> = (0..3_000).filter_map(|id| planner.push(long(id))).collect();
        drafts.extend(planner.finish(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        assert!(drafts.len() > 1 && drafts.iter().all(|draft| draft.uris.len() <= URIS_BYTES_MAX));
        let listed = drafts.iter().map(|draft| super::super::uri::split_uri_list(&draft.uris).len());
        assert_eq!(listed.sum::<usize>(), 3_000);
    }

    #[test]
    fn a_partial_last_job_waits_and_a_full_one_does_not() {
        assert_eq!(plan(&[60, 60, 1], limits(100, 10, 3600)), [vec![0]]);
        assert_eq!(plan(&[60, 100], limits(100, 10, 3600)), [vec![0], vec![1]]);
    }
}
