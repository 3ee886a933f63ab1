//! One schedule: a small world, and what happens in it, move by move. Then nothing goes wrong any more, everybody goes
//! on until there is nothing left to do, a person mends what is a person's to mend, and everything must have come right.
//!
//! A schedule comes from its seed alone.

use loadline::job::OnOverwrite;

use super::drain::{Seen, drain, go};
use super::person::Wish;
use super::protocol::Protocol;
use super::right::Wrong;
use super::world::{Fate, Move, Setup, World};
use super::{FILES, RECORDS_MAX, VERSIONS_MAX};

/// Most moves before nothing goes wrong any more.
const MOVES_MAX: u64 = 400;

/// SplitMix64: fast without optimisation too, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93).wrapping_add(1))
    }

    /// From 0 to `sides` - 1.
    pub fn below(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % sides) as usize
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

pub struct Schedule {
    pub setup: Setup,
    pub moves: Vec<Move>,
}

fn random_setup(dice: &mut Dice) -> Setup {
    let mut sizes = [[0; VERSIONS_MAX]; FILES];
    let mut bad = [[false; VERSIONS_MAX]; FILES];
    for (sizes, bad) in sizes.iter_mut().zip(&mut bad) {
        sizes.fill_with(|| dice.below(RECORDS_MAX as u64 + 1) as u8);
        bad.fill_with(|| dice.one_in(8));
    }
    let policies = [OnOverwrite::Quarantine, OnOverwrite::Reload, OnOverwrite::Ignore];
    Setup {
        files: 1 + dice.below(FILES as u64),
        sizes,
        bad,
        policy: policies[dice.below(3)],
        job_files_max: 1 + dice.below(FILES as u64),
        workers: 2 + dice.below(2),
        scanners: 1 + dice.below(2),
        people: 1 + dice.below(2),
    }
}

/// Draws a schedule while it runs.
pub fn random(seed: u64, protocol: Protocol) -> (Schedule, Result<(), Wrong>) {
    let mut dice = Dice::new(seed);
    let setup = random_setup(&mut dice);
    let mut world = World::new(setup, protocol);
    let mut moves = Vec::new();
    // How rare faults, lost answers and people are, and who stands still until when.
    let (faults, losses, wishes) = (4 + dice.below(60), 4 + dice.below(60), 4 + dice.below(40));
    let actors = setup.workers + setup.scanners + setup.people;
    let mut still = [0; 8];
    for now in 0..20 + dice.below(MOVES_MAX - 20) {
        let next = if dice.one_in(faults as u64) {
            fault(&mut dice, &world)
        } else if dice.one_in(wishes as u64) {
            let (who, file) = (dice.below(setup.people as u64), dice.below(setup.files as u64));
            let job = 1 + dice.below(world.shared.metadata.jobs.len().max(1) as u64);
            Move::Wish(who, [Wish::Unload(file), Wish::Retry(job), Wish::Release(file)][dice.below(3)])
        } else {
            let who = dice.below(actors as u64);
            if dice.one_in(30) {
                still[who] = now + dice.below(60);
            }
            if still[who] > now {
                continue;
            }
            let fates = [Fate::NotDone, Fate::AnswerLost];
            let fate = if dice.one_in(losses as u64) { fates[dice.below(2)] } else { Fate::Fine };
            step_of(&mut dice, &world, who, fate)
        };
        match world.apply(next) {
            Ok(false) => {}
            Ok(true) => moves.push(next),
            Err(wrong) => {
                moves.push(next);
                return (Schedule { setup, moves }, Err(wrong));
            }
        }
    }
    let end = drain(&mut world, &mut |_, _| {});
    (Schedule { setup, moves }, end)
}

fn step_of(dice: &mut Dice, world: &World, who: usize, fate: Fate) -> Move {
    let Setup { workers, scanners, .. } = world.shared.setup;
    if who < workers {
        let (choices, first) = (world.workers[who].choices(&world.shared), dice.below(FILES as u64));
        let file = (0..FILES).map(|file| (file + first) % FILES).find(|file| choices[*file]);
        return Move::Work(who, file.unwrap_or_default(), fate);
    }
    let who = who - workers;
    if who < scanners { Move::Scan(who, fate) } else { Move::Person(who - scanners, fate) }
}

fn fault(dice: &mut Dice, world: &World) -> Move {
    let Setup { files, workers, scanners, people, .. } = world.shared.setup;
    let (worker, file) = (dice.below(workers as u64), dice.below(files as u64));
    match dice.below(20) {
        0..=3 => Move::CrashWorker(worker),
        4..=5 => Move::Cut(worker),
        6..=12 => Move::Rescue(1 + dice.below(world.shared.metadata.jobs.len().max(1) as u64)),
        13..=14 => Move::Overwrite(file),
        15 => Move::NewPlan,
        16 => Move::LoseMetadata,
        17 => Move::CrashScanner(dice.below(scanners as u64)),
        _ => Move::CrashPerson(dice.below(people as u64)),
    }
}

/// The same moves again; those that can't happen any more are left out.
pub fn replay(schedule: &Schedule, protocol: Protocol, seen: Seen<'_>) -> Result<(), Wrong> {
    let mut world = World::new(schedule.setup, protocol);
    for step in &schedule.moves {
        go(&mut world, *step, seen)?;
    }
    drain(&mut world, seen)
}

/// Cuts moves as long as something is still wrong, the longest pieces first.
pub fn shrink(schedule: &mut Schedule, protocol: Protocol) {
    let mut length = schedule.moves.len().max(1);
    while length > 0 {
        let mut at = 0;
        while at < schedule.moves.len() {
            let mut moves = schedule.moves.clone();
            moves.drain(at..(at + length).min(moves.len()));
            let shorter = Schedule { moves, ..*schedule };
            if replay(&shorter, protocol, &mut |_, _| {}).is_err() {
                *schedule = shorter;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
}
