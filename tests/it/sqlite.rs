//! SQLite: every function of the conformance suite on a fresh file, and what is SQLite's own.

use async_trait::async_trait;
use loadline::backend::sqlite::{SqliteJobStore, SqliteWarehouse};
use loadline::job::{JobStore, OnOverwrite};
use loadline::warehouse::Warehouse;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use crate::conformance::{ReadBack, texts};

/// A folder with a database that does not exist yet, in a folder that does not exist yet.
pub struct Fresh {
    _folder: TempDir,
    path: std::path::PathBuf,
}

impl Fresh {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/fresh.db");
        Self { _folder: folder, path }
    }

    pub fn jobs(&self) -> SqliteJobStore {
        SqliteJobStore::open(&self.path).unwrap()
    }

    pub fn warehouse(&self) -> SqliteWarehouse {
        SqliteWarehouse::open(&self.path).unwrap()
    }

    fn connection(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        bring_functions(&connection);
        connection
    }
}

#[async_trait]
impl ReadBack for Fresh {
    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let connection = self.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|i| row.get_ref(i).map(text)).collect();
        statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

/// What the SQL of checksums needs, in the words of the README.
fn bring_functions(connection: &rusqlite::Connection) {
    use rusqlite::functions::{Context, FunctionFlags};
    let crc32 = |context: &mut Context<'_>| {
        let text: Option<Vec<u8>> = match context.get_raw(0) {
            ValueRef::Null => None,
            value => Some(value.as_bytes().unwrap().to_vec()),
        };
        Ok(text.map(|text| crc32fast::hash(&text)))
    };
    let double_text = |context: &mut Context<'_>| {
        let mut text = String::new();
        let value: Option<f64> = context.get(0)?;
        value.into_iter().for_each(|value| loadline::warehouse::push_double(&mut text, value));
        Ok(value.map(|_| text))
    };
    connection.create_scalar_function("crc32", 1, FunctionFlags::SQLITE_UTF8, crc32).unwrap();
    connection.create_scalar_function("double_text", 1, FunctionFlags::SQLITE_UTF8, double_text).unwrap();
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string()),
        ValueRef::Real(value) => Some(format!("{value:?}")),
        ValueRef::Text(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02X}")).collect()),
    }
}

/// Each function of a suite as a test on a fresh database; after the colon, what it is called with.
macro_rules! conformance {
    ($module:ident with $fresh:ident: $($test:ident($($argument:expr),*))*) => {
        mod $module {
            use super::*;
            use crate::conformance::$module as suite;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let $fresh = Fresh::new();
                    suite::$test($(&$argument),*).await;
                }
            )*
        }
    };
}

conformance! { jobs with db:
    migrating_again_changes_nothing(db.jobs())
    before_set_up_everything_is_refused_with_a_hint(db.jobs())
    the_none_row_is_hidden(db.jobs())
    feeds_are_recorded_once_and_sorted(db.jobs())
    registering_knows_files_by_key_and_version(db.jobs())
    a_changed_file_keeps_version_and_load_time_in_quarantine(db.jobs())
    a_file_quarantined_under_its_job_stays_there(db.jobs())
    one_file_is_found_by_feed_and_key(db.jobs())
    loaded_files_come_by_selection_and_page_by_page(db.jobs())
    revoking_takes_loaded_files_only_and_sums_up_their_jobs(db.jobs())
    the_registry_of_a_feed_comes_page_by_page(db.jobs())
    restoring_adds_what_is_not_known_and_leaves_the_rest(db.jobs())
    restored_and_registered_at_once_a_file_is_there_once(db.jobs(), db.jobs())
    requeueing_finds_loaded_files_again_and_sums_up_their_jobs(db.jobs())
    a_loaded_job_is_retried_for_its_unloaded_files(db.jobs())
    an_unloaded_file_can_be_released_from_its_job(db.jobs())
    a_job_ends_loaded_with_files_that_are_unloaded(db.jobs())
    a_file_quarantined_by_the_worker_counts_as_loaded(db.jobs())
    found_files_come_in_order_and_page_by_page(db.jobs())
    times_below_a_microsecond_do_not_trip_the_cursor(db.jobs())
    forming_a_job_takes_all_of_its_files_or_none(db.jobs())
    two_scanners_put_every_file_into_exactly_one_job(db.jobs(), db.jobs())
    two_workers_share_no_job_and_leave_none(db.jobs(), db.jobs())
    claims_follow_the_order_and_the_feed(db.jobs())
    a_postponed_job_waits_and_keeps_its_attempts(db.jobs())
    a_postponed_job_comes_back_with_the_next_attempt(db.jobs())
    completing_records_files_and_sums(db.jobs())
    failing_keeps_what_was_loaded(db.jobs())
    an_old_token_changes_nothing(db.jobs())
    a_rescued_job_gets_a_new_token_and_the_old_is_dead(db.jobs())
    the_job_of_a_dead_owner_is_rescued_before_its_lease_ends(db.jobs())
    a_quarantined_file_of_no_job_can_be_released(db.jobs())
    retry_takes_what_is_missing_under_its_new_version(db.jobs())
    jobs_are_listed_by_status_and_feed(db.jobs())
    the_overview_counts_what_stands_where(db.jobs())
    old_loaded_jobs_are_pruned_and_their_files_stay(db.jobs())
}

conformance! { ledger with db:
    migrating_again_changes_nothing(db.warehouse())
    before_set_up_everything_is_refused_with_a_hint(db.warehouse())
    a_table_is_created_as_expected_and_never_altered(db.warehouse())
    a_take_counts_epochs_and_keeps_the_order_of_its_files(db.warehouse())
    two_takers_never_share_an_epoch(db.warehouse(), db.warehouse())
    takers_in_opposite_orders_do_not_get_in_each_others_way(db.warehouse(), db.warehouse())
    nothing_done_is_adopted(db.warehouse(), db)
    something_done_is_bound_to_version_and_plan(db.warehouse(), db)
    a_part_of_another_version_is_walked_back(db.warehouse(), db)
    a_complete_file_is_done_whatever_the_plan(db.warehouse())
    a_complete_empty_file_is_not_begun_anew(db.warehouse())
    segments_follow_each_other(db.warehouse(), db)
    a_dropped_segment_leaves_nothing(db.warehouse(), db)
    a_cancelled_write_leaves_nothing(db.warehouse(), db)
    a_stream_elsewhere_is_told_where_the_ledger_stands(db.warehouse())
    a_superseded_epoch_changes_nothing(db.warehouse(), db)
    whoever_has_lost_or_stands_elsewhere_holds_nothing(db.warehouse(), db.warehouse())
    a_take_and_an_open_segment_exclude_each_other(db.warehouse(), db.warehouse(), db)
    a_duplicate_key_names_its_record(db.warehouse(), db)
    after_an_error_a_segment_cannot_commit(db.warehouse(), db)
    a_walk_back_leaves_nothing_but_the_plan(db.warehouse(), db)
    a_walk_back_takes_rows_out_of_the_table_they_are_in(db.warehouse(), db)
    a_complete_file_is_reloaded_in_another_version(db.warehouse(), db)
    a_complete_empty_file_is_reloaded_too(db.warehouse())
    a_take_to_reload_changes_nothing_before_the_walk(db.warehouse(), db)
    an_unloaded_file_stays_out_until_it_is_readmitted(db.warehouse(), db)
    whatever_stands_of_a_file_can_be_unloaded(db.warehouse(), db)
    the_ledger_names_file_table_and_end(db.warehouse())
    old_rejects_are_pruned_and_their_counts_stay(db.warehouse(), db)
}

conformance! { audit with db:
    the_ledger_is_paged_with_what_the_tables_hold(db.warehouse())
    rows_that_are_missing_doubled_or_too_many_are_counted(db.warehouse(), db)
    rows_are_counted_in_the_table_that_the_ledger_names(db.warehouse(), db)
    a_walk_back_is_marked_until_its_end(db.warehouse(), db)
}

conformance! { checksums with db:
    the_database_gives_the_loaders_sum(db.warehouse(), db)
    doubles_and_floats_have_one_text(db.warehouse(), db)
    what_is_touched_is_found(db.warehouse(), db)
    a_sum_under_another_rule_is_not_compared(db.warehouse(), db)
}

conformance! { rows with db:
    every_type_comes_back_exactly(db.warehouse(), db)
    a_wide_table_takes_all_of_its_rows(db.warehouse(), db)
    a_refused_value_is_not_quoted(db.warehouse())
    rejects_come_back_with_their_bytes(db.warehouse(), db)
    rejects_are_narrowed_and_counted_by_file(db.warehouse())
}

/// The writer is handed on in turn, so that the take comes after the first step of the walk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_walk_back_is_seen_and_ended() {
    let db = Fresh::new();
    assert!(crate::conformance::ledger::an_interrupted_walk_back_is_seen_and_ended(&db.warehouse(), &db).await);
}

/// As above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unload_that_is_cut_short_is_seen_and_ended() {
    let db = Fresh::new();
    assert!(crate::conformance::ledger::an_unload_that_is_cut_short_is_seen_and_ended(&db.warehouse(), &db).await);
}

#[tokio::test]
async fn changed_files_become_what_each_policy_says() {
    use crate::conformance::jobs;
    for policy in [OnOverwrite::Quarantine, OnOverwrite::Reload, OnOverwrite::Ignore] {
        jobs::a_changed_file_becomes_what_the_policy_says(&Fresh::new().jobs(), policy).await;
        jobs::a_file_that_is_as_it_was_leaves_quarantine_only_by_policy(&Fresh::new().jobs(), policy).await;
    }
}

// -- SQLite's own --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn opening_and_asking_create_nothing() {
    let db = Fresh::new();
    assert_eq!(db.jobs().version().await.unwrap(), None);
    assert!(db.jobs().recorded_feeds().await.is_err());
    assert_eq!(db.warehouse().version().await.unwrap(), None);
    assert!(!db.path.exists() && !db.path.parent().unwrap().exists());
}

#[tokio::test]
async fn both_schemas_may_share_a_file() {
    let db = Fresh::new();
    db.jobs().migrate(None).await.unwrap();
    assert_eq!(db.warehouse().version().await.unwrap(), None);
    db.warehouse().migrate().await.unwrap();
    assert_eq!(db.jobs().version().await.unwrap(), Some(loadline::backend::METADATA_VERSION));
    let rows = db.query("SELECT component, version FROM loadline_schema ORDER BY component").await;
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn the_printed_ddl_is_what_set_up_runs() {
    use loadline::backend::sqlite::{metadata_ddl, reporting_ddl};
    let by_hand = rusqlite::Connection::open_in_memory().unwrap();
    for statement in metadata_ddl().into_iter().chain(reporting_ddl()) {
        by_hand.execute_batch(statement).unwrap();
    }
    let db = Fresh::new();
    db.jobs().migrate(None).await.unwrap();
    db.warehouse().migrate().await.unwrap();
    let schema = "SELECT count(*), sum(length(sql)) FROM sqlite_schema WHERE sql IS NOT NULL";
    let counts = |c: &rusqlite::Connection| -> (i64, i64) {
        c.query_row(schema, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(counts(&by_hand), counts(&db.connection()));
}

#[tokio::test]
async fn the_none_row_holds_the_start_of_scanning() {
    let db = Fresh::new();
    db.jobs().migrate(None).await.unwrap();
    let sql = "SELECT id, feed, files, status, latest_file_modified_time FROM scanner_jobs";
    assert_eq!(db.query(sql).await, [texts(&["0", "", "", "NONE", "1970-01-01 00:00:00.000000"])]);
}

#[tokio::test]
async fn a_file_of_another_kind_is_named() {
    let db = Fresh::new();
    std::fs::create_dir_all(db.path.parent().unwrap()).unwrap();
    std::fs::write(&db.path, "id,name\n".repeat(1_000)).unwrap();
    let error = db.jobs().version().await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.chain().contains("fresh.db") && error.chain().contains("no SQLite database"), "{}", error.chain());
    assert!(SqliteJobStore::open(db.path.parent().unwrap()).is_err());
}

#[tokio::test]
async fn another_version_is_reported_and_refused() {
    let db = Fresh::new();
    db.jobs().migrate(None).await.unwrap();
    db.connection().execute("UPDATE loadline_schema SET version = 99", []).unwrap();
    assert_eq!(db.jobs().version().await.unwrap(), Some(99));
    let error = db.jobs().recorded_feeds().await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.chain().contains("99"), "{}", error.chain());
}

#[tokio::test]
async fn the_journal_is_wal() {
    let db = Fresh::new();
    db.jobs().migrate(None).await.unwrap();
    assert_eq!(db.query("PRAGMA journal_mode").await, [texts(&["wal"])]);
}

/// Planning, claims and rescues go through their indexes, however many jobs and files there are.
#[tokio::test]
async fn hot_queries_sort_nothing() {
    let db = Fresh::new();
    db.jobs().migrate(None).await.unwrap();
    for (sql, index) in [
        (
            "SELECT id FROM scanner_files WHERE feed = 'f' AND state = 'FOUND' AND (modified_time, key) > ('', x'') \
             ORDER BY modified_time, key LIMIT 10",
            "scanner_files_found",
        ),
        (
            "SELECT id FROM scanner_jobs WHERE status = 'SENT_FOR_ETL' AND run_after <= 'x' \
             ORDER BY latest_file_modified_time DESC, id DESC LIMIT 1",
            "scanner_jobs_claim",
        ),
        ("SELECT id FROM scanner_jobs WHERE status = 'PROCESSING' AND lease_until < 'x'", "scanner_jobs_lease"),
        ("SELECT id FROM scanner_files WHERE job_id = 1 ORDER BY id", "scanner_files_job"),
    ] {
        let plan = db.query(&format!("EXPLAIN QUERY PLAN {sql}")).await;
        let plan: String = plan.iter().filter_map(|row| row[3].clone()).collect();
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn tables_of_other_hands_that_would_lose_rows_are_named() {
    let db = Fresh::new();
    let spec = crate::conformance::ledger::table(&["id"]);
    assert!(db.warehouse().obstacles(std::slice::from_ref(&spec)).await.unwrap().is_empty());
    assert!(!db.path.exists(), "asking created a database");
    db.warehouse().migrate().await.unwrap();
    db.warehouse().create_table(&spec).await.unwrap();
    assert!(db.warehouse().obstacles(std::slice::from_ref(&spec)).await.unwrap().is_empty());
    for (ddl, said) in [
        ("CREATE TABLE loans (id INTEGER PRIMARY KEY ON CONFLICT REPLACE)", "ON CONFLICT"),
        ("CREATE VIEW loans AS SELECT 1 AS id", "is a view"),
    ] {
        db.connection().execute_batch("DROP TABLE IF EXISTS loans").unwrap();
        db.connection().execute_batch(ddl).unwrap();
        let obstacles = db.warehouse().obstacles(std::slice::from_ref(&spec)).await.unwrap();
        assert!(obstacles.len() == 1 && obstacles[0].contains(said), "{obstacles:?}");
    }
    assert!(db.jobs().obstacles().await.unwrap().is_empty());
}
