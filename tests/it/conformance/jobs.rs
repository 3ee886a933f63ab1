//! What every [`JobStore`] does.

use std::collections::BTreeSet;
use std::time::Duration;

use loadline::job::{
    Claim, ClaimRequest, ClaimToken, FileOutcome, FileRecord, FileState, FoundFile, JobDraft, JobFilter, JobId,
    JobLimits, JobOrder, JobStatus, JobStore, Known, ListedFile, OnOverwrite, Planner, Replacement, Restored,
    Selection, Watermark,
};

use super::at;

const FEED: &str = "loans";
const LEASE: Duration = Duration::from_secs(60);

fn listed(key: &str, version: &str, modified: i64) -> ListedFile {
    ListedFile { key: key.to_owned(), version: version.to_owned(), size: 10, modified: at(modified), hour: at(0) }
}

fn request(order: JobOrder) -> ClaimRequest {
    ClaimRequest { owner: "host:1:0".to_owned(), order, feed: None, lease: LEASE }
}

fn draft_of(feed: &str, files: Vec<FoundFile>) -> JobDraft {
    let wait_max = chrono::Duration::zero();
    let mut planner = Planner::new(feed, "file:///in", JobLimits { size_max: u64::MAX, files_max: 1000, wait_max });
    for file in files {
        assert!(planner.push(file).is_none());
    }
    planner.finish(at(1_000_000)).unwrap()
}

/// Registers one file per entry (key, seconds of its modified time) and forms one job of each.
async fn jobs_of_one_file(store: &dyn JobStore, feed: &str, files: &[(&str, i64)]) -> Vec<JobId> {
    let page: Vec<ListedFile> = files.iter().map(|(key, modified)| listed(key, "v1", *modified)).collect();
    store.register(feed, &page, OnOverwrite::Quarantine, at(0)).await.unwrap();
    let mut jobs = Vec::new();
    for (key, _) in files {
        let found = store.found(feed, None, usize::MAX).await.unwrap();
        let file = found.into_iter().find(|file| file.key == *key).unwrap();
        jobs.push(store.form_job(&draft_of(feed, vec![file])).await.unwrap().unwrap());
    }
    jobs
}

async fn job_of(store: &dyn JobStore, keys: &[&str]) -> JobId {
    let page: Vec<ListedFile> = keys.iter().map(|key| listed(key, "v1", 0)).collect();
    store.register(FEED, &page, OnOverwrite::Quarantine, at(0)).await.unwrap();
    let found = store.found(FEED, None, usize::MAX).await.unwrap();
    store.form_job(&draft_of(FEED, found)).await.unwrap().unwrap()
}

async fn claim(store: &dyn JobStore) -> Claim {
    store.claim(&request(JobOrder::Oldest)).await.unwrap().expect("a runnable job")
}

fn outcome(file: &FileRecord, state: FileState) -> FileOutcome {
    let loaded = state == FileState::Loaded;
    let error = (!loaded).then(|| "record 7 is ragged".to_owned());
    FileOutcome { id: file.id, state, rows_loaded: loaded.then_some(90), rows_rejected: loaded.then_some(10), error }
}

async fn status(store: &dyn JobStore, job: JobId) -> JobStatus {
    store.job(job).await.unwrap().unwrap().status
}

async fn states(store: &dyn JobStore, job: JobId) -> Vec<FileState> {
    store.files_of(job).await.unwrap().iter().map(|file| file.state).collect()
}

// -- set-up --------------------------------------------------------------------------------------------------------

pub async fn migrating_again_changes_nothing(store: &dyn JobStore) {
    assert_eq!(store.version().await.unwrap(), None);
    let ran = store.migrate(Some(at(0))).await.unwrap();
    assert!(!ran.is_empty());
    assert_eq!(store.version().await.unwrap(), Some(loadline::backend::METADATA_VERSION));
    let job = job_of(store, &["a.csv"]).await;
    assert!(store.migrate(Some(at(99))).await.unwrap().is_empty());
    assert_eq!(status(store, job).await, JobStatus::SentForEtl);
}

pub async fn before_set_up_everything_is_refused_with_a_hint(store: &dyn JobStore) {
    let error = store.jobs(&JobFilter::default()).await.unwrap_err();
    assert_eq!((error.exit_code(), error.hint_text()), (2, Some("run `loadline setup`")));
    assert!(store.rescue(&[]).await.is_err());
    assert_eq!(store.version().await.unwrap(), None);
}

pub async fn the_none_row_is_hidden(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    assert!(store.jobs(&JobFilter::default()).await.unwrap().is_empty());
    let filter = JobFilter { status: Some(JobStatus::None), feed: None };
    assert!(store.jobs(&filter).await.unwrap().is_empty());
    assert!(store.job(1).await.unwrap().is_none());
    assert!(store.claim(&request(JobOrder::Oldest)).await.unwrap().is_none());
    assert_eq!(store.watermark("").await.unwrap(), Watermark::default());
}

pub async fn feeds_are_recorded_once_and_sorted(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    store.record_feeds(&["b".to_owned(), "a".to_owned()]).await.unwrap();
    store.scanned("a", at(5), true).await.unwrap();
    store.record_feeds(&["a".to_owned(), "c".to_owned()]).await.unwrap();
    assert_eq!(store.recorded_feeds().await.unwrap(), ["a", "b", "c"]);
    assert_eq!(store.watermark("a").await.unwrap().last_full_listing, Some(at(5)));
}

// -- scanner -------------------------------------------------------------------------------------------------------

pub async fn registering_knows_files_by_key_and_version(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let page = [listed("a.csv", "v1", 0), listed("b.csv", "v1", 1)];
    assert_eq!(store.classify(FEED, &page).await.unwrap(), [Known::New, Known::New]);
    let first = store.register(FEED, &page, OnOverwrite::Quarantine, at(9)).await.unwrap();
    assert_eq!(first, [Known::New; 2]);

    let page = [listed("a.csv", "v2", 50), listed("b.csv", "v1", 1), listed("c.csv", "v1", 2)];
    let expected = [Known::Changed, Known::Same, Known::New];
    assert_eq!(store.classify(FEED, &page).await.unwrap(), expected);
    assert_eq!(store.classify(FEED, &page).await.unwrap(), expected, "classify changed something");
    let again = store.register(FEED, &page, OnOverwrite::Quarantine, at(10)).await.unwrap();
    assert_eq!(again, expected);
    assert_eq!(store.quarantined().await.unwrap().len(), 1);

    // In quarantine a file stays, under whichever version it is listed, and is not counted again.
    assert_eq!(store.classify(FEED, &page).await.unwrap(), [Known::Same; 3]);
    let third = store
        .register(FEED, &[listed("a.csv", "v2", 50), listed("a.csv", "v1", 0)], OnOverwrite::Quarantine, at(11))
        .await
        .unwrap();
    assert_eq!(third, [Known::Same; 2]);
    assert_eq!(store.quarantined().await.unwrap().len(), 1);

    // The same key in another feed is another file.
    let other = store.register("other", &[listed("a.csv", "v2", 50)], OnOverwrite::Quarantine, at(12)).await.unwrap();
    assert_eq!(other, [Known::New]);
    let found = store.found(FEED, None, 10).await.unwrap();
    let keys: Vec<&str> = found.iter().map(|file| file.key.as_str()).collect();
    assert_eq!(keys, ["b.csv", "c.csv"]);
    assert_eq!((found[0].found, found[0].modified, found[0].size), (at(9), at(1), 10));
}

pub async fn a_changed_file_keeps_version_and_load_time_in_quarantine(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a.csv"]).await;
    let held = claim(store).await;
    let outcomes = [outcome(&held.files[0], FileState::Loaded)];
    assert!(store.complete(job, &held.token, &outcomes).await.unwrap());
    store.register(FEED, &[listed("a.csv", "v2", 5)], OnOverwrite::Quarantine, at(20)).await.unwrap();
    let file = &store.files_of(job).await.unwrap()[0];
    assert_eq!((file.state, file.version.as_str()), (FileState::Quarantined, "v1"));
    let error = file.error.as_deref().unwrap();
    assert!(error.contains("after it was loaded") && error.contains("v1") && error.contains("v2"), "{error}");
    assert!(file.loaded_time.is_some());
    assert_eq!(file.rows_loaded, Some(90));
}

pub async fn a_file_quarantined_under_its_job_stays_there(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a.csv"]).await;
    let held = claim(store).await;
    store.register(FEED, &[listed("a.csv", "v2", 5)], OnOverwrite::Quarantine, at(20)).await.unwrap();
    assert!(store.complete(job, &held.token, &[outcome(&held.files[0], FileState::Loaded)]).await.unwrap());
    let file = &store.files_of(job).await.unwrap()[0];
    assert_eq!((file.state, file.rows_loaded), (FileState::Quarantined, Some(90)));
    assert!(file.loaded_time.is_some() && file.error.is_some());
}

pub async fn found_files_come_in_order_and_page_by_page(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    // Key order is that of bytes: `Z` before `a`, and `é` after both.
    let page =
        [listed("é", "v", 2), listed("a", "v", 2), listed("Z", "v", 2), listed("z", "v", 1), listed("b", "v", 3)];
    store.register(FEED, &page, OnOverwrite::Quarantine, at(0)).await.unwrap();
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let found = store.found(FEED, after.as_ref(), 2).await.unwrap();
        let Some(last) = found.last() else { break };
        after = Some(last.clone());
        keys.extend(found.into_iter().map(|file| file.key));
    }
    assert_eq!(keys, ["z", "Z", "a", "é", "b"]);
}

pub async fn times_below_a_microsecond_do_not_trip_the_cursor(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let mut fine = listed("a", "v", 0);
    fine.modified += chrono::Duration::nanoseconds(1_999);
    store.register(FEED, &[fine], OnOverwrite::Quarantine, at(0)).await.unwrap();
    let found = store.found(FEED, None, 10).await.unwrap();
    assert_eq!(found[0].modified, at(0) + chrono::Duration::microseconds(1));
    assert!(store.found(FEED, found.last(), 10).await.unwrap().is_empty());
}

pub async fn forming_a_job_takes_all_of_its_files_or_none(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let page: Vec<ListedFile> = ["a", "b", "c"].iter().map(|key| listed(key, "v", 7)).collect();
    store.register(FEED, &page, OnOverwrite::Quarantine, at(0)).await.unwrap();
    let found = store.found(FEED, None, 10).await.unwrap();
    let first = store.form_job(&draft_of(FEED, found[..1].to_vec())).await.unwrap().unwrap();
    assert_eq!(store.form_job(&draft_of(FEED, found.clone())).await.unwrap(), None);
    assert_eq!(store.jobs(&JobFilter::default()).await.unwrap().len(), 1);
    assert_eq!(store.found(FEED, None, 10).await.unwrap().len(), 2, "a refused job took files");

    let second = store.form_job(&draft_of(FEED, found[1..].to_vec())).await.unwrap().unwrap();
    assert!(second > first);
    let job = store.job(second).await.unwrap().unwrap();
    assert_eq!((job.status, job.attempts, job.total_size_in_bytes), (JobStatus::SentForEtl, 0, 20));
    assert_eq!(job.files, "file:///in/b,file:///in/c");
    assert_eq!(store.watermark(FEED).await.unwrap().newest, Some(at(7)));
    assert_eq!(states(store, second).await, [FileState::InJob; 2]);
}

/// `one` and `two` are the same database.
pub async fn two_scanners_put_every_file_into_exactly_one_job(one: &dyn JobStore, two: &dyn JobStore) {
    one.migrate(None).await.unwrap();
    let page: Vec<ListedFile> = (0..60).map(|i| listed(&format!("{i}.csv"), "v", i)).collect();
    one.register(FEED, &page, OnOverwrite::Quarantine, at(0)).await.unwrap();
    let (first, second) = tokio::join!(form_jobs_of_three(one), form_jobs_of_three(two));
    let mut taken = Vec::new();
    for job in first.into_iter().chain(second) {
        taken.extend(one.files_of(job).await.unwrap().into_iter().map(|file| file.key));
    }
    assert_eq!(taken.len(), 60);
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 60);
    assert_eq!(one.jobs(&JobFilter::default()).await.unwrap().len(), 20);
}

async fn form_jobs_of_three(store: &dyn JobStore) -> Vec<JobId> {
    let mut jobs = Vec::new();
    loop {
        let found = store.found(FEED, None, 3).await.unwrap();
        if found.is_empty() {
            return jobs;
        }
        jobs.extend(store.form_job(&draft_of(FEED, found)).await.unwrap());
    }
}

/// A file in each state, named by it, and whether its job has ended, whether it was loaded.
const STATES: [&str; 11] = [
    "found",
    "in_job",
    "loaded",
    "failed",
    "quarantined_found",
    "quarantined_open",
    "quarantined_open_loaded",
    "quarantined_failed",
    "quarantined_loaded",
    "quarantined_by_worker",
    "unloaded",
];

/// Brings a file into each of [`STATES`]; every version of the registry is `v1` afterwards, the one that is listed `v2`.
async fn file_in_every_state(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let ended = ["loaded", "failed", "quarantined_failed", "quarantined_loaded", "quarantined_by_worker", "unloaded"];
    let job = job_of(store, &ended).await;
    let held = claim(store).await;
    let outcomes: Vec<FileOutcome> = held
        .files
        .iter()
        .map(|file| match file.key.as_str() {
            "failed" | "quarantined_failed" => outcome(file, FileState::Failed),
            "quarantined_by_worker" => {
                FileOutcome { state: FileState::Quarantined, ..outcome(file, FileState::Loaded) }
            }
            _ => outcome(file, FileState::Loaded),
        })
        .collect();
    assert!(store.fail(job, &held.token, &outcomes, "two failed").await.unwrap());
    let unloaded = store.file(FEED, "unloaded").await.unwrap().unwrap();
    assert_eq!(store.revoke(&[unloaded.id]).await.unwrap(), 1);

    // A file can be loaded and in an open job where its job is tried again.
    let open = job_of(store, &["in_job", "quarantined_open", "quarantined_open_loaded"]).await;
    let held = claim(store).await;
    let outcomes = held.files.iter().map(|file| match file.key.as_str() {
        "quarantined_open_loaded" => outcome(file, FileState::Loaded),
        _ => outcome(file, FileState::Failed),
    });
    assert!(store.fail(open, &held.token, &outcomes.collect::<Vec<_>>(), "two failed").await.unwrap());
    assert!(store.retry(open, &[]).await.unwrap());

    store
        .register(
            FEED,
            &[listed("found", "v1", 0), listed("quarantined_found", "v1", 0)],
            OnOverwrite::Quarantine,
            at(0),
        )
        .await
        .unwrap();
    let changed: Vec<ListedFile> = STATES
        .iter()
        .filter(|key| key.starts_with("quarantined") && **key != "quarantined_by_worker")
        .map(|key| listed(key, "v2", 5))
        .collect();
    assert_eq!(
        store.register(FEED, &changed, OnOverwrite::Quarantine, at(1)).await.unwrap(),
        vec![Known::Changed; changed.len()]
    );
}

/// The matrix of [`JobStore::register`], each cell: what a file in each of [`STATES`] becomes, and what it is called.
pub async fn a_changed_file_becomes_what_the_policy_says(store: &dyn JobStore, policy: OnOverwrite) {
    use FileState::{Failed, Found, InJob, Loaded, Quarantined, Unloaded};
    use Known::{Changed, Kept, Renewed, Same};
    file_in_every_state(store).await;
    let quarantined = [(Quarantined, Same); 6];
    let expected: Vec<(FileState, Known)> = match policy {
        OnOverwrite::Quarantine => {
            [vec![(Quarantined, Changed); 4], quarantined.to_vec(), vec![(Unloaded, Same)]].concat()
        }
        OnOverwrite::Reload => vec![
            (Found, Renewed),
            (Quarantined, Changed),
            (Found, Renewed),
            (Found, Renewed),
            (Found, Renewed),
            (Quarantined, Same),
            (Quarantined, Same),
            (Found, Renewed),
            (Found, Renewed),
            (Found, Renewed),
            (Unloaded, Same),
        ],
        OnOverwrite::Ignore => vec![
            (Found, Renewed),
            (Quarantined, Changed),
            (Loaded, Kept),
            (Quarantined, Changed),
            (Found, Renewed),
            (Quarantined, Same),
            (Quarantined, Same),
            (Quarantined, Same),
            (Quarantined, Same),
            (Quarantined, Same),
            (Unloaded, Same),
        ],
    };
    let before = files(store, &STATES).await;
    let state = |key: &str| before[STATES.iter().position(|name| *name == key).unwrap()].state;
    assert_eq!([state("found"), state("in_job"), state("loaded"), state("failed")], [Found, InJob, Loaded, Failed]);

    let page: Vec<ListedFile> = STATES.iter().map(|key| ListedFile { size: 77, ..listed(key, "v2", 50) }).collect();
    let known = store.register(FEED, &page, policy, at(60)).await.unwrap();
    let after = files(store, &STATES).await;
    for (((key, was), is), (known, expected)) in STATES.iter().zip(&before).zip(&after).zip(known.iter().zip(&expected))
    {
        assert_eq!((is.state, *known), *expected, "{key}");
        if *known == Known::Renewed {
            assert_eq!((is.version.as_str(), is.size, is.modified, is.job_id), ("v2", 77, at(50), None), "{key}");
            assert_eq!(
                (is.rows_loaded, is.rows_rejected, &is.error, is.loaded_time),
                (None, None, &None, None),
                "{key}"
            );
        } else {
            let same = |file: &FileRecord| (file.version.clone(), file.job_id, file.rows_loaded, file.loaded_time);
            assert_eq!(same(is), same(was), "{key}");
        }
    }
    let again = store.register(FEED, &page, policy, at(70)).await.unwrap();
    let settled: Vec<Known> = known.iter().map(|known| if *known == Kept { Kept } else { Same }).collect();
    assert_eq!(again, settled, "a second scan finds something new");

    // Whoever left a job is not summed up there any more.
    for job in store.jobs(&JobFilter { status: Some(JobStatus::Failed), feed: None }).await.unwrap() {
        let rows: u64 = store.files_of(job.id).await.unwrap().iter().filter_map(|file| file.rows_loaded).sum();
        assert_eq!(job.rows_loaded, Some(rows));
    }
}

/// The records of these keys.
async fn files(store: &dyn JobStore, keys: &[&str]) -> Vec<FileRecord> {
    let mut files = Vec::with_capacity(keys.len());
    for key in keys {
        files.push(store.file(FEED, key).await.unwrap().unwrap_or_else(|| panic!("{key} is not known")));
    }
    files
}

/// Overwritten and put back: nothing but the quarantine is left, and that ends under the same policies.
pub async fn a_file_that_is_as_it_was_leaves_quarantine_only_by_policy(store: &dyn JobStore, policy: OnOverwrite) {
    file_in_every_state(store).await;
    let page: Vec<ListedFile> = STATES.iter().map(|key| listed(key, "v1", 0)).collect();
    let known = store.register(FEED, &page, policy, at(60)).await.unwrap();
    let renewed: Vec<&str> =
        STATES.iter().zip(&known).filter(|(_, known)| **known == Known::Renewed).map(|(key, _)| *key).collect();
    let expected: &[&str] = match policy {
        OnOverwrite::Quarantine => &[],
        OnOverwrite::Reload => {
            &["quarantined_found", "quarantined_failed", "quarantined_loaded", "quarantined_by_worker"]
        }
        OnOverwrite::Ignore => &["quarantined_found"],
    };
    assert_eq!(renewed, expected);
    assert!(known.iter().all(|known| matches!(known, Known::Renewed | Known::Same)), "{known:?}");
    for file in files(store, &renewed).await {
        assert_eq!((file.state, file.version.as_str(), file.job_id), (FileState::Found, "v1", None));
    }
}

// -- worker --------------------------------------------------------------------------------------------------------

/// `one` and `two` are the same database.
pub async fn two_workers_share_no_job_and_leave_none(one: &dyn JobStore, two: &dyn JobStore) {
    one.migrate(None).await.unwrap();
    let keys: Vec<String> = (0..200).map(|i| format!("{i}.csv")).collect();
    let files: Vec<(&str, i64)> = keys.iter().zip(0..).map(|(key, modified)| (key.as_str(), modified)).collect();
    jobs_of_one_file(one, FEED, &files).await;
    let (first, second) = tokio::join!(claim_all(one), claim_all(two));
    assert_eq!(first.len() + second.len(), 200);
    let ids: BTreeSet<JobId> = first.iter().chain(&second).map(|claim| claim.job.id).collect();
    let tokens: BTreeSet<&str> = first.iter().chain(&second).map(|claim| claim.token.0.as_str()).collect();
    assert_eq!((ids.len(), tokens.len()), (200, 200));
}

async fn claim_all(store: &dyn JobStore) -> Vec<Claim> {
    let mut claims = Vec::new();
    while let Some(claim) = store.claim(&request(JobOrder::Oldest)).await.unwrap() {
        claims.push(claim);
    }
    claims
}

pub async fn claims_follow_the_order_and_the_feed(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let jobs = jobs_of_one_file(store, FEED, &[("late", 9), ("early", 1), ("early too", 1)]).await;
    let other = jobs_of_one_file(store, "other", &[("x", 0)]).await;

    let newest = store.claim(&request(JobOrder::Newest)).await.unwrap().unwrap();
    assert_eq!(newest.job.id, jobs[0]);
    let of_other = ClaimRequest { feed: Some("other".to_owned()), ..request(JobOrder::Newest) };
    assert_eq!(store.claim(&of_other).await.unwrap().unwrap().job.id, other[0]);
    assert!(store.claim(&of_other).await.unwrap().is_none());
    let newest = store.claim(&request(JobOrder::Newest)).await.unwrap().unwrap();
    assert_eq!(newest.job.id, jobs[2], "equal times go by id");
    let last = claim(store).await;
    assert_eq!((last.job.id, last.job.status, last.job.attempts), (jobs[1], JobStatus::Processing, 1));
    assert_eq!(last.job.lease_owner.as_deref(), Some("host:1:0"));
    assert!(last.job.started_time.is_some() && last.job.lease_until.is_some());
    assert_eq!(last.files.len(), 1);
    assert_eq!(last.files[0].key, "early");
}

pub async fn a_postponed_job_waits_and_keeps_its_attempts(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a"]).await;
    let held = claim(store).await;
    assert!(store.postpone(job, &held.token, Duration::from_secs(600), true, "the source is away").await.unwrap());
    assert!(store.claim(&request(JobOrder::Oldest)).await.unwrap().is_none());
    let waiting = store.job(job).await.unwrap().unwrap();
    assert_eq!((waiting.status, waiting.attempts), (JobStatus::SentForEtl, 1));
    assert!(waiting.run_after > waiting.created_time + chrono::Duration::seconds(500));
    assert_eq!(waiting.failure_msg.as_deref(), Some("the source is away"));
    assert!(!store.postpone(job, &held.token, Duration::ZERO, true, "").await.unwrap(), "an old token postponed a job");
}

pub async fn a_postponed_job_comes_back_with_the_next_attempt(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a"]).await;
    let first = claim(store).await;
    assert!(store.postpone(job, &first.token, Duration::ZERO, true, "busy").await.unwrap());
    let waiting = store.job(job).await.unwrap().unwrap();
    assert!(waiting.run_after <= waiting.created_time, "a clock that is ahead hides a job that need not wait");
    let second = claim(store).await;
    assert_eq!((second.job.id, second.job.attempts), (job, 2));
    assert_eq!(second.job.started_time, first.job.started_time, "started_time is that of the first claim");
    // An outage is not the job's fault.
    assert!(store.postpone(job, &second.token, Duration::ZERO, false, "the source is away").await.unwrap());
    let second = claim(store).await;
    assert_eq!(second.job.attempts, 2);
    assert!(store.complete(job, &second.token, &[]).await.unwrap());
    assert_eq!(store.job(job).await.unwrap().unwrap().failure_msg, None);
}

pub async fn completing_records_files_and_sums(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a", "b"]).await;
    let held = claim(store).await;
    assert!(store.confirm(job, &held.token, LEASE).await.unwrap());
    let outcomes: Vec<FileOutcome> = held.files.iter().map(|file| outcome(file, FileState::Loaded)).collect();
    assert!(store.complete(job, &held.token, &outcomes).await.unwrap());
    let done = store.job(job).await.unwrap().unwrap();
    assert_eq!((done.status, done.rows_loaded, done.rows_rejected), (JobStatus::Loaded, Some(180), Some(20)));
    assert!(done.finished_time.is_some() && done.lease_owner.is_none() && done.lease_until.is_none());
    for file in store.files_of(job).await.unwrap() {
        assert_eq!((file.state, file.rows_loaded, file.rows_rejected), (FileState::Loaded, Some(90), Some(10)));
        assert!(file.loaded_time.is_some());
    }
    assert!(!store.confirm(job, &held.token, LEASE).await.unwrap(), "a job that ended was confirmed");
}

pub async fn failing_keeps_what_was_loaded(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a", "b", "c"]).await;
    let held = claim(store).await;
    let [a, b, c] = held.files.as_slice() else { panic!("three files") };
    let outcomes = [outcome(a, FileState::Loaded), outcome(b, FileState::Failed), outcome(c, FileState::InJob)];
    assert!(store.fail(job, &held.token, &outcomes, "b: record 7 is ragged").await.unwrap());
    let failed = store.job(job).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.rows_loaded), (JobStatus::Failed, Some(90)));
    assert_eq!(failed.failure_msg.as_deref(), Some("b: record 7 is ragged"));
    assert_eq!(states(store, job).await, [FileState::Loaded, FileState::Failed, FileState::InJob]);
    let files = store.files_of(job).await.unwrap();
    assert_eq!(files[1].error.as_deref(), Some("record 7 is ragged"));
    assert!(files[1].loaded_time.is_none());

    // FAILED under this very version stays; a new version goes into quarantine.
    assert_eq!(
        store.register(FEED, &[listed("b", "v1", 0)], OnOverwrite::Quarantine, at(1)).await.unwrap(),
        [Known::Same]
    );
    assert_eq!(states(store, job).await[1], FileState::Failed);
}

pub async fn an_old_token_changes_nothing(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a"]).await;
    let held = claim(store).await;
    let before = format!("{:?} {:?}", store.job(job).await.unwrap(), store.files_of(job).await.unwrap());
    let other = ClaimToken::random();
    let outcomes = [outcome(&held.files[0], FileState::Loaded)];
    assert!(!store.confirm(job, &other, LEASE).await.unwrap());
    assert!(!store.complete(job, &other, &outcomes).await.unwrap());
    assert!(!store.fail(job, &other, &outcomes, "no").await.unwrap());
    assert!(!store.postpone(job, &other, LEASE, true, "no").await.unwrap());
    assert!(!store.confirm(job + 1, &held.token, LEASE).await.unwrap());
    let after = format!("{:?} {:?}", store.job(job).await.unwrap(), store.files_of(job).await.unwrap());
    assert_eq!(before, after);
    assert!(store.confirm(job, &held.token, LEASE).await.unwrap());
}

pub async fn a_rescued_job_gets_a_new_token_and_the_old_is_dead(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a"]).await;
    let no_lease = ClaimRequest { lease: Duration::ZERO, ..request(JobOrder::Oldest) };
    let frozen = store.claim(&no_lease).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.rescue(&[]).await.unwrap(), 1);
    assert_eq!(store.rescue(&[]).await.unwrap(), 0);
    assert!(!store.confirm(job, &frozen.token, LEASE).await.unwrap());
    let held = claim(store).await;
    assert_eq!((held.job.id, held.job.attempts, held.job.expiries), (job, 1, 1), "a death is no attempt");
    assert_ne!(held.token, frozen.token);
    assert_eq!(store.rescue(&[]).await.unwrap(), 0, "a lease that runs was rescued");
    assert!(!store.complete(job, &frozen.token, &[outcome(&frozen.files[0], FileState::Loaded)]).await.unwrap());
    assert!(!store.fail(job, &frozen.token, &[], "woke up").await.unwrap());
    assert_eq!((status(store, job).await, states(store, job).await), (JobStatus::Processing, vec![FileState::InJob]));
}

pub async fn the_job_of_a_dead_owner_is_rescued_before_its_lease_ends(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a"]).await;
    let frozen = claim(store).await;
    let owner = frozen.job.lease_owner.clone().unwrap();
    assert_eq!(store.owners().await.unwrap(), std::slice::from_ref(&owner));
    assert_eq!(store.rescue(&["somebody else".to_owned()]).await.unwrap(), 0);
    assert_eq!(store.rescue(&[owner]).await.unwrap(), 1);
    assert!(store.owners().await.unwrap().is_empty());
    assert!(!store.confirm(job, &frozen.token, LEASE).await.unwrap());

    // Deaths are forgotten where a person sends the job back.
    let held = claim(store).await;
    let outcomes = [outcome(&held.files[0], FileState::Failed)];
    assert!(store.fail(job, &held.token, &outcomes, "its worker died").await.unwrap());
    assert_eq!(store.job(job).await.unwrap().unwrap().expiries, 1);
    assert!(store.retry(job, &[]).await.unwrap());
    assert_eq!(store.job(job).await.unwrap().unwrap().expiries, 0);
}

/// Found, and rewritten before a job took it.
pub async fn a_quarantined_file_of_no_job_can_be_released(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    store.register(FEED, &[listed("a", "v1", 0), listed("b", "v1", 0)], OnOverwrite::Quarantine, at(1)).await.unwrap();
    store.register(FEED, &[listed("a", "v2", 5)], OnOverwrite::Quarantine, at(2)).await.unwrap();
    let quarantined = store.quarantined().await.unwrap();
    assert_eq!(quarantined.iter().map(|file| file.key.as_str()).collect::<Vec<_>>(), ["a"]);
    let now = Replacement { id: quarantined[0].id, version: "v3".to_owned(), size: 7, modified: at(6) };
    let other = Replacement { id: now.id + 1, ..now.clone() };
    assert_eq!(store.release(&[now, other]).await.unwrap(), 1, "a file that was not in quarantine was released");
    assert_eq!(
        store.register(FEED, &[listed("a", "v3", 6)], OnOverwrite::Quarantine, at(7)).await.unwrap(),
        [Known::Same]
    );
    assert_eq!(store.found(FEED, None, 9).await.unwrap().len(), 2);
}

// -- people --------------------------------------------------------------------------------------------------------

pub async fn retry_takes_what_is_missing_under_its_new_version(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a", "b", "c"]).await;
    assert!(!store.retry(job, &[]).await.unwrap(), "a job that is not FAILED was retried");
    let held = claim(store).await;
    let [a, b, c] = held.files.as_slice() else { panic!("three files") };
    let outcomes = [outcome(a, FileState::Loaded), outcome(b, FileState::Failed), outcome(c, FileState::Failed)];
    assert!(store.fail(job, &held.token, &outcomes, "b and c").await.unwrap());
    // Seen by a scan meanwhile: a was loaded and stays in quarantine, b never was and may be retried.
    store.register(FEED, &[listed("a", "v2", 1), listed("b", "v2", 1)], OnOverwrite::Quarantine, at(1)).await.unwrap();
    assert_eq!(store.quarantined().await.unwrap().len(), 2);

    let replaced = |id| Replacement { id, version: "v2".to_owned(), size: 99, modified: at(1) };
    assert!(store.retry(job, &[replaced(a.id), replaced(b.id)]).await.unwrap());
    let retried = store.job(job).await.unwrap().unwrap();
    assert_eq!((retried.status, retried.attempts, retried.failure_msg), (JobStatus::SentForEtl, 0, None));
    assert_eq!(retried.finished_time, None);
    assert_eq!(states(store, job).await, [FileState::Quarantined, FileState::InJob, FileState::InJob]);
    let files = store.files_of(job).await.unwrap();
    let versions: Vec<(&str, u64)> = files.iter().map(|file| (file.version.as_str(), file.size)).collect();
    assert_eq!(versions, [("v1", 10), ("v2", 99), ("v1", 10)]);
    assert_eq!(files[1].error, None);

    let again = claim(store).await;
    let outcomes = [outcome(b, FileState::Loaded), outcome(c, FileState::Loaded)];
    assert!(store.complete(job, &again.token, &outcomes).await.unwrap());
    let done = store.job(job).await.unwrap().unwrap();
    assert_eq!(done.rows_loaded, Some(270), "the sum is over all files of the job, whichever attempt loaded them");
}

pub async fn jobs_are_listed_by_status_and_feed(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let loans = jobs_of_one_file(store, FEED, &[("a", 0), ("b", 1)]).await;
    let other = jobs_of_one_file(store, "other", &[("a", 2)]).await;
    claim(store).await;
    let ids = async |status, feed: Option<&str>| {
        let filter = JobFilter { status, feed: feed.map(str::to_owned) };
        store.jobs(&filter).await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None).await, [loans[0], loans[1], other[0]]);
    assert_eq!(ids(None, Some("other")).await, [other[0]]);
    assert_eq!(ids(Some(JobStatus::Processing), None).await, [loans[0]]);
    assert_eq!(ids(Some(JobStatus::SentForEtl), Some(FEED)).await, [loans[1]]);
}

// -- unloading -----------------------------------------------------------------------------------------------------

/// A job of the keys, with every file loaded.
async fn loaded_job(store: &dyn JobStore, keys: &[&str]) -> JobId {
    let job = job_of(store, keys).await;
    let held = claim(store).await;
    assert_eq!(held.job.id, job);
    let outcomes: Vec<FileOutcome> = held.files.iter().map(|file| outcome(file, FileState::Loaded)).collect();
    assert!(store.complete(job, &held.token, &outcomes).await.unwrap());
    job
}

pub async fn one_file_is_found_by_feed_and_key(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    store.register(FEED, &[listed("a, ü.csv", "v1", 3)], OnOverwrite::Quarantine, at(4)).await.unwrap();
    let file = store.file(FEED, "a, ü.csv").await.unwrap().unwrap();
    assert_eq!(
        (file.key.as_str(), file.version.as_str(), file.modified, file.found_time),
        ("a, ü.csv", "v1", at(3), at(4))
    );
    assert_eq!((file.state, file.job_id), (FileState::Found, None));
    assert_eq!(store.file("other", "a, ü.csv").await.unwrap(), None);
    assert_eq!(store.file(FEED, "A, ü.csv").await.unwrap(), None);
}

pub async fn loaded_files_come_by_selection_and_page_by_page(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let hours = [0, 1, 1, 2, 5].map(|hour| hour * 3600);
    let page: Vec<ListedFile> = ["a", "b", "c", "d", "e"]
        .iter()
        .zip(hours)
        .map(|(key, hour)| ListedFile { hour: at(hour), ..listed(key, "v1", 0) })
        .collect();
    store.register(FEED, &page, OnOverwrite::Quarantine, at(0)).await.unwrap();
    let job = store.form_job(&draft_of(FEED, store.found(FEED, None, 9).await.unwrap())).await.unwrap().unwrap();
    let all = Selection::Hours { feed: FEED.to_owned(), from: at(0), to: at(86_400) };
    assert!(store.loaded_files(&all, 0, 9).await.unwrap().is_empty(), "nothing is loaded yet");
    let held = claim(store).await;
    let outcomes: Vec<FileOutcome> = held
        .files
        .iter()
        .map(|file| outcome(file, if file.key == "d" { FileState::Failed } else { FileState::Loaded }))
        .collect();
    assert!(store.fail(job, &held.token, &outcomes, "d").await.unwrap());
    jobs_of_one_file(store, FEED, &[("waiting", 9)]).await;
    jobs_of_one_file(store, "other", &[("a", 9)]).await;
    // Loaded once, whatever is listed or done since.
    store.register(FEED, &[listed("b", "v2", 9)], OnOverwrite::Quarantine, at(9)).await.unwrap();
    let e = store.file(FEED, "e").await.unwrap().unwrap();
    store.revoke(&[e.id]).await.unwrap();

    let keys = async |of: &Selection, limit: usize| {
        let (mut keys, mut after) = (Vec::new(), 0);
        loop {
            let page = store.loaded_files(of, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { return keys };
            after = last.id;
            keys.extend(page.into_iter().map(|file| file.key));
        }
    };
    for limit in [1, 2, 9] {
        assert_eq!(keys(&all, limit).await, ["a", "b", "c", "e"]);
        assert_eq!(keys(&Selection::Job(job), limit).await, ["a", "b", "c", "e"]);
    }
    let hour_one = Selection::Hours { feed: FEED.to_owned(), from: at(3600), to: at(7200) };
    assert_eq!(keys(&hour_one, 9).await, ["b", "c"]);
    let file = |feed: &str, key: &str| Selection::File { feed: feed.to_owned(), key: key.to_owned() };
    assert_eq!(keys(&file(FEED, "b"), 9).await, ["b"]);
    for of in [file(FEED, "d"), file("other", "a"), file(FEED, "unheard of"), Selection::Job(job + 1)] {
        assert!(keys(&of, 9).await.is_empty(), "{of:?}");
    }
}

pub async fn revoking_takes_loaded_files_only_and_sums_up_their_jobs(store: &dyn JobStore) {
    file_in_every_state(store).await;
    let before = files(store, &STATES).await;
    let ids: Vec<i64> = before.iter().map(|file| file.id).collect();
    let loaded = ["loaded", "quarantined_open_loaded", "quarantined_loaded", "quarantined_by_worker"];
    assert_eq!(store.revoke(&ids).await.unwrap(), loaded.len() as u64);
    assert_eq!(store.revoke(&ids).await.unwrap(), 0, "a file was unloaded twice");
    for (was, is) in before.iter().zip(files(store, &STATES).await) {
        if loaded.contains(&is.key.as_str()) {
            assert_eq!((is.state, is.job_id), (FileState::Unloaded, was.job_id));
            assert_eq!((is.rows_loaded, is.rows_rejected, is.error, is.loaded_time), (None, None, None, None));
            assert_eq!(is.version, was.version);
        } else {
            assert_eq!(is, *was);
        }
    }
    let failed = store.jobs(&JobFilter { status: Some(JobStatus::Failed), feed: None }).await.unwrap();
    assert_eq!((failed[0].rows_loaded, failed[0].rows_rejected), (Some(0), Some(0)));
}

pub async fn a_loaded_job_is_retried_for_its_unloaded_files(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = loaded_job(store, &["a", "b"]).await;
    assert!(!store.retry(job, &[]).await.unwrap(), "nothing of it is missing");
    let [a, b] = store.files_of(job).await.unwrap().try_into().unwrap();
    assert_eq!(store.revoke(&[a.id]).await.unwrap(), 1);
    let unloaded = store.job(job).await.unwrap().unwrap();
    assert_eq!(
        (unloaded.status, unloaded.rows_loaded, unloaded.rows_rejected),
        (JobStatus::Loaded, Some(90), Some(10))
    );
    assert!(store.claim(&request(JobOrder::Oldest)).await.unwrap().is_none());

    let replaced = |id| Replacement { id, version: "v2".to_owned(), size: 99, modified: at(1) };
    assert!(store.retry(job, &[replaced(a.id), replaced(b.id)]).await.unwrap());
    let held = claim(store).await;
    assert_eq!((held.job.attempts, held.job.expiries), (1, 0));
    let picture: Vec<(FileState, &str)> = held.files.iter().map(|file| (file.state, file.version.as_str())).collect();
    assert_eq!(picture, [(FileState::InJob, "v2"), (FileState::Loaded, "v1")]);
    assert!(store.complete(job, &held.token, &[outcome(&a, FileState::Loaded)]).await.unwrap());
    assert_eq!(store.job(job).await.unwrap().unwrap().rows_loaded, Some(180));
}

pub async fn an_unloaded_file_can_be_released_from_its_job(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = loaded_job(store, &["a", "b"]).await;
    let [a, b] = store.files_of(job).await.unwrap().try_into().unwrap();
    store.revoke(&[a.id]).await.unwrap();
    let now = |id| Replacement { id, version: "v2".to_owned(), size: 99, modified: at(1) };
    assert_eq!(store.release(&[now(a.id), now(b.id)]).await.unwrap(), 1, "a loaded file was released");
    let released = store.file(FEED, "a").await.unwrap().unwrap();
    assert_eq!((released.state, released.version.as_str(), released.job_id), (FileState::Found, "v2", None));
    assert!(!store.retry(job, &[]).await.unwrap(), "nothing of it is missing any more");
    assert_eq!(store.job(job).await.unwrap().unwrap().rows_loaded, Some(90));
    let next = store.form_job(&draft_of(FEED, store.found(FEED, None, 9).await.unwrap())).await.unwrap().unwrap();
    assert_eq!(store.files_of(next).await.unwrap().len(), 1);
}

/// The ledger says that a person has unloaded the file: that ends its job, also where a scan has set the file aside.
pub async fn a_job_ends_loaded_with_files_that_are_unloaded(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a", "b", "c"]).await;
    let held = claim(store).await;
    store.register(FEED, &[listed("b", "v2", 5)], OnOverwrite::Quarantine, at(9)).await.unwrap();
    let unloaded = |file| FileOutcome { error: None, ..outcome(file, FileState::Unloaded) };
    let [a, b, c] = held.files.as_slice() else { panic!("three files") };
    let outcomes = [unloaded(a), unloaded(b), outcome(c, FileState::Loaded)];
    assert!(store.complete(job, &held.token, &outcomes).await.unwrap());
    let ended = store.job(job).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.rows_loaded), (JobStatus::Loaded, Some(90)));
    assert_eq!(states(store, job).await, [FileState::Unloaded, FileState::Unloaded, FileState::Loaded]);
    let files = store.files_of(job).await.unwrap();
    assert!(files[..2].iter().all(|file| file.loaded_time.is_none() && file.error.is_none()));
    assert!(store.retry(job, &[]).await.unwrap());
}

/// Rows of another version are loaded: the file counts as loaded, so that it can be unloaded and is not tried again.
pub async fn a_file_quarantined_by_the_worker_counts_as_loaded(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let job = job_of(store, &["a"]).await;
    let held = claim(store).await;
    let of_old = FileOutcome { state: FileState::Quarantined, ..outcome(&held.files[0], FileState::Loaded) };
    assert!(store.fail(job, &held.token, &[of_old], "rows of another version").await.unwrap());
    let file = store.file(FEED, "a").await.unwrap().unwrap();
    assert_eq!((file.state, file.rows_loaded, file.loaded_time.is_some()), (FileState::Quarantined, Some(90), true));
    assert_eq!(store.job(job).await.unwrap().unwrap().rows_loaded, Some(90));
    assert_eq!(store.loaded_files(&Selection::Job(job), 0, 9).await.unwrap().len(), 1);
    assert_eq!(store.revoke(&[file.id]).await.unwrap(), 1);
    assert!(store.retry(job, &[]).await.unwrap());
    assert_eq!(states(store, job).await, [FileState::InJob]);
}

/// Files of a feed in every state that a first load knows.
pub async fn the_overview_counts_what_stands_where(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    store.record_feeds(&["quiet".to_owned(), FEED.to_owned()]).await.unwrap();
    assert!(store.overview().await.unwrap().iter().all(|feed| feed.files.is_empty() && feed.jobs.is_empty()));
    store.scanned(FEED, at(50), true).await.unwrap();
    store.scanned(FEED, at(60), false).await.unwrap();

    let hour = |key: &str, hour: i64| ListedFile { hour: at(hour * 3600), ..listed(key, "v1", hour) };
    store.register(FEED, &[hour("a", 1), hour("b", 2), hour("c", 9)], OnOverwrite::Quarantine, at(10)).await.unwrap();
    let found = store.found(FEED, None, 9).await.unwrap();
    for pair in [&found[..2], &found[2..]] {
        store.form_job(&draft_of(FEED, pair.to_vec())).await.unwrap().unwrap();
    }
    let first = claim(store).await;
    let outcomes = [outcome(&first.files[0], FileState::Loaded), outcome(&first.files[1], FileState::Failed)];
    assert!(store.fail(first.job.id, &first.token, &outcomes, "b").await.unwrap());
    store.register(FEED, &[hour("d", 5), hour("e", 3)], OnOverwrite::Quarantine, at(20)).await.unwrap();
    store.register(FEED, &[listed("e", "v2", 0)], OnOverwrite::Quarantine, at(21)).await.unwrap();

    let overview = store.overview().await.unwrap();
    let [loans, quiet] = overview.as_slice() else { panic!("{overview:?}") };
    assert_eq!((loans.feed.as_str(), quiet.feed.as_str(), quiet.last_scan), (FEED, "quiet", None));
    assert_eq!((loans.last_scan, loans.last_full_listing), (Some(at(60)), Some(at(50))));
    // c is IN_JOB, d is FOUND.
    assert_eq!((loans.backlog_files, loans.backlog_bytes), (2, 20));
    assert_eq!((loans.oldest_unloaded_hour, loans.oldest_found), (Some(at(5 * 3600)), Some(at(10))));
    assert_eq!(loans.newest_loaded_hour, Some(at(3600)));
    let loaded = store.file(FEED, "a").await.unwrap().unwrap().loaded_time;
    assert!(loaded.is_some() && loans.last_loaded == loaded);
    let mut files: Vec<_> = loans.files.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    files.sort_unstable();
    assert_eq!(files, [("FAILED", 1), ("FOUND", 1), ("IN_JOB", 1), ("LOADED", 1), ("QUARANTINED", 1)]);
    let mut jobs: Vec<_> = loans.jobs.iter().map(|(status, count)| (status.as_str(), *count)).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, [("FAILED", 1), ("SENT_FOR_ETL", 1)]);

    // Rows that stay in the table count, also where the file has changed since.
    store.register(FEED, &[listed("a", "v2", 9)], OnOverwrite::Quarantine, at(30)).await.unwrap();
    let overview = store.overview().await.unwrap();
    assert_eq!((overview[0].newest_loaded_hour, overview[0].last_loaded), (Some(at(3600)), loaded));
}

/// The watermark and the files outlive the jobs; jobs that did not end well stay.
pub async fn old_loaded_jobs_are_pruned_and_their_files_stay(store: &dyn JobStore) {
    store.migrate(None).await.unwrap();
    let jobs = jobs_of_one_file(store, FEED, &[("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 4)]).await;
    let failed = claim(store).await;
    assert!(
        store.fail(failed.job.id, &failed.token, &[outcome(&failed.files[0], FileState::Failed)], "a").await.unwrap()
    );
    for _ in 1..jobs.len() {
        let held = claim(store).await;
        let outcomes = [outcome(&held.files[0], FileState::Loaded)];
        assert!(store.complete(held.job.id, &held.token, &outcomes).await.unwrap());
    }
    let watermark = store.watermark(FEED).await.unwrap();
    let ended = store.job(jobs[1]).await.unwrap().unwrap().finished_time.unwrap();
    assert_eq!(store.prune_jobs(ended, 100).await.unwrap(), 0, "a job that did not finish before was deleted");

    let later = ended + Duration::from_secs(3600);
    assert_eq!(store.prune_jobs(later, 2).await.unwrap(), 2);
    assert_eq!(store.prune_jobs(later, 2).await.unwrap(), 1);
    assert_eq!(store.prune_jobs(later, 2).await.unwrap(), 0);
    let left: Vec<JobId> = store.jobs(&JobFilter::default()).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(left, [jobs[0], jobs[4]], "the failed job, and that of the watermark");
    assert_eq!(store.watermark(FEED).await.unwrap(), watermark);
    let file = store.file(FEED, "b").await.unwrap().unwrap();
    assert_eq!((file.state, file.job_id, file.rows_loaded), (FileState::Loaded, None, Some(90)));
    let again = store.register(FEED, &[listed("b", "v1", 1)], OnOverwrite::Quarantine, at(9)).await.unwrap();
    assert_eq!(again, [Known::Same]);
}

// -- audit and repair ----------------------------------------------------------------------------------------------

pub async fn the_registry_of_a_feed_comes_page_by_page(store: &dyn JobStore) {
    file_in_every_state(store).await;
    store.register("other", &[listed("loaded", "v1", 0)], OnOverwrite::Quarantine, at(0)).await.unwrap();
    let mut all = Vec::new();
    for limit in [1, 4, 1000] {
        let (mut pages, mut after) = (Vec::new(), 0);
        loop {
            let page = store.registry(FEED, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.id;
            pages.extend(page);
        }
        assert!(all.is_empty() || pages == all, "in pages of {limit}");
        all = pages;
    }
    assert!(all.is_sorted_by_key(|file| file.id));
    let mut by_key = files(store, &STATES).await;
    by_key.sort_by_key(|file| file.id);
    assert_eq!(all, by_key);
}

fn restored(key: &str, state: FileState) -> Restored {
    let loaded = state != FileState::Unloaded;
    Restored {
        key: key.to_owned(),
        version: "v9".to_owned(),
        size: 77,
        modified: at(3),
        hour: at(0),
        state,
        rows_loaded: loaded.then_some(90),
        rows_rejected: loaded.then_some(10),
        error: (state == FileState::Quarantined).then(|| "changed".to_owned()),
        found_time: at(4),
        loaded_time: loaded.then(|| at(5)),
    }
}

pub async fn restoring_adds_what_is_not_known_and_leaves_the_rest(store: &dyn JobStore) {
    file_in_every_state(store).await;
    let before = files(store, &STATES).await;
    let new = [
        ("new, ü", FileState::Loaded),
        ("new quarantined", FileState::Quarantined),
        ("new unloaded", FileState::Unloaded),
    ];
    let mut page: Vec<Restored> = STATES.iter().map(|key| restored(key, FileState::Loaded)).collect();
    page.extend(new.map(|(key, state)| restored(key, state)));
    assert_eq!(store.restore(FEED, &page).await.unwrap(), 3);
    assert_eq!(files(store, &STATES).await, before, "a known file was changed");
    for (key, state) in new {
        let (is, given) = (store.file(FEED, key).await.unwrap().unwrap(), restored(key, state));
        assert_eq!((is.state, is.version, is.size, is.job_id), (state, given.version, given.size, None));
        assert_eq!((is.modified, is.hour, is.found_time), (given.modified, given.hour, given.found_time));
        assert_eq!((is.rows_loaded, is.rows_rejected), (given.rows_loaded, given.rows_rejected));
        assert_eq!((is.error, is.loaded_time), (given.error, given.loaded_time));
    }
    assert_eq!(store.restore(FEED, &page).await.unwrap(), 0, "restored twice");
    assert_eq!(store.restore(FEED, &[]).await.unwrap(), 0);
    assert_eq!(store.restore("other", &page[..1]).await.unwrap(), 1, "the same key of another feed is another file");
    // A restored file is what a loaded one is to a scan.
    let listed =
        [ListedFile { version: "v9".to_owned(), ..listed("new, ü", "v9", 3) }, listed("new unloaded", "v10", 9)];
    let known = store.register(FEED, &listed, OnOverwrite::Quarantine, at(9)).await.unwrap();
    assert_eq!(known, [Known::Same; 2]);
}

pub async fn restored_and_registered_at_once_a_file_is_there_once(one: &dyn JobStore, two: &dyn JobStore) {
    one.migrate(None).await.unwrap();
    let keys: Vec<String> = (0..300).map(|number| format!("{number}.csv")).collect();
    let found: Vec<ListedFile> = keys.iter().map(|key| listed(key, "v1", 0)).collect();
    let loaded: Vec<Restored> = keys.iter().rev().map(|key| restored(key, FileState::Loaded)).collect();
    let registering = async {
        let mut new = 0;
        for page in found.chunks(30) {
            let known = one.register(FEED, page, OnOverwrite::Ignore, at(0)).await.unwrap();
            new += known.iter().filter(|known| **known == Known::New).count() as u64;
        }
        new
    };
    let restoring = async {
        let mut restored = 0;
        for page in loaded.chunks(30) {
            restored += two.restore(FEED, page).await.unwrap();
        }
        restored
    };
    let (new, restored) = tokio::join!(registering, restoring);
    assert_eq!(new + restored, 300);
    assert_eq!(one.registry(FEED, 0, 1000).await.unwrap().len(), 300);
}

pub async fn requeueing_finds_loaded_files_again_and_sums_up_their_jobs(store: &dyn JobStore) {
    file_in_every_state(store).await;
    let before = files(store, &STATES).await;
    let ids: Vec<i64> = before.iter().map(|file| file.id).collect();
    let loaded = ["loaded", "quarantined_open_loaded", "quarantined_loaded", "quarantined_by_worker"];
    assert_eq!(store.requeue(&ids).await.unwrap(), loaded.len() as u64);
    assert_eq!(store.requeue(&ids).await.unwrap(), 0, "a file was queued twice");
    for (was, is) in before.iter().zip(files(store, &STATES).await) {
        if loaded.contains(&is.key.as_str()) {
            assert_eq!((is.state, is.job_id), (FileState::Found, None));
            assert_eq!((is.rows_loaded, is.rows_rejected, is.error, is.loaded_time), (None, None, None, None));
            assert_eq!((is.version, is.found_time), (was.version.clone(), was.found_time));
        } else {
            assert_eq!(is, *was);
        }
    }
    let failed = store.jobs(&JobFilter { status: Some(JobStatus::Failed), feed: None }).await.unwrap();
    assert_eq!((failed[0].rows_loaded, failed[0].rows_rejected), (Some(0), Some(0)));
    let found = store.found(FEED, None, 99).await.unwrap();
    assert_eq!(found.len(), loaded.len() + 1, "they can be put into a job");
}
