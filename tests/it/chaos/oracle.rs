//! Whether every record of the source is where it belongs, once everything has been drained.
//!
//! ```text
//! every valid id of a file's loaded version   once in the table, and no other id; of a rotten version none
//! every bad id of it                          once in the rejects, and no other
//! the loaded version                          the newest; or, unless they replace it, an older one that is QUARANTINED
//! the ledger, file by file                    complete; its sums are those of the tables
//! the registry                                knows every file, with the ledger's sums
//! jobs                                        none waits, none is at work, none failed
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::site::Site;
use super::world::{PlannedFile, World};
use crate::e2e::project::Db;

/// Violations that are named; the others are counted only.
const NAMED: usize = 25;

#[derive(Debug, Default)]
pub struct Verdict {
    pub lost: u64,
    pub doubled: u64,
    /// Files of which a part is there, or parts of two versions.
    pub partial: u64,
    /// Rows or rejects whose id is in no file.
    pub foreign: u64,
    pub rejects_lost: u64,
    pub rejects_doubled: u64,
    /// Sums, states and jobs that are not what they should be.
    pub wrong: u64,
    pub named: Vec<String>,
}

/// What stands of one file in the tables: how often each id.
#[derive(Default)]
struct Standing {
    rows: BTreeMap<u64, u64>,
    rejects: BTreeMap<u64, u64>,
    ledger: Vec<Ledger>,
}

#[derive(Clone)]
struct Ledger {
    number: String,
    records_done: u64,
    rows: u64,
    rejects: u64,
    complete: bool,
    unloaded: bool,
}

struct Registered {
    state: String,
    was_loaded: bool,
    rows: String,
    rejects: String,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        let all =
            [self.lost, self.doubled, self.partial, self.foreign, self.rejects_lost, self.rejects_doubled, self.wrong];
        all.iter().all(|count| *count == 0)
    }

    fn name(&mut self, what: String) {
        if self.named.len() < NAMED {
            self.named.push(what);
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong += 1;
        self.name(what);
    }
}

/// Looks at everything.
pub fn judge(site: &Site, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    let mut standing = standing(site, &mut verdict);
    let registry = registry(site);
    for file in &world.files {
        let stands = standing.remove(&file.key).unwrap_or_default();
        judge_file(file, &stands, registry.get(&file.key), site.reloads, &mut verdict);
    }
    for (key, stands) in standing {
        verdict.foreign += stands.rows.len() as u64 + stands.rejects.len() as u64;
        verdict.wrong(format!("{key}: in the ledger, and never at the source"));
    }
    let planned: BTreeSet<&String> = world.files.iter().map(|file| &file.key).collect();
    for key in registry.keys().filter(|key| !planned.contains(key)) {
        verdict.wrong(format!("{key}: in the registry, and never at the source"));
    }
    judge_jobs(site, &mut verdict);
    verdict
}

/// Ids that are in the table more than once, whatever else is wrong. For a look in the middle of a run.
pub fn doubled_now(site: &Site) -> Option<u64> {
    let sql = "SELECT count(*) FROM (SELECT id FROM events GROUP BY id HAVING count(*) > 1) AS doubled";
    site.try_rows(Db::Reporting, sql)?[0][0].parse().ok()
}

fn standing(site: &Site, verdict: &mut Verdict) -> BTreeMap<String, Standing> {
    let sql = "SELECT file, CAST(`key` AS CHAR), records_done, `rows`, rejects, complete, unloaded_time IS NOT NULL \
               FROM loadline_files";
    let (mut files, mut keys) = (BTreeMap::<String, Standing>::new(), BTreeMap::new());
    for row in site.rows(Db::Reporting, sql) {
        let number = |at: usize| row[at].parse().unwrap();
        let ledger = Ledger {
            number: row[0].clone(),
            records_done: number(2),
            rows: number(3),
            rejects: number(4),
            complete: row[5] == "1",
            unloaded: row[6] == "1",
        };
        // What a loader that forgets has made of a key.
        let key = row[1].split('#').next().unwrap_or_default().to_owned();
        keys.insert(row[0].clone(), key.clone());
        files.entry(key).or_default().ledger.push(ledger);
    }
    let mut tables = [
        (site.rows(Db::Reporting, "SELECT _file, id FROM events"), true),
        (site.rows(Db::Reporting, "SELECT file, CAST(raw AS CHAR) FROM loadline_rejects"), false),
    ];
    for (rows, is_table) in &mut tables {
        for row in rows.drain(..) {
            let Some(key) = keys.get(&row[0]) else {
                verdict.foreign += 1;
                verdict.name(format!("_file {}: {} is of no file in the ledger", row[0], row[1]));
                continue;
            };
            let stands = files.entry(key.clone()).or_default();
            let ids = if *is_table { &mut stands.rows } else { &mut stands.rejects };
            *ids.entry(id_of(&row[1])).or_default() += 1;
        }
    }
    let sql = "SELECT count(*) FROM events WHERE amount IS NULL OR amount <> id * 10 OR note IS NULL";
    let altered = site.number(Db::Reporting, sql);
    if altered > 0 {
        verdict.wrong(format!("{altered} rows have other values than their records"));
    }
    files
}

/// Of a record's first field, or of the id itself.
fn id_of(text: &str) -> u64 {
    let digits: String = text.chars().skip_while(|c| *c == 'x').take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn registry(site: &Site) -> BTreeMap<String, Registered> {
    let sql =
        "SELECT CAST(`key` AS CHAR), state, loaded_time IS NOT NULL, rows_loaded, rows_rejected FROM scanner_files";
    let registered = |row: Vec<String>| {
        let [key, state, was_loaded, rows, rejects] = <[String; 5]>::try_from(row).unwrap();
        (key, Registered { state, was_loaded: was_loaded == "1", rows, rejects })
    };
    site.rows(Db::Metadata, sql).into_iter().map(registered).collect()
}

/// `reloads`: a changed file takes the place of the loaded one by itself.
fn judge_file(
    file: &PlannedFile,
    stands: &Standing,
    registered: Option<&Registered>,
    reloads: bool,
    verdict: &mut Verdict,
) {
    let key = &file.key;
    let newest = file.versions.len() - 1;
    // The version that the most ids are of; nothing there: the newest is missing.
    let there: BTreeSet<u64> = stands.rows.keys().chain(stands.rejects.keys()).copied().collect();
    let share = |at: &usize| there.range(file.versions[*at].ids()).count();
    let loaded = (0..=newest).filter(|at| share(at) > 0).max_by_key(share).unwrap_or(newest);
    let version = &file.versions[loaded];
    let valid: BTreeSet<u64> = version.valid().collect();

    let mut partial = Vec::new();
    let mut compare = |what: &str, wanted: &BTreeSet<u64>, found: &BTreeMap<u64, u64>| {
        let lost: Vec<u64> = wanted.iter().filter(|id| !found.contains_key(id)).copied().collect();
        let doubled: Vec<u64> = found.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect();
        let strange: Vec<u64> = found.keys().filter(|id| !wanted.contains(id)).copied().collect();
        for (how, ids) in [("lost", &lost), ("doubled", &doubled), ("not of version", &strange)] {
            if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
                let count = ids.len();
                partial.push(format!("{key}: {count} {what} {how} {} of {newest}: ids {first} to {last}", loaded));
            }
        }
        (lost.len() as u64, doubled.len() as u64, strange.len() as u64)
    };
    let (lost, doubled, strange) = compare("rows", &valid, &stands.rows);
    let (rejects_lost, rejects_doubled, rejects_strange) = compare("rejects", &version.bad, &stands.rejects);
    let is_partial = strange + rejects_strange > 0 || (lost + rejects_lost > 0 && !there.is_empty());
    verdict.lost += lost;
    verdict.doubled += doubled;
    verdict.rejects_lost += rejects_lost;
    verdict.rejects_doubled += rejects_doubled;
    verdict.partial += u64::from(is_partial);
    partial.into_iter().for_each(|what| verdict.name(what));
    let (rows, rejects) = (valid.len() as u64, version.bad.len() as u64);
    judge_sums(key, stands, rows, rejects, verdict);

    let Some(registered) = registered else { return verdict.wrong(format!("{key}: not in the registry")) };
    let right = match (loaded == newest, registered.state.as_str()) {
        (true, "LOADED") => true,
        (false, "QUARANTINED") => registered.was_loaded && !reloads,
        _ => false,
    };
    if !right {
        verdict.wrong(format!("{key}: {} with version {loaded} of 0 to {newest} loaded", registered.state));
    }
    let sums = (rows.to_string(), rejects.to_string());
    if (&registered.rows, &registered.rejects) != (&sums.0, &sums.1) {
        let (rows, rejects) = (&registered.rows, &registered.rejects);
        verdict.wrong(format!("{key}: the registry counts {rows} rows and {rejects} rejects, not {sums:?}"));
    }
}

fn judge_sums(key: &str, stands: &Standing, rows: u64, rejects: u64, verdict: &mut Verdict) {
    let [ledger] = stands.ledger.as_slice() else {
        return verdict.wrong(format!("{key}: {} times in the ledger", stands.ledger.len()));
    };
    let of_tables = (stands.rows.values().sum::<u64>(), stands.rejects.values().sum::<u64>());
    if (ledger.rows, ledger.rejects) != of_tables || ledger.records_done != rows + rejects {
        let Ledger { number, records_done, rows, rejects, .. } = ledger;
        verdict.wrong(format!(
            "{key}: the ledger counts {records_done} records, {rows} rows and {rejects} rejects of file {number}; the \
             tables {of_tables:?}"
        ));
    }
    if !ledger.complete || ledger.unloaded {
        verdict.partial += u64::from(!ledger.complete);
        verdict.wrong(format!("{key}: complete {}, unloaded {} in the ledger", ledger.complete, ledger.unloaded));
    }
}

fn judge_jobs(site: &Site, verdict: &mut Verdict) {
    let sql = "SELECT status, count(*) FROM scanner_jobs WHERE status NOT IN ('NONE', 'LOADED') GROUP BY status";
    for row in site.rows(Db::Metadata, sql) {
        verdict.wrong(format!("{} jobs are {}", row[1], row[0]));
    }
    // What the sums of a job are made of.
    let sql = "SELECT j.id FROM scanner_jobs j WHERE j.status = 'LOADED' AND COALESCE(j.rows_loaded, 0) <> \
               COALESCE((SELECT sum(f.rows_loaded) FROM scanner_files f WHERE f.job_id = j.id \
               AND f.loaded_time IS NOT NULL), 0)";
    for row in site.rows(Db::Metadata, sql) {
        verdict.wrong(format!("job {}: its sum is not that of its files", row[0]));
    }
}
