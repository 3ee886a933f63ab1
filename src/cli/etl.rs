//! `etl`: from jobs to rows.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::signals::Signals;
use super::{Context, Exit, Watcher, report, setup};
use crate::backend;
use crate::engine::LoadPlanner;
use crate::error::Result;
use crate::job::JobOrder;
use crate::worker::{Etl, EtlReport, EtlSettings, SegmentLimits, Stop};

/// Load every job that is waiting, then stop
///
/// Takes jobs until none is left that can run now. A job is loaded exactly once, also when
/// a worker dies half way or several run at once on several machines. A record that does
/// not convert is kept as a reject (see `loadline rejects`); a file that can't be trusted
/// fails as a whole and leaves nothing in the table, while its siblings load. Exit code 3
/// if a job failed, 4 if one was put off because a database or the source is out of reach.
///
/// SIGTERM or SIGINT ends it early: the running segments end, their jobs go back to the
/// queue, exit code 143 or 130. A second signal leaves at once.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct EtlArgs {
    /// Take jobs of this feed only
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// So many jobs at a time, instead of `etl.workers` of the config
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// Which jobs first, by their newest file, instead of `etl.order` of the config
    #[arg(long)]
    pub order: Option<Order>,
}

const RETRY_HINT: &str = "\
hint: `loadline jobs ID` shows every file of a failed job; mend the file or the schema file, then `loadline retry ID` \
and `loadline etl` load what is missing";

/// [`JobOrder`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    Oldest,
    Newest,
}

impl From<Order> for JobOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Oldest => Self::Oldest,
            Order::Newest => Self::Newest,
        }
    }
}

pub async fn run(args: &EtlArgs, context: &Context, watcher: &Watcher) -> Result<Exit> {
    if let Some(name) = &args.feed {
        context.config.feed(name)?;
    }
    let signals = Signals::listen(&context.global)?;
    let ended = etl(args, context, watcher, &signals.stop).await;
    let summary = watcher.finish();
    if !summary.is_empty() || (ended.is_ok() && std::io::stderr().is_terminal()) {
        report::note(&context.global, &summary.render());
    }
    ended?;
    if summary.jobs_failed > 0 {
        report::note(&context.global, RETRY_HINT);
    }
    Ok(signals.exit().unwrap_or_else(|| summary.exit()))
}

pub(super) async fn etl(args: &EtlArgs, context: &Context, watcher: &Watcher, stop: &Stop) -> Result<EtlReport> {
    Arc::new(open(args, context, watcher).await?).run(stop).await
}

/// Everything that workers need, with the set-up checked.
pub(super) async fn open(args: &EtlArgs, context: &Context, watcher: &Watcher) -> Result<Etl> {
    let config = &context.config;
    let metadata = config.metadata_database.clone();
    let (store, warehouse) = (context.job_store().await?, context.warehouse().await?);
    #[cfg(feature = "failpoints")]
    let warehouse = crate::worker::forgetful(warehouse);
    // What is wrong with the set-up must not be put down to the jobs.
    let source = context.source()?;
    let mut planners = Vec::with_capacity(config.feeds.len());
    for feed in &config.feeds {
        let planner = LoadPlanner::new(&source, feed).await;
        planners.push(planner.map_err(|error| error.context(format!("the schema of feed `{}`", feed.name)))?);
        setup::check_table(feed, warehouse.as_ref()).await?;
    }
    Ok(Etl {
        store,
        store_factory: Arc::new(move || backend::open_job_store(&metadata)),
        warehouse,
        source,
        planners,
        settings: EtlSettings {
            workers: args.workers.map_or(config.etl.workers, usize::from),
            connections: config.etl.connections,
            max_attempts: config.etl.max_attempts,
            max_expiries: config.etl.max_expiries,
            lease: config.etl.lease,
            order: args.order.map_or(config.etl.order, JobOrder::from),
            feed: args.feed.clone(),
            max_reject_ratio: config.etl.max_reject_ratio,
            max_invalid_ratio: config.etl.max_invalid_ratio,
            segment: SegmentLimits::shared_by(config.etl.connections),
        },
        observer: watcher.observer(),
    })
}
