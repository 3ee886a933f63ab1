//! Every step from setup to LOADED, broken on purpose: a process crashes, fails or stands still at a named place
//! (`src/failpoint.rs`), others go on, and afterwards the tables are those of a load that nothing has disturbed.
//!
//! `matrix` goes through all places one by one; the others tell the stories that a random attack does not find. What needs
//! no process is in `conformance`, on every backend.
//!
//! Invariant: a case whose place was not reached fails, as it has shown nothing.

#[cfg(feature = "failpoints")]
mod attempt;
#[cfg(feature = "failpoints")]
mod failing;
#[cfg(feature = "failpoints")]
mod healing;
#[cfg(feature = "failpoints")]
mod late_takers;
#[cfg(feature = "failpoints")]
mod locks;
#[cfg(feature = "failpoints")]
mod lost_answers;
#[cfg(feature = "failpoints")]
mod matrix;
#[cfg(feature = "failpoints")]
pub mod oracle;
#[cfg(feature = "failpoints")]
mod points;
#[cfg(feature = "failpoints")]
mod side_by_side;
#[cfg(feature = "failpoints")]
pub mod stories;
#[cfg(feature = "failpoints")]
mod unloading;

#[cfg(not(feature = "failpoints"))]
#[test]
fn steps_can_be_broken() {
    crate::skip::skipped("the feature `failpoints` is off: no step can be broken on purpose");
}
