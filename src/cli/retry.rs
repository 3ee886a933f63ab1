//! `retry`: failed jobs go back to the queue.
//!
//! Invariant: nothing is loaded twice by it. Only files that are not in the table go back; those of the job that were
//! loaded stay as they are.

use std::fmt;

use clap::Args;

use super::{Context, Exit, human, jobs, report};
use crate::error::{Error, Result};
use crate::job::{FileRecord, FileState, JobFilter, JobId, JobStatus, JobStore, Replacement};
use crate::source::{self, Source};

/// Send failed jobs for ETL again, or release files from quarantine
///
/// Repair the cause first: the schema file, or the file itself at the source (a replaced
/// file is taken in its new version). The next `loadline etl` then loads what is missing of
/// the job, and nothing twice.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RetryArgs {
    /// Ids of failed jobs, as `loadline jobs --status FAILED` lists them
    #[arg(value_name = "ID", required_unless_present_any = ["failed", "quarantined"], conflicts_with = "failed")]
    pub ids: Vec<JobId>,

    /// All failed jobs
    #[arg(long)]
    pub failed: bool,

    /// Files that were quarantined before any job took them: they are found again as they are now
    #[arg(long, conflicts_with_all = ["ids", "failed"])]
    pub quarantined: bool,
}

/// A job that waits for a worker again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    pub job: JobId,
    /// How many files are to be loaded.
    pub files: usize,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} waits for etl again ({} to load)", self.job, human::counted(self.files as u64, "file"))
    }
}

pub async fn run(args: &RetryArgs, context: &Context) -> Result<Exit> {
    let (store, source) = (context.job_store().await?, context.source()?);
    if args.quarantined {
        let mut files = store.quarantined().await?;
        files.retain(|file| file.job_id.is_none() && file.loaded_time.is_none());
        let released = store.release(&versions(&source, &files).await?).await?;
        let files = human::counted(released, "file");
        report::note(&context.global, &format!("{files} released; the next scan puts them into jobs"));
        return Ok(Exit::Done);
    }
    let retried = send_back(args, store.as_ref(), async |files| versions(&source, files).await).await?;
    for job in &retried {
        report::note(&context.global, &job.to_string());
    }
    if retried.is_empty() {
        report::note(&context.global, "no job is FAILED");
    }
    Ok(Exit::Done)
}

/// What the files are at the source now. One that is gone keeps its version, and says so when it is loaded.
async fn versions(source: &Source, files: &[FileRecord]) -> Result<Vec<Replacement>> {
    let mut found = Vec::with_capacity(files.len());
    for file in files {
        if let Some(now) = source::head(source, &file.key).await? {
            found.push(Replacement { id: file.id, version: now.version, size: now.size, modified: now.modified });
        }
    }
    Ok(found)
}

/// Sends the jobs for ETL again; none where one that was named can't be. `versions` looks up what the given files are at
/// the source now.
async fn send_back(
    args: &RetryArgs,
    store: &dyn JobStore,
    versions: impl AsyncFn(&[FileRecord]) -> Result<Vec<Replacement>>,
) -> Result<Vec<Retried>> {
    let ids = if args.failed { all_failed(store).await? } else { named(&args.ids, store).await? };
    let mut retried = Vec::with_capacity(ids.len());
    for job in ids {
        let mut files = store.files_of(job).await?;
        files.retain(is_missing);
        let replacements = versions(&files).await?;
        if !store.retry(job, &replacements).await? {
            return Err(not_failed(job, "is not FAILED any more"));
        }
        retried.push(Retried { job, files: files.len() });
    }
    Ok(retried)
}

/// What [`JobStore::retry`] takes up again.
fn is_missing(file: &FileRecord) -> bool {
    let never_loaded = file.loaded_time.is_none();
    file.state == FileState::Failed || (file.state == FileState::Quarantined && never_loaded)
}

async fn all_failed(store: &dyn JobStore) -> Result<Vec<JobId>> {
    let filter = JobFilter { status: Some(JobStatus::Failed), feed: None };
    Ok(store.jobs(&filter).await?.into_iter().map(|job| job.id).collect())
}

/// The ids, each once, after a look at every one of them.
async fn named(ids: &[JobId], store: &dyn JobStore) -> Result<Vec<JobId>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    for id in &ids {
        let job = jobs::job(*id, store).await?;
        if job.status != JobStatus::Failed {
            return Err(not_failed(*id, &format!("is {}, and only FAILED jobs are tried again", job.status.as_str())));
        }
    }
    Ok(ids)
}

fn not_failed(job: JobId, what: &str) -> Error {
    Error::config(format!("job {job} {what}")).hint("`loadline jobs --status FAILED` lists the jobs that failed")
}

#[cfg(test)]
mod tests {
    use super::super::fakes::{FakeStore, args};
    use super::*;
    use crate::cli::Command;

    async fn retried(line: &str, store: &FakeStore) -> Result<Vec<Retried>> {
        let Command::Retry(args) = args(line) else { panic!("{line}") };
        send_back(&args, store, async |files: &[FileRecord]| {
            Ok(files
                .iter()
                .map(|file| Replacement { id: file.id, version: "new".to_owned(), size: 1, modified: file.modified })
                .collect())
        })
        .await
    }

    #[tokio::test]
    async fn only_missing_files_go_back() {
        for line in ["loadline retry 2 2", "loadline retry --failed"] {
            let store = FakeStore::default();
            assert_eq!(retried(line, &store).await.unwrap(), [Retried { job: 2, files: 1 }], "{line}");
            assert_eq!(store.retried(), [(2, vec![22])]);
        }
    }

    #[tokio::test]
    async fn one_wrong_id_and_nothing_is_changed() {
        let store = FakeStore::default();
        let error = retried("loadline retry 2 1", &store).await.unwrap_err();
        assert!(error.to_string().contains("job 1 is LOADED"), "{error}");
        assert_eq!((error.exit_code(), store.retried()), (2, Vec::new()));
    }
}
