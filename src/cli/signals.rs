//! SIGTERM and SIGINT: the first asks the work to end well, the second ends the process.
//!
//! Invariant: the second signal needs nothing of the work, so that it helps whatever hangs.

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use super::{Exit, GlobalArgs, report};
use crate::error::{Error, Result};
use crate::worker::Stop;

/// What a person or a supervisor ends a process with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 and the signal's number, as shells have it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Listens until the process ends.
pub struct Signals {
    /// Asked for by the first signal.
    pub stop: Stop,
    first: Arc<OnceLock<Signal>>,
}

impl Signals {
    pub fn listen(global: &GlobalArgs) -> Result<Self> {
        let open = |kind| signal(kind).map_err(|error| Error::internal("can't listen to signals").caused_by(error));
        let (mut terminate, mut interrupt) = (open(SignalKind::terminate())?, open(SignalKind::interrupt())?);
        let signals = Self { stop: Stop::default(), first: Arc::default() };
        let (stop, first, global) = (signals.stop.clone(), signals.first.clone(), global.clone());
        tokio::spawn(async move {
            let signal = next(&mut terminate, &mut interrupt).await;
            let _ = first.set(signal);
            stop.ask(signal.name());
            report::note(&global, &format!("{}: stopping; a second one leaves at once", signal.name()));
            let signal = next(&mut terminate, &mut interrupt).await;
            std::process::exit(signal.exit_code().into());
        });
        Ok(signals)
    }

    /// The exit of a command whose work was ended by a signal.
    pub fn exit(&self) -> Option<Exit> {
        self.first.get().copied().map(Exit::Stopped)
    }
}

async fn next(terminate: &mut Listener, interrupt: &mut Listener) -> Signal {
    tokio::select! {
        _ = terminate.recv() => Signal::Terminate,
        _ = interrupt.recv() => Signal::Interrupt,
    }
}
