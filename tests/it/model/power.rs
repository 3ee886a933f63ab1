//! Whether the model would notice: the protocol with one of its sentences left out is caught by random schedules.

use super::protocol::{Hole, Protocol};
use super::schedule::{random, replay, shrink};
use crate::skip::say;

/// Schedules within which a hole must show.
const SCHEDULES: u64 = 100_000;

const HOLES: [(&str, &[Hole]); 12] = [
    ("no confirmation behind the take", &[Hole::NoConfirm]),
    ("by job and count instead of the token", &[Hole::JobAndCount]),
    ("from where the ledger stands, after an unanswered COMMIT", &[Hole::GoesOn, Hole::FromAsRead]),
    ("no look at the epoch", &[Hole::NoFence]),
    ("a lock kept by an answer without a row", &[Hole::KeepsLock]),
    ("no look at the plan", &[Hole::PlanUnseen]),
    ("no look at the version", &[Hole::VersionUnseen]),
    ("a take renames what is loaded", &[Hole::RenamesLoaded]),
    ("FAILED with rows", &[Hole::FailsWithRows]),
    ("unloaded before it is revoked", &[Hole::UnloadsFirst]),
    ("UNLOADED in the registry alone", &[Hole::UnloadForgotten]),
    ("rows, then ledger", &[Hole::RowsFirst]),
];

#[test]
fn every_sentence_left_out_is_caught() {
    for (what, holes) in HOLES {
        let protocol = Protocol::without(holes);
        let caught = (0..SCHEDULES).find_map(|seed| {
            let (schedule, end) = random(seed, protocol);
            end.err().map(|_| (seed, schedule))
        });
        let Some((seed, mut schedule)) = caught else { panic!("{what}: not caught by {SCHEDULES} schedules") };
        shrink(&mut schedule, protocol);
        let wrong = replay(&schedule, protocol, &mut |_, _| {}).unwrap_err();
        say(&format!("model: {what}: seed {seed}, {} moves: {wrong:?}", schedule.moves.len()));
        assert_eq!(
            replay(&schedule, Protocol::default(), &mut |_, _| {}),
            Ok(()),
            "{what}: the same moves without the hole"
        );
    }
}

/// What the check of `:from` is for.
#[test]
fn going_on_behind_an_unanswered_commit_is_harmless_where_the_ledger_is_looked_at() {
    let protocol = Protocol::without(&[Hole::GoesOn]);
    for seed in 0..20_000 {
        assert_eq!(random(seed, protocol).1, Ok(()), "seed {seed}");
    }
}
