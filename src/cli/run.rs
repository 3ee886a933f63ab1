//! `run`: the central program, scanner and workers in one process that stays.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::watch;

use super::etl::{self, EtlArgs, Order};
use super::signals::Signals;
use super::{Context, Exit, Watcher, report, scan};
use crate::error::{Error, Result};
use crate::job::{JobStore, backoff};
use crate::scanner::ScanRequest;
use crate::source::{self, Source};

/// Scan on schedule and load what comes, until told to stop
///
/// The central program: scans every `scanner.frequency` (at once when it starts) and loads
/// jobs as they are formed, also those that other processes form. Any number of them may run
/// side by side, on any number of machines. A failing job, a failing scan or an outage does
/// not end it: an outage is said once, uses no attempts up, and is said again when it is over.
///
/// SIGTERM or SIGINT stops it: no new job and no new scan, the running segments end, their
/// jobs go back to the queue, exit code 0. What has not ended after 30 seconds is rolled back,
/// exit code 143 or 130. A second signal leaves at once.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// So many jobs at a time, instead of `etl.workers` of the config
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// Which jobs first, by their newest file, instead of `etl.order` of the config
    #[arg(long)]
    pub order: Option<Order>,
}

pub async fn run(args: &RunArgs, context: &Context, watcher: &Watcher) -> Result<Exit> {
    let signals = Signals::listen(&context.global)?;
    let workers = EtlArgs { feed: None, workers: args.workers, order: args.order };
    let etl = Arc::new(etl::open(&workers, context, watcher).await?);
    let (news, heard) = watch::channel(());
    let scans = Scans { context, watcher, store: etl.store.clone(), source: etl.source.clone(), news };
    let served = {
        let serving = etl.serve(&signals.stop, heard);
        tokio::pin!(serving);
        tokio::select! {
            served = &mut serving => served,
            () = signals.stop.asked() => serving.await,
            () = scans.repeat() => serving.await,
        }
    };
    let summary = watcher.finish();
    if !summary.is_empty() || std::io::stderr().is_terminal() {
        report::note(&context.global, &summary.render());
    }
    let dropped = served?.dropped;
    Ok(signals.exit().filter(|_| dropped).unwrap_or(Exit::Done))
}

/// The scanner's turns.
struct Scans<'a> {
    context: &'a Context,
    watcher: &'a Watcher,
    store: Arc<dyn JobStore>,
    source: Source,
    /// Tells the workers of new jobs.
    news: watch::Sender<()>,
}

impl Scans<'_> {
    /// A turn every `scanner.frequency`, counted from start to start; sooner after one that failed. Never ends.
    async fn repeat(&self) {
        let mut failing = None;
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let turn = self.turn().await;
            let regular = self.context.config.scanner.frequency.saturating_sub(begun.elapsed());
            let pause = match turn {
                Ok(()) => {
                    failures = 0;
                    if let Some(since) = failing.take() {
                        said_over(since);
                    }
                    regular
                }
                Err(error) => {
                    failures += 1;
                    if failing.is_none() {
                        let hint = error.hint_text().unwrap_or_default();
                        tracing::error!(
                            reason = error.chain(),
                            hint,
                            "the scan failed, and is tried again until it works"
                        );
                    }
                    failing.get_or_insert(begun);
                    backoff(failures, rand::random::<f64>()).min(regular.max(Duration::from_secs(1)))
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Every feed once, also where another one's scan fails; the first error at the end.
    async fn turn(&self) -> Result<()> {
        let Some(_lock) = self.store.lock_scanner().await? else {
            tracing::info!("another scanner is at work: this turn is left to it");
            return Ok(());
        };
        // A folder that is gone lists as an empty one.
        source::reachable(&self.source).await?;
        let mut first_error: Option<Error> = None;
        for feed in &self.context.config.feeds {
            let databases = (self.store.as_ref(), &self.source);
            let scanned = scan::scan_feed(self.context, feed, databases, &ScanRequest::default(), self.watcher).await;
            let error = match scanned {
                Ok(mut scanned) => {
                    if !scanned.jobs.is_empty() {
                        self.news.send_replace(());
                    }
                    scan::tell(self.context, &scanned, self.watcher);
                    scan::broken_off(&mut scanned)
                }
                Err(error) => Some(error),
            };
            first_error = first_error.or(error);
        }
        scan::prune(self.context, self.store.as_ref()).await;
        first_error.map_or(Ok(()), Err)
    }
}

fn said_over(since: Instant) {
    tracing::warn!(seconds = since.elapsed().as_secs(), "the scan works again");
}
