//! The end of every schedule: nothing goes wrong any more, and everybody goes on until there is nothing left to do.

use loadline::job::{FileState, JobStatus};

use super::FILES;
use super::person::{Person, Wish};
use super::right::Wrong;
use super::scanner::Scanner;
use super::world::{Fate, Move, World};

/// Steps after which somebody must be going round in a circle.
const STEPS_MAX: usize = 5_000;
/// How often a person mends.
const MENDINGS_MAX: usize = 8;

/// Is told of every move that happened, and how the world is behind it.
pub type Seen<'a> = &'a mut dyn FnMut(Move, &World);

pub fn go(world: &mut World, step: Move, seen: Seen<'_>) -> Result<bool, Wrong> {
    let happened = world.apply(step);
    if happened != Ok(false) {
        seen(step, world);
    }
    happened
}

/// A person mends what is a person's to mend; then everything must have come right.
pub fn drain(world: &mut World, seen: Seen<'_>) -> Result<(), Wrong> {
    for _ in 0..MENDINGS_MAX {
        settle(world, seen)?;
        let wishes = wishes(world);
        if wishes.is_empty() {
            break;
        }
        for wish in wishes {
            go(world, Move::Wish(0, wish), seen)?;
            settle(world, seen)?;
        }
    }
    world.shared.check_end()
}

/// Until nobody has anything to do, and a scan finds nothing new.
fn settle(world: &mut World, seen: Seen<'_>) -> Result<(), Wrong> {
    let setup = world.shared.setup;
    let mut steps = 0;
    loop {
        let mut is_quiet = true;
        let mut go_on = |world: &mut World, step| {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Wrong::NoEnd);
            }
            is_quiet &= !go(world, step, seen)?;
            Ok(())
        };
        for worker in 0..setup.workers {
            for file in 0..FILES {
                go_on(world, Move::Work(worker, file, Fate::Fine))?;
            }
        }
        for person in 0..setup.people {
            go_on(world, Move::Person(person, Fate::Fine))?;
        }
        for job in orphans(world) {
            go_on(world, Move::Rescue(job))?;
        }
        if !is_quiet {
            continue;
        }
        if world.workers.iter().any(|worker| worker.token().is_some()) || !world.people.iter().all(Person::is_idle) {
            return Err(Wrong::NoEnd);
        }
        let before = world.shared.metadata.clone();
        scan(world, seen)?;
        if before == world.shared.metadata {
            return Ok(());
        }
    }
}

/// Jobs whose lease nobody keeps up.
fn orphans(world: &World) -> Vec<usize> {
    let jobs = world.shared.metadata.jobs.iter().enumerate();
    let kept = |token| world.workers.iter().any(|worker| worker.token() == Some(token));
    jobs.filter(|(_, job)| job.status == JobStatus::Processing && !kept(job.token)).map(|(at, _)| at + 1).collect()
}

/// Every scanner ends what it was at, and then begins anew.
fn scan(world: &mut World, seen: Seen<'_>) -> Result<(), Wrong> {
    for scanner in 0..world.shared.setup.scanners {
        let mut idle = 0;
        while idle < 2 {
            go(world, Move::Scan(scanner, Fate::Fine), seen)?;
            idle += usize::from(world.scanners[scanner] == Scanner::Idle);
        }
    }
    Ok(())
}

/// What a person does about what is left.
fn wishes(world: &World) -> Vec<Wish> {
    let shared = &world.shared;
    let mut wishes = Vec::new();
    for file in 0..shared.setup.files {
        let Some(entry) = shared.metadata.files[file] else { continue };
        let is_hopeless = entry.version == shared.source[file] && shared.is_bad(file, entry.version);
        let job = entry.job.filter(|job| shared.metadata.job(*job).is_some_and(|job| job.status == JobStatus::Failed));
        match (entry.state, job) {
            (FileState::Unloaded, _) if !shared.is_out(file) => wishes.push(Wish::Unload(file)),
            (FileState::Failed, Some(job)) if !is_hopeless => wishes.push(Wish::Retry(job)),
            (FileState::Quarantined, Some(job)) if !entry.was_loaded => wishes.push(Wish::Retry(job)),
            (FileState::Quarantined, None) if !entry.was_loaded => wishes.push(Wish::Release(file)),
            _ => {}
        }
    }
    wishes
}
