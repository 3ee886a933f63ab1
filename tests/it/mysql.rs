//! MariaDB and MySQL: every function of the conformance suite on a fresh database of each, and what is theirs alone.

use loadline::backend::mysql::{MysqlJobStore, MysqlWarehouse};
use loadline::config::{Config, Database};
use loadline::job::OnOverwrite;
use loadline::warehouse::Warehouse;

use crate::conformance::{ReadBack, texts};
use crate::servers::{self, Kind, Server};

/// A database of the config, with keys beside its url such as `tls: verified`.
pub fn configured(url: &str, keys: &[(&str, &str)]) -> loadline::error::Result<Database> {
    let folder = tempfile::tempdir().unwrap();
    let keys: String = keys.iter().map(|(key, value)| format!(", {key}: \"{value}\"")).collect();
    let config = format!(
        "source: {{url: \"file:in\"}}\nmetadata_database: {{url: \"sqlite:m.db\"}}\n\
         reporting_database: {{url: \"{url}\"{keys}}}\nfeeds: [{{name: loans}}]\n"
    );
    std::fs::create_dir(folder.path().join("schemas")).unwrap();
    std::fs::write(folder.path().join("schemas/loans.yaml"), "columns: [{name: id, type: int64}]\n").unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, config).unwrap();
    Ok(Config::load(&path)?.reporting_database)
}

pub fn warehouse(url: &str, keys: &[(&str, &str)]) -> MysqlWarehouse {
    match configured(url, keys).unwrap() {
        Database::Mysql(config) => MysqlWarehouse::open(&config),
        Database::Sqlite { .. } => panic!("{url} is no url of MySQL"),
    }
}

pub fn job_store(url: &str, keys: &[(&str, &str)]) -> MysqlJobStore {
    match configured(url, keys).unwrap() {
        Database::Mysql(config) => MysqlJobStore::open(&config),
        Database::Sqlite { .. } => panic!("{url} is no url of MySQL"),
    }
}

/// A database that was made and has nothing in it.
pub struct Fresh(servers::Database<'static>);

impl Fresh {
    pub fn of(kind: Kind) -> Option<Self> {
        Some(Self(Server::shared(kind)?.fresh()))
    }

    pub fn warehouse(&self) -> MysqlWarehouse {
        warehouse(&self.0.url(), &[])
    }

    pub fn jobs(&self) -> MysqlJobStore {
        job_store(&self.0.url(), &[])
    }
}

#[async_trait::async_trait]
impl ReadBack for Fresh {
    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.0.query(sql).await
    }
}

/// Each function of a suite as a test on a fresh database of each server; after the colon, what it is called with.
macro_rules! conformance {
    ($module:ident of $suite:path, with $fresh:ident: $($test:ident($($argument:expr),*))*) => {
        mod $module {
            use super::*;
            use $suite as suite;
            $(
                mod $test {
                    use super::*;

                    async fn run(kind: Kind) {
                        let Some($fresh) = Fresh::of(kind) else { return };
                        suite::$test($(&$argument),*).await;
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn mariadb() {
                        run(Kind::MariaDb).await;
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn mysql() {
                        run(Kind::MySql).await;
                    }
                }
            )*
        }
    };
}

conformance! { jobs of crate::conformance::jobs, with db:
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

conformance! { ledger of crate::conformance::ledger, with db:
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
    an_interrupted_walk_back_is_seen_and_ended(db.warehouse(), db)
    a_complete_file_is_reloaded_in_another_version(db.warehouse(), db)
    a_complete_empty_file_is_reloaded_too(db.warehouse())
    a_take_to_reload_changes_nothing_before_the_walk(db.warehouse(), db)
    an_unloaded_file_stays_out_until_it_is_readmitted(db.warehouse(), db)
    whatever_stands_of_a_file_can_be_unloaded(db.warehouse(), db)
    an_unload_that_is_cut_short_is_seen_and_ended(db.warehouse(), db)
    the_ledger_names_file_table_and_end(db.warehouse())
    old_rejects_are_pruned_and_their_counts_stay(db.warehouse(), db)
}

conformance! { audit of crate::conformance::audit, with db:
    the_ledger_is_paged_with_what_the_tables_hold(db.warehouse())
    rows_that_are_missing_doubled_or_too_many_are_counted(db.warehouse(), db)
    rows_are_counted_in_the_table_that_the_ledger_names(db.warehouse(), db)
    a_walk_back_is_marked_until_its_end(db.warehouse(), db)
}

conformance! { checksums of crate::conformance::checksums, with db:
    the_database_gives_the_loaders_sum(db.warehouse(), db)
    doubles_and_floats_have_one_text(db.warehouse(), db)
    what_is_touched_is_found(db.warehouse(), db)
    a_sum_under_another_rule_is_not_compared(db.warehouse(), db)
}

conformance! { rows of crate::conformance::rows, with db:
    every_type_comes_back_exactly(db.warehouse(), db)
    a_wide_table_takes_all_of_its_rows(db.warehouse(), db)
    a_refused_value_is_not_quoted(db.warehouse())
    rejects_come_back_with_their_bytes(db.warehouse(), db)
    rejects_are_narrowed_and_counted_by_file(db.warehouse())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_files_become_what_each_policy_says() {
    use crate::conformance::jobs;
    for kind in KINDS {
        for policy in [OnOverwrite::Quarantine, OnOverwrite::Reload, OnOverwrite::Ignore] {
            let (Some(one), Some(other)) = (Fresh::of(kind), Fresh::of(kind)) else { continue };
            jobs::a_changed_file_becomes_what_the_policy_says(&one.jobs(), policy).await;
            jobs::a_file_that_is_as_it_was_leaves_quarantine_only_by_policy(&other.jobs(), policy).await;
        }
    }
}

// -- what is theirs alone ------------------------------------------------------------------------------------------

const KINDS: [Kind; 2] = [Kind::MariaDb, Kind::MySql];

fn fresh_ones() -> impl Iterator<Item = Fresh> {
    KINDS.into_iter().filter_map(Fresh::of)
}

/// Killed behind any statement of a step, or before its number was written: the next set-up ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_that_was_killed_is_ended_by_the_next() {
    for db in fresh_ones() {
        assert_eq!(db.warehouse().migrate().await.unwrap().len(), 4);
        for (version, left) in [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)] {
            db.0.execute(&[&format!("UPDATE loadline_schema SET version = {version}")]);
            assert_eq!(db.warehouse().migrate().await.unwrap().len(), left);
        }
        db.0.execute(&[
            "UPDATE loadline_schema SET version = 2",
            "ALTER TABLE loadline_files DROP COLUMN unloaded_time, DROP COLUMN bytes",
        ]);
        let error = db.warehouse().progress("loans", &[]).await.unwrap_err();
        assert_eq!(error.exit_code(), 2, "an older schema is refused: {error}");
        assert_eq!(
            db.warehouse().migrate().await.unwrap(),
            ["3 loadline_files.unloaded_time", "4 loadline_files.sha256"]
        );
        let older = db.warehouse();
        db.0.execute(&["UPDATE loadline_schema SET version = 2"]);
        assert_eq!(older.version().await.unwrap(), Some(2));
        assert_eq!(older.progress("loans", &[]).await.unwrap_err().exit_code(), 2, "asking for the version let it in");
        db.0.execute(&["UPDATE loadline_schema SET version = 99"]);
        assert_eq!(db.warehouse().version().await.unwrap(), Some(99));
        assert!(db.warehouse().migrate().await.unwrap_err().chain().contains("99"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_setups_at_once_do_no_harm() {
    for db in fresh_ones() {
        let (one, two) = (db.warehouse(), db.warehouse());
        let (first, second) = tokio::join!(one.migrate(), two.migrate());
        first.unwrap();
        second.unwrap();
        assert_eq!(db.warehouse().version().await.unwrap(), Some(loadline::backend::REPORTING_VERSION));
    }
}

/// The one that is made has the name of the url, whatever that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_missing_is_created_by_setup_only() {
    for db in fresh_ones() {
        let name = format!("{}-raw data`x", db.0.name);
        let url = format!("mysql://root@127.0.0.1:{}/{}-raw%20data%60x", db.0.server.port(), db.0.name);
        let warehouse = warehouse(&url, &[]);
        assert_eq!(warehouse.version().await.unwrap(), None);
        let error = warehouse.progress("loans", &[]).await.unwrap_err();
        assert_eq!((error.exit_code(), error.hint_text()), (2, Some("run `loadline setup`")));
        let listed = format!("SELECT count(*) FROM information_schema.schemata WHERE schema_name = '{name}'");
        assert_eq!(db.query(&listed).await, [texts(&["0"])]);
        assert_eq!(warehouse.migrate().await.unwrap().len(), 4);
        assert_eq!(db.query(&listed).await, [texts(&["1"])]);
        db.0.server.execute(&[&format!("DROP DATABASE `{}`", name.replace('`', "``"))]);
    }
}

/// As the grants of `setup --print` say: each role can do its work and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_grants_suffice_and_go_no_further() {
    for db in fresh_ones() {
        let Database::Mysql(config) = configured(&db.0.url(), &[]).unwrap() else { unreachable!() };
        let reporting = Database::Mysql(config);
        db.warehouse().migrate().await.unwrap();
        for table in ["scanner_jobs", "scanner_files", "scanner_feeds"] {
            db.0.execute(&[&format!("CREATE TABLE {table} (id INT PRIMARY KEY)")]);
        }
        let table = crate::conformance::ledger::table(&["id"]);
        db.warehouse().create_table(&table).await.unwrap();

        let suffix = &db.0.name[2..];
        for grants in loadline::backend::grants(&reporting, &reporting, &["loans".to_owned()]) {
            let user = format!("'{}_{}'@'%'", grants.role, &suffix[..8]);
            db.0.server.execute(&[&format!("CREATE USER {user} IDENTIFIED BY 'pass/@wo:rd'")]);
            for statement in grants.statements {
                db.0.server.execute(&[&statement.replace(&format!("'{}'@'%'", grants.role), &user)]);
            }
        }
        let url = |role: &str| {
            let user = format!("{role}_{}", &suffix[..8]);
            db.0.url().replace("root@", &format!("{user}:pass/@wo:rd@"))
        };
        // The suite's own words: takes, segments with rows and rejects, a duplicate, a walk back.
        let loader = warehouse(&url("loader"), &[]);
        crate::conformance::ledger::a_loader_does_its_work(&loader, &table).await;
        assert!(loader.obstacles(std::slice::from_ref(&table)).await.unwrap().is_empty());
        assert_eq!(loader.columns("loans").await.unwrap(), Some(loader.expected_columns(&table)));
        let denied = |error: loadline::error::Error| {
            assert_eq!(error.exit_code(), 2, "{}", error.chain());
            assert!(error.hint_text().unwrap().contains("setup --print"), "{error:?}");
        };
        let other = loadline::warehouse::TableSpec { name: "other".to_owned(), ..table.clone() };
        denied(loader.create_table(&other).await.unwrap_err());

        let operator = warehouse(&url("operator"), &[]);
        assert!(operator.migrate().await.unwrap().is_empty());
        operator.create_table(&other).await.unwrap();

        let reader = |sql: &str| {
            use mysql_async::prelude::Queryable;
            let (url, sql) = (url("reader"), sql.to_owned());
            async move {
                let Database::Mysql(config) = configured(&url, &[]).unwrap() else { unreachable!() };
                let options = mysql_async::OptsBuilder::default()
                    .ip_or_hostname(config.host)
                    .tcp_port(config.port)
                    .prefer_socket(false)
                    .user(Some(config.user))
                    .pass(config.password.map(|password| password.secret.reveal().to_owned()))
                    .db_name(Some(config.name));
                let mut connection = mysql_async::Conn::new(options).await.unwrap();
                connection.query_drop(sql).await.is_ok()
            }
        };
        assert!(reader("SELECT count(*) FROM loans").await && reader("SELECT * FROM loadline_files").await);
        for sql in ["SELECT * FROM loadline_rejects", "DELETE FROM loans", "SELECT * FROM other"] {
            assert!(!reader(sql).await, "the reader may {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_cannot_roll_back_are_obstacles() {
    for db in fresh_ones() {
        let table = crate::conformance::ledger::table(&[]);
        assert!(db.warehouse().obstacles(std::slice::from_ref(&table)).await.unwrap().is_empty());
        db.0.execute(&["CREATE TABLE loans (id INT) ENGINE = MyISAM"]);
        let obstacles = db.warehouse().obstacles(&[table]).await.unwrap();
        assert!(
            obstacles.len() == 1 && obstacles[0].contains("loans") && obstacles[0].contains("MyISAM"),
            "{obstacles:?}"
        );
    }
}

/// Commits that a crash may take back are no ground for jobs that are LOADED in another database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_commits_may_hold_jobs_and_no_rows() {
    for kind in KINDS {
        let Some(server) = Server::start(kind, &["--innodb-flush-log-at-trx-commit=2"]) else { continue };
        let db = server.fresh();
        let obstacles = warehouse(&db.url(), &[]).obstacles(&[amounts()]).await.unwrap();
        assert!(obstacles.len() == 1 && obstacles[0].contains("flush_log_at_trx_commit = 2"), "{obstacles:?}");
        assert!(loadline::job::JobStore::obstacles(&job_store(&db.url(), &[])).await.unwrap().is_empty());
    }
}

async fn begun(warehouse: &MysqlWarehouse, key: &str) -> Box<dyn loadline::warehouse::Segment> {
    let file = loadline::warehouse::LedgerKey {
        key: key.to_owned(),
        version: "v1".to_owned(),
        hour: crate::conformance::at(0),
    };
    let taker = crate::conformance::taker("loans", 1, "loans", "plan");
    let taken = warehouse.take(&taker, &[file]).await.unwrap().remove(0);
    let fence = loadline::warehouse::Fence { file: taken.file, epoch: taken.epoch, plan_hash: "plan".to_owned() };
    match warehouse.begin(&fence, 0).await.unwrap() {
        loadline::warehouse::Begun::Segment(segment) => segment,
        _ => panic!("a new file did not begin"),
    }
}

/// Amounts in hundredths, for the records from the first on.
fn batch(first: u64, values: &[i64]) -> arrow::array::RecordBatch {
    let decimals = arrow::array::Decimal128Array::from(values.iter().map(|v| i128::from(*v)).collect::<Vec<_>>());
    let decimals = decimals.with_precision_and_scale(10, 2).unwrap();
    let records = arrow::array::UInt64Array::from_iter_values((first..).take(values.len()));
    let columns: [(&str, arrow::array::ArrayRef); 2] =
        [("amount", std::sync::Arc::new(decimals)), ("_record", std::sync::Arc::new(records))];
    arrow::array::RecordBatch::try_from_iter(columns).unwrap()
}

fn amounts() -> loadline::warehouse::TableSpec {
    use loadline::warehouse::{TableColumn, TableSpec};
    let ty = "decimal(10,2)".parse().unwrap();
    let columns = vec![TableColumn { name: "amount".to_owned(), ty, required: false }];
    TableSpec { name: "loans".to_owned(), columns, primary_key: Vec::new() }
}

/// Somebody has narrowed a column: the server would round, and says so in a note only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_would_round_is_refused_with_its_place() {
    for db in fresh_ones() {
        let (warehouse, table) = (db.warehouse(), amounts());
        warehouse.migrate().await.unwrap();
        warehouse.create_table(&table).await.unwrap();
        db.0.execute(&["ALTER TABLE loans MODIFY amount DECIMAL(10,1)"]);
        let mut segment = begun(&warehouse, "a.csv").await;
        segment.write(&table, &batch(1, &[100, 250])).await.unwrap();
        let refused = segment.write(&table, &batch(3, &[100, 98_765])).await.unwrap_err();
        let loadline::warehouse::WriteError::Other(error) = refused else { panic!("{refused:?}") };
        let chain = error.chain();
        assert_eq!(error.exit_code(), 3, "{chain}");
        assert!(chain.contains("column amount, row 2") && chain.contains("records 3 to 4"), "{chain}");
        assert!(!chain.contains("987"), "{chain}");
        assert!(segment.commit(&loadline::warehouse::Progress::default()).await.is_err());
        assert_eq!(db.query("SELECT count(*) FROM loans").await, [texts(&["0"])]);
    }
}

/// Weeks of segments of any size: neither connections nor prepared statements grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_use_one_connection_and_few_statements() {
    let Some(server) = Server::start(Kind::MariaDb, &[]) else { return };
    let db = server.fresh();
    let (warehouse, table) = (warehouse(&db.url(), &[]), amounts());
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&table).await.unwrap();
    let count = async |name: &str| {
        let rows = db.query(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).await;
        rows[0][1].as_deref().unwrap().parse::<u64>().unwrap()
    };
    let connections = count("Connections").await;
    let mut stood = Vec::new();
    for size in 1..=300_usize {
        let mut segment = begun(&warehouse, &format!("{size}.csv")).await;
        segment.write(&table, &batch(1, &vec![100; size])).await.unwrap();
        let done = loadline::warehouse::Progress { records_done: size as u64, complete: true, ..Default::default() };
        segment.commit(&done).await.unwrap();
        if size % 100 == 0 {
            stood.push(count("Prepared_stmt_count").await);
        }
    }
    // Eight powers of two, and those of the ledger; the test's own connection has one.
    assert!(stood[0] <= 24 && stood[2] <= stood[0] + 2, "prepared statements grow: {stood:?}");
    // Those of this test: one for each question, and none for a segment.
    assert!(count("Connections").await - connections <= 6, "segments connect anew");
}

/// Cut while it rests: the next segment takes another connection, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_started_again_is_used_again() {
    for kind in KINDS {
        let Some(server) = Server::start(kind, &[]) else { continue };
        let db = server.fresh();
        let (warehouse, table) = (warehouse(&db.url(), &[]), amounts());
        warehouse.migrate().await.unwrap();
        warehouse.create_table(&table).await.unwrap();
        let mut open = begun(&warehouse, "a.csv").await;
        open.write(&table, &batch(1, &[100])).await.unwrap();
        warehouse.progress("loans", &[]).await.unwrap();
        server.kill();
        let gone = warehouse.progress("loans", &["a.csv".to_owned()]).await.unwrap_err();
        assert!(gone.is_retryable(), "{}", gone.chain());
        server.start_again();
        assert!(open.write(&table, &batch(1, &[100])).await.is_err());
        let mut segment = begun(&warehouse, "a.csv").await;
        segment.write(&table, &batch(1, &[100, 200])).await.unwrap();
        let done = loadline::warehouse::Progress { records_done: 2, complete: true, ..Default::default() };
        segment.commit(&done).await.unwrap();
        assert_eq!(db.query("SELECT count(*) FROM loans").await, [texts(&["2"])]);
    }
}

/// Old rejects go, a bounded number at a time; those of files that are not complete stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_rejects_are_pruned_and_no_others() {
    for db in fresh_ones() {
        let warehouse = db.warehouse();
        warehouse.migrate().await.unwrap();
        for (key, complete) in [("a.csv", true), ("b.csv", true), ("c.csv", false)] {
            let mut segment = begun(&warehouse, key).await;
            let reject = |record| loadline::warehouse::Reject {
                record,
                line: record,
                byte_offset: 0,
                column: None,
                reason: "bad".to_owned(),
                raw: Vec::new(),
            };
            segment.reject(&[1, 2, 3].map(reject)).await.unwrap();
            let done = loadline::warehouse::Progress { records_done: 3, rejects: 3, complete, ..Default::default() };
            segment.commit(&done).await.unwrap();
        }
        let later = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
        assert_eq!(warehouse.prune_rejects(crate::conformance::at(-1_000_000_000), 100).await.unwrap(), 0);
        assert_eq!(warehouse.prune_rejects(later, 4).await.unwrap(), 4);
        assert_eq!(warehouse.prune_rejects(later, 4).await.unwrap(), 2);
        assert_eq!(warehouse.prune_rejects(later, 4).await.unwrap(), 0);
        assert_eq!(db.query("SELECT count(*) FROM loadline_rejects").await, [texts(&["3"])]);
    }
}

/// Whatever a server's defaults are, it says when it rounds, and what is done is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_defaults_change_no_session() {
    for kind in KINDS {
        let Some(server) = Server::start(kind, &[]) else { continue };
        server.execute(&["SET GLOBAL sql_notes = 0", "SET GLOBAL completion_type = 'CHAIN'"]);
        let db = server.fresh();
        let (warehouse, table) = (warehouse(&db.url(), &[]), amounts());
        warehouse.migrate().await.unwrap();
        warehouse.create_table(&table).await.unwrap();
        let mut segment = begun(&warehouse, "a.csv").await;
        let (column, reason, raw) = (None, "bad".to_owned(), Vec::new());
        let reject = loadline::warehouse::Reject { record: 1, line: 2, byte_offset: 0, column, reason, raw };
        segment.reject(&[reject]).await.unwrap();
        let done = loadline::warehouse::Progress { records_done: 1, rejects: 1, complete: true, ..Default::default() };
        segment.commit(&done).await.unwrap();
        let later = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
        assert_eq!(warehouse.prune_rejects(later, 100).await.unwrap(), 1);
        assert_eq!(db.query("SELECT count(*) FROM loadline_rejects").await, [texts(&["0"])], "{kind:?}");

        db.execute(&["ALTER TABLE loans MODIFY amount DECIMAL(10,1)"]);
        let mut segment = begun(&warehouse, "b.csv").await;
        assert!(segment.write(&table, &batch(1, &[98_765])).await.is_err(), "{kind:?} rounded");
    }
}

/// One statement over all of a long file might not end before its answer is given up, now and every time after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_back_goes_in_steps() {
    use mysql_async::prelude::Queryable;
    for kind in KINDS {
        let Some(db) = Fresh::of(kind) else { continue };
        let (warehouse, table) = (db.warehouse(), amounts());
        warehouse.migrate().await.unwrap();
        warehouse.create_table(&table).await.unwrap();
        let mut segment = begun(&warehouse, "a.csv").await;
        segment.write(&table, &batch(1, &[100])).await.unwrap();
        let done = loadline::warehouse::Progress { records_done: 25_000, rows: 1, ..Default::default() };
        segment.commit(&done).await.unwrap();

        // Somebody holds the first row: the last step has to wait, and no other.
        let mut holder = db.0.server.connect(Some(&db.0.name)).await;
        holder.query_drop("START TRANSACTION").await.unwrap();
        holder.query_drop("SELECT * FROM loans WHERE _file = 1 AND _record = 1 FOR UPDATE").await.unwrap();
        let fence = loadline::warehouse::Fence { file: 1, epoch: 1, plan_hash: "plan".to_owned() };
        let walk = warehouse.walk_back(&fence, &table, loadline::warehouse::WalkEnd::Anew);
        let held = async {
            while db.query("SELECT records_done FROM loadline_files").await != [texts(&["5000"])] {
                tokio::task::yield_now().await;
            }
            holder.query_drop("ROLLBACK").await.unwrap();
        };
        let held = tokio::time::timeout(std::time::Duration::from_secs(30), held);
        let (walked, held) = tokio::join!(walk, held);
        assert!(held.is_ok() && walked.unwrap(), "{kind:?}");
        assert_eq!(db.query("SELECT count(*) FROM loans").await, [texts(&["0"])]);
    }
}
