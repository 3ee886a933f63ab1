//! What every [`Warehouse`] does with the ledger: takes, fences, segments and walks back.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt64Array};
use loadline::feed::ColumnType;
use loadline::fingerprint::Fingerprint;
use loadline::warehouse::{
    Begun, Fence, LedgerEntry, LedgerKey, Progress, Reject, Segment, Standing, TableColumn, TableSpec, Taken, Taker,
    WalkEnd, Warehouse, WriteError,
};

use super::{ReadBack, at, taker, texts};

const FEED: &str = "loans";
/// The table of `table`.
const TABLE: &str = "loans";
const PLAN: &str = "plan one";
const OTHER_PLAN: &str = "plan two";

pub fn table(primary_key: &[&str]) -> TableSpec {
    let id = TableColumn { name: "id".to_owned(), ty: ColumnType::Int64, required: true };
    let primary_key = primary_key.iter().map(|name| (*name).to_owned()).collect();
    TableSpec { name: TABLE.to_owned(), columns: vec![id], primary_key }
}

/// Rows for the records of a range, all with this id.
pub fn rows_of(records: std::ops::RangeInclusive<u64>, id: i64) -> RecordBatch {
    let records = UInt64Array::from_iter_values(records);
    let ids = Int64Array::from_iter_values(std::iter::repeat_n(id, arrow::array::Array::len(&records)));
    RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("_record", Arc::new(records) as _)]).unwrap()
}

/// Rows for the records of a range; their ids are `first_id` and on.
fn rows(records: std::ops::RangeInclusive<u64>, first_id: i64) -> RecordBatch {
    let records = UInt64Array::from_iter_values(records);
    let ids = Int64Array::from_iter_values((first_id..).take(arrow::array::Array::len(&records)));
    RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("_record", Arc::new(records) as _)]).unwrap()
}

fn key(name: &str, version: &str) -> LedgerKey {
    LedgerKey { key: name.to_owned(), version: version.to_owned(), hour: at(0) }
}

fn reject(record: u64) -> Reject {
    let reason = "not a number".to_owned();
    Reject {
        record,
        line: record + 1,
        byte_offset: 40 * record,
        column: Some("id".to_owned()),
        reason,
        raw: vec![b'x'],
    }
}

fn fence(taken: &Taken, plan: &str) -> Fence {
    Fence { file: taken.file, epoch: taken.epoch, plan_hash: plan.to_owned() }
}

fn done(records_done: u64, complete: bool) -> Progress {
    Progress { records_done, rows: records_done, checksum: 7, complete, ..Progress::default() }
}

/// The end of a file, with what tells its content.
fn proven() -> Progress {
    let fingerprint = Some(Fingerprint { bytes: u64::MAX >> 1, sha256: [0xfe; 32] });
    Progress {
        complete: true,
        checksum_rule: Some("2-0123456789abcdef".to_owned()),
        fingerprint,
        ..Progress::default()
    }
}

async fn set_up(warehouse: &dyn Warehouse, table: &TableSpec) {
    warehouse.migrate().await.unwrap();
    warehouse.create_table(table).await.unwrap();
}

async fn take(warehouse: &dyn Warehouse, version: &str, plan: &str) -> Taken {
    let taken = warehouse.take(&taker(FEED, 1, TABLE, plan), &[key("a.csv", version)]).await.unwrap();
    taken.into_iter().next().unwrap()
}

async fn begin(warehouse: &dyn Warehouse, fence: &Fence, from: u64) -> Box<dyn Segment> {
    match warehouse.begin(fence, from).await.unwrap() {
        Begun::Segment(segment) => segment,
        Begun::Moved(progress) => panic!("moved to {progress:?}"),
        Begun::Lost => panic!("lost"),
    }
}

/// Commits the records up to `to` in one segment.
async fn load(warehouse: &dyn Warehouse, fence: &Fence, from: u64, to: u64, complete: bool) {
    let mut segment = begin(warehouse, fence, from).await;
    segment.write(&table(&[]), &rows(from + 1..=to, 1)).await.unwrap();
    segment.commit(&done(to, complete)).await.unwrap();
}

async fn progress(warehouse: &dyn Warehouse) -> Progress {
    let found = warehouse.progress(FEED, &["a.csv".to_owned(), "unheard of".to_owned()]).await.unwrap();
    assert_eq!(found.len(), 1);
    found["a.csv"].clone()
}

async fn count(read: &dyn ReadBack, table: &str) -> u64 {
    let rows = read.query(&format!("SELECT count(*) FROM {table}")).await;
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

async fn is_lost(warehouse: &dyn Warehouse, fence: &Fence, from: u64) -> bool {
    matches!(warehouse.begin(fence, from).await.unwrap(), Begun::Lost)
}

// -- set-up --------------------------------------------------------------------------------------------------------

pub async fn migrating_again_changes_nothing(warehouse: &dyn Warehouse) {
    assert_eq!(warehouse.version().await.unwrap(), None);
    assert!(!warehouse.migrate().await.unwrap().is_empty());
    assert_eq!(warehouse.version().await.unwrap(), Some(loadline::backend::REPORTING_VERSION));
    let taken = take(warehouse, "v1", PLAN).await;
    assert!(warehouse.migrate().await.unwrap().is_empty());
    assert_eq!(take(warehouse, "v1", PLAN).await.epoch, taken.epoch + 1);
}

pub async fn before_set_up_everything_is_refused_with_a_hint(warehouse: &dyn Warehouse) {
    let error = warehouse.take(&taker(FEED, 1, TABLE, PLAN), &[key("a.csv", "v1")]).await.unwrap_err();
    assert_eq!((error.exit_code(), error.hint_text()), (2, Some("run `loadline setup`")));
    assert_eq!(warehouse.version().await.unwrap(), None);
}

pub async fn a_table_is_created_as_expected_and_never_altered(warehouse: &dyn Warehouse) {
    warehouse.migrate().await.unwrap();
    for primary_key in [&[][..], &["id"]] {
        let spec = TableSpec { name: format!("keyed_by_{}", primary_key.len()), ..table(primary_key) };
        assert_eq!(warehouse.columns(&spec.name).await.unwrap(), None);
        warehouse.create_table(&spec).await.unwrap();
        warehouse.create_table(&spec).await.unwrap();
        assert_eq!(warehouse.columns(&spec.name).await.unwrap(), Some(warehouse.expected_columns(&spec)));
        let ddl = warehouse.table_ddl(&spec).join(";\n");
        assert!(ddl.contains("_file") && ddl.contains("_record"), "{ddl}");

        let mut wider = spec.clone();
        wider.columns.push(TableColumn { name: "note".to_owned(), ty: ColumnType::Text, required: false });
        warehouse.create_table(&wider).await.unwrap();
        assert_ne!(warehouse.columns(&spec.name).await.unwrap(), Some(warehouse.expected_columns(&wider)));
    }
}

// -- take ----------------------------------------------------------------------------------------------------------

pub async fn a_take_counts_epochs_and_keeps_the_order_of_its_files(warehouse: &dyn Warehouse) {
    warehouse.migrate().await.unwrap();
    let files: Vec<LedgerKey> = ["c", "a", "b", "ü"].iter().map(|name| key(name, "v1")).collect();
    let first = warehouse.take(&taker(FEED, 1, TABLE, PLAN), &files).await.unwrap();
    let reversed: Vec<LedgerKey> = files.iter().rev().cloned().collect();
    let second = warehouse.take(&taker(FEED, 2, TABLE, PLAN), &reversed).await.unwrap();
    assert_eq!(second.len(), 4);
    for (before, after) in first.iter().zip(second.iter().rev()) {
        assert_eq!((after.file, after.epoch), (before.file, before.epoch + 1));
        assert_eq!((after.standing, &after.progress), (Standing::Ready, &Progress::default()));
    }
    let of_another_feed = warehouse.take(&taker("other", 3, TABLE, PLAN), &files[..1]).await.unwrap();
    assert!(first.iter().all(|taken| taken.file != of_another_feed[0].file));
}

pub async fn two_takers_never_share_an_epoch(one: &dyn Warehouse, two: &dyn Warehouse) {
    one.migrate().await.unwrap();
    let (first, second) = tokio::join!(take_twenty_times(one), take_twenty_times(two));
    let epochs: std::collections::BTreeSet<i64> = first.iter().chain(&second).copied().collect();
    assert_eq!((first.len() + second.len(), epochs.len()), (40, 40));
}

async fn take_twenty_times(warehouse: &dyn Warehouse) -> Vec<i64> {
    let mut epochs = Vec::new();
    for _ in 0..20 {
        epochs.push(take(warehouse, "v1", PLAN).await.epoch);
    }
    epochs
}

/// Two who make and take the same files, named in opposite orders, again and again.
pub async fn takers_in_opposite_orders_do_not_get_in_each_others_way(one: &dyn Warehouse, two: &dyn Warehouse) {
    one.migrate().await.unwrap();
    for round in 0..20 {
        let mut files: Vec<LedgerKey> = (0..30).map(|file| key(&format!("{round}/{file}.csv"), "v1")).collect();
        let by = taker(FEED, 1, TABLE, PLAN);
        let forwards = files.clone();
        files.reverse();
        let (first, mut second) = tokio::join!(one.take(&by, &forwards), two.take(&by, &files));
        let first = first.unwrap();
        second.as_mut().unwrap().reverse();
        for (first, second) in first.iter().zip(second.unwrap()) {
            assert_eq!((first.file, first.epoch + second.epoch), (second.file, 3));
        }
    }
}

/// Where nothing is done, a take makes version and plan its own; a segment then begins under them only.
pub async fn nothing_done_is_adopted(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    take(warehouse, "v1", PLAN).await;
    let taken = warehouse.take(&taker(FEED, 42, TABLE, OTHER_PLAN), &[key("a.csv", "v2")]).await.unwrap().remove(0);
    assert_eq!(taken.standing, Standing::Ready);
    let row = read.query("SELECT version, plan_hash, job FROM loadline_files").await;
    assert_eq!(row, [texts(&["v2", OTHER_PLAN, "42"])]);
    assert!(is_lost(warehouse, &fence(&taken, PLAN), 0).await);
    begin(warehouse, &fence(&taken, OTHER_PLAN), 0).await;
}

pub async fn something_done_is_bound_to_version_and_plan(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let taken = take(warehouse, "v1", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 3, false).await;

    let same = take(warehouse, "v1", PLAN).await;
    assert_eq!((same.standing, same.progress), (Standing::Ready, done(3, false)));
    assert_eq!(take(warehouse, "v1", OTHER_PLAN).await.standing, Standing::OtherPlan);
    let row = read.query("SELECT version, plan_hash FROM loadline_files").await;
    assert_eq!(row, [texts(&["v1", PLAN])], "a take that is not Ready adopted something");
}

/// Half loaded, then replaced: nothing of the old version may stay, and nothing of the new one may follow it.
pub async fn a_part_of_another_version_is_walked_back(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let taken = take(warehouse, "v1", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 3, false).await;
    let taken = take(warehouse, "v2", PLAN).await;
    assert_eq!(taken.standing, Standing::OtherPlan);
    assert!(matches!(warehouse.begin(&fence(&taken, PLAN), 3).await.unwrap(), Begun::Lost));
    // Whoever takes it next, after a crash, sees the same.
    let taken = take(warehouse, "v2", PLAN).await;
    assert_eq!(taken.standing, Standing::OtherPlan);
    assert!(warehouse.walk_back(&fence(&taken, PLAN), &table(&[]), WalkEnd::Anew).await.unwrap());
    assert_eq!(read.query("SELECT count(*) FROM loans").await, [texts(&["0"])]);
    let row = read.query("SELECT version, plan_hash, records_done FROM loadline_files").await;
    assert_eq!(row, [texts(&["v2", PLAN, "0"])]);
}

pub async fn a_complete_file_is_done_whatever_the_plan(warehouse: &dyn Warehouse) {
    set_up(warehouse, &table(&[])).await;
    let taken = take(warehouse, "v1", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 3, true).await;
    let again = take(warehouse, "v1", OTHER_PLAN).await;
    assert_eq!((again.standing, again.progress), (Standing::Ready, done(3, true)));
    assert_eq!(take(warehouse, "v2", PLAN).await.standing, Standing::OtherVersion);
    let last = take(warehouse, "v1", PLAN).await;
    let begun = warehouse.begin(&fence(&last, PLAN), 3).await.unwrap();
    assert!(matches!(begun, Begun::Moved(progress) if progress.complete), "a complete file took a segment");
}

pub async fn a_complete_empty_file_is_not_begun_anew(warehouse: &dyn Warehouse) {
    set_up(warehouse, &table(&[])).await;
    let taken = take(warehouse, "v1", PLAN).await;
    begin(warehouse, &fence(&taken, PLAN), 0).await.commit(&done(0, true)).await.unwrap();
    let again = take(warehouse, "v1", OTHER_PLAN).await;
    assert_eq!((again.standing, again.progress), (Standing::Ready, done(0, true)));
    assert_eq!(take(warehouse, "v2", PLAN).await.standing, Standing::OtherVersion);
}

// -- segments ------------------------------------------------------------------------------------------------------

pub async fn segments_follow_each_other(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    load(warehouse, &mine, 0, 100, false).await;
    let mut segment = begin(warehouse, &mine, 100).await;
    segment.write(&table(&[]), &rows(101..=150, 1)).await.unwrap();
    segment.reject(&[reject(151)]).await.unwrap();
    segment.write(&table(&[]), &rows(152..=200, 1)).await.unwrap();
    let invalid = [("age".to_owned(), 3), ("income \"net\"".to_owned(), 1)].into();
    let end = Progress { records_done: 200, rows: 199, rejects: 1, checksum: i64::MIN, invalid, ..proven() };
    segment.commit(&end).await.unwrap();

    assert_eq!(progress(warehouse).await, end);
    let counted = read.query("SELECT count(*), count(DISTINCT _record), min(_record), max(_record) FROM loans").await;
    assert_eq!(counted, [texts(&["199", "199", "1", "200"])]);
    let ended = read.query("SELECT count(*) FROM loadline_files WHERE completed_time IS NOT NULL").await;
    assert_eq!(ended, [texts(&["1"])]);
}

pub async fn a_dropped_segment_leaves_nothing(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &mine, 0).await;
    segment.write(&table(&[]), &rows(1..=100, 1)).await.unwrap();
    segment.reject(&[reject(101)]).await.unwrap();
    drop(segment);
    load(warehouse, &mine, 0, 2, false).await;
    assert_eq!((count(read, "loans").await, count(read, "loadline_rejects").await), (2, 0));
    assert_eq!(progress(warehouse).await, done(2, false));
}

pub async fn a_cancelled_write_leaves_nothing(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &mine, 0).await;
    let spec = table(&[]);
    let batch = rows(1..=50_000, 1);
    let cut = tokio::time::timeout(std::time::Duration::from_millis(1), segment.write(&spec, &batch)).await;
    drop(cut);
    drop(segment);
    load(warehouse, &mine, 0, 2, false).await;
    assert_eq!(count(read, "loans").await, 2);
}

pub async fn a_stream_elsewhere_is_told_where_the_ledger_stands(warehouse: &dyn Warehouse) {
    set_up(warehouse, &table(&[])).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    load(warehouse, &mine, 0, 5, false).await;
    for from in [0, 4, 6] {
        match warehouse.begin(&mine, from).await.unwrap() {
            Begun::Moved(progress) => assert_eq!(progress, done(5, false)),
            _ => panic!("began at {from}"),
        }
    }
    load(warehouse, &mine, 5, 6, false).await;
}

pub async fn a_superseded_epoch_changes_nothing(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let old = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    load(warehouse, &old, 0, 3, false).await;
    let new = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    assert!(is_lost(warehouse, &old, 3).await);
    assert!(!warehouse.walk_back(&old, &table(&[]), WalkEnd::Anew).await.unwrap());
    assert_eq!((count(read, "loans").await, progress(warehouse).await), (3, done(3, false)));
    load(warehouse, &new, 3, 4, true).await;
}

/// A server locks the row that it was asked for, also where that row turns out to be another's. Whoever is told so lets it
/// go at once, and keeps the session.
pub async fn whoever_has_lost_or_stands_elsewhere_holds_nothing(one: &dyn Warehouse, two: &dyn Warehouse) {
    /// Below every time that a database waits for a lock.
    const SOON: std::time::Duration = std::time::Duration::from_secs(20);
    set_up(one, &table(&[])).await;
    let old = fence(&take(one, "v1", PLAN).await, PLAN);
    let new = fence(&take(two, "v1", PLAN).await, PLAN);
    assert!(is_lost(one, &old, 0).await);
    tokio::time::timeout(SOON, load(two, &new, 0, 3, false)).await.expect("the lost segment holds the file");
    assert!(matches!(one.begin(&new, 0).await.unwrap(), Begun::Moved(_)));
    tokio::time::timeout(SOON, load(two, &new, 3, 4, false)).await.expect("the moved segment holds the file");
    assert!(!one.walk_back(&old, &table(&[]), WalkEnd::Anew).await.unwrap());
    tokio::time::timeout(SOON, load(two, &new, 4, 5, true)).await.expect("the lost walk back holds the file");
}

/// The answer to a COMMIT that has landed is lost; `lose` sees to that. Whoever goes on under the same take names where
/// its stream stands, and is told that the ledger stands elsewhere; had it named what it reads there, it would insert the
/// same records once more.
pub async fn a_stream_whose_commit_landed_unseen_is_moved(
    warehouse: &dyn Warehouse,
    read: &dyn ReadBack,
    lose: impl FnOnce(),
) {
    set_up(warehouse, &table(&[])).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &mine, 0).await;
    segment.write(&table(&[]), &rows(1..=3, 1)).await.unwrap();
    lose();
    assert!(segment.commit(&done(3, false)).await.is_err());
    assert!(matches!(warehouse.begin(&mine, 0).await.unwrap(), Begun::Moved(to) if to == done(3, false)));
    load(warehouse, &mine, 3, 5, true).await;
    assert_eq!(count(read, TABLE).await, 5);
}

/// A take waits for an open segment, or its segment can't commit any more: never both.
pub async fn a_take_and_an_open_segment_exclude_each_other(
    one: &dyn Warehouse,
    two: &dyn Warehouse,
    read: &dyn ReadBack,
) {
    set_up(one, &table(&[])).await;
    let old = fence(&take(one, "v1", PLAN).await, PLAN);
    let holder = async {
        let mut segment = begin(one, &old, 0).await;
        segment.write(&table(&[]), &rows(1..=3, 1)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        segment.commit(&done(3, false)).await.is_ok()
    };
    let taker = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        take(two, "v1", PLAN).await
    };
    let (committed, taken) = tokio::join!(holder, taker);
    let stands = if committed { 3 } else { 0 };
    assert_eq!((taken.progress.records_done, count(read, "loans").await), (stands, stands));
    assert!(is_lost(one, &old, stands).await);
}

pub async fn a_duplicate_key_names_its_record(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    let keyed = table(&["id"]);
    set_up(warehouse, &keyed).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &mine, 0).await;
    segment.write(&keyed, &rows(1..=10, 1_000)).await.unwrap();
    segment.commit(&done(10, false)).await.unwrap();

    // Ids 810 to 1009 for records 11 to 210: the first that is taken already is id 1000, of record 201.
    let mut segment = begin(warehouse, &mine, 10).await;
    let refused = segment.write(&keyed, &rows(11..=210, 810)).await.unwrap_err();
    assert!(matches!(refused, WriteError::Duplicate { record: 201 }), "{refused:?}");
    drop(segment);

    // Twice in one batch.
    let ids = Int64Array::from(vec![1, 2, 1]);
    let records = UInt64Array::from(vec![11, 12, 13]);
    let twice = RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("_record", Arc::new(records) as _)]).unwrap();
    let mut segment = begin(warehouse, &mine, 10).await;
    let refused = segment.write(&keyed, &twice).await.unwrap_err();
    assert!(matches!(refused, WriteError::Duplicate { record: 13 }), "{refused:?}");
    drop(segment);
    assert_eq!(count(read, "loans").await, 10);
    assert_eq!(progress(warehouse).await, done(10, false));
}

pub async fn after_an_error_a_segment_cannot_commit(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    let keyed = table(&["id"]);
    set_up(warehouse, &keyed).await;
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &mine, 0).await;
    segment.write(&keyed, &rows(1..=1, 5)).await.unwrap();
    assert!(segment.write(&keyed, &rows(2..=2, 5)).await.is_err());
    assert!(segment.commit(&done(2, true)).await.is_err());
    assert_eq!((count(read, "loans").await, progress(warehouse).await), (0, Progress::default()));
}

/// Everything that a worker asks of a database whose tables are there, with rights for no more.
pub async fn a_loader_does_its_work(warehouse: &dyn Warehouse, keyed: &TableSpec) {
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &mine, 0).await;
    segment.write(keyed, &rows(1..=3, 1)).await.unwrap();
    segment.reject(&[reject(4)]).await.unwrap();
    segment.commit(&done(4, false)).await.unwrap();
    let mut segment = begin(warehouse, &mine, 4).await;
    let refused = segment.write(keyed, &rows(5..=6, 3)).await.unwrap_err();
    assert!(matches!(refused, WriteError::Duplicate { record: 5 }), "{refused:?}");
    drop(segment);
    assert!(warehouse.walk_back(&mine, keyed, WalkEnd::Anew).await.unwrap());
    assert_eq!(progress(warehouse).await, Progress::default());
    load(warehouse, &mine, 0, 2, true).await;
    assert_eq!(warehouse.rejects(Some(FEED), None, 10).await.unwrap().len(), 0);
}

// -- walking back --------------------------------------------------------------------------------------------------

pub async fn a_walk_back_leaves_nothing_but_the_plan(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let neighbour = warehouse.take(&taker(FEED, 1, TABLE, PLAN), &[key("b.csv", "v1")]).await.unwrap().remove(0);
    load(warehouse, &fence(&neighbour, PLAN), 0, 4, true).await;
    let taken = take(warehouse, "v1", PLAN).await;
    let mut segment = begin(warehouse, &fence(&taken, PLAN), 0).await;
    segment.write(&table(&[]), &rows(1..=5, 1)).await.unwrap();
    segment.reject(&[reject(6)]).await.unwrap();
    let invalid = [("id".to_owned(), 1)].into();
    let loaded = Progress { records_done: 6, rows: 5, rejects: 1, checksum: 9, invalid, ..proven() };
    segment.commit(&loaded).await.unwrap();

    let mine = fence(&take(warehouse, "v1", OTHER_PLAN).await, OTHER_PLAN);
    assert!(warehouse.walk_back(&mine, &table(&[]), WalkEnd::Anew).await.unwrap());
    assert_eq!(progress(warehouse).await, Progress::default());
    assert_eq!((count(read, "loans").await, count(read, "loadline_rejects").await), (4, 0));
    let completed = read.query("SELECT count(*) FROM loadline_files WHERE completed_time IS NOT NULL").await;
    assert_eq!(completed, [texts(&["1"])]);
    load(warehouse, &mine, 0, 2, true).await;
    assert_eq!(progress(warehouse).await, done(2, true));
}

/// A feed got another table while a file was half loaded: its rows leave the old one.
pub async fn a_walk_back_takes_rows_out_of_the_table_they_are_in(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let next = TableSpec { name: "loans_new".to_owned(), ..table(&[]) };
    warehouse.create_table(&next).await.unwrap();
    let taken = take(warehouse, "v1", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 10, false).await;
    let by = taker(FEED, 2, "loans_new", OTHER_PLAN);
    let taken = warehouse.take(&by, &[key("a.csv", "v1")]).await.unwrap().remove(0);
    assert_eq!(taken.standing, Standing::OtherPlan);
    assert!(warehouse.walk_back(&fence(&taken, OTHER_PLAN), &next, WalkEnd::Anew).await.unwrap());
    assert_eq!(read.query("SELECT count(*) FROM loans").await, [texts(&["0"])]);
    let named = "SELECT target_table, records_done FROM loadline_files";
    assert_eq!(read.query(named).await, [texts(&["loans_new", "0"])]);
}

/// A file of three steps is taken while it is walked back. Returns whether the take came in between: then it must say
/// so, and its own walk must end what the first began.
pub async fn an_interrupted_walk_back_is_seen_and_ended(warehouse: &dyn Warehouse, read: &dyn ReadBack) -> bool {
    set_up(warehouse, &table(&[])).await;
    let first = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &first, 0).await;
    for from in (0..250_000).step_by(50_000) {
        segment.write(&table(&[]), &rows(from + 1..=from + 50_000, 1)).await.unwrap();
    }
    segment.reject(&[reject(250_001)]).await.unwrap();
    segment.commit(&done(250_001, false)).await.unwrap();

    let spec = table(&[]);
    // The new version comes with the retry of a failed file that was replaced.
    let (walked, taken) = tokio::join!(warehouse.walk_back(&first, &spec, WalkEnd::Anew), take(warehouse, "v2", PLAN));
    let interrupted = !walked.unwrap();
    let mine = fence(&taken, PLAN);
    if interrupted && taken.progress.records_done < 250_001 {
        assert_eq!(taken.standing, Standing::OtherPlan);
        let left = taken.progress.records_done;
        assert_eq!(count(read, "loans").await, left, "rows and ledger part ways");
        assert!(is_lost(warehouse, &mine, left).await, "a segment began in the middle of a walk back");
        assert!(warehouse.walk_back(&mine, &spec, WalkEnd::Anew).await.unwrap());
        assert_eq!(progress(warehouse).await, Progress::default());
        let row = read.query("SELECT version, plan_hash FROM loadline_files").await;
        assert_eq!(row, [texts(&["v2", PLAN])], "rows of the new version would bear the old one");
        load(warehouse, &mine, 0, 1, true).await;
        assert_eq!((count(read, "loans").await, count(read, "loadline_rejects").await), (1, 0));
        return true;
    }
    false
}

// -- reloading -----------------------------------------------------------------------------------------------------

async fn take_to_reload(warehouse: &dyn Warehouse, version: &str, plan: &str) -> Taken {
    let by = Taker { reload: true, ..taker(FEED, 1, TABLE, plan) };
    warehouse.take(&by, &[key("a.csv", version)]).await.unwrap().remove(0)
}

/// The new version takes the place of the old one, once, also where the plan is another.
pub async fn a_complete_file_is_reloaded_in_another_version(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let taken = take_to_reload(warehouse, "v1", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 3, true).await;
    let same = take_to_reload(warehouse, "v1", OTHER_PLAN).await;
    assert_eq!((same.standing, same.progress), (Standing::Ready, done(3, true)), "another plan is no other version");

    let taken = take_to_reload(warehouse, "v2", OTHER_PLAN).await;
    assert_eq!(taken.standing, Standing::OtherPlan);
    let mine = fence(&taken, OTHER_PLAN);
    assert!(is_lost(warehouse, &mine, 3).await, "a segment followed rows of another version");
    assert!(warehouse.walk_back(&mine, &table(&[]), WalkEnd::Anew).await.unwrap());
    assert_eq!((count(read, TABLE).await, progress(warehouse).await), (0, Progress::default()));
    let taken = take_to_reload(warehouse, "v2", OTHER_PLAN).await;
    assert_eq!(taken.standing, Standing::Ready);
    load(warehouse, &fence(&taken, OTHER_PLAN), 0, 5, true).await;
    let row = read.query("SELECT version, plan_hash, records_done FROM loadline_files").await;
    assert_eq!(row, [texts(&["v2", OTHER_PLAN, "5"])]);
    let again = take_to_reload(warehouse, "v2", OTHER_PLAN).await;
    assert_eq!((again.standing, again.progress), (Standing::Ready, done(5, true)));
}

pub async fn a_complete_empty_file_is_reloaded_too(warehouse: &dyn Warehouse) {
    set_up(warehouse, &table(&[])).await;
    let taken = take_to_reload(warehouse, "v1", PLAN).await;
    begin(warehouse, &fence(&taken, PLAN), 0).await.commit(&done(0, true)).await.unwrap();
    let taken = take_to_reload(warehouse, "v2", PLAN).await;
    assert_eq!(taken.standing, Standing::OtherPlan);
    assert!(warehouse.walk_back(&fence(&taken, PLAN), &table(&[]), WalkEnd::Anew).await.unwrap());
    let taken = take_to_reload(warehouse, "v2", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 2, true).await;
    assert_eq!(progress(warehouse).await, done(2, true));
}

/// Whoever has lost its claim takes too, with whatever version it has heard of. What is loaded stays what it is.
pub async fn a_take_to_reload_changes_nothing_before_the_walk(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let taken = take(warehouse, "v2", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 3, true).await;
    let late = take_to_reload(warehouse, "v1", OTHER_PLAN).await;
    assert_eq!(late.standing, Standing::OtherPlan);
    assert_eq!((count(read, TABLE).await, progress(warehouse).await), (3, done(3, true)));
    let row = read.query("SELECT version, plan_hash FROM loadline_files").await;
    assert_eq!(row, [texts(&["v2", PLAN])]);
    for again in [take_to_reload(warehouse, "v2", PLAN).await, take(warehouse, "v2", OTHER_PLAN).await] {
        assert_eq!((again.standing, again.progress), (Standing::Ready, done(3, true)));
    }
    assert!(!warehouse.walk_back(&fence(&late, OTHER_PLAN), &table(&[]), WalkEnd::Anew).await.unwrap());
    assert_eq!(count(read, TABLE).await, 3);
}

// -- unloading -----------------------------------------------------------------------------------------------------

async fn unload(warehouse: &dyn Warehouse, taken: &Taken, plan: &str) {
    assert!(warehouse.walk_back(&fence(taken, plan), &table(&[]), WalkEnd::Unloaded).await.unwrap());
}

async fn readmit(warehouse: &dyn Warehouse, keys: &[&str]) -> u64 {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    warehouse.readmit(FEED, &keys).await.unwrap()
}

async fn unloaded(read: &dyn ReadBack) -> u64 {
    count(read, "loadline_files WHERE unloaded_time IS NOT NULL").await
}

pub async fn an_unloaded_file_stays_out_until_it_is_readmitted(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let neighbour = warehouse.take(&taker(FEED, 1, TABLE, PLAN), &[key("b.csv", "v1")]).await.unwrap().remove(0);
    load(warehouse, &fence(&neighbour, PLAN), 0, 4, true).await;
    let taken = take(warehouse, "v1", PLAN).await;
    let mut segment = begin(warehouse, &fence(&taken, PLAN), 0).await;
    segment.write(&table(&[]), &rows(1..=5, 1)).await.unwrap();
    segment.reject(&[reject(6)]).await.unwrap();
    segment.commit(&Progress { rows: 5, rejects: 1, ..done(6, true) }).await.unwrap();

    unload(warehouse, &take(warehouse, "v1", PLAN).await, PLAN).await;
    assert_eq!((count(read, TABLE).await, count(read, "loadline_rejects").await), (4, 0));
    assert_eq!((progress(warehouse).await, unloaded(read).await), (Progress::default(), 1));
    // Under no version and no plan, and whatever the taker does with other versions.
    for taken in [
        take(warehouse, "v1", PLAN).await,
        take(warehouse, "v2", OTHER_PLAN).await,
        take_to_reload(warehouse, "v3", PLAN).await,
        take(warehouse, "v1", PLAN).await,
    ] {
        assert_eq!((taken.standing, &taken.progress), (Standing::Unloaded, &Progress::default()));
    }
    let mine = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    assert!(is_lost(warehouse, &mine, 0).await, "a segment began over an unloaded file");

    assert_eq!(readmit(warehouse, &["b.csv", "unheard of"]).await, 0);
    assert_eq!(warehouse.readmit("other", &["a.csv".to_owned()]).await.unwrap(), 0);
    assert_eq!(readmit(warehouse, &["a.csv", "b.csv"]).await, 1);
    assert_eq!(readmit(warehouse, &["a.csv", "b.csv"]).await, 0);
    assert!(is_lost(warehouse, &mine, 0).await, "an epoch from before the unload was let in");
    let taken = take(warehouse, "v2", OTHER_PLAN).await;
    assert_eq!(taken.standing, Standing::Ready);
    load(warehouse, &fence(&taken, OTHER_PLAN), 0, 2, true).await;
    let row = "SELECT version, plan_hash, complete FROM loadline_files WHERE unloaded_time IS NULL ORDER BY file DESC";
    assert_eq!(read.query(row).await[0], texts(&["v2", OTHER_PLAN, "1"]));
}

/// What another plan, another version, or nobody at all has begun can be unloaded like a complete file.
pub async fn whatever_stands_of_a_file_can_be_unloaded(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    unload(warehouse, &take(warehouse, "v1", PLAN).await, PLAN).await;
    assert_eq!(take(warehouse, "v1", PLAN).await.standing, Standing::Unloaded);
    for (records, complete, version, plan) in
        [(3, false, "v1", PLAN), (3, false, "v1", OTHER_PLAN), (3, true, "v2", PLAN), (3, false, "v2", PLAN)]
    {
        assert_eq!(readmit(warehouse, &["a.csv"]).await, 1);
        let taken = take(warehouse, "v1", PLAN).await;
        load(warehouse, &fence(&taken, PLAN), 0, records, complete).await;
        unload(warehouse, &take(warehouse, version, plan).await, plan).await;
        assert_eq!((count(read, TABLE).await, progress(warehouse).await), (0, Progress::default()));
        assert_eq!(take(warehouse, "v1", PLAN).await.standing, Standing::Unloaded);
    }
    let of_empty = take(warehouse, "v1", PLAN).await;
    assert_eq!(readmit(warehouse, &["a.csv"]).await, 1);
    // Readmitted since: whoever was about to unload it must not any more.
    assert!(!warehouse.walk_back(&fence(&of_empty, PLAN), &table(&[]), WalkEnd::Unloaded).await.unwrap());
    assert_eq!(take(warehouse, "v1", PLAN).await.standing, Standing::Ready);
}

/// A file of three steps is taken while it is unloaded. Returns whether the take came in between: then nobody may take
/// the file for complete or load it, and the next one ends the unload.
pub async fn an_unload_that_is_cut_short_is_seen_and_ended(warehouse: &dyn Warehouse, read: &dyn ReadBack) -> bool {
    set_up(warehouse, &table(&[])).await;
    let first = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let mut segment = begin(warehouse, &first, 0).await;
    for from in (0..250_000).step_by(50_000) {
        segment.write(&table(&[]), &rows(from + 1..=from + 50_000, 1)).await.unwrap();
    }
    segment.commit(&done(250_000, true)).await.unwrap();

    let spec = table(&[]);
    let first = fence(&take(warehouse, "v1", PLAN).await, PLAN);
    let (walked, taken) =
        tokio::join!(warehouse.walk_back(&first, &spec, WalkEnd::Unloaded), take_to_reload(warehouse, "v2", PLAN));
    let left = taken.progress.records_done;
    if walked.unwrap() || left == 250_000 {
        return false;
    }
    assert_eq!((taken.standing, taken.progress.complete), (Standing::Unloaded, false));
    assert_eq!(count(read, TABLE).await, left, "rows and ledger part ways");
    assert!(is_lost(warehouse, &fence(&taken, PLAN), left).await, "a segment began in the middle of an unload");
    assert_eq!(readmit(warehouse, &["a.csv"]).await, 0, "half a file was let in");
    unload(warehouse, &take(warehouse, "v2", PLAN).await, PLAN).await;
    assert_eq!((count(read, TABLE).await, unloaded(read).await), (0, 1));
    assert_eq!(readmit(warehouse, &["a.csv"]).await, 1);
    true
}

pub async fn the_ledger_names_file_table_and_end(warehouse: &dyn Warehouse) {
    set_up(warehouse, &table(&[])).await;
    assert_eq!(warehouse.entry(FEED, "a.csv").await.unwrap(), None);
    let taken = take(warehouse, "v1", PLAN).await;
    load(warehouse, &fence(&taken, PLAN), 0, 2, false).await;
    let half = warehouse.entry(FEED, "a.csv").await.unwrap().unwrap();
    assert_eq!((half.completed, half.progress.records_done), (None, 2));
    load(warehouse, &fence(&taken, PLAN), 2, 3, true).await;
    let entry = warehouse.entry(FEED, "a.csv").await.unwrap().unwrap();
    assert!(entry.completed.is_some());
    let expected = LedgerEntry {
        file: taken.file,
        job: 1,
        version: "v1".to_owned(),
        table: TABLE.to_owned(),
        completed: entry.completed,
        unloaded: None,
        progress: done(3, true),
    };
    assert_eq!(entry, expected);
}

/// Raw records are somebody's data and need not be kept for ever; what was counted stays.
pub async fn old_rejects_are_pruned_and_their_counts_stay(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    set_up(warehouse, &table(&[])).await;
    let files = [key("a.csv", "v1"), key("b.csv", "v1"), key("half.csv", "v1")];
    let taken = warehouse.take(&taker(FEED, 1, TABLE, PLAN), &files).await.unwrap();
    for (taken, complete) in taken.iter().zip([true, true, false]) {
        let mut segment = begin(warehouse, &fence(taken, PLAN), 0).await;
        segment.reject(&[reject(1), reject(2), reject(3)]).await.unwrap();
        segment.commit(&Progress { records_done: 3, rejects: 3, complete, ..Progress::default() }).await.unwrap();
    }
    let ended = warehouse.entry(FEED, "a.csv").await.unwrap().unwrap().completed.unwrap();
    assert_eq!(warehouse.prune_rejects(ended, 100).await.unwrap(), 0);
    let later = ended + std::time::Duration::from_secs(3600);
    let mut pruned = Vec::new();
    for _ in 0..10 {
        pruned.push(warehouse.prune_rejects(later, 2).await.unwrap());
    }
    assert_eq!(pruned.iter().sum::<u64>(), 6, "{pruned:?}");
    assert_eq!(pruned.last(), Some(&0));
    let left = "SELECT file FROM loadline_rejects GROUP BY file";
    assert_eq!(
        read.query(left).await,
        [texts(&[&taken[2].file.to_string()])],
        "a file that is not complete lost rejects"
    );
    assert_eq!(warehouse.entry(FEED, "b.csv").await.unwrap().unwrap().progress.rejects, 3);
}
