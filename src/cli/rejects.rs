//! `rejects`: the records that did not load.

use std::io::Write;

use clap::Args;

use super::output::{self, Format, Table, Value, clipped};
use super::{Context, Exit, jobs, report};
use crate::error::Result;
use crate::job::{JobId, JobStore};
use crate::warehouse::{RejectRow, Warehouse};

/// Show records that did not load: where they stand, why, and their raw text
///
/// Records of the files that were loaded; a file that failed leaves no rejects, only the
/// error that `loadline jobs ID` shows. With -o json and -o csv the whole raw text is there
/// (up to 64 KiB), and the keys are the column names of the table loadline_rejects.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RejectsArgs {
    /// Only records of this job's files
    #[arg(long, value_name = "ID")]
    pub job: Option<JobId>,

    /// Only records of this feed
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

const COLUMNS: [&str; 8] = ["feed", "key", "record", "line", "byte_offset", "column_name", "reason", "raw"];

/// What was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    All,
    /// There are more than `--limit`.
    Some,
}

pub async fn run(args: &RejectsArgs, context: &Context) -> Result<Exit> {
    let (store, warehouse) = (context.job_store().await?, context.warehouse().await?);
    let mut out = output::stdout();
    let shown = print(args, store.as_ref(), warehouse.as_ref(), &mut out).await?;
    output::written(out.flush())?;
    if shown == Shown::Some {
        report::note(&context.global, &format!("these are the first {}; --limit shows more", args.limit));
    }
    Ok(Exit::Done)
}

/// Prints the rejects, and says whether there are more.
async fn print(
    args: &RejectsArgs,
    store: &dyn JobStore,
    warehouse: &dyn Warehouse,
    out: &mut dyn Write,
) -> Result<Shown> {
    let limit = args.limit as usize;
    let mut rejects = match args.job {
        Some(id) => of_job(id, args, store, warehouse, limit + 1).await?,
        None => warehouse.rejects(args.feed.as_deref(), None, limit + 1).await?,
    };
    let shown = if rejects.len() > limit { Shown::Some } else { Shown::All };
    rejects.truncate(limit);
    let table = if args.output == Format::Table { overview(&rejects) } else { in_full(rejects) };
    output::written(table.print(args.output, out))?;
    Ok(shown)
}

async fn of_job(
    id: JobId,
    args: &RejectsArgs,
    store: &dyn JobStore,
    warehouse: &dyn Warehouse,
    limit: usize,
) -> Result<Vec<RejectRow>> {
    let job = jobs::job(id, store).await?;
    if args.feed.as_ref().is_some_and(|feed| *feed != job.feed) {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = store.files_of(id).await?.into_iter().map(|file| file.key).collect();
    warehouse.rejects(Some(&job.feed), Some(&keys), limit).await
}

fn in_full(rejects: Vec<RejectRow>) -> Table {
    let mut table = Table::new(COLUMNS);
    table.rows.extend(rejects.into_iter().map(|reject| {
        vec![
            reject.feed.into(),
            reject.key.into(),
            reject.record.into(),
            reject.line.into(),
            reject.byte_offset.into(),
            reject.column_name.into(),
            reject.reason.into(),
            reject.raw.into(),
        ]
    }));
    table
}

/// What fits a terminal.
fn overview(rejects: &[RejectRow]) -> Table {
    let mut table = Table::new(["file", "record", "line", "column", "reason", "raw"]);
    table.rows.extend(rejects.iter().map(|reject| {
        vec![
            reject.key.as_str().into(),
            reject.record.into(),
            reject.line.into(),
            Value::from(reject.column_name.as_deref().unwrap_or_default()),
            clipped(&reject.reason, 40).into(),
            clipped(&reject.raw, 40).into(),
        ]
    }));
    table
}

#[cfg(test)]
mod tests {
    use super::super::fakes::{FakeStore, FakeWarehouse, args};
    use super::*;
    use crate::cli::Command;

    async fn shown(line: &str) -> (Shown, String) {
        let Command::Rejects(args) = args(line) else { panic!("{line}") };
        let mut out = Vec::new();
        let shown = print(&args, &FakeStore::default(), &FakeWarehouse, &mut out).await.unwrap();
        (shown, String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn a_table_is_harmless_and_json_is_complete() {
        let (all, text) = shown("loadline rejects").await;
        assert_eq!(all, Shown::All);
        assert!(text.contains("1\\u{1b}[2J,x"), "{text}");
        let (_, json) = shown("loadline rejects -o json").await;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json[0]["raw"].as_str(), json[0]["byte_offset"].as_u64()), (Some("1\u{1b}[2J,x"), Some(200)));
    }

    #[tokio::test]
    async fn limits_and_filters() {
        assert_eq!(shown("loadline rejects --limit 1 -o csv").await.0, Shown::Some);
        let (all, csv) = shown("loadline rejects --job 2 -o csv").await;
        assert_eq!((all, csv.lines().count()), (Shown::All, 3));
        assert_eq!(shown("loadline rejects --job 2 --feed other -o json").await.1, "[]\n");
    }
}
