//! A server process under a shell that waits for the test process to end.
//!
//! The shell holds the reading end of a pipe whose writing end only the test process has. However that ends, also by
//! SIGKILL, the pipe closes, and the shell kills the server and removes its folder.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

pub const SOCKET: &str = "s.sock";
const LOG: &str = "log";
/// Generous: a server that recovers on a busy machine takes its time.
const START_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// `sh -c WATCH sh FOLDER SERVER ARGUMENTS...`
const WATCH: &str = r#"
folder=$1; shift
"$@" >> "$folder/log" 2>&1 < /dev/null &
echo $!
read -r word
kill -9 $!
wait $!
[ "$word" = keep ] || rm -rf -- "$folder"
"#;

pub struct Process {
    shell: Child,
    pipe: ChildStdin,
    pid: u32,
}

impl Process {
    fn spawn(command: &[String], folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCH, "sh"]).arg(folder).args(command).stdin(Stdio::piped()).stdout(Stdio::piped());
        // In a group of its own, so that Ctrl-C ends the tests first.
        let mut shell = shell.stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let (pipe, stdout) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let mut pid = String::new();
        BufReader::new(stdout).read_line(&mut pid).unwrap();
        Self { shell, pipe, pid: pid.trim().parse().unwrap() }
    }

    /// Runs a command that makes the folder ready, to its end; whether it went well.
    pub fn prepare(command: &[String], folder: &Path) -> bool {
        let ready = folder.join("ready");
        let marked = ["sh", "-c", r#""$@" && : > "$0""#, ready.to_str().unwrap()].map(str::to_owned);
        let process = Self::spawn(&[&marked, command].concat(), folder);
        while !process.has_ended() {
            std::thread::sleep(POLL);
        }
        process.kill();
        ready.exists()
    }

    /// Starts a server and waits until it answers on its socket; `None`, and nothing is left running, where it ends
    /// before.
    pub fn start(command: &[String], folder: &Path) -> Option<Self> {
        let socket = folder.join(SOCKET);
        // Left behind by a killed server, and no sign of the new one.
        let _ = std::fs::remove_file(&socket);
        let process = Self::spawn(command, folder);
        let deadline = Instant::now() + START_MAX;
        while UnixStream::connect(&socket).is_err() {
            if process.has_ended() || Instant::now() > deadline {
                process.kill();
                return None;
            }
            std::thread::sleep(POLL);
        }
        Some(process)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| stat.contains(") Z ")) || !Path::new(&format!("/proc/{}", self.pid)).exists()
    }

    /// `kill -9`, and the folder stays.
    pub fn kill(mut self) {
        self.pipe.write_all(b"keep\n").unwrap();
        self.shell.wait().unwrap();
    }

    /// `kill -9`, and the folder goes.
    pub fn end(mut self) {
        drop(self.pipe);
        self.shell.wait().unwrap();
    }
}

/// Why it did not start.
pub fn end_of_log(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
