//! `jobs`: what the metadata database knows of jobs, and the ledger of their files.
//!
//! Invariant: the claim token is never shown; whoever has it could end the job of a worker that is alive.

use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;

use super::output::{self, Format, Object, Table, Value, clipped, printable};
use super::{Context, Exit, human, report, wrap};
use crate::error::{Error, Result};
use crate::job::{FileRecord, FileState, Job, JobFilter, JobId, JobStatus, JobStore, split_uri_list};
use crate::warehouse::{Progress, Warehouse};

/// List jobs, or show one with its files, errors and reject reasons
///
/// Statuses: SENT_FOR_ETL (waiting), PROCESSING (a worker has it), LOADED, FAILED (see its
/// failure_msg; `loadline retry` loads what is missing).
///
/// With -o json the keys are the column names of the table scanner_jobs, times are RFC 3339
/// in UTC. `jobs ID -o json` is one object: the job, with `scanner_files`, `reject_reasons`
/// and `invalid_values` (how many values of each column became NULL because they did not
/// convert). `jobs ID -o csv` is its files.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct JobsArgs {
    /// Show this job in full
    #[arg(value_name = "ID", conflicts_with_all = ["status", "feed"])]
    pub id: Option<JobId>,

    /// Only jobs with this status
    #[arg(long, value_name = "STATUS", ignore_case = true)]
    pub status: Option<JobStatus>,

    /// Only jobs of this feed
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

const COLUMNS: [&str; 18] = [
    "id",
    "feed",
    "files",
    "latest_file_modified_time",
    "total_size_in_bytes",
    "created_time",
    "modified_time",
    "status",
    "failure_msg",
    "attempts",
    "expiries",
    "lease_owner",
    "lease_until",
    "run_after",
    "rows_loaded",
    "rows_rejected",
    "started_time",
    "finished_time",
];

/// Characters of a line under a table where no terminal sets its width, and of a reason in it.
const MESSAGE_LENGTH_MAX: usize = 120;
const REASON_LENGTH_MAX: usize = 80;

pub async fn run(args: &JobsArgs, context: &Context) -> Result<Exit> {
    let (store, mut out) = (context.job_store().await?, output::stdout());
    match args.id {
        None => list(args, store.as_ref(), &mut out).await?,
        Some(id) => show(id, args.output, store.as_ref(), context.warehouse().await?.as_ref(), &mut out).await?,
    }
    output::written(out.flush())?;
    Ok(Exit::Done)
}

/// `jobs` without an id.
pub async fn list(args: &JobsArgs, store: &dyn JobStore, out: &mut dyn Write) -> Result<()> {
    let filter = JobFilter { status: args.status, feed: args.feed.clone() };
    let jobs = store.jobs(&filter).await?;
    let printed = if args.output == Format::Table {
        print_overview(&jobs, out)
    } else {
        let mut table = Table::new(COLUMNS);
        table.rows.extend(jobs.iter().map(job_row));
        table.print(args.output, out)
    };
    output::written(printed).map(drop)
}

/// `jobs ID`.
pub async fn show(
    id: JobId,
    format: Format,
    store: &dyn JobStore,
    warehouse: &dyn Warehouse,
    out: &mut dyn Write,
) -> Result<()> {
    let detail = Detail::read(id, store, warehouse).await?;
    let printed = match format {
        Format::Table => detail.print_for_people(out),
        Format::Json => detail.print_json(out),
        Format::Csv => detail.files_table().print(format, out),
    };
    output::written(printed).map(drop)
}

/// The job of that id, or an error that says what to do.
pub(super) async fn job(id: JobId, store: &dyn JobStore) -> Result<Job> {
    let missing = || Error::config(format!("there is no job {id}")).hint("`loadline jobs` lists all jobs");
    // The NONE row is setup's own; to people it is no job.
    store.job(id).await?.filter(|job| job.status != JobStatus::None).ok_or_else(missing)
}

fn time(time: DateTime<Utc>) -> Value {
    Value::Text(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// The values of [`COLUMNS`].
fn job_row(job: &Job) -> Vec<Value> {
    vec![
        job.id.into(),
        job.feed.as_str().into(),
        job.files.as_str().into(),
        time(job.latest_file_modified_time),
        job.total_size_in_bytes.into(),
        time(job.created_time),
        time(job.modified_time),
        job.status.as_str().into(),
        job.failure_msg.clone().into(),
        u64::from(job.attempts).into(),
        u64::from(job.expiries).into(),
        job.lease_owner.clone().into(),
        job.lease_until.map(time).into(),
        time(job.run_after),
        job.rows_loaded.into(),
        job.rows_rejected.into(),
        job.started_time.map(time).into(),
        job.finished_time.map(time).into(),
    ]
}

/// What of a job fits 120 columns, and below it why jobs failed.
fn print_overview(jobs: &[Job], out: &mut dyn Write) -> io::Result<()> {
    let mut table =
        Table::new(["id", "feed", "status", "files", "size", "rows", "rejects", "newest file (UTC)", "took"]);
    table.rows.extend(jobs.iter().map(|job| {
        vec![
            job.id.into(),
            clipped(&job.feed, 24).into(),
            job.status.as_str().into(),
            (split_uri_list(&job.files).len() as u64).into(),
            human::size(job.total_size_in_bytes).into(),
            or_blank(job.rows_loaded),
            or_blank(job.rows_rejected),
            job.latest_file_modified_time.format("%Y-%m-%d %H:%M:%S").to_string().into(),
            took(job).unwrap_or_default().into(),
        ]
    }));
    table.print(Format::Table, out)?;
    for (id, message) in jobs.iter().filter_map(|job| Some((job.id, job.failure_msg.as_deref()?))) {
        // A line of it for each file that failed; the first tells enough here.
        let first = message.lines().next().unwrap_or_default();
        let length_max = wrap::of_stdout().unwrap_or(MESSAGE_LENGTH_MAX);
        writeln!(out, "{}", clipped(&format!("job {id}: {first}"), length_max))?;
    }
    out.flush()
}

fn or_blank(number: Option<u64>) -> Value {
    number.map_or_else(|| Value::from(""), Value::UInt)
}

fn took(job: &Job) -> Option<String> {
    let took = job.finished_time? - job.started_time?;
    took.to_std().ok().map(human::duration)
}

/// All there is to say of one job.
struct Detail {
    job: Job,
    files: Vec<FileRecord>,
    /// By key; a file that was never taken has none.
    ledger: BTreeMap<String, Progress>,
    /// (column, reason, count), commonest first.
    reasons: Vec<(Option<String>, String, u64)>,
}

#[derive(Serialize)]
struct DetailJson<'a> {
    #[serde(flatten)]
    job: Object<'a>,
    scanner_files: Vec<Object<'a>>,
    reject_reasons: Vec<Object<'a>>,
    invalid_values: BTreeMap<&'a str, u64>,
}

impl Detail {
    async fn read(id: JobId, store: &dyn JobStore, warehouse: &dyn Warehouse) -> Result<Self> {
        let job = job(id, store).await?;
        let files = store.files_of(id).await?;
        let keys: Vec<String> = files.iter().map(|file| file.key.clone()).collect();
        let ledger = warehouse.progress(&job.feed, &keys).await?;
        let reasons = warehouse.reject_reasons(&job.feed, &keys).await?;
        Ok(Self { job, files, ledger, reasons })
    }

    /// Rows and rejects of a file: the ledger's, which moves with every segment, else the registry's.
    fn counts(&self, file: &FileRecord) -> Option<(u64, u64)> {
        match self.ledger.get(&file.key) {
            Some(progress) => Some((progress.rows, progress.rejects)),
            None => file.rows_loaded.zip(file.rows_rejected),
        }
    }

    fn files_table(&self) -> Table {
        let mut table = Table::new([
            "id",
            "key",
            "state",
            "size_in_bytes",
            "modified_time",
            "hour",
            "records",
            "rows_loaded",
            "rows_rejected",
            "error",
        ]);
        table.rows.extend(self.files.iter().map(|file| {
            let counts = self.counts(file);
            vec![
                file.id.into(),
                file.key.as_str().into(),
                file.state.as_str().into(),
                file.size.into(),
                time(file.modified),
                time(file.hour),
                counts.map(|(rows, rejects)| rows + rejects).into(),
                counts.map(|(rows, _)| rows).into(),
                counts.map(|(_, rejects)| rejects).into(),
                file.error.clone().into(),
            ]
        }));
        table
    }

    fn reasons_table(&self) -> Table {
        let mut table = Table::new(["column_name", "reason", "count"]);
        table.rows.extend(
            self.reasons
                .iter()
                .map(|(column, reason, count)| vec![column.clone().into(), reason.as_str().into(), (*count).into()]),
        );
        table
    }

    /// Values that became NULL because they did not convert, by column.
    fn invalid(&self) -> BTreeMap<&str, u64> {
        let mut invalid = BTreeMap::new();
        for (column, count) in self.ledger.values().flat_map(|progress| &progress.invalid) {
            *invalid.entry(column.as_str()).or_default() += count;
        }
        invalid
    }

    fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = COLUMNS.map(str::to_owned);
        let (files, reasons) = (self.files_table(), self.reasons_table());
        let detail = DetailJson {
            job: Object { columns: &columns, values: &job_row(&self.job) },
            scanner_files: files.objects(),
            reject_reasons: reasons.objects(),
            invalid_values: self.invalid(),
        };
        serde_json::to_writer_pretty(&mut *out, &detail)?;
        writeln!(out)?;
        out.flush()
    }

    fn print_for_people(&self, out: &mut dyn Write) -> io::Result<()> {
        for (column, value) in COLUMNS.into_iter().zip(job_row(&self.job)) {
            let text = match (column, value) {
                // Its files follow.
                ("files", _) | (_, Value::Null) => continue,
                // It was never put off.
                ("run_after", _) if self.job.run_after == DateTime::UNIX_EPOCH => continue,
                ("failure_msg", Value::Text(text)) => report::lines(&text, wrap::of_stdout(), &" ".repeat(27)),
                ("total_size_in_bytes", Value::UInt(bytes)) => format!("{bytes} ({})", human::size(bytes)),
                (_, Value::Text(text)) => printable(&text).into_owned(),
                (_, Value::Int(number)) => number.to_string(),
                (_, Value::UInt(number)) => number.to_string(),
                (_, other) => format!("{other:?}"),
            };
            writeln!(out, "{column:<26} {text}")?;
        }
        self.print_files(out)?;
        if !self.reasons.is_empty() {
            writeln!(out, "\nWhy records were rejected, and how many:")?;
            let mut table = Table::new(["column", "reason", "records"]);
            table.rows.extend(self.reasons.iter().map(|(column, reason, count)| {
                let column = column.as_deref().unwrap_or("(record)");
                vec![column.into(), clipped(reason, REASON_LENGTH_MAX).into(), (*count).into()]
            }));
            table.print(Format::Table, out)?;
        }
        let invalid = self.invalid();
        if !invalid.is_empty() {
            writeln!(out, "\nValues that did not convert and became NULL:")?;
            let mut table = Table::new(["column", "values"]);
            table.rows.extend(invalid.into_iter().map(|(column, count)| vec![column.into(), count.into()]));
            table.print(Format::Table, out)?;
        }
        out.flush()
    }

    fn print_files(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.files.is_empty() {
            return writeln!(out, "\nIts files were found again and have left it.");
        }
        writeln!(out, "\nFiles:")?;
        let mut table = Table::new(["file", "state", "size", "records", "rows", "rejects"]);
        table.rows.extend(self.files.iter().map(|file| {
            let counts = self.counts(file);
            vec![
                file.key.as_str().into(),
                file.state.as_str().into(),
                human::size(file.size).into(),
                or_blank(counts.map(|(rows, rejects)| rows + rejects)),
                or_blank(counts.map(|(rows, _)| rows)),
                or_blank(counts.map(|(_, rejects)| rejects)),
            ]
        }));
        table.print(Format::Table, out)?;
        for (file, error) in self.files.iter().filter_map(|file| Some((file, file.error.as_deref()?))) {
            // A worker's error begins with the key, a scanner's does not.
            let key = if error.starts_with(&file.key) { String::new() } else { format!("{}: ", file.key) };
            writeln!(out, "{}", report::lines(&format!("{key}{error}"), wrap::of_stdout(), "  "))?;
        }
        if self.files.iter().any(|file| file.state == FileState::Failed) {
            writeln!(out, "Nothing of a FAILED file is in the table; `loadline retry {}` tries again.", self.job.id)?;
        }
        if self.files.iter().any(|file| file.state == FileState::Unloaded) {
            writeln!(out, "UNLOADED files are out of the table; `loadline retry {}` loads them again.", self.job.id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fakes::{FakeStore, FakeWarehouse, args};
    use super::*;
    use crate::cli::Command;

    async fn listed(line: &str) -> String {
        let Command::Jobs(args) = args(line) else { panic!("{line}") };
        let mut out = Vec::new();
        list(&args, &FakeStore::default(), &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    async fn shown(format: Format) -> String {
        let mut out = Vec::new();
        show(2, format, &FakeStore::default(), &FakeWarehouse, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn json_has_the_columns_of_the_table_and_no_token() {
        let jobs: serde_json::Value = serde_json::from_str(&listed("loadline jobs -o json").await).unwrap();
        let keys: Vec<&str> = jobs[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), COLUMNS.len());
        assert!(COLUMNS.iter().all(|column| keys.contains(column)));
        assert_eq!(jobs[1]["created_time"], "2026-01-01T00:00:00.000000Z");
        assert_eq!(jobs[0]["failure_msg"], serde_json::Value::Null);
        let failed = listed("loadline jobs -o json --status failed").await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&failed).unwrap().as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_overview_fits_a_terminal_and_says_why_jobs_failed() {
        let text = listed("loadline jobs").await;
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert!(text.contains("job 2: b.csv: too many\\u{1b}[31m invalid values"), "{text}");
    }

    #[tokio::test]
    async fn one_job_shows_its_files_reasons_and_invalid_values() {
        let text = shown(Format::Table).await;
        for part in ["FAILED", "b.csv", "b.csv: too many\\u{1b}[31m", "ragged", "monthly_income", "loadline retry 2"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json: serde_json::Value = serde_json::from_str(&shown(Format::Json).await).unwrap();
        assert_eq!(json["id"], 2);
        assert_eq!(json["scanner_files"][0]["records"], 100);
        assert_eq!(json["scanner_files"][1]["error"], "too many\u{1b}[31m invalid values");
        assert_eq!(json["invalid_values"]["monthly_income"], 3);
        assert_eq!(json["reject_reasons"][0]["count"], 2);
        assert_eq!(shown(Format::Csv).await.lines().count(), 3);
    }

    #[tokio::test]
    async fn an_unknown_job_and_the_dummy_row_are_no_jobs() {
        for id in [0, 9] {
            let shown = show(id, Format::Table, &FakeStore::default(), &FakeWarehouse, &mut Vec::new()).await;
            assert_eq!(shown.unwrap_err().exit_code(), 2);
        }
    }
}
