//! What every [`Warehouse`] does with values and rejects: what went in comes out, to the last bit.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use loadline::feed::ColumnType;
use loadline::warehouse::{Begun, Fence, LedgerKey, Progress, Reject, Segment, TableColumn, TableSpec, Warehouse};

use super::{ReadBack, at, taker, texts};

/// A column's type, its values (the last one is NULL) and their texts as they are read back.
type Case = (&'static str, ArrayRef, [Option<&'static str>; 3]);

fn decimals(values: [Option<i128>; 3], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn times(values: [Option<i64>; 3]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

const DIGITS_38: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;
/// 9999-12-31T23:59:59 in microseconds.
const LAST_SECOND: i64 = 253_402_300_799_000_000;

fn integer_cases() -> Vec<Case> {
    vec![
        (
            "int8",
            Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None])),
            [Some("-128"), Some("127"), None],
        ),
        (
            "int16",
            Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None])),
            [Some("-32768"), Some("32767"), None],
        ),
        (
            "int32",
            Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
            [Some("-2147483648"), Some("2147483647"), None],
        ),
        (
            "int64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
            [Some("-9223372036854775808"), Some("9223372036854775807"), None],
        ),
        ("uint8", Arc::new(UInt8Array::from(vec![Some(0), Some(u8::MAX), None])), [Some("0"), Some("255"), None]),
        ("uint16", Arc::new(UInt16Array::from(vec![Some(0), Some(u16::MAX), None])), [Some("0"), Some("65535"), None]),
        (
            "uint32",
            Arc::new(UInt32Array::from(vec![Some(0), Some(u32::MAX), None])),
            [Some("0"), Some("4294967295"), None],
        ),
        (
            "uint64",
            Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None])),
            [Some("0"), Some("18446744073709551615"), None],
        ),
        ("bool", Arc::new(BooleanArray::from(vec![Some(false), Some(true), None])), [Some("0"), Some("1"), None]),
    ]
}

fn fraction_cases() -> Vec<Case> {
    vec![
        (
            "float",
            Arc::new(Float32Array::from(vec![Some(0.5), Some(-16_384.25), None])),
            [Some("0.5"), Some("-16384.25"), None],
        ),
        (
            "double",
            Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), Some(-1.5), None])),
            [Some("0.30000000000000004"), Some("-1.5"), None],
        ),
        (
            "decimal(38,0)",
            decimals([Some(DIGITS_38), Some(-DIGITS_38), None], 38, 0),
            [Some("99999999999999999999999999999999999999"), Some("-99999999999999999999999999999999999999"), None],
        ),
        (
            "decimal(38,30)",
            decimals([Some(DIGITS_38), Some(-1), None], 38, 30),
            [Some("99999999.999999999999999999999999999999"), Some("-0.000000000000000000000000000001"), None],
        ),
        ("decimal(10,2)", decimals([Some(1), Some(-123_450), None], 10, 2), [Some("0.01"), Some("-1234.50"), None]),
    ]
}

fn time_and_text_cases() -> Vec<Case> {
    let date = Date32Array::from(vec![Some(0), Some(2_932_896), None]);
    let long: &'static str = "x".repeat(70_000).leak();
    vec![
        ("date", Arc::new(date), [Some("1970-01-01"), Some("9999-12-31"), None]),
        (
            "timestamp(0)",
            times([Some(0), Some(LAST_SECOND), None]),
            [Some("1970-01-01 00:00:00"), Some("9999-12-31 23:59:59"), None],
        ),
        (
            "timestamp(3)",
            times([Some(1_500_000), Some(LAST_SECOND + 999_000), None]),
            [Some("1970-01-01 00:00:01.500"), Some("9999-12-31 23:59:59.999"), None],
        ),
        (
            "timestamp(6)",
            times([Some(1), Some(LAST_SECOND + 999_999), None]),
            [Some("1970-01-01 00:00:00.000001"), Some("9999-12-31 23:59:59.999999"), None],
        ),
        (
            "string(20)",
            Arc::new(StringArray::from(vec![Some(""), Some("  ü 🚚 'x\" \n;--"), None])),
            [Some(""), Some("  ü 🚚 'x\" \n;--"), None],
        ),
        ("text", Arc::new(StringArray::from(vec![Some("NULL"), Some(long), None])), [Some("NULL"), Some(long), None]),
    ]
}

async fn begin_first(warehouse: &dyn Warehouse, key: &str) -> Box<dyn Segment> {
    let file = LedgerKey { key: key.to_owned(), version: "v1".to_owned(), hour: at(0) };
    let taken = warehouse.take(&taker("loans", 1, "loans", "plan"), &[file]).await.unwrap().remove(0);
    let fence = Fence { file: taken.file, epoch: taken.epoch, plan_hash: "plan".to_owned() };
    match warehouse.begin(&fence, 0).await.unwrap() {
        Begun::Segment(segment) => segment,
        _ => panic!("a new file did not begin"),
    }
}

fn done(records_done: u64) -> Progress {
    Progress { records_done, complete: true, ..Progress::default() }
}

/// One table with a column of every type; three rows: lower limit, upper limit, NULL everywhere.
pub async fn every_type_comes_back_exactly(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    let cases: Vec<Case> = [integer_cases(), fraction_cases(), time_and_text_cases()].concat();
    let columns = cases.iter().enumerate().map(|(i, (ty, _, _))| {
        let ty: ColumnType = ty.parse().unwrap();
        TableColumn { name: format!("c{i}"), ty, required: false }
    });
    let spec = TableSpec { name: "every_type".to_owned(), columns: columns.collect(), primary_key: Vec::new() };
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&spec).await.unwrap();
    assert_eq!(warehouse.columns(&spec.name).await.unwrap(), Some(warehouse.expected_columns(&spec)));

    let records: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2, 3]));
    let arrays = cases.iter().enumerate().map(|(i, (_, array, _))| (format!("c{i}"), Arc::clone(array)));
    let batch = RecordBatch::try_from_iter(arrays.chain([("_record".to_owned(), records)])).unwrap();
    let mut segment = begin_first(warehouse, "a.csv").await;
    segment.write(&spec, &batch).await.unwrap();
    segment.commit(&done(3)).await.unwrap();

    for (i, (ty, _, expected)) in cases.iter().enumerate() {
        let back = read.query(&format!("SELECT c{i} FROM every_type ORDER BY _record")).await;
        let back: Vec<Option<&str>> = back.iter().map(|row| row[0].as_deref()).collect();
        assert_eq!(back, expected, "{ty}");
    }
}

/// A wide table: the limit of placeholders leaves few rows a statement.
pub async fn a_wide_table_takes_all_of_its_rows(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    const WIDTH: usize = 700;
    let column = |i| TableColumn { name: format!("c{i}"), ty: ColumnType::Int64, required: false };
    let columns = (0..WIDTH).map(column).collect();
    let spec = TableSpec { name: "wide".to_owned(), columns, primary_key: Vec::new() };
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&spec).await.unwrap();

    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=200));
    let records: ArrayRef = Arc::new(UInt64Array::from_iter_values(1..=200));
    let arrays = (0..WIDTH).map(|i| (format!("c{i}"), Arc::clone(&values)));
    let batch = RecordBatch::try_from_iter(arrays.chain([("_record".to_owned(), records)])).unwrap();
    let mut segment = begin_first(warehouse, "a.csv").await;
    segment.write(&spec, &batch).await.unwrap();
    segment.commit(&done(200)).await.unwrap();
    let sums = read.query("SELECT count(*), sum(c0), sum(c699), sum(_record) FROM wide").await;
    assert_eq!(sums, [texts(&["200", "20100", "20100", "20100"])]);
}

/// Errors may be printed and stored: they never quote a cell.
pub async fn a_refused_value_is_not_quoted(warehouse: &dyn Warehouse) {
    let column = TableColumn { name: "id".to_owned(), ty: ColumnType::Int64, required: true };
    let spec = TableSpec { name: "strict".to_owned(), columns: vec![column], primary_key: Vec::new() };
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&spec).await.unwrap();
    let records: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["hunter2"]));
    let wrong = RecordBatch::try_from_iter([("id", text), ("_record", records)]).unwrap();
    let mut segment = begin_first(warehouse, "a.csv").await;
    let refused = segment.write(&spec, &wrong).await.unwrap_err();
    let loadline::warehouse::WriteError::Other(error) = refused else { panic!("{refused:?}") };
    assert!(!format!("{error:?} {}", error.chain()).contains("hunter2"), "{error:?}");
}

fn reject(record: u64, column: Option<&str>, reason: &str, raw: &[u8]) -> Reject {
    let (column, reason) = (column.map(str::to_owned), reason.to_owned());
    Reject { record, line: record + 1, byte_offset: record * 40, column, reason, raw: raw.to_vec() }
}

pub async fn rejects_come_back_with_their_bytes(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    warehouse.migrate().await.unwrap();
    let mut segment = begin_first(warehouse, "a.csv").await;
    segment
        .reject(&[reject(2, None, "invalid UTF-8", b"1,\xff\x00\xfe"), reject(1, Some("id"), "empty", b"")])
        .await
        .unwrap();
    segment.commit(&done(2)).await.unwrap();

    let rows = warehouse.rejects(None, None, 10).await.unwrap();
    let picture: Vec<_> = rows.iter().map(|row| (row.record, row.line, row.byte_offset, row.reason.as_str())).collect();
    assert_eq!(picture, [(1, 2, 40, "empty"), (2, 3, 80, "invalid UTF-8")]);
    assert_eq!((rows[0].feed.as_str(), rows[0].key.as_str()), ("loans", "a.csv"));
    assert_eq!((rows[0].column_name.as_deref(), rows[1].column_name.as_deref()), (Some("id"), None));
    assert_eq!(rows[1].raw, "1,\u{fffd}\0\u{fffd}");
    let raw = read.query("SELECT raw FROM loadline_rejects ORDER BY record").await;
    assert_eq!(raw, [texts(&[""]), texts(&["312CFF00FE"])]);
}

pub async fn rejects_are_narrowed_and_counted_by_file(warehouse: &dyn Warehouse) {
    warehouse.migrate().await.unwrap();
    for (key, records) in [("a.csv", 1..=3), ("b.csv", 1..=2)] {
        let mut segment = begin_first(warehouse, key).await;
        for record in records {
            let column = (record > 1).then_some("id");
            segment.reject(&[reject(record, column, "not a number", b"x")]).await.unwrap();
        }
        segment.commit(&done(3)).await.unwrap();
    }
    let a = ["a.csv".to_owned()];
    let both = ["a.csv".to_owned(), "b.csv".to_owned(), "unheard of".to_owned()];
    let count = async |feed, keys, limit| warehouse.rejects(feed, keys, limit).await.unwrap().len();
    assert_eq!(count(Some("loans"), Some(&a[..]), 100).await, 3);
    assert_eq!(count(Some("loans"), Some(&both[..]), 100).await, 5);
    assert_eq!(count(Some("loans"), Some(&[][..]), 100).await, 0);
    assert_eq!(count(None, Some(&a[..]), 100).await, 3);
    assert_eq!(count(Some("other"), None, 100).await, 0);
    assert_eq!(count(None, None, 4).await, 4);

    let reasons = warehouse.reject_reasons("loans", &both).await.unwrap();
    let wrong = "not a number".to_owned();
    assert_eq!(reasons, [(Some("id".to_owned()), wrong.clone(), 3), (None, wrong, 2)]);
    assert!(warehouse.reject_reasons("other", &both).await.unwrap().is_empty());
}
