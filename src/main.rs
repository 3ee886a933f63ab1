//! Arguments -> command -> exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadline::cli::{self, Cli, Watcher, logging, report};
use loadline::error::{Error, Result};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let global = cli.global.clone();
    match run(cli) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            report::error(&global, &error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<cli::Exit> {
    let watcher = Watcher::new(&cli.global);
    logging::init(&cli.global, watcher.bars())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("the runtime does not start").caused_by(error))?;
    let ended = runtime.block_on(cli::run(cli, &watcher));
    // What was dropped may still hold a thread; its transaction ends with the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}
