//! What every [`Warehouse`] tells an audit: the ledger, and what the tables hold beside it.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt64Array};
use loadline::feed::ColumnType;
use loadline::warehouse::{
    AuditedFile, Begun, Fence, LedgerKey, Progress, Reject, TableColumn, TableSpec, WalkEnd, Warehouse,
};

use super::{ReadBack, at, taker};

const FEED: &str = "loans";

/// Two records may be one, for the database: the table has a key of its own.
fn table(name: &str) -> TableSpec {
    let id = TableColumn { name: "id".to_owned(), ty: ColumnType::Int64, required: true };
    TableSpec { name: name.to_owned(), columns: vec![id], primary_key: vec!["id".to_owned()] }
}

fn rows(records: std::ops::RangeInclusive<u64>, first_id: i64) -> RecordBatch {
    let records = UInt64Array::from_iter_values(records);
    let ids = Int64Array::from_iter_values((first_id..).take(records.len()));
    RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("_record", Arc::new(records) as _)]).unwrap()
}

async fn fence(warehouse: &dyn Warehouse, key: &str, table: &str) -> Fence {
    let file = LedgerKey { key: key.to_owned(), version: "v1".to_owned(), hour: at(0) };
    let taken = warehouse.take(&taker(FEED, 1, table, "plan"), &[file]).await.unwrap().remove(0);
    Fence { file: taken.file, epoch: taken.epoch, plan_hash: "plan".to_owned() }
}

/// A file of `records` records, the last of them a reject; ids from 100 times its number on.
async fn load(warehouse: &dyn Warehouse, key: &str, table: &TableSpec, records: u64, complete: bool) -> Fence {
    let fence = fence(warehouse, key, &table.name).await;
    let Begun::Segment(mut segment) = warehouse.begin(&fence, 0).await.unwrap() else { panic!("{key} did not begin") };
    segment.write(table, &rows(1..=records - 1, 100 * fence.file)).await.unwrap();
    let (column, reason, raw) = (None, "bad".to_owned(), Vec::new());
    segment
        .reject(&[Reject { record: records, line: records + 1, byte_offset: 0, column, reason, raw }])
        .await
        .unwrap();
    let done = Progress { records_done: records, rows: records - 1, rejects: 1, complete, ..Progress::default() };
    segment.commit(&done).await.unwrap();
    fence
}

async fn audit(warehouse: &dyn Warehouse) -> Vec<AuditedFile> {
    warehouse.audit(FEED, &table("loans"), 0, 100, false).await.unwrap()
}

/// Key, rows, surplus, rejects.
fn counts(files: &[AuditedFile]) -> Vec<(&str, u64, u64, u64)> {
    files.iter().map(|file| (file.key.as_str(), file.rows, file.surplus, file.rejects)).collect()
}

pub async fn the_ledger_is_paged_with_what_the_tables_hold(warehouse: &dyn Warehouse) {
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&table("loans")).await.unwrap();
    load(warehouse, "a.csv", &table("loans"), 4, true).await;
    fence(warehouse, "never begun.csv", "loans").await;
    load(warehouse, "ü.csv", &table("loans"), 3, false).await;
    warehouse.take(&taker("other", 1, "loans", "plan"), &[]).await.unwrap();

    let files = audit(warehouse).await;
    assert_eq!(counts(&files), [("a.csv", 3, 0, 1), ("never begun.csv", 0, 0, 0), ("ü.csv", 2, 0, 1)]);
    for file in &files {
        assert_eq!((file.rows, file.rejects), (file.entry.progress.rows, file.entry.progress.rejects));
        assert_eq!(warehouse.entry(FEED, &file.key).await.unwrap().as_ref(), Some(&file.entry));
        assert!(!file.walking_back && file.hour == at(0) && file.checksum.is_none());
    }
    let mut paged = Vec::new();
    while let page = warehouse.audit(FEED, &table("loans"), paged.last().map_or(0, number), 2, false).await.unwrap()
        && !page.is_empty()
    {
        assert!(page.len() <= 2);
        paged.extend(page);
    }
    assert_eq!(paged, files);
    assert!(warehouse.audit("unheard of", &table("loans"), 0, 2, false).await.unwrap().is_empty());
}

fn number(file: &AuditedFile) -> i64 {
    file.entry.file
}

pub async fn rows_that_are_missing_doubled_or_too_many_are_counted(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&table("loans")).await.unwrap();
    for key in ["missing.csv", "doubled.csv", "behind.csv", "rejects.csv"] {
        load(warehouse, key, &table("loans"), 5, true).await;
    }
    read.query("DELETE FROM loans WHERE _file = 1 AND _record > 2").await;
    read.query("INSERT INTO loans (id, _file, _record) VALUES (901, 2, 1), (902, 2, 1), (903, 2, 2)").await;
    read.query("INSERT INTO loans (id, _file, _record) VALUES (904, 3, 6), (905, 3, 6), (906, 3, 0)").await;
    read.query("DELETE FROM loadline_rejects WHERE file = 4").await;
    let expected =
        [("missing.csv", 2, 0, 1), ("doubled.csv", 7, 3, 1), ("behind.csv", 7, 3, 1), ("rejects.csv", 4, 0, 0)];
    assert_eq!(counts(&audit(warehouse).await), expected);
    assert!(warehouse.strays("loans", 10).await.unwrap().is_empty());

    // Rows of files that the ledger has never heard of.
    read.query("INSERT INTO loans (id, _file, _record) VALUES (907, 77, 1), (908, 77, 2), (909, 5, 1), (910, 99, 1)")
        .await;
    assert_eq!(warehouse.strays("loans", 10).await.unwrap(), [(5, 1), (77, 2), (99, 1)]);
    assert_eq!(warehouse.strays("loans", 2).await.unwrap(), [(5, 1), (77, 2)]);
    assert!(warehouse.strays("no_such_table", 2).await.unwrap().is_empty());
    assert_eq!(counts(&audit(warehouse).await), expected);
}

/// A feed that has moved to another table: the rows are where they were loaded.
pub async fn rows_are_counted_in_the_table_that_the_ledger_names(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    warehouse.migrate().await.unwrap();
    for name in ["old_loans", "loans"] {
        warehouse.create_table(&table(name)).await.unwrap();
    }
    load(warehouse, "old.csv", &table("old_loans"), 3, true).await;
    load(warehouse, "new.csv", &table("loans"), 4, true).await;
    assert_eq!(counts(&audit(warehouse).await), [("old.csv", 2, 0, 1), ("new.csv", 3, 0, 1)]);
    read.query("DROP TABLE old_loans").await;
    let files = audit(warehouse).await;
    assert_eq!(counts(&files), [("old.csv", 0, 0, 1), ("new.csv", 3, 0, 1)]);
    assert_eq!(files[0].entry.table, "old_loans");
}

/// What is on its way out is not to be compared; once it is out, everything is zero.
pub async fn a_walk_back_is_marked_until_its_end(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&table("loans")).await.unwrap();
    let fence = load(warehouse, "a.csv", &table("loans"), 5, true).await;
    // As a step that is not the last one leaves it.
    read.query("DELETE FROM loans WHERE _record > 2").await;
    read.query("UPDATE loadline_files SET records_done = 2, complete = 0, plan_hash = ''").await;
    let files = audit(warehouse).await;
    assert!(files[0].walking_back);
    assert_eq!((files[0].rows, files[0].entry.progress.records_done, files[0].entry.progress.rows), (2, 2, 4));
    assert!(warehouse.walk_back(&fence, &table("loans"), WalkEnd::Anew).await.unwrap());
    let files = audit(warehouse).await;
    assert!(!files[0].walking_back);
    assert_eq!(counts(&files), [("a.csv", 0, 0, 0)]);
}
