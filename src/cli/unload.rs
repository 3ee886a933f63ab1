//! `unload`: rows of loaded files leave the table again.
//!
//! Invariant: without `--yes` nothing is changed.

use std::io::Write;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, Format, Table, Value, printable};
use super::{Context, Exit, Watcher, human, jobs, parse_time, report, selection, shell};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::{FileState, JobId, JobStore, Selection};
use crate::unloader::{Unloader, Unloading};

/// Take the rows of loaded files out of the table again
///
/// Rows, rejects and the ledger's counts of the files leave, in transactions of at most
/// 100,000 records; the files are UNLOADED, and no scan or etl loads them again before
/// `loadline retry`. Without --yes it only says what would be taken out. Cut short, the
/// same command goes on where it was.
///
///   loadline unload --job 7
///   loadline unload --feed loans --from 2026-01-31 --to 2026-02-01 --yes
///   loadline unload --file s3://bucket/loans/2026/01/31/05/a.csv --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("which").args(["file", "job", "from"]).required(true).multiple(false))]
pub struct UnloadArgs {
    /// The file with this full URI
    #[arg(long, value_name = "URI")]
    pub file: Option<String>,

    /// The files of this job
    #[arg(long, value_name = "ID", conflicts_with = "feed")]
    pub job: Option<JobId>,

    /// The feed of --from and --to; with --file, needed only where several feeds have the file
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// The files of the feed's hours from this time (inclusive)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires_all = ["to", "feed"])]
    pub from: Option<DateTime<Utc>>,

    /// Up to this time (exclusive)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "from")]
    pub to: Option<DateTime<Utc>>,

    /// Do it
    #[arg(long)]
    pub yes: bool,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

const BAR: &str = "unloading [{bar:24}] {pos}/{len} records {per_sec} {eta} left";

pub async fn run(args: &UnloadArgs, context: &Context, watcher: &Watcher) -> Result<Exit> {
    let (store, warehouse) = (context.job_store().await?, context.warehouse().await?);
    let (feed, selection) = selected(args, context, store.as_ref()).await?;
    let unloader = Unloader { store: store.as_ref(), warehouse: warehouse.as_ref(), feed, selection: &selection };
    unloader.refuse_running().await?;
    let plan = unloader.plan().await?;
    if plan.files == 0 {
        report::note(&context.global, &nothing(&selection, store.as_ref()).await?);
        if args.output != Format::Table {
            print(&plan, feed, args.output)?;
        }
        // What an earlier unload has revoked is in no table, but the ledger may not know of it yet.
        if args.yes {
            unloader.run(&|_| {}).await?;
        }
        return Ok(Exit::Done);
    }
    if !args.yes {
        print(&plan, feed, args.output)?;
        let again = command(args, context);
        report::note(&context.global, &format!("nothing was changed; to take them out: {again}"));
        return Ok(Exit::Done);
    }
    let (begun, bar) = (Instant::now(), bar(watcher, plan.records()));
    let unloaded = unloader.run(&|records| bar.inc(records)).await;
    bar.finish_and_clear();
    let unloaded = unloaded?;
    if args.output != Format::Table {
        print(&unloaded, feed, args.output)?;
    }
    report::note(&context.global, &summary(&unloaded, feed, begun.elapsed()));
    report::note(&context.global, &format!("hint: {}, loads them again", way_back(args, context)));
    Ok(Exit::Done)
}

async fn selected<'a>(args: &UnloadArgs, context: &'a Context, store: &dyn JobStore) -> Result<(&'a Feed, Selection)> {
    if let Some(uri) = &args.file {
        return selection::by_uri(uri, args.feed.as_deref(), context, store).await;
    }
    if let Some(id) = args.job {
        let job = jobs::job(id, store).await?;
        return Ok((context.config.feed(&job.feed)?, Selection::Job(id)));
    }
    match (&args.feed, args.from, args.to) {
        (Some(feed), Some(from), Some(to)) => {
            let feed = context.config.feed(feed)?;
            Ok((feed, selection::by_hours(feed, from, to)?))
        }
        _ => Err(Error::config("nothing says which files")
            .hint("--file URI, --job ID, or --feed FEED --from TIME --to TIME")),
    }
}

/// Why there is nothing to take out.
async fn nothing(selection: &Selection, store: &dyn JobStore) -> Result<String> {
    let Selection::File { feed, key } = selection else { return Ok("none of these files is loaded".to_owned()) };
    let file = store.file(feed, key).await?;
    let key = printable(key);
    Ok(match file.map(|file| file.state) {
        Some(FileState::Unloaded) => format!("{key} is UNLOADED already"),
        Some(state) => format!("{key} is not loaded (state {})", state.as_str()),
        None => format!("{key} is not known"),
    })
}

fn bar(watcher: &Watcher, records: u64) -> ProgressBar {
    let style = ProgressStyle::default_bar().template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = watcher.bars().add(ProgressBar::new(records).with_style(style.progress_chars("=> ")));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print(what: &Unloading, feed: &Feed, format: Format) -> Result<()> {
    let columns = ["feed", "table", "files", "first_hour", "last_hour", "rows", "rejects", "unfinished"];
    let hour = |at: Option<DateTime<Utc>>| match format {
        // Whole hours; people need no more.
        Format::Table => at.map(|at| at.format("%Y-%m-%dT%H").to_string()),
        Format::Json | Format::Csv => at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    };
    let mut table = Table::new(columns);
    table.rows.push(vec![
        feed.name.as_str().into(),
        feed.table.as_str().into(),
        what.files.into(),
        hour(what.first_hour).map_or(Value::Null, Value::from),
        hour(what.last_hour).map_or(Value::Null, Value::from),
        what.rows.into(),
        what.rejects.into(),
        what.unfinished.into(),
    ]);
    let mut out = output::stdout();
    let printed = table.print(format, &mut out).and_then(|()| out.flush());
    output::written(printed).map(drop)
}

/// `3 files UNLOADED: 300 rows and 2 rejects taken out of table events; 1.2 s`
fn summary(unloaded: &Unloading, feed: &Feed, took: Duration) -> String {
    format!(
        "{} UNLOADED: {} and {} taken out of table {}; {}",
        human::counted(unloaded.files, "file"),
        human::counted(unloaded.rows, "row"),
        human::counted(unloaded.rejects, "reject"),
        feed.table,
        human::duration(took)
    )
}

/// The selection as it was typed.
fn typed(args: &UnloadArgs) -> String {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut typed = Vec::new();
    typed.extend(args.file.as_ref().map(|uri| format!("--file {}", shell::word(&printable(uri)))));
    typed.extend(args.feed.as_ref().map(|feed| format!("--feed {feed}")));
    typed.extend(args.from.map(|from| format!("--from {}", time(from))));
    typed.extend(args.to.map(|to| format!("--to {}", time(to))));
    typed.join(" ")
}

fn command(args: &UnloadArgs, context: &Context) -> String {
    let which = args.job.map_or_else(|| typed(args), |job| format!("--job {job}"));
    format!("`{}`", shell::command(&context.global, &format!("unload {which} --yes")))
}

fn way_back(args: &UnloadArgs, context: &Context) -> String {
    let command = |words: &str| format!("`{}`", shell::command(&context.global, words));
    let steps = match args.job {
        Some(job) => vec![command(&format!("retry {job}")), command("etl")],
        None => vec![command(&format!("retry --unloaded {}", typed(args))), command("scan"), command("etl")],
    };
    steps.join(", then ")
}
