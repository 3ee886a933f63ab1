//! `scan`: from listings to jobs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use chrono::{DateTime, Utc};
use clap::Args;

use super::output::{self, Format, Table, Value, printable};
use super::signals::Signals;
use super::{Context, Exit, LogFormat, Watcher, human, parse_time, report};
use crate::clock;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::{JobStore, ScannerLock};
use crate::retention;
use crate::scanner::{Scan, ScanReport, ScanRequest};
use crate::source::Source;

/// List the source once, record new files and form jobs
///
/// Lists what is new since the last scan, with a look-back for files that came late,
/// registers every new file, and puts the registered files into jobs, bounded by
/// `scanner.max_job_size` and `scanner.max_job_files`. Every file comes into exactly one
/// job, however often and by however many scanners it is seen. What becomes of a known file
/// that has changed is `on_overwrite` of its feed to say: by default it is QUARANTINED.
///
/// Times are UTC: 2026-01-31, 2026-01-31T05 or 2026-01-31T05:30:00Z.
///
///   loadline scan --dry-run
///   loadline scan --feed loans --from 2025-12-01 --to 2026-01-01
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ScanArgs {
    /// Scan this feed only
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// List everything, not only what is new since the last scan
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub full: bool,

    /// Backfill: list the hours from this time (inclusive), whatever the last scan has seen
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "to")]
    pub from: Option<DateTime<Utc>>,

    /// Backfill: up to this time (exclusive)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "from")]
    pub to: Option<DateTime<Utc>>,

    /// Record nothing; print what is new, and the jobs that would be formed of it
    #[arg(long)]
    pub dry_run: bool,
}

pub async fn run(args: &ScanArgs, context: &Context, watcher: &Watcher) -> Result<Exit> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(Error::config("--to is not later than --from: no hour lies between them"));
    }
    let request = ScanRequest { full: args.full, from: args.from, to: args.to, dry_run: args.dry_run };
    let signals = Signals::listen(&context.global)?;
    // What a scan has registered stays; the next one goes on.
    let scanned = tokio::select! {
        () = signals.stop.asked() => {
            watcher.finish();
            return Ok(signals.exit().unwrap_or(Exit::Done));
        }
        scanned = scan(context, args.feed.as_deref(), &request, watcher) => scanned?,
    };
    watcher.finish();
    let Some(mut reports) = scanned else {
        report::note(&context.global, "another scanner is at work on this metadata database: nothing was scanned");
        return Ok(Exit::Done);
    };
    for report in &reports {
        if args.dry_run {
            print_plan(report)?;
        } else {
            tell(context, report, watcher);
        }
    }
    // Every feed has had its turn before the first error is told.
    reports.iter_mut().find_map(broken_off).map_or(Ok(Exit::Done), Err)
}

/// Says what a scan came to, where there is news or somebody watches.
pub(super) fn tell(context: &Context, report: &ScanReport, watcher: &Watcher) {
    let global = &context.global;
    match global.log_format {
        _ if global.quiet => {}
        LogFormat::Json if report.is_news() => watcher.say(&json(report)),
        LogFormat::Text if report.is_news() || std::io::stderr().is_terminal() => {
            watcher.say(&report::wrapped(&render(report)));
        }
        LogFormat::Json | LogFormat::Text => {}
    }
}

pub(super) fn broken_off(report: &mut ScanReport) -> Option<Error> {
    let error = report.broken_off.take()?;
    Some(error.context(format!("the listing of feed `{}` broke off", report.feed)))
}

/// Scans the named feed, or all, then deletes what is past its retention; `None` where another scanner is at work.
pub(super) async fn scan(
    context: &Context,
    feed: Option<&str>,
    request: &ScanRequest,
    watcher: &Watcher,
) -> Result<Option<Vec<ScanReport>>> {
    let feeds: Vec<&Feed> = match feed {
        Some(name) => vec![context.config.feed(name)?],
        None => context.config.feeds.iter().collect(),
    };
    let (store, source) = (context.job_store().await?, context.source()?);
    // A dry run does nobody's work twice.
    let lock = if request.dry_run { Some(ScannerLock::holding(())) } else { store.lock_scanner().await? };
    let Some(lock) = lock else { return Ok(None) };
    let mut reports = Vec::with_capacity(feeds.len());
    for feed in feeds {
        reports.push(scan_feed(context, feed, (store.as_ref(), &source), request, watcher).await?);
    }
    if !request.dry_run {
        prune(context, store.as_ref()).await;
    }
    drop(lock);
    Ok(Some(reports))
}

pub(super) async fn scan_feed(
    context: &Context,
    feed: &Feed,
    (store, source): (&dyn JobStore, &Source),
    request: &ScanRequest,
    watcher: &Watcher,
) -> Result<ScanReport> {
    let (settings, observer, now) = (&context.config.scanner, &watcher.observer(), clock::now());
    let scan = Scan { source, store, feed, settings, request, observer, now };
    scan.run().await.map_err(|error| error.context(format!("scan of feed `{}`", feed.name)))
}

/// Deletes what is past its retention, for some seconds at most. What can't be deleted now does no harm until the next
/// scan.
pub(super) async fn prune(context: &Context, store: &dyn JobStore) {
    if let Err(error) = try_to_prune(context, store).await {
        tracing::warn!(error = error.chain(), "retention: not everything that is old could be deleted");
    }
}

async fn try_to_prune(context: &Context, store: &dyn JobStore) -> Result<()> {
    let (settings, now) = (&context.config.retention, clock::now());
    let jobs = retention::prune_jobs(store, settings, now).await?;
    if jobs > 0 {
        tracing::info!(jobs, "retention: LOADED jobs deleted");
    }
    if settings.rejects.is_some() {
        let rejects = retention::prune_rejects(context.warehouse().await?.as_ref(), settings, now).await?;
        if rejects > 0 {
            tracing::info!(rejects, "retention: rejects deleted");
        }
    }
    Ok(())
}

impl ScanReport {
    fn is_news(&self) -> bool {
        self.new > 0 || self.renewed > 0 || self.quarantined > 0 || !self.jobs.is_empty()
    }
}

/// One line for people: what is new, what was made of it, what was left alone.
pub(super) fn render(report: &ScanReport) -> String {
    let mut text = format!("{}: {} found", report.feed, human::counted(report.new, "new file"));
    if report.new > 0 {
        text.push_str(&format!(" ({}{})", human::size(report.new_bytes), hours(report)));
    }
    if report.renewed > 0 {
        text.push_str(&format!(", {} to be loaded as they are now", human::counted(report.renewed, "changed file")));
    }
    let ids: Vec<i64> = report.jobs.iter().filter_map(|job| job.id).collect();
    match (ids.first(), ids.last()) {
        (Some(first), Some(last)) if first == last => text.push_str(&format!(", job {first} formed")),
        (Some(first), Some(last)) => {
            text.push_str(&format!(", {} formed ({first} to {last})", human::counted(ids.len() as u64, "job")))
        }
        _ => {}
    }
    if report.waiting > 0 {
        text.push_str(&format!(", {} waiting for a fuller job", human::counted(report.waiting, "file")));
    }
    if report.quarantined > 0 {
        let files = human::counted(report.quarantined, "file");
        let (were, more) = if report.quarantined == 1 { ("it was", "") } else { ("they were", " and others") };
        let such = report.quarantined_keys.first().map(|key| format!(" ({}{more})", printable(key)));
        let such = such.unwrap_or_default();
        text.push_str(&format!(", {files} QUARANTINED, changed since {were} registered{such}"));
    }
    if report.kept > 0 {
        text.push_str(&format!(", {} ignored", human::counted(report.kept, "changed file")));
    }
    let ignored: Vec<String> =
        report.ignored.iter().map(|(reason, count)| format!("{}: {}", reason.reason(), human::count(*count))).collect();
    if !ignored.is_empty() {
        text.push_str(&format!("; left alone: {}", ignored.join(", ")));
    }
    text
}

/// The same for programs.
fn json(report: &ScanReport) -> String {
    let ignored: BTreeMap<&str, u64> = report.ignored.iter().map(|(reason, count)| (reason.reason(), *count)).collect();
    serde_json::json!({
        "event": "scan_ended",
        "feed": report.feed,
        "full": report.full,
        "keys": report.keys,
        "new": report.new,
        "new_bytes": report.new_bytes,
        "jobs": report.jobs.len(),
        "waiting": report.waiting,
        "quarantined": report.quarantined,
        "quarantined_keys": report.quarantined_keys,
        "ignored": ignored,
    })
    .to_string()
}

fn hours(report: &ScanReport) -> String {
    match (report.first_hour, report.last_hour) {
        (Some(first), Some(last)) if first == last => format!(", {}", first.format("%Y-%m-%dT%H")),
        (Some(first), Some(last)) => format!(", {} to {}", first.format("%Y-%m-%dT%H"), last.format("%Y-%m-%dT%H")),
        _ => String::new(),
    }
}

/// The plan of a dry run, which is what was asked for: on stdout.
fn print_plan(report: &ScanReport) -> Result<()> {
    let mut out = output::stdout();
    let mut table = Table::new(["job", "files", "bytes", "latest_file_modified_time"]);
    for (index, job) in report.jobs.iter().enumerate() {
        let time = job.latest_file_modified_time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        table.rows.push(vec![
            Value::UInt(index as u64 + 1),
            Value::UInt(job.files as u64),
            Value::UInt(job.bytes),
            Value::Text(time),
        ]);
    }
    let printed = writeln!(out, "{} (dry run, nothing was recorded)", render(report))
        .and_then(|()| match report.jobs.len() as u64 {
            0 => writeln!(out, "no job would be formed"),
            jobs => {
                writeln!(out, "{} would be formed:", human::counted(jobs, "job"))?;
                table.print(Format::Table, &mut out)
            }
        })
        .and_then(|()| out.flush());
    output::written(printed).map(drop)
}
