//! `setup`: databases and tables.

use clap::Args;

/// Create the databases and tables, and check that the source can be read
///
/// Safe to run again at any time: it creates what is missing, brings older tables up to
/// this version step by step, and never changes data. A feed's table whose columns are not
/// those of its schema file is never altered; the difference is shown instead.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SetupArgs {
    /// Change nothing; say what is missing or differs (exit code 2 if anything)
    #[arg(long, conflicts_with = "print")]
    pub check: bool,

    /// Print the DDL that this config needs, and run none of it
    #[arg(long)]
    pub print: bool,
}
