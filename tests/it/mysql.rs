//! MariaDB and MySQL: every function of the conformance suite on a fresh database of each, and what is theirs alone.

use loadline::backend::mysql::MysqlWarehouse;
use loadline::config::{Config, Database};
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

/// A database that was made and has nothing in it.
struct Fresh(servers::Database<'static>);

impl Fresh {
    fn of(kind: Kind) -> Option<Self> {
        Some(Self(Server::shared(kind)?.fresh()))
    }

    fn warehouse(&self) -> MysqlWarehouse {
        warehouse(&self.0.url(), &[])
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

conformance! { ledger of crate::conformance::ledger, with db:
    migrating_again_changes_nothing(db.warehouse())
    before_set_up_everything_is_refused_with_a_hint(db.warehouse())
    a_table_is_created_as_expected_and_never_altered(db.warehouse())
    a_take_counts_epochs_and_keeps_the_order_of_its_files(db.warehouse())
    two_takers_never_share_an_epoch(db.warehouse(), db.warehouse())
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
    a_take_and_an_open_segment_exclude_each_other(db.warehouse(), db.warehouse(), db)
    a_duplicate_key_names_its_record(db.warehouse(), db)
    after_an_error_a_segment_cannot_commit(db.warehouse(), db)
    a_walk_back_leaves_nothing_but_the_plan(db.warehouse(), db)
    a_walk_back_takes_rows_out_of_the_table_they_are_in(db.warehouse(), db)
    an_interrupted_walk_back_is_seen_and_ended(db.warehouse(), db)
}

conformance! { rows of crate::conformance::rows, with db:
    every_type_comes_back_exactly(db.warehouse(), db)
    a_wide_table_takes_all_of_its_rows(db.warehouse(), db)
    a_refused_value_is_not_quoted(db.warehouse())
    rejects_come_back_with_their_bytes(db.warehouse(), db)
    rejects_are_narrowed_and_counted_by_file(db.warehouse())
}
