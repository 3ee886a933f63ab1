//! `sql`: ad-hoc questions to files.

use clap::{ArgGroup, Args};

use super::output::Format;
use crate::job::JobId;

/// Ask SQL of the files themselves, loaded or not
///
/// Two tables are there. `source`: every record as it stands in the files, all columns as
/// text, with `_uri`, `_record`, `_line`, `_offset`, `_error` and `_raw`. `clean`: the same
/// records as `etl` would load them. Read-only: no DDL, no writes, and no other path of the
/// machine can be reached. The SQL is DataFusion's.
///
///   loadline sql --job 1 "SELECT age, count(*) FROM clean GROUP BY age ORDER BY age"
///   loadline sql --job 1 "SELECT _line, _error, _raw FROM source WHERE _error IS NOT NULL"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("which").args(["job", "uri"]).required(true).multiple(false))]
pub struct SqlArgs {
    /// The files of this job
    #[arg(long, value_name = "ID")]
    pub job: Option<JobId>,

    /// This file of the source, also if it is in no job; may be given several times
    #[arg(long, value_name = "URI")]
    pub uri: Vec<String>,

    /// Read the files of --uri by this feed's schema; needed only where the config has several feeds
    #[arg(long, value_name = "FEED", conflicts_with = "job")]
    pub feed: Option<String>,

    /// One SELECT over `source` and `clean`
    pub query: String,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}
