//! `status`: one screen for whoever asks whether all is well, and an exit code for whoever asks by cron.
//!
//! Invariant: it reads and changes nothing, and what it calls wrong it says what to do about.

mod page;
mod picture;

use std::io::Write;

use clap::Args;

use super::output::{self, PageFormat};
use super::{Context, Exit};
use crate::clock;
use crate::error::Result;
use picture::Picture;

/// Show what waits, what is at work, what is loaded how far, and what needs a person
///
/// One screen: per feed the last scan, the files that wait (found, not loaded yet), the
/// oldest hour among them, and how far behind the clock the newest loaded hour is; the jobs
/// that workers hold; what failed or was quarantined, with the command that goes on.
///
/// Exit code 3 when something needs a person: a job is FAILED, a file was QUARANTINED before
/// it was ever loaded, or a feed is stale. A feed with `fresh_within` is stale when its
/// newest loaded hour ended longer ago than that, when a file has waited longer than that,
/// or when nothing of it is loaded. Exit code 4 when a database can't be reached.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct StatusArgs {
    /// This feed only
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: PageFormat,
}

pub async fn run(args: &StatusArgs, context: &Context) -> Result<Exit> {
    let feeds = match &args.feed {
        Some(name) => vec![context.config.feed(name)?],
        None => context.config.feeds.iter().collect(),
    };
    let store = context.job_store().await?;
    let mut picture = Picture::read(store.as_ref(), &feeds, &context.config, clock::now()).await?;
    let reporting = context.warehouse().await.err();
    picture.reporting_error = reporting.as_ref().map(|error| error.chain());
    let text = match args.output {
        PageFormat::Table => page::render(&picture, &context.global),
        PageFormat::Json => format!("{:#}\n", picture.json(&context.global)),
    };
    output::written(output::stdout().write_all(text.as_bytes()))?;
    match reporting {
        Some(error) => Err(error),
        None if picture.needs_a_person() => Ok(Exit::SomeFailed),
        None => Ok(Exit::Done),
    }
}
