//! A person at the keyboard: sets up again, upgrades older databases, unloads jobs, retries, releases files from
//! quarantine; and is cut off half way, more often than not.

use std::process::Child;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::faults::Counts;
use super::site::{Databases, SIDE_CONFIG, Site};
use crate::e2e::project::Db;

/// How long a command that is not killed may take before the attack goes on without it.
const LONGEST: Duration = Duration::from_secs(40);
const KILLED: f64 = 0.65;
/// Into a command, in milliseconds.
const MOMENT: std::ops::Range<u64> = 5..700;

#[derive(Default)]
pub struct Operator {
    running: Option<Running>,
    /// Jobs were unloaded and not let in again.
    owes_retry: bool,
    /// The metadata was lost: nothing goes on before it is set up again.
    pub owes_setup: bool,
}

struct Running {
    child: Child,
    /// What it counts as where it is killed.
    name: &'static str,
    kill_at: Option<Instant>,
    end_at: Instant,
    /// It sets up what was lost: one that began before has set up what is gone now.
    sets_up_again: bool,
}

impl Operator {
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Begins something.
    pub fn act(&mut self, site: &Site, random: &mut ChaCha8Rng, since: f64) {
        if self.is_busy() {
            return;
        }
        let sets_up_again = self.owes_setup;
        let (name, arguments) = match random.random_range(0..10) {
            _ if sets_up_again => ("setup killed", vec!["setup".to_owned()]),
            0..2 => ("setup killed", vec!["setup".to_owned()]),
            2..4 if !site.is_sqlite() => {
                age(site, random);
                ("migration killed", ["-c", SIDE_CONFIG, "setup"].map(str::to_owned).to_vec())
            }
            4..7 if !self.owes_retry => {
                let Some(job) = some_loaded_job(site) else { return };
                self.owes_retry = true;
                ("unload killed", ["unload", "--job", &job, "--yes"].map(str::to_owned).to_vec())
            }
            4..7 => {
                self.owes_retry = false;
                ("retry killed", ["retry", "--unloaded"].map(str::to_owned).to_vec())
            }
            7..9 => ("retry killed", ["retry", "--failed"].map(str::to_owned).to_vec()),
            _ => ("release from quarantine killed", ["retry", "--quarantined"].map(str::to_owned).to_vec()),
        };
        let moment = Duration::from_millis(random.random_range(MOMENT));
        let kill_at = random.random_bool(KILLED).then(|| Instant::now() + moment);
        let child = site.start("operator", &arguments, &[], since);
        self.running = Some(Running { child, name, kill_at, end_at: Instant::now() + LONGEST, sets_up_again });
    }

    /// Kills what is to be killed now, and notices ends. A sentence where one ended as it never should.
    pub fn look(&mut self, counts: &mut Counts) -> Option<String> {
        let running = self.running.as_mut()?;
        let now = Instant::now();
        if let Some(status) = running.child.try_wait().unwrap() {
            let name = running.name;
            self.owes_setup &= !(running.sets_up_again && status.success());
            self.running = None;
            // 2: a retry of what is not to be retried any more, beside workers.
            let fine = status.code().is_some_and(|code| matches!(code, 0 | 2 | 4));
            return (!fine).then(|| format!("operator ({name}): {status}"));
        }
        if running.kill_at.is_some_and(|at| now >= at) || now >= running.end_at {
            if running.kill_at.is_some() {
                counts.add(running.name, 1);
            }
            self.end();
        }
        None
    }

    pub fn end(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.end();
    }
}

fn some_loaded_job(site: &Site) -> Option<String> {
    let random = if site.is_sqlite() { "random()" } else { "rand()" };
    let sql = format!("SELECT id FROM scanner_jobs WHERE status = 'LOADED' ORDER BY {random} LIMIT 1");
    Some(site.try_rows(Db::Metadata, &sql)?.first()?[0].clone())
}

/// Makes the side databases those of an older version, as far as they are there; or takes them away.
fn age(site: &Site, random: &mut ChaCha8Rng) {
    let Databases::Servers { side, .. } = &site.databases else { return };
    let [metadata, reporting] = side;
    let statements: &[(&_, &str)] = match random.random_range(0..3) {
        0 => &[
            (reporting, "UPDATE loadline_schema SET version = 2"),
            (reporting, "ALTER TABLE loadline_files DROP COLUMN unloaded_time"),
        ],
        1 => &[
            (metadata, "UPDATE loadline_schema SET version = 3"),
            (metadata, "ALTER TABLE scanner_jobs DROP COLUMN expiries"),
            (metadata, "ALTER TABLE scanner_feeds DROP COLUMN last_scan"),
        ],
        _ => &[
            (metadata, "DROP TABLE IF EXISTS loadline_schema, scanner_jobs, scanner_files, scanner_feeds"),
            (reporting, "DROP TABLE IF EXISTS loadline_schema, loadline_files, loadline_rejects, events"),
        ],
    };
    for (database, sql) in statements {
        // A column that is not there, or a server that is down: then it is as old as it is.
        let _ = database.try_rows(sql);
    }
}
