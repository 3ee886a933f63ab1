//! `audit`: the proof that what the source holds is what the table holds, and the way back where a database was lost.
//!
//! Invariant: without `--repair --yes` nothing is changed.

mod next;
mod page;
mod receipt;

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, PageFormat};
use super::{Context, Exit, Watcher, parse_time};
use crate::auditor::{Auditor, FeedAudit, Request};
use crate::clock;
use crate::error::Result;
use crate::feed::Feed;
use page::Page;

/// Compare source, registry, ledger and table, file by file, and say where they disagree
///
/// Reads the listing of every feed, the registry of files and jobs, the ledger, and how many
/// rows and rejects the tables hold of each file; with --deep also a checksum of every
/// file's rows, recomputed by the database. Files that are waiting or being loaded disagree
/// with nothing: it may run beside workers at any time. Changes nothing without --yes.
///
/// --repair mends what can be mended, all of it in the registry: files that a lost metadata
/// database has forgotten are restored from ledger and source, and files whose rows a
/// reporting database has lost, for one because it was put back from a backup, are queued
/// again for `loadline etl`. Nothing is loaded twice. Without --yes it says what it would do.
///
/// --receipt prints, for an auditor who need not trust loadline, of every loaded file its bytes,
/// their SHA-256, records, rows, rejects and checksum, and the SQL that counts them again.
///
///   loadline audit --since 2026-01-31 --deep
///   loadline audit --repair --yes
///   loadline audit --receipt -o json > receipt.json
///
/// Exit code 5 when anything disagrees (after a repair: when anything is left), else 0.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AuditArgs {
    /// Only files whose hour (or day) begins at or after this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<DateTime<Utc>>,

    /// This feed only
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// Recompute the checksum of every file's rows
    #[arg(long)]
    pub deep: bool,

    /// Say what a repair would do; with --yes, do it
    #[arg(long)]
    pub repair: bool,

    /// Do it
    #[arg(long, requires = "repair")]
    pub yes: bool,

    /// Instead of an audit, print a receipt of every loaded file
    #[arg(long, conflicts_with_all = ["deep", "repair"])]
    pub receipt: bool,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: PageFormat,
}

pub async fn run(args: &AuditArgs, context: &Context, watcher: &Watcher) -> Result<Exit> {
    let (begun, now) = (Instant::now(), clock::now());
    if args.receipt {
        receipt::print(args, context, &feeds(args, context)?, now).await?;
        return Ok(Exit::Done);
    }
    let audits = audit(args, context, now, watcher).await?;
    let source_url = context.source()?.url().to_owned();
    let page = Page { args, audits: &audits, now, took: begun.elapsed(), source_url, global: &context.global };
    let text = match args.output {
        PageFormat::Table => page.text(),
        PageFormat::Json => format!("{:#}\n", page.json()),
    };
    output::written(output::stdout().write_all(text.as_bytes()))?;
    let agree = audits.iter().all(|audit| audit.left() == 0);
    Ok(if agree { Exit::Done } else { Exit::Disagree })
}

fn feeds<'a>(args: &AuditArgs, context: &'a Context) -> Result<Vec<&'a Feed>> {
    Ok(match &args.feed {
        Some(name) => vec![context.config.feed(name)?],
        None => context.config.feeds.iter().collect(),
    })
}

/// Audits the feeds one after another, and every table once.
async fn audit(args: &AuditArgs, context: &Context, now: DateTime<Utc>, watcher: &Watcher) -> Result<Vec<FeedAudit>> {
    let feeds = feeds(args, context)?;
    let (store, warehouse, source) = (context.job_store().await?, context.warehouse().await?, context.source()?);
    let request = Request { since: args.since, deep: args.deep, repair: args.repair && args.yes };
    let (mut audits, mut tables) = (Vec::with_capacity(feeds.len()), HashSet::new());
    for feed in feeds {
        let spinner = spinner(watcher, &feed.name);
        let auditor = Auditor {
            source: &source,
            store: store.as_ref(),
            warehouse: warehouse.as_ref(),
            feed,
            scanner: &context.config.scanner,
            retention: &context.config.retention,
            request,
            now,
            seen: &|files| spinner.inc(files),
        };
        let audited = auditor.run().await;
        spinner.finish_and_clear();
        let mut audited = audited?;
        if tables.insert(&feed.table) {
            auditor.strays(&mut audited).await?;
        }
        audits.push(audited);
    }
    Ok(audits)
}

fn spinner(watcher: &Watcher, feed: &str) -> ProgressBar {
    let style = ProgressStyle::default_spinner().template("{spinner} auditing {msg}: {pos} files {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = watcher.bars().add(ProgressBar::no_length().with_style(style).with_message(feed.to_owned()));
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}
