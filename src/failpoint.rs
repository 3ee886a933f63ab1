//! Places at which a test can make this process crash, fail or stand still.
//!
//! Compiled in by the feature `failpoints` only: without it a failpoint is nothing. `LOADLINE_FAILPOINTS` says what
//! happens where, as in `taken=crash,segment.rows=stall@2`:
//!
//! - `crash`: the process ends as by `kill -9`;
//! - `panic`: the task breaks down;
//! - `unavailable`, `data`: the step fails with an error of that kind;
//! - `stall`: the step goes on once there is a file `NAME.go` in the folder `LOADLINE_FAILPOINT_DIR`;
//! - `on`: a mode that the code asks for with [`is_on`].
//!
//! Whatever happens, the file `NAME.reached` is made in `LOADLINE_FAILPOINT_DIR` first, so that a test knows that it did.
//!
//! [`POINTS`] names the places. `LOADLINE_SEGMENT_RECORDS` makes segments, and the steps of a walk back, as small as a test
//! needs them.
//!
//! `@N`: only when it is reached for the `N`th time, the first time being 1. Without it: every time.

#[cfg(not(feature = "failpoints"))]
use crate::error::Result;

/// Every place, in the order in which a file passes them.
///
/// `.made`, `.inserted`, `.statement`, `.marked`, `.counted`, `.moved` and `.deleted` stand inside a transaction that is
/// not committed; so do `segment.begun`, `segment.rows` and `segment.rejects`.
#[cfg(feature = "failpoints")]
pub const POINTS: &[&str] = &[
    // setup
    "setup.statement",
    "setup.step",
    "setup.table",
    "setup.feeds",
    // scan
    "register.inserted",
    "registered",
    "scanned",
    "job.planned",
    "job.inserted",
    "job.formed",
    // etl
    "rescue.looked",
    "rescued",
    "claim.marked",
    "claimed",
    "heartbeat",
    "take.made",
    "take.counted",
    "taken",
    "confirmed",
    "file.opened",
    "file.validated",
    "segment.encoded",
    "segment.begun",
    "segment.rows",
    "segment.rejects",
    "segment.moved",
    "segment.again",
    "segment.committed",
    "segment.read",
    "file.complete",
    "complete.untold",
    "end.marked",
    "complete.told",
    "postpone.untold",
    "postpone.told",
    "fail.confirmed",
    "walk_back.begun",
    "walk_back.deleted",
    "walk_back.step",
    "fail.walked_back",
    "fail.untold",
    "fail.told",
    // unload and retry
    "unload.revoked",
    "unload.taken",
    "unload.looked",
    "unload.walked_back",
    "retry.readmitted",
    "retry.sent",
    // audit --repair
    "repair.restored",
    "repair.revoked",
    "repair.requeued",
];

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
    use std::time::{Duration, Instant};

    use crate::error::{Error, Result};

    /// How often a stalled step looks whether it may go on.
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    /// A process whose test has died does not stand still for ever.
    const STALL_MAX: Duration = Duration::from_secs(300);

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Effect {
        Crash,
        Panic,
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
                "panic" => Effect::Panic,
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
        let effect = effect(name);
        let stall = happen(name, effect)?;
        while stall.as_ref().is_some_and(Stall::lasts) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    pub fn reach_blocking(name: &'static str) -> Result<()> {
        let effect = effect(name);
        let stall = happen(name, effect)?;
        while stall.as_ref().is_some_and(Stall::lasts) {
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// A step that stands still, until the file that lets it go on is there.
    struct Stall {
        go: PathBuf,
        since: Instant,
    }

    impl Stall {
        fn lasts(&self) -> bool {
            if self.since.elapsed() > STALL_MAX {
                std::process::abort();
            }
            !self.go.exists()
        }
    }

    fn happen(name: &str, effect: Option<Effect>) -> Result<Option<Stall>> {
        let Some(effect) = effect.filter(|effect| *effect != Effect::On) else { return Ok(None) };
        let folder = std::env::var_os("LOADLINE_FAILPOINT_DIR").map(PathBuf::from);
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{name}.reached")), std::process::id().to_string())
                .map_err(|error| Error::internal(format!("failpoint {name}")).caused_by(error))?;
        }
        match effect {
            Effect::Crash => std::process::abort(),
            Effect::Panic => std::panic::panic_any(format!("failpoint {name}")),
            Effect::Unavailable => Err(Error::unavailable(format!("failpoint {name}"))),
            Effect::Data => Err(Error::data(format!("failpoint {name}"))),
            Effect::Stall => {
                let go = folder.unwrap_or_default().join(format!("{name}.go"));
                Ok(Some(Stall { go, since: Instant::now() }))
            }
            Effect::On => Ok(None),
        }
    }
}
