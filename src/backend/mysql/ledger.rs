//! The ledger's part: taking files, reading where they stand, and walking them back.
//!
//! Everybody locks ledger rows in the order of their numbers, and makes missing ones in the order of their hashes, so
//! that takers and loaders wait for each other and do not deadlock.
//!
//! Invariant: `plan_hash = ''` says that a walk back has been announced or begun, and not ended. No segment can begin
//! under it. Once `complete` is 0 the counts beside it mean nothing; the step that ends the walk zeroes them. The same
//! holds for a file with an `unloaded_time`, which the first step of an unload sets.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::{Params, Row, Value};

use super::connection::{Database, Session, quote};
use super::fault::Fault;
use super::value::{field, key_hash, placeholders, time_value};
use crate::error::Error;
use crate::failpoint;
use crate::fingerprint::Fingerprint;
use crate::warehouse::{Fence, FileNumber, LedgerKey, Progress, Standing, TableSpec, Taken, Taker, WalkEnd};

/// Most records that one transaction of a walk back takes out. Fewer than a segment brings in: that comes in many
/// statements and goes in one, which has to end before its answer is given up, also where the records are long.
const WALK_BACK_RECORDS_MAX: u64 = 10_000;

/// The plan of a file that is being walked back.
pub(super) const WALKING_BACK: &str = "";

/// Files that one statement names.
pub(super) const FILES_PER_STATEMENT: usize = 1_000;

/// How often missing rows are looked for again, when others make the same ones.
const INSERTS_MAX: usize = 100;

/// How often a take whose answer was lost is made again.
const TAKES_LOST_MAX: u32 = 3;

pub(super) const PROGRESS_COLUMNS: &str =
    "records_done, `rows`, rejects, checksum, checksum_rule, invalid, complete, bytes, sha256";

type Hash = [u8; 32];

pub(super) fn progress(row: &mut Row) -> Result<Progress, Fault> {
    let invalid: String = field(row, "invalid")?;
    let unreadable = |_| Error::internal("column `invalid` of the ledger is not what this version writes");
    Ok(Progress {
        records_done: field(row, "records_done")?,
        rows: field(row, "rows")?,
        rejects: field(row, "rejects")?,
        checksum: field(row, "checksum")?,
        checksum_rule: field(row, "checksum_rule")?,
        invalid: serde_json::from_str(&invalid).map_err(unreadable)?,
        complete: field(row, "complete")?,
        fingerprint: fingerprint(row)?,
    })
}

fn fingerprint(row: &mut Row) -> Result<Option<Fingerprint>, Fault> {
    let (bytes, sha256): (Option<u64>, Option<Vec<u8>>) = (field(row, "bytes")?, field(row, "sha256")?);
    let (Some(bytes), Some(sha256)) = (bytes, sha256) else { return Ok(None) };
    Ok(Some(Fingerprint { bytes, sha256: hash(sha256)? }))
}

pub(super) fn invalid_json(progress: &Progress) -> Result<String, Fault> {
    let json = serde_json::to_string(&progress.invalid);
    Ok(json.map_err(|error| Error::internal("writing counts as JSON").caused_by(error))?)
}

/// Makes the missing rows, then takes them all in one transaction, again where its answer was lost.
pub(super) async fn take(database: &Database, taker: &Taker, files: &[LedgerKey]) -> Result<Vec<Taken>, Fault> {
    // Sorted by hash, each key once.
    let by_hash: BTreeMap<Hash, &LedgerKey> = files.iter().map(|file| (key_hash(&file.key), file)).collect();
    let numbers = make_missing(database, taker, &by_hash).await?;
    let by_number: BTreeMap<FileNumber, &LedgerKey> =
        numbers.iter().filter_map(|(hash, number)| Some((*number, *by_hash.get(hash)?))).collect();
    failpoint::reach("take.made").await?;

    let mut lost = 0;
    let taken = loop {
        let taken = database.try_write(async |session| take_all(session, taker, &by_number).await).await;
        match taken {
            // It may have landed: one epoch more does no harm.
            Err(fault) if fault.is_lost() && lost < TAKES_LOST_MAX => lost += 1,
            taken => break taken?,
        }
    };
    let vanished = || Error::internal("a file vanished while it was taken");
    let of = |file: &LedgerKey| numbers.get(&key_hash(&file.key)).and_then(|number| taken.get(number)).cloned();
    files.iter().map(|file| Ok(of(file).ok_or_else(vanished)?)).collect()
}

/// The number of every file, made where it is missing. No ON DUPLICATE KEY, which would wait for segments.
async fn make_missing(
    database: &Database,
    taker: &Taker,
    by_hash: &BTreeMap<Hash, &LedgerKey>,
) -> Result<BTreeMap<Hash, FileNumber>, Fault> {
    let mut session = database.session().await?;
    let mut numbers = BTreeMap::new();
    let hashes: Vec<&Hash> = by_hash.keys().collect();
    for hashes in hashes.chunks(FILES_PER_STATEMENT) {
        let mut inserts = 0;
        loop {
            numbers.extend(find(&mut session, &taker.feed, hashes).await?);
            let missing: Vec<_> = by_hash
                .range(*hashes[0]..=*hashes[hashes.len() - 1])
                .filter(|(hash, _)| !numbers.contains_key(*hash))
                .collect();
            if missing.is_empty() {
                break;
            }
            inserts += 1;
            match insert_missing(&mut session, taker, &missing).await {
                Err(fault) if (fault.is_duplicate() || fault.is_deadlock()) && inserts < INSERTS_MAX => {}
                inserted => inserted?,
            }
        }
    }
    session.done();
    Ok(numbers)
}

async fn find(session: &mut Session, feed: &str, hashes: &[&Hash]) -> Result<Vec<(Hash, FileNumber)>, Fault> {
    let sql = format!(
        "SELECT key_hash, file FROM loadline_files WHERE feed = ? AND key_hash IN ({})",
        placeholders(hashes.len())
    );
    let mut params: Vec<Value> = vec![feed.into()];
    params.extend(hashes.iter().map(|hash| Value::from(hash.as_slice())));
    let rows = session.rows(&sql, Params::Positional(params)).await?;
    rows.into_iter().map(|mut row| Ok((hash_field(&mut row)?, field(&mut row, "file")?))).collect()
}

fn hash_field(row: &mut Row) -> Result<Hash, Fault> {
    hash(field(row, "key_hash")?)
}

fn hash(bytes: Vec<u8>) -> Result<Hash, Fault> {
    Hash::try_from(bytes).map_err(|_| Error::internal("a stored hash has not 32 bytes").into())
}

async fn insert_missing(session: &mut Session, taker: &Taker, missing: &[(&Hash, &&LedgerKey)]) -> Result<(), Fault> {
    let Taker { feed, job, table, plan_hash, .. } = taker;
    let row = "(?, ?, ?, ?, ?, ?, 0, ?, ?, '{}', NOW(6), NOW(6))";
    let sql = format!(
        "INSERT INTO loadline_files \
         (feed, `key`, key_hash, version, hour, job, epoch, target_table, plan_hash, invalid, created_time, updated_time) \
         VALUES {}",
        vec![row; missing.len()].join(", ")
    );
    let mut params: Vec<Value> = Vec::with_capacity(missing.len() * 8);
    for (hash, file) in missing {
        params.extend([feed.into(), file.key.as_bytes().into(), hash.as_slice().into(), (&file.version).into()]);
        params.extend([time_value(file.hour), (*job).into(), table.into(), plan_hash.into()]);
    }
    session.execute(&sql, Params::Positional(params)).await.map(drop)
}

/// A ledger row as a take finds it.
struct Found {
    file: FileNumber,
    version: String,
    table: String,
    plan: String,
    unloaded: bool,
    progress: Progress,
}

/// What a take says of a row and writes into it.
struct Verdict<'a> {
    standing: Standing,
    version: &'a str,
    table: &'a str,
    plan: &'a str,
}

async fn take_all(
    session: &mut Session,
    taker: &Taker,
    files: &BTreeMap<FileNumber, &LedgerKey>,
) -> Result<BTreeMap<FileNumber, Taken>, Fault> {
    let mut taken = BTreeMap::new();
    let numbers: Vec<FileNumber> = files.keys().copied().collect();
    for numbers in numbers.chunks(FILES_PER_STATEMENT) {
        let found = lock(session, numbers).await?;
        count_up(session, taker, numbers).await?;
        let epochs = epochs(session, numbers).await?;
        for row in found {
            let (Some(file), Some(epoch)) = (files.get(&row.file), epochs.get(&row.file)) else {
                return Err(Error::internal("a file vanished while it was taken").into());
            };
            let verdict = row.judge(taker, file);
            row.adopt(session, &verdict).await?;
            let standing = verdict.standing;
            taken.insert(row.file, Taken { file: row.file, epoch: *epoch, standing, progress: row.progress });
        }
    }
    failpoint::reach("take.counted").await?;
    Ok(taken)
}

fn numbers_list(numbers: &[FileNumber]) -> (String, Vec<Value>) {
    (placeholders(numbers.len()), numbers.iter().map(|number| Value::Int(*number)).collect())
}

async fn lock(session: &mut Session, numbers: &[FileNumber]) -> Result<Vec<Found>, Fault> {
    let (list, params) = numbers_list(numbers);
    let sql = format!(
        "SELECT file, version, target_table, plan_hash, unloaded_time IS NOT NULL AS unloaded, {PROGRESS_COLUMNS} \
         FROM loadline_files WHERE file IN ({list}) ORDER BY file FOR UPDATE"
    );
    let rows = session.rows(&sql, Params::Positional(params)).await?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Found {
                file: field(&mut row, "file")?,
                version: field(&mut row, "version")?,
                table: field(&mut row, "target_table")?,
                plan: field(&mut row, "plan_hash")?,
                unloaded: field(&mut row, "unloaded")?,
                progress: progress(&mut row)?,
            })
        })
        .collect()
}

async fn count_up(session: &mut Session, taker: &Taker, numbers: &[FileNumber]) -> Result<(), Fault> {
    let (list, numbers) = numbers_list(numbers);
    let sql =
        format!("UPDATE loadline_files SET epoch = epoch + 1, job = ?, updated_time = NOW(6) WHERE file IN ({list})");
    let params = [vec![Value::from(taker.job)], numbers].concat();
    session.execute(&sql, Params::Positional(params)).await.map(drop)
}

async fn epochs(session: &mut Session, numbers: &[FileNumber]) -> Result<BTreeMap<FileNumber, i64>, Fault> {
    let (list, params) = numbers_list(numbers);
    let sql = format!("SELECT file, epoch FROM loadline_files WHERE file IN ({list})");
    let rows = session.rows(&sql, Params::Positional(params)).await?;
    rows.into_iter().map(|mut row| Ok((field(&mut row, "file")?, field(&mut row, "epoch")?))).collect()
}

impl Found {
    fn judge<'a>(&'a self, taker: &'a Taker, file: &'a LedgerKey) -> Verdict<'a> {
        let complete = self.progress.complete;
        let nothing_done = self.progress.records_done == 0 && !complete;
        let other_version = self.version != file.version;
        // No segment may follow rows of another version: the walk back to this one is announced here. A complete file takes
        // no segment, and stays what it is until the first step of that walk: this taker may have lost its claim.
        let walking_back = self.plan == WALKING_BACK || (other_version && (!complete || taker.reload));
        let standing = match () {
            _ if self.unloaded => Standing::Unloaded,
            _ if nothing_done => Standing::Ready,
            _ if walking_back => Standing::OtherPlan,
            _ if other_version => Standing::OtherVersion,
            _ if complete || self.plan == taker.plan_hash => Standing::Ready,
            _ => Standing::OtherPlan,
        };
        let (version, table, plan) = match () {
            _ if nothing_done => (&file.version, &taker.table, taker.plan_hash.as_str()),
            _ if walking_back && !self.unloaded && !complete => (&file.version, &self.table, WALKING_BACK),
            _ => (&self.version, &self.table, self.plan.as_str()),
        };
        Verdict { standing, version, table, plan }
    }

    async fn adopt(&self, session: &mut Session, verdict: &Verdict<'_>) -> Result<(), Fault> {
        let Verdict { version, table, plan, .. } = verdict;
        if (self.version.as_str(), self.table.as_str(), self.plan.as_str()) == (*version, *table, *plan) {
            return Ok(());
        }
        let sql = "UPDATE loadline_files SET version = ?, target_table = ?, plan_hash = ? WHERE file = ?";
        session.execute(sql, (*version, *table, *plan, self.file)).await.map(drop)
    }
}

/// Where the file stands, if the ledger still bears epoch and plan of the fence; the row stays locked either way.
pub(super) async fn progress_behind(session: &mut Session, fence: &Fence) -> Result<Option<Progress>, Fault> {
    let sql = format!(
        "SELECT {PROGRESS_COLUMNS} FROM loadline_files \
         WHERE file = ? AND epoch = ? AND plan_hash = ? AND unloaded_time IS NULL FOR UPDATE"
    );
    let row = session.first(&sql, (fence.file, fence.epoch, &fence.plan_hash)).await?;
    row.map(|mut row| progress(&mut row)).transpose()
}

/// How far a walk back has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walked {
    Lost,
    /// There are records left.
    Partly,
    Wholly,
}

/// One step of a walk back: takes the last records out. The step that reaches 0 ends the walk.
pub(super) async fn walk_back_step(
    session: &mut Session,
    fence: &Fence,
    next: &TableSpec,
    end: WalkEnd,
) -> Result<Walked, Fault> {
    let sql = "SELECT records_done, target_table FROM loadline_files WHERE file = ? AND epoch = ? FOR UPDATE";
    let Some(mut row) = session.first(sql, (fence.file, fence.epoch)).await? else { return Ok(Walked::Lost) };
    let (done, holding): (u64, String) = (field(&mut row, "records_done")?, field(&mut row, "target_table")?);
    let to = done.saturating_sub(failpoint::records(WALK_BACK_RECORDS_MAX));
    let rows = format!("DELETE FROM {} WHERE _file = ? AND _record > ?", quote(&holding));
    match session.execute(&rows, (fence.file, to)).await {
        // A table that somebody has dropped holds nothing any more.
        Err(fault) if fault.is_missing_table() => {}
        deleted => drop(deleted?),
    }
    session.execute("DELETE FROM loadline_rejects WHERE file = ? AND record > ?", (fence.file, to)).await?;
    failpoint::reach("walk_back.deleted").await?;

    let unloaded = end == WalkEnd::Unloaded;
    if to > 0 {
        let sql = "UPDATE loadline_files SET records_done = ?, plan_hash = ?, complete = 0, completed_time = NULL, \
                   bytes = NULL, sha256 = NULL, updated_time = NOW(6), \
                   unloaded_time = IF(?, NOW(6), unloaded_time) WHERE file = ?";
        session.execute(sql, (to, WALKING_BACK, unloaded, fence.file)).await?;
        return Ok(Walked::Partly);
    }
    let sql = "UPDATE loadline_files SET records_done = 0, plan_hash = ?, complete = 0, completed_time = NULL, \
               bytes = NULL, sha256 = NULL, checksum_rule = NULL, updated_time = NOW(6), \
               `rows` = 0, rejects = 0, checksum = 0, invalid = '{}', target_table = ?, \
               unloaded_time = IF(?, NOW(6), unloaded_time) WHERE file = ?";
    session.execute(sql, (&fence.plan_hash, &next.name, unloaded, fence.file)).await?;
    Ok(Walked::Wholly)
}

/// Lets files load again whose unload has ended. The new epoch shuts out an unload that still holds an older one.
pub(super) async fn readmit(session: &mut Session, feed: &str, keys: &[String]) -> Result<u64, Fault> {
    let hashes: BTreeSet<Hash> = keys.iter().map(|key| key_hash(key)).collect();
    let hashes: Vec<&Hash> = hashes.iter().collect();
    let mut numbers = BTreeSet::new();
    for hashes in hashes.chunks(FILES_PER_STATEMENT) {
        numbers.extend(find(session, feed, hashes).await?.into_iter().map(|(_, number)| number));
    }
    let numbers: Vec<FileNumber> = numbers.into_iter().collect();
    let mut readmitted = 0;
    for numbers in numbers.chunks(FILES_PER_STATEMENT) {
        let (list, params) = numbers_list(numbers);
        let sql = format!(
            "UPDATE loadline_files SET unloaded_time = NULL, epoch = epoch + 1, updated_time = NOW(6) \
             WHERE file IN ({list}) AND unloaded_time IS NOT NULL AND records_done = 0 ORDER BY file"
        );
        readmitted += session.execute(&sql, Params::Positional(params)).await?;
    }
    Ok(readmitted)
}
