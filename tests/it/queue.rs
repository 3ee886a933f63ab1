//! The queue and the registry under load: many jobs and two claimants, an open transaction in the way, and what a page
//! of a listing costs a server.

use std::collections::BTreeSet;
use std::time::Duration;

use loadline::backend::mysql::MysqlJobStore;
use loadline::backend::sqlite::SqliteJobStore;
use loadline::job::{
    Claim, ClaimRequest, JobLimits, JobOrder, JobStore, Known, ListedFile, OnOverwrite, Planner, ScannerLock,
};
use mysql_async::prelude::Queryable;

use crate::conformance::at;
use crate::mysql::job_store;
use crate::servers::{Database, Kind, Server};

const KINDS: [Kind; 2] = [Kind::MariaDb, Kind::MySql];

fn request(feed: Option<&str>, order: JobOrder) -> ClaimRequest {
    let lease = Duration::from_secs(600);
    ClaimRequest { owner: "host:1:0".to_owned(), order, feed: feed.map(str::to_owned), lease }
}

fn store(database: &Database<'_>) -> MysqlJobStore {
    job_store(&database.url(), &[])
}

/// Jobs 1, 2, ... without files, in the order of their ids; every third one of feed `b`, the others of feed `a`.
fn insert_jobs(count: usize) -> String {
    let row = |id: usize| {
        let (feed, second) = (if id.is_multiple_of(3) { "b" } else { "a" }, id % 60);
        let (minute, hour) = (id / 60 % 60, id / 3600);
        let time = format!("2026-01-02 {hour:02}:{minute:02}:{second:02}.000000");
        format!("({id}, '{feed}', '', '{time}', 1, '{time}', '{time}', 'SENT_FOR_ETL', '1970-01-01 00:00:00.000000')")
    };
    format!(
        "INSERT INTO scanner_jobs (id, feed, files, latest_file_modified_time, total_size_in_bytes, created_time, \
         modified_time, status, run_after) VALUES {}",
        (1..=count).map(row).collect::<Vec<_>>().join(", ")
    )
}

async fn claim_all(store: &dyn JobStore) -> Vec<Claim> {
    let mut claims = Vec::new();
    while let Some(claim) = store.claim(&request(None, JobOrder::Oldest)).await.unwrap() {
        claims.push(claim);
    }
    claims
}

/// Whoever is told that nothing is runnable stops: a job that is only passed over would be left.
async fn two_claimants_share_none_and_starve_neither(one: &dyn JobStore, two: &dyn JobStore, jobs: usize) {
    let (first, second) = tokio::join!(claim_all(one), claim_all(two));
    let ids: BTreeSet<i64> = first.iter().chain(&second).map(|claim| claim.job.id).collect();
    assert_eq!((first.len() + second.len(), ids.len()), (jobs, jobs));
    let least = first.len().min(second.len());
    assert!(least > jobs / 50, "one claimant got {least} of {jobs} jobs");
    for claims in [first, second] {
        assert!(claims.is_sorted_by_key(|claim| claim.job.id), "the oldest job did not come first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_claimants_share_two_thousand_jobs_on_servers() {
    for kind in KINDS {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        store(&database).migrate(None).await.unwrap();
        database.execute(&[&insert_jobs(2_000)]);
        two_claimants_share_none_and_starve_neither(&store(&database), &store(&database), 2_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_claimants_share_two_thousand_jobs_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let (one, two) = (SqliteJobStore::open(&path).unwrap(), SqliteJobStore::open(&path).unwrap());
    one.migrate(None).await.unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch(&insert_jobs(2_000)).unwrap();
    two_claimants_share_none_and_starve_neither(&one, &two, 2_000).await;
}

/// As another worker between its SELECT and its COMMIT: its job is passed over, no other one waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_claim_holds_up_no_other() {
    for kind in KINDS {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        let store = store(&database);
        store.migrate(None).await.unwrap();
        database.execute(&[&insert_jobs(9)]);
        for (order, feed, held, next) in [
            (JobOrder::Oldest, None, 1, 2),
            (JobOrder::Newest, None, 9, 8),
            (JobOrder::Oldest, Some("b"), 3, 6),
            (JobOrder::Newest, Some("a"), 7, 5),
        ] {
            let mut other = database.connect().await;
            other.query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
            other.query_drop("START TRANSACTION").await.unwrap();
            let sql = "SELECT id FROM scanner_jobs WHERE id = ? AND status = 'SENT_FOR_ETL' FOR UPDATE";
            let locked: Option<i64> = other.exec_first(sql, (held,)).await.unwrap();
            assert_eq!(locked, Some(held));
            let request = request(feed, order);
            let claim = store.claim(&request);
            let claim = tokio::time::timeout(Duration::from_secs(20), claim).await.expect("the claim waits");
            assert_eq!(claim.unwrap().map(|claim| claim.job.id), Some(next), "{kind:?} {order:?} {feed:?}");
            other.query_drop("ROLLBACK").await.unwrap();
            other.disconnect().await.unwrap();
        }
    }
}

/// A claim of one feed locks no job of another, in whatever state it is: the second claimant gets all that is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_of_two_feeds_do_not_meet() {
    for kind in KINDS {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        store(&database).migrate(None).await.unwrap();
        database.execute(&[&insert_jobs(300)]);
        let all_of = async |feed: &str| {
            let (store, request) = (store(&database), request(Some(feed), JobOrder::Oldest));
            let mut claimed = 0;
            while store.claim(&request).await.unwrap().is_some() {
                claimed += 1;
            }
            claimed
        };
        assert_eq!(tokio::join!(all_of("a"), all_of("b")), (200, 100), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_scanner_holds_the_lock_of_its_database() {
    for kind in KINDS {
        let Some(server) = Server::shared(kind) else { continue };
        let (database, other) = (server.fresh(), server.fresh());
        for database in [&database, &other] {
            store(database).migrate(None).await.unwrap();
        }
        let held: ScannerLock = store(&database).lock_scanner().await.unwrap().expect("nobody scans");
        assert!(store(&database).lock_scanner().await.unwrap().is_none(), "two scanners hold the lock");
        assert!(store(&other).lock_scanner().await.unwrap().is_some(), "the lock is that of the server");
        drop(held);
        let given_back = async {
            while store(&database).lock_scanner().await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), given_back).await.expect("the lock is not given back");
    }
}

// -- what a scan costs ---------------------------------------------------------------------------------------------

/// The smaller one is enough to see a second server's statements.
const KEYS: [(Kind, usize); 2] = [(Kind::MariaDb, 200_000), (Kind::MySql, 20_000)];
const PAGE: usize = 1_000;

fn page(number: usize) -> Vec<ListedFile> {
    let file = |i: usize| ListedFile {
        key: format!("2026/01/01/00/part-{:06}.csv", number * PAGE + i),
        version: "v1".to_owned(),
        size: 10,
        modified: at((number / 20) as i64),
        hour: at(0),
    };
    (0..PAGE).map(file).collect()
}

async fn questions(server: &Server) -> u64 {
    let mut connection = server.connect(None).await;
    let row: Option<(String, u64)> = connection.query_first("SHOW GLOBAL STATUS LIKE 'Questions'").await.unwrap();
    connection.disconnect().await.unwrap();
    row.unwrap().1
}

/// On a server of its own, whose statements nobody else adds to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_keys_cost_a_handful_of_statements_a_page() {
    for (kind, keys) in KEYS {
        let Some(server) = Server::start(kind, &["--sync-binlog=0"]) else { continue };
        let database = server.fresh();
        let store = store(&database);
        store.migrate(None).await.unwrap();
        let pages = (keys / PAGE) as u64;
        let mut spent = questions(&server).await;
        let mut spend = async |what: &str, most: u64| {
            let now = questions(&server).await;
            let used = now - std::mem::replace(&mut spent, now);
            assert!(used <= most, "{kind:?}: {what} took {used} statements, more than {most}");
        };
        for (expected, policy) in [(Known::New, OnOverwrite::Quarantine), (Known::Same, OnOverwrite::Reload)] {
            for number in 0..keys / PAGE {
                let known = store.register("loans", &page(number), policy, at(9)).await.unwrap();
                assert!(known.iter().all(|known| *known == expected), "{kind:?}: page {number}");
            }
            spend("registering", pages * 5 + 50).await;
        }
        let files = form_jobs(&store).await;
        assert_eq!(files, keys);
        // Two for each page that is read, and five for each job.
        spend("forming jobs", pages * 8 + 50).await;
        let changed: Vec<ListedFile> =
            page(0).into_iter().map(|file| ListedFile { version: "v2".to_owned(), ..file }).collect();
        let known = store.register("loans", &changed, OnOverwrite::Reload, at(9)).await.unwrap();
        assert_eq!(known, [Known::Changed; PAGE]);
        spend("setting a page aside", 20).await;
    }
}

async fn form_jobs(store: &dyn JobStore) -> usize {
    let limits = JobLimits { size_max: u64::MAX, files_max: PAGE, wait_max: chrono::Duration::zero() };
    let mut planner = Planner::new("loans", "s3://bucket", limits);
    let (mut after, mut files) = (None, 0);
    loop {
        let found = store.found("loans", after.as_ref(), PAGE).await.unwrap();
        let Some(last) = found.last().cloned() else { break };
        for file in found {
            if let Some(draft) = planner.push(file) {
                files += draft.files.len();
                store.form_job(&draft).await.unwrap().unwrap();
            }
        }
        after = Some(last);
    }
    let draft = planner.finish(at(1_000_000)).unwrap();
    store.form_job(&draft).await.unwrap().unwrap();
    files + draft.files.len()
}

/// What scanners and workers ask all the time goes through its index and sorts nothing, however much is there. The
/// statements are those of the server's own log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_statements_sort_nothing() {
    for kind in KINDS {
        let Some(server) = Server::start(kind, &["--log-output=TABLE"]) else { continue };
        let database = server.fresh();
        let store = store(&database);
        store.migrate(None).await.unwrap();
        for number in 0..3 {
            store.register("loans", &page(number), OnOverwrite::Quarantine, at(9)).await.unwrap();
        }
        database.execute(&[&insert_jobs(2_000), "ANALYZE TABLE scanner_jobs, scanner_files"]);
        server.execute(&["SET GLOBAL general_log = ON"]);
        work_a_little(&store).await;
        server.execute(&["SET GLOBAL general_log = OFF"]);
        let logged = "SELECT DISTINCT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                      WHERE command_type = 'Execute' AND argument LIKE '%scanner_%'";
        let statements = database.rows(logged);
        let mut explained = 0;
        for statement in statements.into_iter().filter_map(|mut row| row.remove(0)) {
            // Hashes are no text, and an INSERT of values has no plan.
            if statement.starts_with("INSERT") || statement.contains("key_hash IN") {
                continue;
            }
            // MySQL's own choice is a tree, MariaDB has only this.
            let explain = if kind == Kind::MySql { "EXPLAIN FORMAT=TRADITIONAL" } else { "EXPLAIN" };
            let plan = database.rows(&format!("{explain} {statement}"));
            let plan: Vec<String> =
                plan.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
            let plan = plan.join("; ");
            // The files of one job come by key: they are few.
            let sorts = plan.contains("filesort") && !statement.contains("WHERE job_id = ");
            assert!(!sorts && !plan.contains(" ALL "), "{kind:?}: {statement}\n{plan}");
            explained += 1;
        }
        assert!(explained >= 10, "{kind:?}: only {explained} statements were found");
    }
}

/// The one job that waits is found, however often others look for dead workers meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rescue_hides_no_job_from_a_claim() {
    for kind in KINDS {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        let (claiming, rescuing) = (store(&database), store(&database));
        claiming.migrate(None).await.unwrap();
        database.execute(&[&insert_jobs(1)]);
        let rescues = tokio::spawn(async move {
            loop {
                rescuing.rescue(&[]).await.unwrap();
            }
        });
        for turn in 0..150 {
            let claim = claiming.claim(&request(None, JobOrder::Oldest)).await.unwrap();
            let claim = claim.unwrap_or_else(|| panic!("{kind:?}: turn {turn} found nothing"));
            assert!(claiming.postpone(claim.job.id, &claim.token, Duration::ZERO, false, "again").await.unwrap());
        }
        rescues.abort();
    }
}

async fn work_a_little(store: &MysqlJobStore) {
    for (feed, order) in [(None, JobOrder::Oldest), (None, JobOrder::Newest), (Some("a"), JobOrder::Newest)] {
        let claim = store.claim(&request(feed, order)).await.unwrap().unwrap();
        assert!(store.confirm(claim.job.id, &claim.token, Duration::from_secs(9)).await.unwrap());
        assert!(store.complete(claim.job.id, &claim.token, &[]).await.unwrap());
    }
    assert_eq!(store.rescue(&[]).await.unwrap(), 0);
    let found = store.found("loans", None, 10).await.unwrap();
    assert_eq!(store.found("loans", found.last(), 2_000).await.unwrap().len(), 2_000);
    store.watermark("a").await.unwrap();
    assert_eq!(store.prune_jobs(at(0), 10).await.unwrap(), 0);
    assert!(store.file("loans", "2026/01/01/00/part-000001.csv").await.unwrap().is_some());
}
