//! What one run costs: wall time, CPU of the client processes and of the server, peak memory of the clients.
//!
//! From `/proc`, see proc(5): `cutime` and `cstime` of this process are the CPU of the children it has waited for, exact
//! to a clock tick; a server's CPU is its own `utime` and `stime`; peak memory is the largest `VmHWM` that was seen.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Clock ticks a second. 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub wall: f64,
    /// CPU seconds.
    pub client: f64,
    pub server: f64,
    /// Bytes, of all processes that ran at once.
    pub memory: u64,
}

/// Runs the stages one after the other, the commands of a stage side by side, each to its end.
pub fn measure(server: u32, stages: Vec<Vec<Command>>) -> Cost {
    let (clients_before, server_before, begun) = (children_cpu(), cpu(server), Instant::now());
    let mut memory = 0;
    for stage in stages {
        let children: Vec<Child> = stage.into_iter().map(|mut command| command.spawn().unwrap()).collect();
        memory = memory.max(wait(children));
    }
    let wall = begun.elapsed().as_secs_f64();
    Cost { wall, client: children_cpu() - clients_before, server: cpu(server) - server_before, memory }
}

/// Waits for all; the sum of their peaks.
fn wait(mut children: Vec<Child>) -> u64 {
    let mut peaks = vec![0; children.len()];
    let mut running = true;
    while running {
        running = false;
        for (child, peak) in children.iter_mut().zip(&mut peaks) {
            *peak = (*peak).max(peak_memory(child.id()));
            match child.try_wait().unwrap() {
                None => running = true,
                Some(status) => assert!(status.success(), "a contender failed: {status}"),
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    peaks.iter().sum()
}

fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn cpu(pid: u32) -> f64 {
    ticks(&pid.to_string(), 11)
}

fn children_cpu() -> f64 {
    ticks("self", 13)
}

/// Two fields of `/proc/PID/stat` together, counted behind the name, which may hold anything.
fn ticks(pid: &str, field: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<f64> = behind_name.split_whitespace().skip(field).take(2).map(|f| f.parse().unwrap()).collect();
    (fields[0] + fields[1]) / TICKS
}
