//! The scanner's part: which files are known, and how FOUND files become jobs. A page of a listing costs a handful of
//! statements, however many files it has.
//!
//! Invariant: a file is known by feed and key alone. What it holds is its version; being listed again changes that only
//! where the policy says that the listed version is to be loaded, and then the file is FOUND.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use mysql_async::{Row, Value};

use super::given::{GIVEN_MAX, given};
use super::queue::AT_ONCE;
use super::rows::{self, BY_ID, ROWS_MAX, fitting, padded, shapes, sum_up};
use crate::backend::mysql::connection::Session;
use crate::backend::mysql::fault::Fault;
use crate::backend::mysql::value::{field, key_hash, placeholders, time_field_if_any, time_value};
use crate::error::Error;
use crate::failpoint;
use crate::job::{FoundFile, JobDraft, JobId, JobStatus, Known, ListedFile, OnOverwrite, Recorded, Watermark};

/// Below every id that is handed out, so that the first job is job 1.
const NONE_ID: JobId = 0;

/// How often the keys of a page are looked up again because another scanner was faster with some of them.
pub(super) const LOOKUPS_MAX: usize = 100;

pub(super) type KeyHash = [u8; 32];

/// An INSERT of id 0 would count up instead: it comes with an UPDATE.
pub(super) async fn insert_none_row(session: &mut Session, start_from: Option<DateTime<Utc>>) -> Result<(), Fault> {
    let sql = "INSERT INTO scanner_jobs (id, feed, files, latest_file_modified_time, total_size_in_bytes, created_time, \
               modified_time, status, run_after) \
               SELECT ?, '', '', ?, 0, NOW(6), NOW(6), ?, NOW(6) FROM (SELECT 1 AS one) AS dual_row \
               WHERE NOT EXISTS (SELECT 1 FROM scanner_jobs WHERE status = ?)";
    let start = time_value(start_from.unwrap_or(DateTime::UNIX_EPOCH));
    let none = JobStatus::None.as_str();
    match session.execute(sql, (NONE_ID_WRITTEN, start, none, none)).await {
        // Another setup has written it at the same time.
        Err(fault) if fault.is_duplicate() => return Ok(()),
        inserted => inserted?,
    };
    session.execute("UPDATE scanner_jobs SET id = ? WHERE id = ?", (NONE_ID, NONE_ID_WRITTEN)).await?;
    Ok(())
}

/// No AUTO_INCREMENT counts below zero.
const NONE_ID_WRITTEN: JobId = -1;

pub(super) async fn record_feeds(session: &mut Session, feeds: &[String]) -> Result<(), Fault> {
    let sql = "INSERT INTO scanner_feeds (feed, recorded_time) VALUES (?, NOW(6)) ON DUPLICATE KEY UPDATE feed = feed";
    for feed in feeds {
        session.execute(sql, (feed,)).await?;
    }
    Ok(())
}

pub(super) async fn recorded_feeds(session: &mut Session) -> Result<Vec<String>, Fault> {
    let mut feeds = session.rows("SELECT feed FROM scanner_feeds ORDER BY feed", ()).await?;
    feeds.iter_mut().map(|row| field(row, "feed")).collect()
}

pub(super) async fn watermark(session: &mut Session, feed: &str) -> Result<Watermark, Fault> {
    // The NONE row has feed '', which no feed has.
    let newest = "SELECT MAX(latest_file_modified_time) AS newest FROM scanner_jobs WHERE feed = ? AND feed <> ''";
    let newest = session.first(newest, (feed,)).await?;
    let listing = session.first("SELECT last_full_listing FROM scanner_feeds WHERE feed = ?", (feed,)).await?;
    let time = |row: Option<Row>, column| row.map_or(Ok(None), |mut row| time_field_if_any(&mut row, column));
    Ok(Watermark { newest: time(newest, "newest")?, last_full_listing: time(listing, "last_full_listing")? })
}

pub(super) async fn scanned(session: &mut Session, feed: &str, at: DateTime<Utc>, full: bool) -> Result<(), Fault> {
    let (at, listed) = (time_value(at), if full { time_value(at) } else { Value::NULL });
    let sql = "INSERT INTO scanner_feeds (feed, recorded_time, last_scan, last_full_listing) VALUES (?, NOW(6), ?, ?) \
               ON DUPLICATE KEY UPDATE last_scan = ?, last_full_listing = COALESCE(?, last_full_listing)";
    session.execute(sql, (feed, at.clone(), listed.clone(), at, listed)).await.map(drop)
}

// -- what is known -------------------------------------------------------------------------------------------------

/// Files with what decides about them; `by` is the hint for the index that they are found by.
fn recorded_sql(by: &str) -> String {
    format!(
        "SELECT f.id, f.key_hash, f.version, f.state, f.loaded_time IS NOT NULL AS was_loaded, f.job_id, \
         COALESCE(j.status IN ('SENT_FOR_ETL', 'PROCESSING'), 0) AS job_is_open \
         FROM scanner_files f {by} LEFT JOIN scanner_jobs j {BY_ID} ON j.id = f.job_id"
    )
}

fn recorded(mut row: Row) -> Result<(KeyHash, Recorded), Fault> {
    let row = &mut row;
    let hash: Vec<u8> = field(row, "key_hash")?;
    let hash = KeyHash::try_from(hash).map_err(|_| Error::internal("a stored hash of a key is not one"))?;
    let recorded = Recorded {
        id: field(row, "id")?,
        version: field(row, "version")?,
        state: rows::state(row)?,
        was_loaded: field(row, "was_loaded")?,
        job: field(row, "job_id")?,
        job_is_open: field(row, "job_is_open")?,
    };
    Ok((hash, recorded))
}

/// By the hash of its key.
pub(super) async fn find<T>(
    session: &mut Session,
    feed: &str,
    files: &[(KeyHash, T)],
) -> Result<HashMap<KeyHash, Recorded>, Fault> {
    let mut known = HashMap::with_capacity(files.len());
    for files in files.chunks(ROWS_MAX) {
        let hashes: Vec<Value> = files.iter().map(|(hash, _)| Value::from(hash.as_slice())).collect();
        let hashes = padded(&hashes);
        let sql = format!("{} WHERE f.feed = ? AND f.key_hash IN ({})", recorded_sql(""), placeholders(hashes.len()));
        let params: Vec<Value> = std::iter::once(Value::from(feed)).chain(hashes).collect();
        for row in session.rows(&sql, params).await? {
            known.extend([recorded(row)?]);
        }
    }
    Ok(known)
}

fn hashed(page: &[ListedFile]) -> Vec<(KeyHash, &ListedFile)> {
    page.iter().map(|file| (key_hash(&file.key), file)).collect()
}

pub(super) async fn classify(session: &mut Session, feed: &str, page: &[ListedFile]) -> Result<Vec<Known>, Fault> {
    let page = hashed(page);
    let known = find(session, feed, &page).await?;
    let known = |(hash, file): &(KeyHash, &ListedFile)| {
        known.get(hash).map_or(Known::New, |recorded| recorded.known(file, OnOverwrite::Quarantine))
    };
    Ok(page.iter().map(known).collect())
}

// -- registering ---------------------------------------------------------------------------------------------------

pub(super) async fn register(
    session: &mut Session,
    feed: &str,
    page: &[ListedFile],
    policy: OnOverwrite,
    now: DateTime<Utc>,
) -> Result<Vec<Known>, Fault> {
    let page = hashed(page);
    let mut registered = Vec::with_capacity(page.len());
    for page in without_repeats(&page) {
        let mut known = HashMap::with_capacity(page.len());
        let recorded = insert_new(session, feed, page, now, &mut known).await?;
        failpoint::reach("register.inserted").await?;
        update_known(session, page, &recorded, policy, &mut known).await?;
        registered.extend(page.iter().map(|(hash, _)| known.get(hash).copied().unwrap_or(Known::Same)));
    }
    Ok(registered)
}

/// Pieces in which no key comes twice. A listing has none that does; what it makes of one is what it says.
fn without_repeats<'p, 'f>(page: &'p [(KeyHash, &'f ListedFile)]) -> Vec<&'p [(KeyHash, &'f ListedFile)]> {
    let (mut pieces, mut start, mut seen) = (Vec::new(), 0, HashSet::new());
    for (at, (hash, _)) in page.iter().enumerate() {
        if !seen.insert(hash) {
            pieces.push(&page[start..at]);
            start = at;
            seen = HashSet::from([hash]);
        }
    }
    pieces.push(&page[start..]);
    pieces
}

/// Inserts what is not known, and returns what is. Where another scanner is faster, its files are known at the next look.
async fn insert_new(
    session: &mut Session,
    feed: &str,
    page: &[(KeyHash, &ListedFile)],
    now: DateTime<Utc>,
    known: &mut HashMap<KeyHash, Known>,
) -> Result<HashMap<KeyHash, Recorded>, Fault> {
    for _ in 0..LOOKUPS_MAX {
        let recorded = find(session, feed, page).await?;
        let is_new = |hash: &KeyHash| !recorded.contains_key(hash) && !known.contains_key(hash);
        let new: Vec<_> = page.iter().filter(|(hash, _)| is_new(hash)).copied().collect();
        match insert(session, feed, &new, now, known).await {
            // The statement is undone, and the transaction goes on.
            Err(fault) if fault.is_duplicate() => {}
            inserted => return inserted.map(|()| recorded),
        }
    }
    Err(Error::unavailable(format!("other scanners keep registering the files of feed `{feed}`"))
        .hint("one scanner at a time is enough; nothing is lost, the next scan goes on")
        .into())
}

async fn insert(
    session: &mut Session,
    feed: &str,
    files: &[(KeyHash, &ListedFile)],
    now: DateTime<Utc>,
    known: &mut HashMap<KeyHash, Known>,
) -> Result<(), Fault> {
    let now = time_value(now);
    for files in shapes(files, ROWS_MAX) {
        let sql = format!(
            "INSERT INTO scanner_files (feed, `key`, key_hash, version, size_in_bytes, modified_time, hour, state, \
             found_time, updated_time) VALUES {}",
            vec!["(?, ?, ?, ?, ?, ?, ?, 'FOUND', ?, NOW(6))"; files.len()].join(", ")
        );
        let mut params: Vec<Value> = Vec::with_capacity(files.len() * 8);
        for (hash, file) in files {
            params.extend([feed.into(), file.key.as_bytes().into(), hash.as_slice().into()]);
            params.extend([file.version.as_str().into(), file.size.into()]);
            params.extend([time_value(file.modified), time_value(file.hour), now.clone()]);
        }
        session.execute(&sql, params).await?;
        known.extend(files.iter().map(|(hash, _)| (*hash, Known::New)));
    }
    Ok(())
}

/// Looks at those that change once more, now under their locks and those of their jobs, and changes them.
async fn update_known(
    session: &mut Session,
    page: &[(KeyHash, &ListedFile)],
    recorded: &HashMap<KeyHash, Recorded>,
    policy: OnOverwrite,
    known: &mut HashMap<KeyHash, Known>,
) -> Result<(), Fault> {
    let mut changing = HashMap::new();
    for (hash, file) in page {
        let Some(recorded) = recorded.get(hash).filter(|_| !known.contains_key(hash)) else { continue };
        let is = recorded.known(file, policy);
        known.insert(*hash, is);
        if matches!(is, Known::Changed | Known::Renewed) {
            changing.insert(*hash, (recorded.id, *file));
        }
    }
    let mut ids: Vec<i64> = changing.values().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let (mut quarantined, mut renewed, mut left) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (hash, recorded) in lock(session, &ids).await? {
        let Some((_, file)) = changing.get(&hash) else { continue };
        let is = recorded.known(file, policy);
        known.insert(hash, is);
        match is {
            Known::Changed => quarantined.push((recorded, *file)),
            Known::Renewed => {
                left.extend(recorded.job);
                renewed.push((recorded.id, *file));
            }
            Known::New | Known::Same | Known::Kept => {}
        }
    }
    quarantine(session, &quarantined).await?;
    renew(session, &renewed).await?;
    sum_up(session, &left).await
}

async fn lock(session: &mut Session, ids: &[i64]) -> Result<Vec<(KeyHash, Recorded)>, Fault> {
    let mut locked = Vec::with_capacity(ids.len());
    let ids: Vec<Value> = ids.iter().map(Value::from).collect();
    for ids in ids.chunks(ROWS_MAX) {
        let ids = padded(ids);
        let sql =
            format!("{} WHERE f.id IN ({}) ORDER BY f.id FOR UPDATE", recorded_sql(BY_ID), placeholders(ids.len()));
        for row in session.rows(&sql, ids).await? {
            locked.push(recorded(row)?);
        }
    }
    Ok(locked)
}

async fn quarantine(session: &mut Session, files: &[(Recorded, &ListedFile)]) -> Result<(), Fault> {
    for files in shapes(files, GIVEN_MAX) {
        let sql = format!(
            "UPDATE {} STRAIGHT_JOIN scanner_files f {BY_ID} ON f.id = given.id \
             SET f.state = 'QUARANTINED', f.error = given.error, f.updated_time = NOW(6)",
            given(&[("id", "SIGNED"), ("error", "CHAR")], files.len())
        );
        let row = |(recorded, file): &(Recorded, &ListedFile)| {
            [Value::from(recorded.id), Value::from(fitting(&recorded.what_changed(file)))]
        };
        session.execute(&sql, files.iter().flat_map(row).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// FOUND under the listed version, as if nothing had ever been made of it: what is loaded, the ledger knows.
async fn renew(session: &mut Session, files: &[(i64, &ListedFile)]) -> Result<(), Fault> {
    let columns = [("id", "SIGNED"), ("version", "CHAR"), ("size", "UNSIGNED"), ("modified", "DATETIME(6)")];
    for files in shapes(files, GIVEN_MAX) {
        let sql = format!(
            "UPDATE {} STRAIGHT_JOIN scanner_files f {BY_ID} ON f.id = given.id \
             SET f.state = 'FOUND', f.version = given.version, f.size_in_bytes = given.size, \
             f.modified_time = given.modified, f.job_id = NULL, f.rows_loaded = NULL, f.rows_rejected = NULL, \
             f.error = NULL, f.loaded_time = NULL, f.updated_time = NOW(6)",
            given(&columns, files.len())
        );
        let row = |(id, file): &(i64, &ListedFile)| {
            [Value::from(id), file.version.as_str().into(), file.size.into(), time_value(file.modified)]
        };
        session.execute(&sql, files.iter().flat_map(row).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

// -- planning ------------------------------------------------------------------------------------------------------

/// The statement that reads on behind `after`, all of one time first: a comparison of pairs would not go through the
/// index.
fn found_sql(condition: &str) -> String {
    format!(
        "SELECT {} FROM scanner_files FORCE INDEX (scanner_files_found) WHERE feed = ? AND state = 'FOUND'{condition} \
         ORDER BY modified_time, `key` LIMIT ?",
        rows::FOUND_COLUMNS
    )
}

/// Each reads through `scanner_files_found`, in its order.
pub(super) fn found_sqls() -> [String; 3] {
    [found_sql(""), found_sql(" AND modified_time = ? AND `key` > ?"), found_sql(" AND modified_time > ?")]
}

pub(super) async fn found(
    session: &mut Session,
    feed: &str,
    after: Option<&FoundFile>,
    limit: usize,
) -> Result<Vec<FoundFile>, Fault> {
    let [all, same_time, later] = found_sqls();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let Some(after) = after else {
        return session.rows(&all, (feed, limit)).await?.into_iter().map(rows::found).collect();
    };
    let modified = time_value(after.modified);
    let params = (feed, modified.clone(), after.key.as_bytes(), limit);
    let mut found = session.rows(&same_time, params).await?;
    let left = limit - found.len() as i64;
    if left > 0 {
        found.extend(session.rows(&later, (feed, modified, left)).await?);
    }
    found.into_iter().map(rows::found).collect()
}

pub(super) async fn form_job(session: &mut Session, draft: &JobDraft) -> Result<Option<JobId>, Fault> {
    let mut ids: Vec<i64> = draft.files.iter().map(|file| file.id).collect();
    ids.sort_unstable();
    let ids: Vec<Value> = ids.into_iter().map(Value::from).collect();
    if lock_found(session, &draft.feed, &ids).await? != ids.len() as u64 {
        return Ok(None);
    }
    let sql = format!(
        "INSERT INTO scanner_jobs (feed, files, latest_file_modified_time, total_size_in_bytes, created_time, \
         modified_time, status, run_after) VALUES (?, ?, ?, ?, NOW(6), NOW(6), ?, {AT_ONCE})"
    );
    let (latest, status) = (time_value(draft.latest_file_modified_time), JobStatus::SentForEtl.as_str());
    let params = (draft.feed.as_str(), draft.uris.as_str(), latest, draft.total_size_in_bytes, status);
    session.execute(&sql, params).await?;
    let job = session.last_insert_id().ok_or_else(|| Error::internal("a new job got no id"))?;
    failpoint::reach("job.inserted").await?;
    if take(session, job, &ids).await? != ids.len() as u64 {
        return Err(Error::internal("files changed under the locks of their job").into());
    }
    Ok(Some(job as JobId))
}

/// Locks those that are FOUND, and counts them.
async fn lock_found(session: &mut Session, feed: &str, ids: &[Value]) -> Result<u64, Fault> {
    let mut locked = 0;
    for ids in ids.chunks(ROWS_MAX) {
        let ids = padded(ids);
        let sql = format!(
            "SELECT id FROM scanner_files {BY_ID} WHERE id IN ({}) AND feed = ? AND state = 'FOUND' ORDER BY id FOR UPDATE",
            placeholders(ids.len())
        );
        let params: Vec<Value> = ids.into_iter().chain([Value::from(feed)]).collect();
        locked += session.rows(&sql, params).await?.len() as u64;
    }
    Ok(locked)
}

async fn take(session: &mut Session, job: u64, ids: &[Value]) -> Result<u64, Fault> {
    let mut taken = 0;
    for ids in ids.chunks(ROWS_MAX) {
        let ids = padded(ids);
        let sql = format!(
            "UPDATE scanner_files {BY_ID} SET state = 'IN_JOB', job_id = ?, updated_time = NOW(6) \
             WHERE id IN ({}) AND state = 'FOUND'",
            placeholders(ids.len())
        );
        let params: Vec<Value> = std::iter::once(Value::from(job)).chain(ids).collect();
        taken += session.execute(&sql, params).await?;
    }
    Ok(taken)
}
