//! A small world, and every way that it can go: each state is looked at once.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::FILES;
use super::drain::drain;
use super::right::Wrong;
use super::world::{Fate, Move, World};

/// A world with what may still go wrong in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub world: World,
    /// Crashes, cuts and lost answers.
    pub faults: u8,
    /// Leases that end, whoever holds them.
    pub rescues: u8,
    /// Each may come once, at any time.
    pub extras: Vec<Move>,
}

#[derive(Debug, Default)]
pub struct Explored {
    pub states: usize,
    pub moves: usize,
    /// States in which nobody has anything to do: everything must come right from there.
    pub ends: usize,
}

/// Looks at all of it, or at what is wrong first, with the way there.
pub fn explore(start: Place) -> Result<Explored, (Wrong, Vec<Move>)> {
    // By hash: among some millions of states, no two have the same by chance.
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut visited = HashSet::from([hasher.hash_one(&start)]);
    let mut explored = Explored { states: 1, ..Explored::default() };
    let mut open = vec![(start, Vec::new())];
    while let Some((place, way)) = open.pop() {
        let mut is_quiet = true;
        for (step, next) in place.next() {
            let mut world = place.world.clone();
            let happened = world.apply(step);
            let mut way = way.clone();
            way.push(step);
            if !happened.map_err(|wrong| (wrong, way.clone()))? {
                continue;
            }
            explored.moves += 1;
            is_quiet &= !matches!(step, Move::Work(_, _, Fate::Fine) | Move::Person(_, Fate::Fine));
            let next = Place { world, ..next };
            if visited.insert(hasher.hash_one(&next)) {
                explored.states += 1;
                open.push((next, way));
            }
        }
        if is_quiet {
            explored.ends += 1;
            drain(&mut place.world.clone(), &mut |_, _| {}).map_err(|wrong| (wrong, way.clone()))?;
        }
    }
    Ok(explored)
}

impl Place {
    /// Every move, with what may go wrong behind it. Not all of them can happen.
    fn next(&self) -> Vec<(Move, Self)> {
        let mut next = Vec::new();
        let fault = || Self { faults: self.faults - 1, ..self.clone() };
        let fates = [Fate::Fine, Fate::NotDone, Fate::AnswerLost];
        let fates = if self.faults > 0 { &fates[..] } else { &fates[..1] };
        for fate in fates {
            let behind = || if *fate == Fate::Fine { self.clone() } else { fault() };
            for who in 0..self.world.workers.len() {
                let choices = self.world.workers[who].choices(&self.world.shared);
                let files = (0..FILES).filter(|file| choices[*file]);
                next.extend(files.map(|file| (Move::Work(who, file, *fate), behind())));
            }
            let people = 0..self.world.people.len();
            next.extend(people.map(|who| (Move::Person(who, *fate), behind())));
        }
        if self.faults > 0 {
            for who in 0..self.world.workers.len() {
                next.extend([(Move::CrashWorker(who), fault()), (Move::Cut(who), fault())]);
            }
        }
        if self.rescues > 0 {
            next.push((Move::Rescue(1), Self { rescues: self.rescues - 1, ..self.clone() }));
        }
        for at in 0..self.extras.len() {
            let mut left = self.clone();
            next.push((left.extras.remove(at), left));
        }
        next
    }
}
