//! `demo --chaos`: what a person sees of [`crate::demo::chaos`], and the naive loader's hidden command.
//!
//! Invariant: however it ends, no process of it is left.

mod colour;
mod ending;
mod screen;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::demo::{DemoArgs, SCHEMA, program};
use super::setup::SetupArgs;
use super::signals::Signal;
use super::{Context, Exit, GlobalArgs, output, report, setup};
use crate::demo::chaos::{self, Chaos, Places, Share};
use crate::error::{Error, Result};
use ending::Ending;
use screen::Screen;

/// Seeds that are made up have at most so many digits, to be typed again.
const SEED_MAX: u64 = 1_000_000;

pub async fn run(args: &DemoArgs, global: &GlobalArgs) -> Result<Exit> {
    let ended_early = ended_early()?;
    let places = chaos::make(&args.dir, SCHEMA)?;
    let quietly = GlobalArgs { config: places.config.clone(), quiet: true, ..global.clone() };
    setup::run(&SetupArgs { check: false, print: false }, &Context::load(&quietly)?).await?;
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..SEED_MAX));
    let this = std::env::current_exe();
    let this = this.map_err(|error| Error::internal("this program can't be found again").caused_by(error))?;
    let chaos = Chaos { program: this, places, seed, length: Duration::from_secs(args.seconds.into()) };
    let mut screen = Screen::new(global);
    let mut show = |picture: &chaos::Picture<'_>| screen.show(picture);
    // Dropped, the story ends all that it has started.
    let ended = tokio::select! {
        outcome = chaos.run(&mut show) => Ok(outcome?),
        signal = ended_early => Err(signal),
    };
    screen.clear();
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(signal) => {
            report::note(global, "the demo was ended early, and with it all its processes; nothing was counted");
            return Ok(Exit::Stopped(signal));
        }
    };
    let colours = report::colours(&std::io::stdout());
    let ending = Ending { program: &program(), args, outcome: &outcome, colours };
    output::written(output::stdout().write_all(ending.render().as_bytes()))?;
    Ok(if outcome.is_exact() { Exit::Done } else { Exit::Disagree })
}

/// Listens to what ends a program that watches a terminal, the loss of the terminal included, and returns at the first.
fn ended_early() -> Result<impl Future<Output = Signal>> {
    let open = |kind| signal(kind).map_err(|error| Error::internal("can't listen to signals").caused_by(error));
    let (mut interrupt, mut terminate) = (open(SignalKind::interrupt())?, open(SignalKind::terminate())?);
    let mut hangup = open(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
            _ = hangup.recv() => Signal::Terminate,
        }
    })
}

/// One process of the naive loader that `demo --chaos` compares with.
#[derive(Debug, Args)]
pub struct NaiveArgs {
    /// The demo's folder
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,

    /// Which one, from 0
    #[arg(long, value_name = "N")]
    pub worker: usize,
}

pub fn run_naive(args: &NaiveArgs) -> Result<Exit> {
    let share = Share { worker: args.worker, workers: chaos::WORKERS };
    chaos::naive::run(&Places::below(&args.dir), share)?;
    Ok(Exit::Done)
}
