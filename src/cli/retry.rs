//! `retry`: failed jobs go back to the queue, and files that a person has set aside or unloaded come back.
//!
//! Invariant: nothing is loaded twice by it. Only files that are not in the table go back; those of the job that were
//! loaded stay as they are. What an unload has left is taken out first, then the ledger lets the file in, and only then
//! the metadata sends it for ETL: killed in between, it is still UNLOADED there, and the same command goes on.

use std::fmt;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{Context, Exit, human, jobs, parse_time, report, selection};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::feed::Feed;
use crate::job::{FileRecord, FileState, JobFilter, JobId, JobStatus, JobStore, Replacement, Selection};
use crate::source::{self, Source};
use crate::unloader::Unloader;
use crate::warehouse::Warehouse;

/// Unloaded files released at a time.
const PAGE: usize = 500;

/// Send jobs for ETL again, or release files from quarantine or after an unload
///
/// Repair the cause first: the schema file, or the file itself at the source (a replaced
/// file is taken in its new version). The next `loadline etl` then loads what is missing of
/// the job, and nothing twice.
///
///   loadline retry 7 8
///   loadline retry --failed
///   loadline retry --unloaded --feed loans --from 2026-01-31 --to 2026-02-01
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RetryArgs {
    /// Failed jobs (`loadline jobs --status FAILED`), or loaded ones with UNLOADED files
    #[arg(
        value_name = "ID",
        required_unless_present_any = ["failed", "quarantined", "unloaded"],
        conflicts_with = "failed"
    )]
    pub ids: Vec<JobId>,

    /// All failed jobs
    #[arg(long)]
    pub failed: bool,

    /// Files that were quarantined before any job took them: they are found again as they are now
    #[arg(long, conflicts_with_all = ["ids", "failed"])]
    pub quarantined: bool,

    /// Files that were unloaded: they are found again as they are now
    #[arg(long, conflicts_with_all = ["ids", "failed", "quarantined"])]
    pub unloaded: bool,

    /// With --unloaded: only the file with this full URI
    #[arg(long, value_name = "URI", requires = "unloaded", conflicts_with = "from")]
    pub file: Option<String>,

    /// With --unloaded: only files of this feed
    #[arg(long, value_name = "FEED", requires = "unloaded")]
    pub feed: Option<String>,

    /// With --unloaded and --feed: only the hours from this time (inclusive)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires_all = ["to", "feed"])]
    pub from: Option<DateTime<Utc>>,

    /// Up to this time (exclusive)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "from")]
    pub to: Option<DateTime<Utc>>,
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
        release_quarantined(context, store.as_ref(), &source).await?;
        return Ok(Exit::Done);
    }
    let warehouse = context.warehouse().await?;
    if args.unloaded {
        release_unloaded(args, context, store.as_ref(), warehouse.as_ref(), &source).await?;
        return Ok(Exit::Done);
    }
    let versions = async |files: &[FileRecord]| versions(&source, files).await;
    let admit = async |job: JobId, feed: &str, files: &[FileRecord]| {
        let (feed, selection) = (context.config.feed(feed)?, Selection::Job(job));
        let unloader = Unloader { store: store.as_ref(), warehouse: warehouse.as_ref(), feed, selection: &selection };
        unloader.readmit(files).await
    };
    let retried = send_back(args, store.as_ref(), versions, admit).await?;
    for job in &retried {
        report::note(&context.global, &job.to_string());
    }
    if retried.is_empty() {
        report::note(&context.global, "no job is FAILED");
    }
    Ok(Exit::Done)
}

/// `--quarantined`: files that no job has taken; of the others, what to do.
async fn release_quarantined(context: &Context, store: &dyn JobStore, source: &Source) -> Result<()> {
    let files = store.quarantined().await?;
    let (loaded, missing): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.loaded_time.is_some());
    let (of_jobs, free): (Vec<_>, Vec<_>) = missing.into_iter().partition(|file| file.job_id.is_some());
    let released = store.release(&versions(source, &free).await?).await?;
    report::note(&context.global, &told_released(released, "no file was QUARANTINED before a job took it"));
    if let Some(job) = of_jobs.first().and_then(|file| file.job_id) {
        let files = human::counted(of_jobs.len() as u64, "quarantined file");
        report::note(&context.global, &format!("{files} in jobs: retry the job, such as `loadline retry {job}`"));
    }
    if let Some(first) = loaded.first() {
        let (files, uri) = (human::counted(loaded.len() as u64, "file"), source.uri(&first.key));
        report::note(
            &context.global,
            &format!(
                "{files} changed after the load, and the rows of the old version stay; to replace them, such as: \
                 `loadline unload --file '{uri}' --yes`, then `loadline retry --unloaded --file '{uri}'`"
            ),
        );
    }
    Ok(())
}

/// `--unloaded`: files are found again, and leave the jobs they were in.
async fn release_unloaded(
    args: &RetryArgs,
    context: &Context,
    store: &dyn JobStore,
    warehouse: &dyn Warehouse,
    source: &Source,
) -> Result<()> {
    let (mut released, mut gone) = (0, 0);
    for (feed, selection) in unloaded_of(args, context, store).await? {
        let unloader = Unloader { store, warehouse, feed, selection: &selection };
        let mut after = 0;
        loop {
            let mut files = store.loaded_files(&selection, after, PAGE).await?;
            let Some(last) = files.last() else { break };
            after = last.id;
            files.retain(|file| file.state == FileState::Unloaded);
            let versions = versions(source, &files).await?;
            let all = files.len();
            files.retain(|file| versions.iter().any(|version| version.id == file.id));
            gone += (all - files.len()) as u64;
            unloader.readmit(&files).await?;
            released += store.release(&versions).await?;
        }
    }
    report::note(&context.global, &told_released(released, "none of these files is UNLOADED"));
    if gone > 0 {
        let files = human::counted(gone, "file");
        report::note(&context.global, &format!("{files} not at the source any more: UNLOADED as before"));
    }
    Ok(())
}

fn told_released(files: u64, none: &str) -> String {
    match files {
        0 => format!("nothing was released: {none}"),
        1 => "1 file released; the next scan puts it into a job".to_owned(),
        _ => format!("{} released; the next scan puts them into jobs", human::counted(files, "file")),
    }
}

async fn unloaded_of<'a>(
    args: &RetryArgs,
    context: &'a Context,
    store: &dyn JobStore,
) -> Result<Vec<(&'a Feed, Selection)>> {
    if let Some(uri) = &args.file {
        return Ok(vec![selection::by_uri(uri, args.feed.as_deref(), context, store).await?]);
    }
    let Some(name) = &args.feed else {
        return Ok(context.config.feeds.iter().map(|feed| (feed, selection::all_of(feed))).collect());
    };
    let feed = context.config.feed(name)?;
    let selection = match (args.from, args.to) {
        (Some(from), Some(to)) => selection::by_hours(feed, from, to)?,
        _ => selection::all_of(feed),
    };
    Ok(vec![(feed, selection)])
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
/// the source now, `admit` makes the ledger let them in.
async fn send_back(
    args: &RetryArgs,
    store: &dyn JobStore,
    versions: impl AsyncFn(&[FileRecord]) -> Result<Vec<Replacement>>,
    admit: impl AsyncFn(JobId, &str, &[FileRecord]) -> Result<()>,
) -> Result<Vec<Retried>> {
    let ids = if args.failed { all_failed(store).await? } else { named(&args.ids, store).await? };
    let mut retried = Vec::with_capacity(ids.len());
    for job in ids {
        let mut files = store.files_of(job).await?;
        files.retain(is_missing);
        let replacements = versions(&files).await?;
        if let Some(file) = files.first() {
            admit(job, &file.feed, &files).await?;
        }
        if !store.retry(job, &replacements).await? {
            return Err(not_failed(job, "is not FAILED any more"));
        }
        failpoint::reach("retry.sent").await?;
        retried.push(Retried { job, files: files.len() });
    }
    Ok(retried)
}

/// What [`JobStore::retry`] takes up again.
fn is_missing(file: &FileRecord) -> bool {
    match file.state {
        FileState::Failed | FileState::Unloaded => true,
        FileState::Quarantined => file.loaded_time.is_none(),
        FileState::Found | FileState::InJob | FileState::Loaded => false,
    }
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
        let tried_again = match job.status {
            JobStatus::Failed => true,
            JobStatus::Loaded => store.files_of(*id).await?.iter().any(|file| file.state == FileState::Unloaded),
            _ => false,
        };
        if !tried_again {
            let only = "only FAILED jobs, and LOADED ones with UNLOADED files, are tried again";
            return Err(not_failed(*id, &format!("is {}, and {only}", job.status.as_str())));
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
        let versions = async |files: &[FileRecord]| {
            Ok(files
                .iter()
                .map(|file| Replacement { id: file.id, version: "new".to_owned(), size: 1, modified: file.modified })
                .collect())
        };
        send_back(&args, store, versions, async |_, _: &str, _: &[FileRecord]| Ok(())).await
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
