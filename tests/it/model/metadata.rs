//! The metadata database: the queue and the registry. Each method is one transaction.
//!
//! There are no leases in here: a rescue may come at any moment, which is worse than any clock. Nor are there waits: a
//! postponed job may be claimed at once.

use loadline::job::{FileState, JobStatus, Known, OnOverwrite};

use super::protocol::{Hole, Protocol};
use super::{FILES, Version};

pub type JobId = usize;
/// New at every claim; 0: none.
pub type Token = u16;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Job {
    pub status: JobStatus,
    pub token: Token,
    pub attempts: u8,
    pub expiries: u8,
}

/// A file as the registry has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    pub version: Version,
    pub state: FileState,
    pub job: Option<JobId>,
    /// Whether it has a load time.
    pub was_loaded: bool,
}

pub type Entries = [Option<Entry>; FILES];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    pub job: JobId,
    pub token: Token,
    pub attempts: u8,
    pub expiries: u8,
    pub files: Entries,
}

/// What a worker says of a file when its job ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outcome {
    pub state: FileState,
    /// Whether the ledger holds it complete, in this version or another.
    pub is_loaded: bool,
}

pub type Outcomes = [Option<Outcome>; FILES];

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Metadata {
    /// Job `n` is at `n - 1`.
    pub jobs: Vec<Job>,
    pub files: Entries,
}

impl Metadata {
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id.checked_sub(1)?)
    }

    fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(id.checked_sub(1)?)
    }

    pub fn files_of(&self, job: JobId) -> Entries {
        self.files.map(|file| file.filter(|file| file.job == Some(job)))
    }

    // -- scanner ---------------------------------------------------------------------------------------------------

    pub fn register(&mut self, file: usize, version: Version, policy: OnOverwrite) -> Known {
        let new = Entry { version, state: FileState::Found, job: None, was_loaded: false };
        let Some(entry) = self.files[file] else {
            self.files[file] = Some(new);
            return Known::New;
        };
        let is_open = |job: &Job| matches!(job.status, JobStatus::SentForEtl | JobStatus::Processing);
        let in_open_job = entry.job.and_then(|job| self.job(job)).is_some_and(is_open);
        let known = listed_again(&entry, version, policy, in_open_job);
        match known {
            Known::Renewed => self.files[file] = Some(new),
            Known::Changed => self.files[file] = Some(Entry { state: FileState::Quarantined, ..entry }),
            Known::New | Known::Same | Known::Kept => {}
        }
        known
    }

    pub fn found(&self) -> [bool; FILES] {
        self.files.map(|file| file.is_some_and(|file| file.state == FileState::Found))
    }

    pub fn form_job(&mut self, draft: [bool; FILES]) -> Option<JobId> {
        let found = self.found();
        if (0..FILES).any(|file| draft[file] && !found[file]) {
            return None;
        }
        self.jobs.push(Job { status: JobStatus::SentForEtl, token: 0, attempts: 0, expiries: 0 });
        let job = self.jobs.len();
        for entry in self.files.iter_mut().zip(draft).filter_map(|(entry, taken)| entry.as_mut().filter(|_| taken)) {
            (entry.state, entry.job) = (FileState::InJob, Some(job));
        }
        Some(job)
    }

    // -- worker ----------------------------------------------------------------------------------------------------

    pub fn claim(&mut self, token: Token) -> Option<Claim> {
        let at = self.jobs.iter().position(|job| job.status == JobStatus::SentForEtl)?;
        let job = &mut self.jobs[at];
        (job.status, job.token, job.attempts) = (JobStatus::Processing, token, job.attempts + 1);
        let (attempts, expiries) = (job.attempts, job.expiries);
        Some(Claim { job: at + 1, token, attempts, expiries, files: self.files_of(at + 1) })
    }

    /// The job, if the claim still holds it.
    fn held(&mut self, claim: &Claim, protocol: Protocol) -> Option<&mut Job> {
        let by_count = protocol.has(Hole::JobAndCount);
        let job = self.job_mut(claim.job)?;
        let is_same = if by_count { job.attempts == claim.attempts } else { job.token == claim.token };
        (job.status == JobStatus::Processing && is_same).then_some(job)
    }

    pub fn confirm(&mut self, claim: &Claim, protocol: Protocol) -> bool {
        self.held(claim, protocol).is_some()
    }

    pub fn postpone(&mut self, claim: &Claim, counted: bool, protocol: Protocol) -> bool {
        let Some(job) = self.held(claim, protocol) else { return false };
        let attempts = job.attempts - u8::from(!counted);
        *job = Job { status: JobStatus::SentForEtl, token: 0, attempts, ..*job };
        true
    }

    /// LOADED or FAILED, with the outcome of every file.
    pub fn end(&mut self, claim: &Claim, status: JobStatus, outcomes: &Outcomes, protocol: Protocol) -> bool {
        let Some(job) = self.held(claim, protocol) else { return false };
        (job.status, job.token) = (status, 0);
        for (entry, outcome) in self.files.iter_mut().zip(outcomes) {
            let (Some(entry), Some(outcome)) = (entry, outcome) else { continue };
            let stays = entry.state == FileState::Quarantined && outcome.state != FileState::Unloaded;
            entry.state = if stays { entry.state } else { outcome.state };
            entry.was_loaded |= outcome.is_loaded;
        }
        true
    }

    /// The lease of a job has ended. False: it is not held.
    pub fn rescue(&mut self, id: JobId) -> bool {
        let Some(job) = self.job_mut(id).filter(|job| job.status == JobStatus::Processing) else { return false };
        let (attempts, expiries) = (job.attempts.max(1) - 1, job.expiries + 1);
        *job = Job { status: JobStatus::SentForEtl, token: 0, attempts, expiries };
        true
    }

    // -- people ----------------------------------------------------------------------------------------------------

    /// `now`: what its missing files are at the source.
    pub fn retry(&mut self, id: JobId, now: &[Option<Version>; FILES]) -> bool {
        let has_unloaded = self.files_of(id).iter().flatten().any(|file| file.state == FileState::Unloaded);
        let Some(job) = self.job_mut(id) else { return false };
        if !(job.status == JobStatus::Failed || (job.status == JobStatus::Loaded && has_unloaded)) {
            return false;
        }
        *job = Job { status: JobStatus::SentForEtl, token: 0, attempts: 0, expiries: 0 };
        for (entry, now) in self.files.iter_mut().zip(now) {
            let Some(entry) = entry.as_mut().filter(|entry| entry.job == Some(id)) else { continue };
            if is_missing(entry) || entry.state == FileState::InJob {
                (entry.state, entry.version) = (FileState::InJob, now.unwrap_or(entry.version));
            }
        }
        true
    }

    pub fn release(&mut self, file: usize, now: Version) -> bool {
        let Some(entry) = &mut self.files[file] else { return false };
        let is_free = entry.state == FileState::Quarantined && entry.job.is_none() && !entry.was_loaded;
        if entry.state != FileState::Unloaded && !is_free {
            return false;
        }
        (entry.state, entry.version, entry.job) = (FileState::Found, now, None);
        true
    }

    pub fn revoke(&mut self, file: usize) -> bool {
        let Some(entry) = self.files[file].as_mut().filter(|entry| is_loaded(entry)) else { return false };
        (entry.state, entry.was_loaded) = (FileState::Unloaded, false);
        true
    }
}

/// What counts as loaded.
pub fn is_loaded(entry: &Entry) -> bool {
    entry.state == FileState::Loaded || (entry.state == FileState::Quarantined && entry.was_loaded)
}

/// What a retry of its job takes up again.
pub fn is_missing(entry: &Entry) -> bool {
    match entry.state {
        FileState::Failed | FileState::Unloaded => true,
        FileState::Quarantined => !entry.was_loaded,
        FileState::Found | FileState::InJob | FileState::Loaded => false,
    }
}

/// The table of `JobStore::register`, row by row.
fn listed_again(entry: &Entry, version: Version, policy: OnOverwrite, in_open_job: bool) -> Known {
    use {FileState as Is, OnOverwrite as Policy};
    let changed = entry.version != version;
    match (entry.state, policy) {
        (Is::Unloaded, _) | (Is::Quarantined, Policy::Quarantine) => Known::Same,
        (Is::Quarantined, _) if in_open_job => Known::Same,
        (Is::Quarantined, Policy::Reload) => Known::Renewed,
        (Is::Quarantined, Policy::Ignore) if entry.job.is_none() && !entry.was_loaded => Known::Renewed,
        (Is::Quarantined, Policy::Ignore) => Known::Same,
        _ if !changed => Known::Same,
        (Is::InJob, _) | (_, Policy::Quarantine) => Known::Changed,
        (_, Policy::Reload) => Known::Renewed,
        (Is::Found, Policy::Ignore) => Known::Renewed,
        (Is::Loaded, Policy::Ignore) => Known::Kept,
        (Is::Failed, Policy::Ignore) => Known::Changed,
    }
}
