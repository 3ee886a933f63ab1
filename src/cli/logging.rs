//! Logs on stderr, for whoever operates loadline.
//!
//! Invariant: a log line and a progress bar never tear each other, because every line is written while the bars stand
//! aside; and a library's chatter never hides loadline's own words.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::{GlobalArgs, LogFormat, report};
use crate::error::{Error, Result};

/// Starts logging for the whole process; `bars` are the watcher's ([`super::progress::Watcher::bars`]).
pub fn init(global: &GlobalArgs, bars: MultiProgress) -> Result<()> {
    let stderr = AsideBars(bars);
    let colours = report::colours(&io::stderr());
    let begun: Result<(), TryInitError> = match global.log_format {
        LogFormat::Text => {
            let terminal = io::stderr().is_terminal();
            let layer = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(colours).with_target(!terminal);
            tracing_subscriber::registry().with(layer.with_filter(levels(global))).try_init()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(stderr);
            tracing_subscriber::registry().with(layer.with_filter(levels(global))).try_init()
        }
    };
    begun.map_err(|error| Error::internal("can't start logging").caused_by(error))
}

/// Warnings of everyone, and of loadline itself as much as `-v` asks for.
fn levels(global: &GlobalArgs) -> Targets {
    let (own, others) = match (global.quiet, global.verbose) {
        (true, _) => (LevelFilter::ERROR, LevelFilter::ERROR),
        (false, 0) => (LevelFilter::WARN, LevelFilter::WARN),
        (false, 1) => (LevelFilter::INFO, LevelFilter::WARN),
        (false, _) => (LevelFilter::DEBUG, LevelFilter::WARN),
    };
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), own).with_default(others)
}

/// stderr while the bars are taken away for a moment.
#[derive(Clone)]
struct AsideBars(MultiProgress);

impl Write for AsideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl<'a> MakeWriter<'a> for AsideBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tracing::Level;

    use super::*;
    use crate::cli::Cli;

    fn shown(line: &str) -> Vec<(&'static str, Level)> {
        let levels = levels(&Cli::try_parse_from(line.split_whitespace()).unwrap().global);
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        let targets = ["loadline::worker", "datafusion"];
        let pairs = targets.into_iter().flat_map(|target| all.map(|level| (target, level)));
        pairs.filter(|(target, level)| levels.would_enable(target, level)).collect()
    }

    #[test]
    fn verbosity_raises_only_our_own_level() {
        let count = |line, target| shown(line).iter().filter(|(shown, _)| *shown == target).count();
        for (line, own, others) in [
            ("loadline -q etl", 1, 1),
            ("loadline etl", 2, 2),
            ("loadline etl -v", 3, 2),
            ("loadline etl -vv", 4, 2),
            ("loadline etl -vvv", 4, 2),
        ] {
            assert_eq!((count(line, "loadline::worker"), count(line, "datafusion")), (own, others), "{line}");
        }
    }
}
