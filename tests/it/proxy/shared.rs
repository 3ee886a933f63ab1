//! What the connections of one proxy have in common: the target, the faults that wait, and the counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Fault, Kind, LostCommit, Towards, serve};

pub struct Shared {
    pub is_mysql: bool,
    target: Mutex<SocketAddr>,
    armed: Mutex<Armed>,
    weather: watch::Sender<Weather>,
    open: Mutex<Open>,
    counts: Mutex<BTreeMap<Kind, usize>>,
}

/// Faults that wait. Those handed out before a heal are of an older generation, and void.
#[derive(Default)]
struct Armed {
    faults: Vec<Fault>,
    generation: u64,
}

/// What holds for every chunk. Each spell is counted once, when it first holds something.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    is_hole: bool,
    hole_counted: bool,
    delay: Duration,
    delay_counted: bool,
}

#[derive(Default)]
struct Open {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
}

/// A cut that one connection has drawn. It waits again for another one where this one ends before.
pub struct Cut {
    shared: Arc<Shared>,
    towards: Towards,
    generation: u64,
    left: usize,
    happened: bool,
}

impl Shared {
    pub fn new(target: SocketAddr, is_mysql: bool) -> Self {
        Self {
            is_mysql,
            target: Mutex::new(target),
            armed: Mutex::default(),
            weather: watch::Sender::default(),
            open: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Serves a client in a task of its own.
    pub fn serve(this: &Arc<Self>, client: TcpStream) {
        let mut open = this.open.lock().unwrap();
        let number = open.next;
        open.next += 1;
        let shared = this.clone();
        // It can't end before it stands in the list, which is locked.
        let task = tokio::spawn(async move {
            // An error is the end of the connection.
            let _ = serve(client, shared.clone()).await;
            shared.open.lock().unwrap().tasks.remove(&number);
        });
        open.tasks.insert(number, task.abort_handle());
    }

    pub fn drop_connections(&self) -> usize {
        let tasks = std::mem::take(&mut self.open.lock().unwrap().tasks);
        tasks.values().for_each(AbortHandle::abort);
        tasks.len()
    }

    pub fn connections(&self) -> usize {
        self.open.lock().unwrap().tasks.len()
    }

    pub fn target(&self) -> SocketAddr {
        *self.target.lock().unwrap()
    }

    pub fn retarget(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    pub fn arm(&self, fault: Fault) {
        self.armed.lock().unwrap().faults.push(fault);
    }

    pub fn black_hole(&self, is_hole: bool) {
        self.weather.send_modify(|weather| (weather.is_hole, weather.hole_counted) = (is_hole, false));
    }

    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| (weather.delay, weather.delay_counted) = (delay, false));
    }

    pub fn heal(&self) {
        let mut armed = self.armed.lock().unwrap();
        armed.faults.clear();
        armed.generation += 1;
        drop(armed);
        self.weather.send_replace(Weather::default());
    }

    /// Waits as long as the weather says.
    pub async fn pass(&self) {
        let mut changes = self.weather.subscribe();
        loop {
            let weather = *changes.borrow_and_update();
            if weather.is_hole {
                self.count_spell(Kind::BlackHole, |weather| &mut weather.hole_counted);
                let _ = changes.changed().await;
            } else if weather.delay > Duration::ZERO {
                self.count_spell(Kind::Delay, |weather| &mut weather.delay_counted);
                return tokio::time::sleep(weather.delay).await;
            } else {
                return;
            }
        }
    }

    fn count_spell(&self, kind: Kind, counted: impl Fn(&mut Weather) -> &mut bool) {
        let is_first = self.weather.send_if_modified(|weather| !std::mem::replace(counted(weather), true));
        self.count(kind, usize::from(is_first));
    }

    /// The cut that waits for bytes in this direction, if any.
    pub fn draw_cut(this: &Arc<Self>, towards: Towards) -> Option<Cut> {
        let mut armed = this.armed.lock().unwrap();
        let found = armed.faults.iter().enumerate().find_map(|(at, fault)| match fault {
            Fault::CutAfter(direction, bytes) if *direction == towards => Some((at, *bytes)),
            _ => None,
        });
        let (at, left) = found?;
        armed.faults.remove(at);
        Some(Cut { shared: this.clone(), towards, generation: armed.generation, left, happened: false })
    }

    /// What waits for a COMMIT, if anything.
    pub fn draw_commit(&self) -> Option<LostCommit> {
        let mut armed = self.armed.lock().unwrap();
        let at = armed.faults.iter().position(|fault| matches!(fault, Fault::Commit(_)))?;
        match armed.faults.remove(at) {
            Fault::Commit(lost) => Some(lost),
            Fault::CutAfter(..) => None,
        }
    }

    pub fn count(&self, kind: Kind, more: usize) {
        *self.counts.lock().unwrap().entry(kind).or_default() += more;
    }

    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        self.counts.lock().unwrap().clone()
    }
}

impl Cut {
    /// Of so many bytes, how many still go through before the connection ends; `None`: all, and it goes on.
    pub fn after(&mut self, bytes: usize) -> Option<usize> {
        if self.is_void() {
            return None;
        }
        if bytes < self.left {
            self.left -= bytes;
            return None;
        }
        self.happened = true;
        self.shared.count(if self.towards == Towards::Server { Kind::HalfSent } else { Kind::HalfAnswered }, 1);
        Some(self.left)
    }

    fn is_void(&self) -> bool {
        self.shared.armed.lock().unwrap().generation != self.generation
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if !self.happened && !self.is_void() {
            self.shared.arm(Fault::CutAfter(self.towards, self.left));
        }
    }
}
