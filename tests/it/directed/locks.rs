//! The order in which rows are made and locked, by what the server says of it. That lost takes hold nothing is in
//! `conformance`.

use crate::conformance::ledger::takers_in_opposite_orders_do_not_get_in_each_others_way;
use crate::mysql::warehouse;
use crate::servers::{Database, Kind, Server};

async fn deadlocks(server: &Server, database: &Database<'_>) -> u64 {
    use crate::conformance::ReadBack;
    let sql = match server.kind() {
        Kind::MariaDb => {
            "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'"
        }
        Kind::MySql => "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'",
    };
    database.query(sql).await[0][0].as_deref().unwrap().parse().unwrap()
}

/// S8 and S10. Deadlocks are run again in silence, so that only the server knows of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takers_in_opposite_orders_never_deadlock() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        // One of its own: others' deadlocks would count.
        let Some(server) = Server::start(kind, &[]) else { continue };
        let database = server.fresh();
        let [one, two] = [(); 2].map(|()| warehouse(&database.url(), &[]));
        takers_in_opposite_orders_do_not_get_in_each_others_way(&one, &two).await;
        assert_eq!(deadlocks(&server, &database).await, 0, "{kind:?}");
    }
}
