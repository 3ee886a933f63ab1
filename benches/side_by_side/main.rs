//! loadline beside the database's own bulk loader, on the same rows and the same server: `cargo bench --bench side_by_side`.
//!
//! Starts a MariaDB of its own and an S3 server in this process, makes seeded files, and lets every contender load them in
//! turn, round after round, so that a noisy minute hits all alike. A run is the whole of what a person would type, process
//! start included: `scan` and `etl`; `LOAD DATA LOCAL INFILE` by the vendor's client. After each run the sums of the table
//! are held against the files. Printed are medians, and ratios to `LOAD DATA` at the same number of connections.
//!
//! On a machine that others use, CPU seconds say more than wall time, and ratios more than either.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that can't go on should stop where it is")]

mod contender;
mod data;
mod measure;
mod report;

// The servers that the tests start.
#[path = "../../tests/it/read_back.rs"]
mod read_back;
#[allow(dead_code, reason = "the tests use more of it")]
mod s3;
#[path = "../../tests/it/servers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod servers;
#[path = "../../tests/it/skip.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod skip;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use loadline::demo::HEADER;

use contender::Contender;
use data::Data;
use report::Rounds;
use s3::server::S3Server;
use servers::{Kind, Server};

/// The header under which tools that make the table themselves find its columns.
const PLAIN_HEADER: &str = "id,serious_dlqin_2_yrs,revolving_utilization_of_unsecured_lines,age,\
    number_of_time_30_59_days_past_due_not_worse,debt_ratio,monthly_income,number_of_open_credit_lines_and_loans,\
    number_of_times_90_days_late,number_real_estate_loans_or_lines,number_of_time_60_89_days_past_due_not_worse,\
    number_of_dependents\n";
/// With room for the table, as on a server that is meant for loading; commits are synced.
const SERVER_OPTIONS: [&str; 4] =
    ["--local-infile=ON", "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--skip-log-bin"];

/// Loads the same rows with loadline and with others, in turn.
#[derive(Debug, Parser)]
struct Args {
    /// Records in all
    #[arg(long, default_value_t = 600_000)]
    rows: u64,

    /// Files that they are dealt over
    #[arg(long, default_value_t = 8)]
    files: u64,

    /// Records of the one file for tools of a tenth of the speed
    #[arg(long, default_value_t = 60_000)]
    slow_rows: u64,

    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Only contenders whose name holds this
    #[arg(long, default_value = "")]
    only: String,

    /// A Python that may have pandas, SQLAlchemy and PyMySQL
    #[arg(long, default_value = "python3")]
    python: PathBuf,

    /// sling's own binary
    #[arg(long, default_value = "sling")]
    sling: PathBuf,

    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

pub struct Bench {
    args: Args,
    server: Server,
    s3: S3Server,
    full: Data,
    small: Data,
}

fn main() {
    let args = Args::parse();
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(Kind::MariaDb, &SERVER_OPTIONS) else { return };
    let full = Data::make(&folder.path().join("full"), HEADER, args.rows, args.files);
    let small = Data::make(&folder.path().join("small"), PLAIN_HEADER, args.slow_rows, 1);
    let s3 = S3Server::start();
    for (second, (key, path)) in (0..).zip(full.keys.iter().zip(full.paths())) {
        s3.bucket.put(key, std::fs::read(path).unwrap(), second);
    }
    let (rows, files, mib) = (full.truth.rows, full.keys.len(), full.bytes as f64 / 1048576.0);
    println!("{rows} records in {files} files, {mib:.1} MiB; rounds: {}", args.rounds);
    let bench = Bench { args, server, s3, full, small };
    report::print(&bench.run(folder.path()));
}

impl Bench {
    fn run(&self, folder: &Path) -> Vec<Rounds> {
        let connections = [1, 2, 4];
        let mut contenders: Vec<Contender> = Vec::new();
        for connections in connections {
            contenders.push(Contender::LoadData { connections });
            contenders.push(Contender::Folder { connections });
            contenders.push(Contender::S3 { connections });
        }
        contenders.extend([Contender::Pandas, Contender::Sling]);
        contenders.retain(|contender| contender.name().contains(&self.args.only) && contender.is_installed(self));

        let rounds = |contender: &Contender| {
            let rows = self.data(*contender).truth.rows;
            Rounds { name: contender.name(), against: contender.against(), rows, costs: Vec::new() }
        };
        let mut all: Vec<Rounds> = contenders.iter().map(rounds).collect();
        for round in 1..=self.args.rounds {
            for (contender, rounds) in contenders.iter().zip(&mut all) {
                let folder = folder.join("run");
                contender.prepare(self, &folder);
                let cost = measure::measure(self.server.pid().unwrap(), contender.stages(self, &folder));
                contender.check(self);
                eprintln!("round {round}: {}: {:.2} s", rounds.name, cost.wall);
                rounds.costs.push(cost);
                let _ = std::fs::remove_dir_all(&folder);
            }
        }
        all
    }

    /// What the contender loads.
    fn data(&self, contender: Contender) -> &Data {
        if contender.is_slow() { &self.small } else { &self.full }
    }

    /// `mysql://` of a database of the server.
    fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.server.port())
    }

    fn loadline(&self, folder: &Path, command: &str) -> Command {
        let mut loadline = Command::new(env!("CARGO_BIN_EXE_loadline"));
        loadline.args(["-q", command]).current_dir(folder).stdin(Stdio::null());
        loadline.envs(self.s3.variables());
        loadline
    }

    /// The vendor's client, running a script.
    fn client(&self, script: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-uroot", "--local-infile=1", "-N", "-B"]);
        client.arg(format!("-P{}", self.server.port())).args(["-e", script]).stdin(Stdio::null());
        client
    }

    fn sql(&self, script: &str) {
        self.ask(script);
    }

    fn ask(&self, script: &str) -> String {
        let output = self.client(script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
