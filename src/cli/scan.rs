//! `scan`: from listings to jobs.

use std::io::{IsTerminal, Write};

use chrono::{DateTime, Utc};
use clap::Args;

use super::output::{self, Format, Table, Value};
use super::{Context, Exit, Watcher, human, parse_time, report};
use crate::clock;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::scanner::{Scan, ScanReport, ScanRequest};

/// List the source once, record new files and form jobs
///
/// Lists what is new since the last scan, with a look-back for files that came late,
/// registers every new file, and puts the registered files into jobs, bounded by
/// `scanner.max_job_size` and `scanner.max_job_files`. Every file comes into exactly one
/// job, however often and by however many scanners it is seen. A known key whose content
/// has changed is put into quarantine and not loaded.
///
/// Times are UTC: 2026-01-31, 2026-01-31T05 or 2026-01-31T05:30:00Z.
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

    /// Record nothing; print the new files, their bytes, first and last hour, and the jobs they would make
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
    let mut reports = scan(context, args.feed.as_deref(), &request, watcher).await?;
    watcher.finish();
    for report in &reports {
        if args.dry_run {
            print_plan(report)?;
        } else if report.is_news() || std::io::stderr().is_terminal() {
            report::note(&context.global, &render(report));
        }
    }
    // Every feed has had its turn before the first error is told.
    let broken_off = reports.iter_mut().find_map(|report| {
        let error = report.broken_off.take()?;
        Some(error.context(format!("the listing of feed `{}` broke off", report.feed)))
    });
    broken_off.map_or(Ok(Exit::Done), Err)
}

/// Scans the named feed, or all.
pub(super) async fn scan(
    context: &Context,
    feed: Option<&str>,
    request: &ScanRequest,
    watcher: &Watcher,
) -> Result<Vec<ScanReport>> {
    let feeds: Vec<&Feed> = match feed {
        Some(name) => vec![context.config.feed(name)?],
        None => context.config.feeds.iter().collect(),
    };
    let (store, source) = (context.job_store().await?, context.source()?);
    let observer = watcher.observer();
    let mut reports = Vec::with_capacity(feeds.len());
    for feed in feeds {
        let settings = &context.config.scanner;
        let now = clock::now();
        let scan = Scan { source: &source, store: store.as_ref(), feed, settings, request, observer: &observer, now };
        reports.push(scan.run().await.map_err(|error| error.context(format!("scan of feed `{}`", feed.name)))?);
    }
    Ok(reports)
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
        text.push_str(&format!(
            ", {} QUARANTINED, changed since they were registered",
            human::counted(report.quarantined, "file")
        ));
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

fn hours(report: &ScanReport) -> String {
    match (report.first_hour, report.last_hour) {
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
