//! The processes under attack: scanners and workers of the real binary, started again whenever they end, and frozen for
//! a time where the attack says so.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::site::Site;

/// Exit codes that are no failure of the program: done, a job failed, something is out of reach, told to stop.
const CODES: [i32; 4] = [0, 3, 4, 143];
const NOT_SET_UP: i32 = 2;
/// Between the end of a process and the next one in its place, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..1200;
/// Every so many starts one has a clock that is a day off.
const CLOCK_EVERY: f64 = 0.12;
/// Where Debian puts it on this machine's architecture.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

pub struct Actor {
    pub name: String,
    arguments: Vec<String>,
    child: Option<Child>,
    /// When it is to be started again.
    start_at: Instant,
    thaw_at: Option<Instant>,
    /// A signal was sent that ends it.
    is_told: bool,
}

/// How the clock of a process is put a day off, where that can be done.
pub fn faketime() -> Option<String> {
    let library = format!("/usr/lib/{}-linux-gnu/{FAKETIME}", std::env::consts::ARCH);
    std::path::Path::new(&library).is_file().then_some(library)
}

/// N workers and two scanners, one of which loads too.
pub fn cast(workers: usize) -> Vec<Actor> {
    let run = ["-vv", "run", "--workers", "2"];
    let etl = ["-vv", "etl", "--workers", "2"];
    let worker = |number: usize| (format!("worker-{number}"), if number == 1 { &run[..] } else { &etl[..] });
    let scanners = [("scanner-1".to_owned(), &["-vv", "scan"][..]), ("scanner-2".to_owned(), &run[..])];
    (1..=workers).map(worker).chain(scanners).map(|(name, arguments)| Actor::new(name, arguments)).collect()
}

impl Actor {
    fn new(name: String, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { name, arguments, child: None, start_at: Instant::now(), thaw_at: None, is_told: false }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn is_frozen(&self) -> bool {
        self.thaw_at.is_some()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some() && !self.is_frozen()
    }

    /// Starts it where it is time to; `true` where its clock is off.
    pub fn start_if_due(&mut self, site: &Site, random: &mut ChaCha8Rng, since: f64, faketime: Option<&str>) -> bool {
        if self.child.is_some() || Instant::now() < self.start_at {
            return false;
        }
        let mut variables = Vec::new();
        let faketime = faketime.filter(|_| random.random_bool(CLOCK_EVERY));
        if let Some(library) = faketime {
            let day = if random.random_bool(0.5) { "+1d" } else { "-1d" };
            // Timers go on as they should; only what a process believes to be the time is off.
            variables = [("LD_PRELOAD", library), ("FAKETIME", day), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
        }
        let mut arguments = self.arguments.clone();
        if self.arguments.last().is_some_and(|last| last == "scan") && random.random_bool(0.2) {
            arguments.push("--full".to_owned());
        }
        self.child = Some(site.start(&self.name, &arguments, &variables, since));
        self.is_told = false;
        faketime.is_some()
    }

    /// Notices its end. A sentence where it ended as it never should. Without its tables it may say that they are not
    /// set up.
    pub fn look(&mut self, random: &mut ChaCha8Rng, may_lack_tables: bool) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        let pid = self.child.take().map(|child| child.id());
        self.thaw_at = None;
        self.start_at = Instant::now() + Duration::from_millis(random.random_range(PAUSE));
        let is_fine = |code| CODES.contains(&code) || (may_lack_tables && code == NOT_SET_UP);
        let fine = status.code().map_or(self.is_told, is_fine);
        (!fine).then(|| format!("{}, process {pid:?}, `{}`: {status}", self.name, self.arguments.join(" ")))
    }

    pub fn thaw_if_due(&mut self) {
        if self.thaw_at.is_some_and(|at| Instant::now() >= at) {
            self.thaw();
        }
    }

    pub fn freeze(&mut self, time: Duration) {
        self.signal("STOP");
        self.thaw_at = Some(Instant::now() + time);
    }

    pub fn thaw(&mut self) {
        self.signal("CONT");
        self.thaw_at = None;
    }

    pub fn terminate(&mut self) {
        self.is_told = true;
        self.signal("TERM");
    }

    /// As `kill -9` does; frozen or not.
    pub fn kill(&mut self) {
        self.is_told = true;
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
        }
    }

    pub fn end(&mut self) {
        self.kill();
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            // It may have ended a moment ago; it is not reaped yet, so that the number is still its own.
            let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.end();
    }
}
