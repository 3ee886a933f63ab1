//! Cleaning as a user sees it: text in, typed values, rejects and counts out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::feed::{Column, ColumnType, Feed, Layout, OnInvalid, Schema};
use crate::source::{FileRef, Source};
use crate::warehouse::Reject;

fn column(name: &str, ty: &str, on_invalid: OnInvalid) -> Column {
    Column {
        header: name.to_owned(),
        name: name.to_owned(),
        ty: ty.parse().unwrap(),
        null_tokens: vec!["NA".to_owned(), String::new()],
        on_invalid,
        required: false,
        timezone: chrono_tz::UTC,
    }
}

fn feed(columns: Vec<Column>) -> Feed {
    Feed {
        name: "f".to_owned(),
        prefix: String::new(),
        layout: Layout::parse("{yyyy}/{mm}/{dd}/{HH}/").unwrap(),
        files: glob::Pattern::new("*").unwrap(),
        table: "t".to_owned(),
        on_overwrite: Default::default(),
        schema: Schema { columns, primary_key: vec![] },
        fresh_within: None,
    }
}

async fn source_of(files: &[(&str, &[u8])]) -> (Source, Vec<FileRef>) {
    let store = Arc::new(InMemory::new());
    let source = Source::with_store("memory://bucket/".parse().unwrap(), store.clone());
    let mut refs = Vec::new();
    for (key, bytes) in files {
        let path = Path::parse(key).unwrap();
        store.put(&path, bytes.to_vec().into()).await.unwrap();
        let meta = store.head(&path).await.unwrap();
        refs.push(FileRef { key: (*key).to_owned(), version: source.version_of(&meta), size: meta.size });
    }
    (source, refs)
}

/// Everything the load plan makes of one file.
#[derive(Default, Debug)]
struct Loaded {
    rows: Vec<Vec<String>>,
    rejects: Vec<Reject>,
    invalid: BTreeMap<String, u64>,
    present: BTreeMap<String, u64>,
    failure: Option<String>,
}

async fn load(feed: &Feed, file: &[u8]) -> crate::error::Result<Loaded> {
    let (source, refs) = source_of(&[("2026/01/01/00/a.csv", file)]).await;
    let plan = LoadPlanner::new(&source, feed).await?.over(&refs);
    let mut stream = plan.file(0)?;
    let mut loaded = Loaded::default();
    while let Some(batch) = stream.next().await? {
        for row in text_rows(&batch.rows()?) {
            loaded.rows.push(row);
        }
        loaded.rejects.extend(batch.rejects()?);
        batch.count_values(&mut loaded.invalid, &mut loaded.present).unwrap();
        let failure = batch.failure()?.map(|f| format!("record {} {} {}", f.record, f.column, f.reason));
        loaded.failure = loaded.failure.or(failure);
    }
    Ok(loaded)
}

fn text_rows(batch: &arrow::array::RecordBatch) -> Vec<Vec<String>> {
    let show = |array: &ArrayRef, row: usize| {
        let options = FormatOptions::default();
        if array.is_null(row) {
            "NULL".to_owned()
        } else {
            ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
        }
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|array| show(array, row)).collect()).collect()
}

/// What a single value becomes under a type; "invalid" where it does not convert.
async fn convert(ty: &str, text: &str) -> String {
    convert_in(ty, text, chrono_tz::UTC).await
}

async fn convert_in(ty: &str, text: &str, zone: chrono_tz::Tz) -> String {
    let mut value = column("v", ty, OnInvalid::Null);
    value.timezone = zone;
    let file = format!("v,w\n\"{text}\",1\n");
    let loaded = load(&feed(vec![value, column("w", "int8", OnInvalid::Null)]), file.as_bytes()).await.unwrap();
    if loaded.invalid.contains_key("v") { "invalid".to_owned() } else { loaded.rows[0][0].clone() }
}

#[tokio::test]
async fn values_arrive_exact_or_are_invalid() {
    for (ty, text, expected) in [
        ("int8", "-128", "-128"),
        ("int8", "128", "invalid"),
        ("int64", " 9223372036854775807\t", "9223372036854775807"),
        ("int64", "9223372036854775808", "invalid"),
        ("int64", "1.5", "invalid"),
        ("int64", "5.0", "invalid"),
        ("int64", "NA", "NULL"),
        ("int64", " ", "NULL"),
        ("int64", "12abc", "invalid"),
        ("uint8", "-1", "invalid"),
        ("uint64", "18446744073709551615", "18446744073709551615"),
        ("double", "1e999", "invalid"),
        ("double", "NaN", "invalid"),
        ("double", "-inf", "invalid"),
        ("double", "0.1", "0.1"),
        ("double", "1.7976931348623157e308", "1.7976931348623157e308"),
        ("double", "-0.0", "0.0"),
        ("double", "7.96E-05", "0.0000796"),
        ("float", "-0", "0.0"),
        ("float", "3.5e38", "invalid"),
        ("float", "1e-50", "invalid"),
        ("double", "1e-400", "invalid"),
        ("double", "0e-400", "0.0"),
        ("double", "5e-324", "5e-324"),
        ("decimal(5,2)", "123.45", "123.45"),
        ("decimal(5,2)", "123.450", "123.45"),
        ("decimal(5,2)", "123.456", "invalid"),
        ("decimal(5,2)", "1234.5", "invalid"),
        ("decimal(5,0)", "12.0", "12"),
        ("decimal(5,2)", "1e2", "invalid"),
        ("decimal(5,2)", "-.5", "-0.50"),
        ("bool", "YES", "true"),
        ("bool", "0", "false"),
        ("bool", "maybe", "invalid"),
        ("date", "2024-02-29", "2024-02-29"),
        ("date", "2023-02-29", "invalid"),
        ("date", "0000-00-00", "invalid"),
        ("date", "01/02/2024", "invalid"),
        ("timestamp(0)", "2024-01-01 10:00:00", "2024-01-01T10:00:00"),
        ("timestamp(3)", "2024-01-01T10:00:00.123Z", "2024-01-01T10:00:00.123"),
        ("timestamp(3)", "2024-01-01T10:00:00.1234Z", "invalid"),
        ("timestamp(0)", "2024-01-01T10:00:00+02:00", "2024-01-01T08:00:00"),
        ("timestamp(0)", "2024-01-01T10:00:60", "invalid"),
        ("timestamp(0)", "9999-12-31 23:30:00-05:00", "invalid"),
        ("timestamp(0)", "0001-01-01 00:00:00+05:00", "invalid"),
        ("timestamp(0)", "0001-01-01 00:00:00", "0001-01-01T00:00:00"),
        ("string(3)", "äöü", "äöü"),
        ("string(3)", "abcd", "invalid"),
        ("text", "  spaces stay ", "  spaces stay "),
    ] {
        assert_eq!(convert(ty, text).await, expected, "{ty} of {text:?}");
    }
}

#[tokio::test]
async fn local_times_become_utc_and_doubtful_ones_are_invalid() {
    let berlin = chrono_tz::Europe::Berlin;
    for (text, expected) in [
        ("2024-07-01 10:00:00", "2024-07-01T08:00:00"),
        ("2024-01-01 10:00:00", "2024-01-01T09:00:00"),
        ("2024-03-31 02:30:00", "invalid"),
        ("2024-10-27 02:30:00", "invalid"),
        ("2024-10-27 02:30:00+02:00", "2024-10-27T00:30:00"),
    ] {
        assert_eq!(convert_in("timestamp(0)", text, berlin).await, expected, "{text}");
    }
}

#[tokio::test]
async fn rejects_have_their_place_reason_and_bytes() {
    let mut id = column("id", "int64", OnInvalid::Reject);
    id.required = true;
    let feed = feed(vec![id, column("n", "int8", OnInvalid::Null)]);
    let loaded = load(&feed, b"n,id\n1,1\nx,2\n3,abc\n4,\n5\n6,6\n").await.unwrap();
    assert_eq!(loaded.rows, [["1", "1", "1"], ["2", "NULL", "2"], ["6", "6", "6"]]);
    assert_eq!(loaded.invalid, BTreeMap::from([("n".to_owned(), 1)]));
    assert_eq!(loaded.present["n"], 3);
    let rejects: Vec<_> =
        loaded.rejects.iter().map(|r| (r.record, r.line, r.column.as_deref(), r.reason.as_str())).collect();
    assert_eq!(
        rejects,
        [
            (3, 4, Some("id"), "is not a valid int64"),
            (4, 5, Some("id"), "is missing"),
            (5, 6, None, "has 1 fields, the header has 2")
        ]
    );
    assert_eq!(loaded.rejects[0].raw, b"3,abc");
    assert_eq!(loaded.rejects[2].byte_offset, 22);
}

#[tokio::test]
async fn columns_may_have_any_name() {
    let feed = feed(vec![column("t0", "int8", OnInvalid::Null), column("t1", "text", OnInvalid::Null)]);
    assert_eq!(load(&feed, b"t0,t1\n1,x\n").await.unwrap().rows, [["1", "x", "1"]]);
}

#[tokio::test]
async fn values_of_rejected_records_are_not_counted() {
    let feed = feed(vec![column("id", "int64", OnInvalid::Reject), column("n", "int8", OnInvalid::Null)]);
    let loaded = load(&feed, b"id,n\nx,y\n1,z\n2,3\n").await.unwrap();
    assert_eq!((loaded.invalid["n"], loaded.present["n"]), (1, 2));
}

#[tokio::test]
async fn a_column_may_fail_the_file() {
    let feed = feed(vec![column("n", "int8", OnInvalid::Fail)]);
    let loaded = load(&feed, b"n\n1\nx\n").await.unwrap();
    assert_eq!(loaded.failure.as_deref(), Some("record 2 n is not a valid int8"));
}

#[tokio::test]
async fn the_first_record_keeps_its_byte_order_mark() {
    let feed = feed(vec![column("a", "text", OnInvalid::Null), column("b", "text", OnInvalid::Null)]);
    let loaded = load(&feed, "\u{feff}a,b\n\u{feff}x,y\n".as_bytes()).await.unwrap();
    assert_eq!(loaded.rows, [["\u{feff}x", "y", "1"]]);
}

#[tokio::test]
async fn file_errors_name_the_file_and_keep_their_kind() {
    let feed = feed(vec![column("a", "text", OnInvalid::Null), column("b", "text", OnInvalid::Null)]);
    let error = load(&feed, b"a,c\n1,2\n").await.unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Data);
    assert!(
        error.chain().starts_with("2026/01/01/00/a.csv: wrong header (missing: \"b\"; unknown: \"c\")"),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn empty_files_have_no_records() {
    let feed = feed(vec![column("a", "text", OnInvalid::Null)]);
    assert!(load(&feed, b"").await.unwrap().rows.is_empty());
    assert!(load(&feed, b"a\n").await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn every_file_is_a_partition_in_record_order() {
    let feed = feed(vec![column("a", "int64", OnInvalid::Null)]);
    let bodies: Vec<String> =
        (0..5).map(|f| (0..20_000).fold("a\n".to_owned(), |s, r| s + &format!("{}\n", f * 100_000 + r))).collect();
    let names: Vec<String> = (0..5).map(|f| format!("2026/01/01/0{f}/a.csv")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().zip(&bodies).map(|(n, b)| (n.as_str(), b.as_bytes())).collect();
    let (source, refs) = source_of(&files).await;
    let plan = LoadPlanner::new(&source, &feed).await.unwrap().over(&refs);
    for file in (0..5).rev() {
        let mut stream = plan.file(file).unwrap();
        let mut next = 1;
        while let Some(batch) = stream.next().await.unwrap() {
            let (first, last) = batch.range().unwrap();
            assert_eq!(first, next);
            assert_eq!(text_rows(&batch.rows().unwrap())[0][0], (file as u64 * 100_000 + first - 1).to_string());
            next = last + 1;
        }
        assert_eq!(next, 20_001);
    }
}

#[tokio::test]
async fn the_fingerprint_is_known_at_the_end_of_the_file() {
    use sha2::{Digest, Sha256};
    let feed = feed(vec![column("a", "int64", OnInvalid::Null)]);
    for body in ["", "a\n", "a\n1\n2"] {
        let (source, refs) = source_of(&[("2026/01/01/00/a.csv", body.as_bytes())]).await;
        let plan = LoadPlanner::new(&source, &feed).await.unwrap().over(&refs);
        for _ in 0..2 {
            let mut stream = plan.file(0).unwrap();
            assert_eq!(stream.fingerprint(), None);
            while stream.next().await.unwrap().is_some() {}
            let fingerprint = stream.fingerprint().unwrap();
            assert_eq!((fingerprint.bytes, &fingerprint.sha256[..]), (body.len() as u64, &Sha256::digest(body)[..]));
        }
    }
}

async fn ask(sql: &str) -> crate::error::Result<Vec<Vec<String>>> {
    let feed = feed(vec![column("a", "int64", OnInvalid::Reject), column("b", "text", OnInvalid::Null)]);
    let (source, refs) =
        source_of(&[("2026/01/01/00/a.csv", b"b,a\nx,1\n"), ("2026/01/01/01/b.csv", b"a,b\n2,\n3\n")]).await;
    let mut stream = query(&source, &feed, &refs, sql).await?;
    let mut rows = Vec::new();
    while let Some(batch) = futures::StreamExt::next(&mut stream).await {
        rows.extend(text_rows(&batch.map_err(errors::from_datafusion)?));
    }
    Ok(rows)
}

#[tokio::test]
async fn queries_see_text_and_typed_values() {
    assert_eq!(ask("SELECT count(*) FROM source").await.unwrap(), [["3"]]);
    assert_eq!(ask("SELECT sum(a) FROM clean WHERE _reject IS NULL").await.unwrap(), [["3"]]);
    assert_eq!(ask("SELECT b, _line FROM source WHERE a = '2'").await.unwrap(), [["", "2"]]);
    assert_eq!(
        ask("SELECT _record, _reject FROM clean WHERE _reject IS NOT NULL").await.unwrap(),
        [["2", "has 1 fields, the header has 2"]]
    );
    let uris = ask("SELECT DISTINCT _uri FROM source ORDER BY 1").await.unwrap();
    assert_eq!(uris, [["memory://bucket/2026/01/01/00/a.csv"], ["memory://bucket/2026/01/01/01/b.csv"]]);
}

#[tokio::test]
async fn queries_reach_nothing_else() {
    for sql in [
        "CREATE TABLE x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/loadline-copied.csv'",
        "EXPLAIN COPY (SELECT 1) TO '/tmp/loadline-copied.csv'",
        "INSERT INTO source SELECT * FROM source",
        "DROP TABLE source",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM information_schema.tables",
    ] {
        let error = ask(sql).await.expect_err(sql);
        assert_eq!(error.kind(), crate::error::ErrorKind::Config, "{sql}: {}", error.chain());
    }
    assert!(!std::path::Path::new("/tmp/loadline-copied.csv").exists());
}

#[test]
fn text_never_fails_to_convert() {
    let schema = Schema { columns: vec![column("a", "text", OnInvalid::Null)], primary_key: vec![] };
    assert_eq!(super::clean_sql::counted(&schema).count(), 0);
    assert_eq!(schema.columns[0].ty, ColumnType::Text);
}
