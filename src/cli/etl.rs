//! `etl`: from jobs to rows.

use clap::{Args, ValueEnum};

use crate::job::JobOrder;

/// Load every job that is waiting, then stop
///
/// Takes jobs until none is left that can run now. A job is loaded exactly once, also when
/// a worker dies half way or several run at once on several machines. A record that does
/// not convert is kept as a reject (see `loadline rejects`); a file that can't be trusted
/// fails as a whole and leaves nothing in the table, while its siblings load. Exit code 3
/// if a job failed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct EtlArgs {
    /// Take jobs of this feed only
    #[arg(long, value_name = "FEED")]
    pub feed: Option<String>,

    /// So many jobs at a time, instead of `etl.workers` of the config
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Which jobs first, by their newest file, instead of `etl.order` of the config
    #[arg(long)]
    pub order: Option<Order>,
}

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
