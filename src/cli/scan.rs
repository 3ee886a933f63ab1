//! `scan`: from listings to jobs.

use chrono::{DateTime, Utc};
use clap::Args;

use super::parse_time;

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
