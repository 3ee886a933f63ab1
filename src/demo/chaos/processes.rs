//! The processes of both sides: started, killed, frozen, and started again as a supervisor would.
//!
//! Signals are sent by the shell's `kill`, which every Unix has.
//!
//! Invariant: none of them outlives the demo, however it ends. A [`Team`] that is dropped kills its own, frozen or not; and
//! where the demo itself is killed, the [`Undertaker`] does, in whose process group they all are.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How to start one process.
#[derive(Debug, Clone)]
pub struct Job {
    /// As it is shown.
    pub name: String,
    pub arguments: Vec<String>,
    /// Takes all that it prints.
    pub log: PathBuf,
    /// How soon it is started again when it ends by itself. `None`: it never should.
    pub repeat: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running {
        since: Instant,
    },
    Frozen {
        until: Instant,
    },
    /// Was told to end, and has not yet.
    Ending,
    /// Is started again then.
    Down {
        until: Instant,
    },
    /// Has ended for good.
    Done,
}

#[derive(Debug, Clone)]
pub struct Shown {
    pub name: String,
    pub pid: Option<u32>,
    pub state: State,
}

struct Slot {
    job: Job,
    child: Option<Child>,
    state: State,
    /// How long it stays away when it next ends.
    pause: Duration,
}

/// A process group; Ctrl-C at the terminal does not reach it.
#[derive(Debug, Clone, Copy)]
pub struct Group(i32);

/// The processes of one side.
pub struct Team {
    program: PathBuf,
    group: Group,
    slots: Vec<Slot>,
    /// Processes are started again.
    supervised: bool,
    /// How often one ended that nobody had told to.
    pub fell: u64,
}

/// How soon a process that fell by itself is started again.
const AFTER_A_FALL: Duration = Duration::from_millis(500);

impl Team {
    /// Starts them all.
    pub fn start(program: &Path, group: Group, jobs: Vec<Job>) -> Result<Self> {
        let now = Instant::now();
        let slot = |job| Slot { job, child: None, state: State::Down { until: now }, pause: AFTER_A_FALL };
        let slots = jobs.into_iter().map(slot).collect();
        let mut team = Self { program: program.to_path_buf(), group, slots, supervised: true, fell: 0 };
        team.tick(now)?;
        Ok(team)
    }

    /// Wakes who has been frozen long enough, notices who has ended, starts who is to be back.
    pub fn tick(&mut self, now: Instant) -> Result<()> {
        for slot in &mut self.slots {
            if matches!(slot.state, State::Frozen { until } if until <= now) {
                slot.wake(now)?;
            }
            if slot.has_ended()? {
                let expected = slot.state == State::Ending || slot.job.repeat.is_some();
                self.fell += u64::from(!expected && self.supervised);
                let pause =
                    if slot.state == State::Ending { slot.pause } else { slot.job.repeat.unwrap_or(slot.pause) };
                slot.state = if self.supervised { State::Down { until: now + pause } } else { State::Done };
                slot.pause = AFTER_A_FALL;
            }
            match slot.state {
                State::Down { .. } if !self.supervised => slot.state = State::Done,
                State::Down { until } if until <= now => slot.spawn(&self.program, self.group, now)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The process id, where there is one that runs or is frozen.
    pub fn pid(&self, index: usize) -> Option<u32> {
        let slot = self.slots.get(index)?;
        let there = matches!(slot.state, State::Running { .. } | State::Frozen { .. });
        slot.child.as_ref().filter(|_| there).map(Child::id)
    }

    pub fn is_frozen(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(|slot| matches!(slot.state, State::Frozen { .. }))
    }

    /// Its process was sent what ends it.
    pub fn is_ending(&mut self, index: usize, pause: Duration) {
        if let Some(slot) = self.slots.get_mut(index) {
            (slot.state, slot.pause) = (State::Ending, pause);
        }
    }

    /// Its process was stopped.
    pub fn is_stopped(&mut self, index: usize, until: Instant) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state = State::Frozen { until };
        }
    }

    /// Wakes all that are frozen.
    pub fn wake(&mut self, now: Instant) -> Result<()> {
        self.slots
            .iter_mut()
            .filter(|slot| matches!(slot.state, State::Frozen { .. }))
            .try_for_each(|slot| slot.wake(now))
    }

    /// From now on nobody is started again. Who is away is started once more, if `once_more`.
    pub fn dismiss(&mut self, once_more: bool, now: Instant) -> Result<()> {
        for slot in &mut self.slots {
            if once_more && matches!(slot.state, State::Down { .. }) {
                slot.spawn(&self.program, self.group, now)?;
            }
        }
        self.supervised = false;
        Ok(())
    }

    /// Tells all that run to end.
    pub fn terminate(&mut self) -> Result<()> {
        let pids: Vec<u32> = (0..self.slots.len()).filter_map(|index| self.pid(index)).collect();
        signal("TERM", &pids)?;
        for slot in self.slots.iter_mut().filter(|slot| slot.child.is_some()) {
            slot.state = State::Ending;
        }
        Ok(())
    }

    pub fn is_done(&self) -> bool {
        self.slots.iter().all(|slot| slot.child.is_none())
    }

    pub fn shown(&self) -> Vec<Shown> {
        let shown = |slot: &Slot| Shown {
            name: slot.job.name.clone(),
            pid: slot.child.as_ref().map(Child::id),
            state: slot.state,
        };
        self.slots.iter().map(shown).collect()
    }
}

impl Slot {
    fn spawn(&mut self, program: &Path, group: Group, now: Instant) -> Result<()> {
        let spawned = spawn(program, group, &self.job.arguments, &self.job.log);
        self.child = Some(spawned?);
        self.state = State::Running { since: now };
        Ok(())
    }

    fn has_ended(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else { return Ok(false) };
        let ended =
            child.try_wait().map_err(|error| Error::internal("a process can't be waited for").caused_by(error))?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended.is_some())
    }

    fn wake(&mut self, now: Instant) -> Result<()> {
        let pids: Vec<u32> = self.child.iter().map(Child::id).collect();
        self.state = State::Running { since: now };
        signal("CONT", &pids)
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for child in self.slots.iter_mut().filter_map(|slot| slot.child.as_mut()) {
            // SIGKILL reaches a frozen process too. It fails where the process has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What it prints goes to the end of `log`.
fn spawn(program: &Path, group: Group, arguments: &[String], log: &Path) -> Result<Child> {
    let spawned = File::options().create(true).append(true).open(log).and_then(|log| {
        let mut command = Command::new(program);
        command.args(arguments).process_group(group.0).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).spawn()
    });
    spawned.map_err(|error| Error::internal(format!("{} does not start", program.display())).caused_by(error))
}

/// Sends the signal to all of them at once. One that has ended by now is no error.
pub fn signal(name: &str, pids: &[u32]) -> Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    let numbers: Vec<String> = pids.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {}", numbers.join(" "));
    let mut shell = Command::new("sh");
    let sent = shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    sent.map(|_| ()).map_err(no_shell)
}

/// Runs to its end, on a team of one.
pub fn once(program: &Path, group: Group, name: &str, arguments: &[String], log: &Path) -> Result<Team> {
    let job = Job { name: name.to_owned(), arguments: arguments.to_vec(), log: log.to_path_buf(), repeat: None };
    let mut team = Team::start(program, group, vec![job])?;
    team.supervised = false;
    Ok(team)
}

/// A shell that waits for the end of this process, whatever that is, and then kills its own process group: all that were
/// started into it, and itself.
pub struct Undertaker {
    shell: Child,
    /// Closed by the end of this process.
    ear: Option<ChildStdin>,
}

/// A group without a parent is sent SIGHUP if some of it are frozen; that must not end the shell before the others.
const UNDERTAKER: &str = "trap '' HUP; read -r line; kill -KILL 0";

impl Undertaker {
    pub fn hire() -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", UNDERTAKER]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn().map_err(no_shell)?;
        let ear = shell.stdin.take();
        Ok(Self { shell, ear })
    }

    /// The process group to start others into.
    pub fn group(&self) -> Group {
        Group(i32::try_from(self.shell.id()).unwrap_or_default())
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.ear = None;
        let _ = self.shell.wait();
    }
}

fn no_shell(error: std::io::Error) -> Error {
    Error::config("`sh` does not start, which the demo sends signals with").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(log: &Path) -> Job {
        let name = "sleeper".to_owned();
        Job { name, arguments: vec!["60".to_owned()], log: log.to_path_buf(), repeat: None }
    }

    fn is_alive(pid: u32) -> bool {
        let status = Command::new("sh").args(["-c", &format!("kill -0 {pid}")]).stderr(Stdio::null()).status();
        status.unwrap().success()
    }

    fn wait_until(mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn who_is_killed_comes_back_and_nobody_outlives_the_team() {
        let temp = tempfile::tempdir().unwrap();
        let undertaker = Undertaker::hire().unwrap();
        let mut team =
            Team::start(Path::new("sleep"), undertaker.group(), vec![sleeper(&temp.path().join("log"))]).unwrap();
        let first = team.pid(0).unwrap();
        signal("KILL", &[first]).unwrap();
        team.is_ending(0, Duration::ZERO);
        wait_until(|| {
            team.tick(Instant::now()).unwrap();
            team.pid(0).is_some_and(|pid| pid != first)
        });
        assert_eq!(team.fell, 0, "it was told to");
        let second = team.pid(0).unwrap();
        signal("STOP", &[second]).unwrap();
        team.is_stopped(0, Instant::now() + Duration::from_secs(60));
        assert!(team.is_frozen(0) && is_alive(second));
        drop(team);
        assert!(!is_alive(second), "a frozen one is killed too");
    }

    #[test]
    fn the_undertaker_ends_who_is_left_also_the_frozen() {
        let temp = tempfile::tempdir().unwrap();
        let undertaker = Undertaker::hire().unwrap();
        let job = sleeper(&temp.path().join("log"));
        let [mut one, mut other] =
            [(), ()].map(|()| spawn(Path::new("sleep"), undertaker.group(), &job.arguments, &job.log).unwrap());
        signal("STOP", &[other.id()]).unwrap();
        // What the end of the demo does: its pipe is closed.
        drop(undertaker);
        assert!(!one.wait().unwrap().success() && !other.wait().unwrap().success());
    }
}
