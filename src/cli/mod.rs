//! The command line: what people type and what they see. One file per command, holding its arguments, whose comments
//! are the manual, and its function.
//!
//! Invariant: data goes to stdout and everything else to stderr, so that `loadline ... | next` only ever passes on
//! data; and the exit code tells a script what happened without reading either.

pub mod audit;
mod chaos;
pub mod config;
mod context;
pub mod demo;
pub mod etl;
pub mod explain;
#[cfg(test)]
mod fakes;
pub mod human;
pub mod jobs;
pub mod logging;
pub mod output;
pub mod progress;
pub mod rejects;
pub mod report;
pub mod retry;
pub mod run;
pub mod scan;
mod selection;
pub mod setup;
pub mod shell;
pub mod signals;
pub mod sql;
pub mod status;
pub mod summary;
mod time;
pub mod unload;
mod wrap;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::error::Result;
pub use context::Context;
pub use progress::Watcher;
pub use time::parse_time;

/// Loads hourly CSV files into a database: each file exactly once, every record accounted for.
///
/// From S3 or a folder into MySQL, MariaDB or SQLite. `loadline demo` shows all of it
/// without a server, in a folder of its own.
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, name = "loadline", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,

    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
In their order:
  loadline demo      a first run without a config
  loadline config    checks config.yaml and the schema files
  loadline setup     creates the tables
  loadline scan      finds new files
  loadline etl       loads them
  loadline status    says whether all is well
  loadline audit     proves it: source, registry, ledger and table, file by file
  loadline run       does scan and etl for ever

Exit codes:
  0  done, or nothing to do
  1  loadline itself failed: please report it
  2  the command line, the config, a schema file or the set-up is wrong
  3  some job failed in this run, something stands failed or stale (status), or a file
     is not what its feed says (sql)
  4  a database or the source can't be reached; the same command may succeed later
  5  the books disagree (audit), or the count is not what it should be (demo --chaos)
  130, 143  ended by SIGINT or SIGTERM before the work was done";

const DEFAULT_CONFIG: &str = "config.yaml";

/// Options of every command, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Config file; relative paths in it start at its own folder
    #[arg(short, long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,

    /// Say more on stderr: -v what is done, -vv every step
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Say nothing on stderr but what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Form of what goes to stderr; with json, one object a line and no progress bars
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Print plain lines instead of progress bars, also on a terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(demo::DemoArgs),
    Config(config::ConfigArgs),
    Setup(setup::SetupArgs),
    Scan(scan::ScanArgs),
    Etl(etl::EtlArgs),
    Run(run::RunArgs),
    Status(status::StatusArgs),
    Audit(audit::AuditArgs),
    Explain(explain::ExplainArgs),
    Jobs(jobs::JobsArgs),
    Rejects(rejects::RejectsArgs),
    Retry(retry::RetryArgs),
    Unload(unload::UnloadArgs),
    Sql(sql::SqlArgs),
    #[command(hide = true)]
    DemoNaive(chaos::NaiveArgs),
}

/// How a command that ran to its end tells of it. One that did not returns an [`crate::error::Error`], which has its
/// own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// The work went on to its end, but some job failed in this run; or, asked for the status, something needs a person.
    SomeFailed,
    /// No job failed, but some could not be worked on because a database or the source is out of reach.
    SomePostponed,
    /// Source, registry, ledger and table disagree, or a count is not what it should be.
    Disagree,
    /// A signal ended the work before it was done.
    Stopped(signals::Signal),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 3,
            Self::SomePostponed => 4,
            Self::Disagree => 5,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }
}

/// Runs the command. The watcher sees what a scan or load does.
pub async fn run(cli: Cli, watcher: &Watcher) -> Result<Exit> {
    let Cli { global, command } = cli;
    match command {
        Command::Demo(args) => demo::run(&args, &global, watcher).await,
        Command::Config(args) => config::run(&args, &global).await,
        Command::Setup(args) => setup::run(&args, &Context::load(&global)?).await,
        Command::Scan(args) => scan::run(&args, &Context::load(&global)?, watcher).await,
        Command::Etl(args) => etl::run(&args, &Context::load(&global)?, watcher).await,
        Command::Run(args) => run::run(&args, &Context::load(&global)?, watcher).await,
        Command::Status(args) => status::run(&args, &Context::load(&global)?).await,
        Command::Audit(args) => audit::run(&args, &Context::load(&global)?, watcher).await,
        Command::Explain(args) => explain::run(&args, &Context::load(&global)?).await,
        Command::Jobs(args) => jobs::run(&args, &Context::load(&global)?).await,
        Command::Rejects(args) => rejects::run(&args, &Context::load(&global)?).await,
        Command::Retry(args) => retry::run(&args, &Context::load(&global)?).await,
        Command::Unload(args) => unload::run(&args, &Context::load(&global)?, watcher).await,
        Command::Sql(args) => sql::run(&args, &Context::load(&global)?).await,
        Command::DemoNaive(args) => chaos::run_naive(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::job::{JobOrder, JobStatus};

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// clap does not break lines by itself.
    #[test]
    fn the_manual_fits_a_hundred_columns() {
        let mut cli = Cli::command();
        cli.build();
        for command in std::iter::once(&cli).chain(cli.get_subcommands()) {
            let manual = command.clone().render_long_help().to_string();
            for line in manual.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [
            "loadline -c a/b.yaml -vv --log-format json --no-progress jobs",
            "loadline jobs -c a/b.yaml -vv --log-format json --no-progress",
            "loadline --config a/b.yaml -v -v jobs --log-format=json --no-progress",
        ] {
            let global = parse(line).global;
            assert_eq!(global.config, PathBuf::from("a/b.yaml"), "{line}");
            assert_eq!((global.log_format, global.no_progress), (LogFormat::Json, true), "{line}");
            assert_eq!(global.verbose, 2, "{line}");
        }
        assert_eq!(parse("loadline etl").global.config, PathBuf::from("config.yaml"));
        assert!(parse("loadline -q scan").global.quiet);
    }

    #[test]
    fn quiet_and_verbose_exclude_each_other() {
        assert!(Cli::try_parse_from(["loadline", "-q", "-v", "etl"]).is_err());
        assert!(Cli::try_parse_from(["loadline", "etl", "-q", "-v"]).is_err());
    }

    #[test]
    fn every_command_takes_what_its_contract_says() {
        for line in [
            "loadline demo",
            "loadline demo --dir x",
            "loadline demo --chaos --seconds 5 --seed 7",
            "loadline config",
            "loadline config --schema",
            "loadline config --schema=feed",
            "loadline setup --check",
            "loadline setup --print",
            "loadline scan --feed f --full --dry-run",
            "loadline scan --from 2026-01-31 --to 2026-02-01T05",
            "loadline etl --feed f --workers 3 --order newest",
            "loadline run --workers 3 --order newest",
            "loadline status",
            "loadline status --feed f -o json",
            "loadline audit",
            "loadline audit --since 2026-01-31T05 --feed f --deep -o json",
            "loadline audit --repair",
            "loadline audit --repair --yes",
            "loadline explain s3://bucket/a.csv",
            "loadline explain a.csv -o json",
            "loadline jobs 7",
            "loadline jobs --status FAILED --feed f -o csv",
            "loadline rejects --job 3 --feed f --limit 5 -o json",
            "loadline retry 1 2 3",
            "loadline retry --failed",
            "loadline retry --unloaded",
            "loadline retry --unloaded --file file:///in/a.csv",
            "loadline retry --unloaded --feed f --from 2026-01-31 --to 2026-02-01",
            "loadline unload --file file:///in/a.csv",
            "loadline unload --file file:///in/a.csv --feed f --yes",
            "loadline unload --job 3 --yes -o json",
            "loadline unload --feed f --from 2026-01-31 --to 2026-02-01T05",
            "loadline sql --job 1 SELECT -o json",
            "loadline sql --uri a --uri b SELECT",
        ] {
            parse(line);
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "loadline setup --check --print",
            "loadline scan --full --from 2026-01-01 --to 2026-01-02",
            "loadline scan --from 2026-01-01",
            "loadline scan --from yesterday --to 2026-01-02",
            "loadline etl --workers 0",
            "loadline run --workers 0",
            "loadline jobs --status NONE",
            "loadline status -o csv",
            "loadline audit --yes",
            "loadline audit -o csv",
            "loadline jobs 7 --status FAILED",
            "loadline rejects --limit 0",
            "loadline retry",
            "loadline retry 1 --failed",
            "loadline retry 1 --unloaded",
            "loadline retry --file file:///in/a.csv",
            "loadline retry --unloaded --from 2026-01-31 --to 2026-02-01",
            "loadline retry --unloaded --file file:///in/a.csv --from 2026-01-31 --to 2026-02-01",
            "loadline unload",
            "loadline unload --feed f",
            "loadline unload --feed f --from 2026-01-31",
            "loadline unload --from 2026-01-31 --to 2026-02-01",
            "loadline unload --job 3 --file file:///in/a.csv",
            "loadline unload --job 3 --feed f",
            "loadline sql SELECT",
            "loadline sql --job 1 --uri a SELECT",
            "loadline sql --job 1",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }

    #[test]
    fn values_arrive_as_they_were_meant() {
        let Command::Etl(etl) = parse("loadline etl --order newest --workers 3").command else { panic!() };
        assert_eq!((etl.order.map(JobOrder::from), etl.workers), (Some(JobOrder::Newest), Some(3)));
        let Command::Jobs(jobs) = parse("loadline jobs --status SENT_FOR_ETL").command else { panic!() };
        assert_eq!(jobs.status, Some(JobStatus::SentForEtl));
        let Command::Config(args) = parse("loadline config --schema").command else { panic!() };
        assert_eq!(args.schema, Some(config::SchemaOf::Config));
        let Command::Config(args) = parse("loadline config").command else { panic!() };
        assert_eq!(args.schema, None);
    }
}
