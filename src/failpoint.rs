//! Places at which a test can make this process crash, fail or stand still.
//!
//! Compiled in by the feature `failpoints` only: without it a failpoint is nothing. `LOADLINE_FAILPOINTS` says what
//! happens where, as in `taken=crash,segment.rows=stall@2`:
//!
//! - `crash`: the process ends as by `kill -9`;
//! - `unavailable`, `data`: the step fails with an error of that kind;
//! - `stall`: the file `NAME.reached` is made in the folder `LOADLINE_FAILPOINT_DIR`, and the step goes on once there is
//!   a file `NAME.go` beside it;
//! - `on`: a mode that the code asks for with [`is_on`].
//!
//! `@N`: only when it is reached for the `N`th time, the first time being 1. Without it: every time.

use crate::error::Result;

/// Nothing, without the feature.
///
/// # Errors
/// The one that a test asked for.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn reach(_: &'static str) -> Result<()> {
    Ok(())
}

/// The same where nothing can be awaited; a stall blocks the thread.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach_blocking(_: &'static str) -> Result<()> {
    Ok(())
}

/// How many records one transaction may take.
#[cfg(not(feature = "failpoints"))]
pub const fn records(most: u64) -> u64 {
    most
}

/// The same; fewer where a test asks for it by `LOADLINE_SEGMENT_RECORDS`, so that its small files take several.
#[cfg(feature = "failpoints")]
pub fn records(most: u64) -> u64 {
    let asked = std::env::var("LOADLINE_SEGMENT_RECORDS").ok().and_then(|records| records.parse().ok());
    asked.filter(|records| (1..most).contains(records)).unwrap_or(most)
}

#[cfg(feature = "failpoints")]
pub use set::{is_on, reach, reach_blocking};

#[cfg(feature = "failpoints")]
mod set {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use crate::error::{Error, Result};

    /// How often a stalled step looks whether it may go on.
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Effect {
        Crash,
        Unavailable,
        Data,
        Stall,
        On,
    }

    struct Failpoint {
        effect: Effect,
        /// `None`: every time.
        only: Option<u64>,
        reached: AtomicU64,
    }

    fn all() -> &'static BTreeMap<String, Failpoint> {
        static ALL: OnceLock<BTreeMap<String, Failpoint>> = OnceLock::new();
        ALL.get_or_init(|| {
            let text = std::env::var("LOADLINE_FAILPOINTS").unwrap_or_default();
            text.split(',').filter(|part| !part.is_empty()).filter_map(parse).collect()
        })
    }

    fn parse(part: &str) -> Option<(String, Failpoint)> {
        let parsed = part.split_once('=').and_then(|(name, effect)| {
            let (effect, only) = effect.split_once('@').map_or((effect, None), |(effect, only)| (effect, Some(only)));
            let effect = match effect {
                "crash" => Effect::Crash,
                "unavailable" => Effect::Unavailable,
                "data" => Effect::Data,
                "stall" => Effect::Stall,
                "on" => Effect::On,
                _ => return None,
            };
            let only = only.map(str::parse).transpose().ok()?;
            Some((name.to_owned(), Failpoint { effect, only, reached: AtomicU64::new(0) }))
        });
        if parsed.is_none() {
            tracing::error!(failpoint = part, "not understood, and left out");
        }
        parsed
    }

    /// The effect of reaching it now.
    fn effect(name: &str) -> Option<Effect> {
        let failpoint = all().get(name)?;
        let time = failpoint.reached.fetch_add(1, Ordering::SeqCst) + 1;
        failpoint.only.is_none_or(|only| only == time).then_some(failpoint.effect)
    }

    /// Whether this mode was asked for.
    pub fn is_on(name: &str) -> bool {
        all().get(name).is_some_and(|failpoint| failpoint.effect == Effect::On)
    }

    pub async fn reach(name: &'static str) -> Result<()> {
        match effect(name) {
            Some(Effect::Stall) => {
                let go = stalled(name)?;
                while !go.exists() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ok(())
            }
            effect => happen(name, effect),
        }
    }

    pub fn reach_blocking(name: &'static str) -> Result<()> {
        match effect(name) {
            Some(Effect::Stall) => {
                let go = stalled(name)?;
                while !go.exists() {
                    std::thread::sleep(LOOK_EVERY);
                }
                Ok(())
            }
            effect => happen(name, effect),
        }
    }

    fn happen(name: &str, effect: Option<Effect>) -> Result<()> {
        match effect {
            Some(Effect::Crash) => std::process::abort(),
            Some(Effect::Unavailable) => Err(Error::unavailable(format!("failpoint {name}"))),
            Some(Effect::Data) => Err(Error::data(format!("failpoint {name}"))),
            Some(Effect::Stall | Effect::On) | None => Ok(()),
        }
    }

    /// Says that the step stands still; the file that lets it go on.
    fn stalled(name: &str) -> Result<PathBuf> {
        let folder = std::env::var_os("LOADLINE_FAILPOINT_DIR").map(PathBuf::from).unwrap_or_default();
        let reached = folder.join(format!("{name}.reached"));
        std::fs::write(&reached, std::process::id().to_string())
            .map_err(|error| Error::internal(format!("failpoint {name}")).caused_by(error))?;
        Ok(folder.join(format!("{name}.go")))
    }
}
