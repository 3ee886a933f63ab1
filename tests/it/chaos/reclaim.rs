//! How long the jobs of a killed worker wait for the next claim, seen in the metadata past the proxy.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::site::Site;
use crate::e2e::project::Db;

const LOOK_EVERY: Duration = Duration::from_millis(60);

/// A job whose worker was killed while it held it.
struct Waiting {
    job: String,
    token: String,
    since: Instant,
    storms: u64,
}

/// A wait that ended.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub seconds: f64,
    /// No server was killed and no black hole opened meanwhile.
    pub is_calm: bool,
}

#[derive(Default)]
pub struct Reclaims {
    waiting: Mutex<Vec<Waiting>>,
    samples: Mutex<Vec<Sample>>,
    /// Counted up when something begins or ends that keeps everybody from the metadata.
    pub storms: AtomicU64,
    is_over: AtomicBool,
}

impl Reclaims {
    /// The jobs that a process holds now, to be told to [`Reclaims::killed`].
    pub fn held_by(site: &Site, pid: u32) -> Vec<(String, String)> {
        let sql = format!(
            "SELECT id, claim_token FROM scanner_jobs WHERE status = 'PROCESSING' AND lease_owner LIKE '%/{pid}-%'"
        );
        let rows = site.try_rows(Db::Metadata, &sql).unwrap_or_default();
        rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    }

    pub fn killed(&self, held: Vec<(String, String)>) {
        let (since, storms) = (Instant::now(), self.storms.load(Ordering::SeqCst));
        let waiting = held.into_iter().map(|(job, token)| Waiting { job, token, since, storms });
        self.waiting.lock().unwrap().extend(waiting);
    }

    /// The jobs are gone, and others will have their numbers.
    pub fn forget(&self) {
        self.waiting.lock().unwrap().clear();
    }

    /// Looks at the waiting ones until it is over.
    pub fn watch(&self, site: &Site) {
        while !self.is_over.load(Ordering::SeqCst) {
            self.look(site);
            thread::sleep(LOOK_EVERY);
        }
    }

    fn look(&self, site: &Site) {
        let jobs: Vec<String> = self.waiting.lock().unwrap().iter().map(|waiting| waiting.job.clone()).collect();
        if jobs.is_empty() {
            return;
        }
        let sql = format!("SELECT id, status, claim_token FROM scanner_jobs WHERE id IN ({})", jobs.join(", "));
        let Some(rows) = site.try_rows(Db::Metadata, &sql) else { return };
        self.waiting.lock().unwrap().retain(|waiting| {
            let row = rows.iter().find(|row| row[0] == waiting.job);
            // Told to be over by its owner's last breath, or by somebody who was quicker than this look.
            let Some(row) = row.filter(|row| row[1] == "PROCESSING" || row[1] == "SENT_FOR_ETL") else { return false };
            let is_claimed = row[1] == "PROCESSING" && row[2] != waiting.token;
            if is_claimed {
                let is_calm = self.storms.load(Ordering::SeqCst) == waiting.storms;
                let sample = Sample { seconds: waiting.since.elapsed().as_secs_f64(), is_calm };
                self.samples.lock().unwrap().push(sample);
            }
            !is_claimed
        });
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap().clone()
    }
}
