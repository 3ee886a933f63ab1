//! What every [`Warehouse`] holds of its rows' checksum: the database gives the sum that the loader gave, whatever the
//! values, and no other one once a value has been touched.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use loadline::feed::ColumnType;
use loadline::warehouse::{
    AuditedFile, Begun, Checksum, Columns, Fence, FileNumber, LedgerKey, Progress, TableColumn, TableSpec, Warehouse,
    checksum_rule,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{ReadBack, at, taker};

const FEED: &str = "loans";
const TABLE: &str = "every_type";

const TYPES: [&str; 20] = [
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "float",
    "double",
    "decimal(38,30)",
    "decimal(10,2)",
    "decimal(18,0)",
    "date",
    "timestamp(0)",
    "timestamp(3)",
    "timestamp(6)",
    "string(20)",
    "text",
];

fn table() -> TableSpec {
    table_of(&TYPES)
}

fn table_of(types: &[&str]) -> TableSpec {
    let column = |(i, ty): (usize, &&str)| {
        let ty: ColumnType = ty.parse().unwrap();
        TableColumn { name: format!("c{i}"), ty, required: false }
    };
    TableSpec {
        name: TABLE.to_owned(),
        columns: types.iter().enumerate().map(column).collect(),
        primary_key: Vec::new(),
    }
}

/// Awkward doubles first: then whatever the bits are, whole numbers, halves, and decimals as people write them.
fn double(rng: &mut ChaCha8Rng) -> f64 {
    const AWKWARD: [f64; 17] = [
        0.0,
        1e15,
        1e14,
        -1e15,
        999_999_999_999_999.9,
        0.00390625,
        0.003906249999999999,
        1e-15,
        1e-16,
        5e-324,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        0.1,
        123_456_789_012_345_678.0,
        8.673617379884035e-19,
        3.054936363499605e-151,
    ];
    match rng.random_range(0..8) {
        0 => AWKWARD[rng.random_range(0..AWKWARD.len())],
        1 => rng.random_range(-1_000_000_i64..1_000_000) as f64,
        2 => rng.random_range(-1_000_000_i64..1_000_000) as f64 / 2.0,
        3 => rng.random_range(-100_000_000_i64..100_000_000) as f64 / 10_f64.powi(rng.random_range(0..20)),
        4 => rng.random::<i64>() as f64,
        5 => f64::from_bits(rng.random_range(0..1 << 52)),
        _ => Some(f64::from_bits(rng.random())).filter(|value| value.is_finite()).unwrap_or_default(),
    }
}

fn float(rng: &mut ChaCha8Rng) -> f32 {
    match rng.random_range(0..4) {
        0 => rng.random_range(-1_000_000_i32..1_000_000) as f32 / 100.0,
        1 => rng.random_range(-100_000_000_i32..100_000_000) as f32,
        _ => Some(f32::from_bits(rng.random())).filter(|value| value.is_finite()).unwrap_or_default() + 0.0,
    }
}

fn text(rng: &mut ChaCha8Rng) -> String {
    const PARTS: [&str; 18] =
        ["", "NULL", "|", ":", "4:", "0:|", "\u{1f}", "\0", "ü", "🚚", "'", "\"", "\\", "\n", "\r\n", " ", "%", "a"];
    (0..rng.random_range(0..6)).map(|_| PARTS[rng.random_range(0..PARTS.len())]).collect()
}

/// One column of `rows` values, of which some are NULL.
fn array(ty: ColumnType, rows: usize, rng: &mut ChaCha8Rng) -> ArrayRef {
    macro_rules! random {
        ($array:ty, $value:expr) => {
            Arc::new(<$array>::from_iter((0..rows).map(|_| rng.random_bool(0.9).then(|| $value)))) as ArrayRef
        };
    }
    // Of all sizes, as whole numbers at random are long.
    let bits = |rng: &mut ChaCha8Rng, bits: u32| rng.random::<i128>() >> (128 - rng.random_range(1..=bits));
    match ty {
        ColumnType::Int8 => random!(Int8Array, rng.random::<i8>()),
        ColumnType::Int16 => random!(Int16Array, rng.random::<i16>()),
        ColumnType::Int32 => random!(Int32Array, bits(rng, 32) as i32),
        ColumnType::Int64 => random!(Int64Array, bits(rng, 64) as i64),
        ColumnType::UInt8 => random!(UInt8Array, rng.random::<u8>()),
        ColumnType::UInt16 => random!(UInt16Array, rng.random::<u16>()),
        ColumnType::UInt32 => random!(UInt32Array, rng.random::<u32>()),
        ColumnType::UInt64 => random!(UInt64Array, bits(rng, 65) as u64),
        ColumnType::Bool => random!(BooleanArray, rng.random::<bool>()),
        ColumnType::Float => random!(Float32Array, float(rng)),
        ColumnType::Double => random!(Float64Array, double(rng) + 0.0),
        ColumnType::Decimal { precision, scale } => {
            let limit = 10_i128.pow(precision.into());
            let decimals = random!(Decimal128Array, bits(rng, 127) % limit);
            let decimals: &Decimal128Array = decimals.as_any().downcast_ref().unwrap();
            Arc::new(decimals.clone().with_precision_and_scale(precision, scale as i8).unwrap())
        }
        ColumnType::Date => random!(Date32Array, rng.random_range(-354_285..2_932_897)),
        ColumnType::Timestamp { precision } => {
            let unit = 10_i64.pow(6 - u32::from(precision));
            random!(
                TimestampMicrosecondArray,
                rng.random_range(-30_000_000_000_000_000_i64..253_402_300_800_000_000) / unit * unit
            )
        }
        ColumnType::String { .. } | ColumnType::Text => random!(StringArray, text(rng)),
    }
}

/// `rows` random rows, numbered from 1.
fn batch(spec: &TableSpec, rows: usize, rng: &mut ChaCha8Rng) -> RecordBatch {
    let columns = spec.columns.iter().map(|column| (column.name.clone(), array(column.ty, rows, rng)));
    let columns: Vec<(String, ArrayRef)> = columns.collect();
    let records: ArrayRef = Arc::new(UInt64Array::from_iter_values(1..=rows as u64));
    RecordBatch::try_from_iter(columns.into_iter().chain([("_record".to_owned(), records)])).unwrap()
}

/// A complete file, and the sum that the loader gives it.
async fn load(warehouse: &dyn Warehouse, spec: &TableSpec, key: &str, rows: &RecordBatch) -> (FileNumber, i64) {
    let file = LedgerKey { key: key.to_owned(), version: "v1".to_owned(), hour: at(0) };
    let taken = warehouse.take(&taker(FEED, 1, &spec.name, "plan"), &[file]).await.unwrap().remove(0);
    let fence = Fence { file: taken.file, epoch: taken.epoch, plan_hash: "plan".to_owned() };
    let Begun::Segment(mut segment) = warehouse.begin(&fence, 0).await.unwrap() else { panic!("{key} did not begin") };
    segment.write(spec, rows).await.unwrap();
    let mut checksum = Checksum::default();
    checksum.add(&Columns::of(rows).unwrap()).unwrap();
    let count = rows.num_rows() as u64;
    let done = Progress {
        records_done: count,
        rows: count,
        checksum: checksum.sum(),
        checksum_rule: Some(checksum_rule(spec)),
        complete: true,
        ..Progress::default()
    };
    segment.commit(&done).await.unwrap();
    (taken.file, checksum.sum())
}

async fn audit(warehouse: &dyn Warehouse, spec: &TableSpec) -> Vec<AuditedFile> {
    warehouse.audit(FEED, spec, 0, 100, true).await.unwrap()
}

async fn sum_in_the_database(
    warehouse: &dyn Warehouse,
    read: &dyn ReadBack,
    spec: &TableSpec,
    file: FileNumber,
) -> i64 {
    let row = read.query(&warehouse.checksum_sql(spec, file)).await.remove(0);
    row[1].as_deref().unwrap().parse().unwrap()
}

/// The first record of file 1 whose text the database has otherwise, for the message.
async fn odd_record(warehouse: &dyn Warehouse, read: &dyn ReadBack, spec: &TableSpec, rows: &RecordBatch) -> String {
    let sql = warehouse.checksum_sql(spec, 1);
    let (start, end) = (sql.to_lowercase().find("crc32(").unwrap(), sql.find(")), 0)").unwrap());
    let sql = format!("SELECT {} FROM {} WHERE _file = 1 ORDER BY _record", &sql[start + 6..end], spec.name);
    let columns = Columns::of(rows).unwrap();
    for (row, found) in read.query(&sql).await.into_iter().enumerate() {
        let cells = (0..columns.width()).map(|column| {
            let mut text = String::new();
            columns.cell(row, column).write_canonical(&mut text).unwrap();
            text
        });
        let expected = cells.collect::<Vec<_>>().join("|");
        if found[0].as_ref() != Some(&expected) {
            return format!("record {}:\n{expected:?}\n{:?}", row + 1, found[0]);
        }
    }
    "no single row differs".to_owned()
}

/// Rows at random, among them what servers write in different ways.
async fn sums_agree(warehouse: &dyn Warehouse, read: &dyn ReadBack, spec: &TableSpec, count: usize) {
    let seed = rand::random();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    warehouse.migrate().await.unwrap();
    warehouse.create_table(spec).await.unwrap();
    let rows = batch(spec, count, &mut rng);
    let (file, sum) = load(warehouse, spec, "a.csv", &rows).await;
    let found = audit(warehouse, spec).await.remove(0);
    if found.checksum != Some(sum) {
        panic!("seed {seed}: {}", odd_record(warehouse, read, spec, &rows).await);
    }
    assert_eq!((found.rows, found.surplus), (count as u64, 0));
    assert_eq!(sum_in_the_database(warehouse, read, spec, file).await, sum);
}

pub async fn the_database_gives_the_loaders_sum(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    sums_agree(warehouse, read, &table(), 2_000).await;
}

/// The types whose text servers make in ways of their own.
pub async fn doubles_and_floats_have_one_text(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    sums_agree(warehouse, read, &table_of(&["double", "float", "double"]), 20_000).await;
}

pub async fn what_is_touched_is_found(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    let spec = table_of(&["text", "int64", "text", "double"]);
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&spec).await.unwrap();
    let texts = |values: [Option<&str>; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let columns: [(&str, ArrayRef); 5] = [
        ("c0", texts([Some("a|1:b"), None, Some("x"), Some("")])),
        ("c1", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("c2", texts([Some("c"), Some("NULL"), Some("y"), None])),
        ("c3", Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3, 1e-7]))),
        ("_record", Arc::new(UInt64Array::from(vec![1, 2, 3, 4]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let (_, sum) = load(warehouse, &spec, "a.csv", &rows).await;
    let (_, other_sum) = load(warehouse, &spec, "b.csv", &rows.slice(0, 2)).await;
    let checksums = async || audit(warehouse, &spec).await.iter().map(|file| file.checksum).collect::<Vec<_>>();
    assert_eq!(checksums().await, [Some(sum), Some(other_sum)]);

    // Each with what undoes it.
    let touches = [
        (
            "UPDATE every_type SET c1 = 5 WHERE _file = 1 AND _record = 4",
            "UPDATE every_type SET c1 = 4 WHERE _file = 1 AND _record = 4",
        ),
        (
            "UPDATE every_type SET c2 = NULL WHERE _file = 1 AND _record = 2",
            "UPDATE every_type SET c2 = 'NULL' WHERE _file = 1 AND _record = 2",
        ),
        (
            "UPDATE every_type SET c2 = '' WHERE _file = 1 AND _record = 4",
            "UPDATE every_type SET c2 = NULL WHERE _file = 1 AND _record = 4",
        ),
        (
            "UPDATE every_type SET c3 = 1.0000000000000001e-7 WHERE _file = 1 AND _record = 4",
            "UPDATE every_type SET c3 = 1e-7 WHERE _file = 1 AND _record = 4",
        ),
        // Two values, and two whole rows, that change places.
        (
            "UPDATE every_type SET c1 = 5 - c1 WHERE _file = 1 AND _record IN (1, 4)",
            "UPDATE every_type SET c1 = 5 - c1 WHERE _file = 1 AND _record IN (1, 4)",
        ),
        (
            "UPDATE every_type SET _record = _record + 10 WHERE _file = 1",
            "UPDATE every_type SET _record = _record - 10 WHERE _file = 1",
        ),
        (
            "UPDATE every_type SET c0 = 'a', c2 = 'b|c' WHERE _file = 1 AND _record = 1",
            "UPDATE every_type SET c0 = 'a|1:b', c2 = 'c' WHERE _file = 1 AND _record = 1",
        ),
        (
            "UPDATE every_type SET _file = 3 WHERE _file = 1 AND _record = 3",
            "UPDATE every_type SET _file = 1 WHERE _file = 3",
        ),
    ];
    for (touch, undo) in touches {
        read.query(touch).await;
        assert_ne!(checksums().await[0], Some(sum), "{touch}");
        assert_eq!(checksums().await[1], Some(other_sum), "{touch}");
        read.query(undo).await;
        assert_eq!(checksums().await[0], Some(sum), "{undo}");
    }
}

/// Loaded before, with other columns, or into another table: no mismatch, but nothing to compare either.
pub async fn a_sum_under_another_rule_is_not_compared(warehouse: &dyn Warehouse, read: &dyn ReadBack) {
    let spec = table_of(&["int64", "text"]);
    warehouse.migrate().await.unwrap();
    warehouse.create_table(&spec).await.unwrap();
    let rows = batch(&spec, 10, &mut ChaCha8Rng::seed_from_u64(1));
    let (_, sum) = load(warehouse, &spec, "a.csv", &rows).await;
    assert_eq!(audit(warehouse, &spec).await[0].checksum, Some(sum));

    let mut wider = spec.clone();
    wider.columns.push(TableColumn { name: "c2".to_owned(), ty: ColumnType::Int64, required: false });
    let found = audit(warehouse, &wider).await.remove(0);
    assert_eq!((found.rows, found.checksum), (10, None));
    let elsewhere = TableSpec { name: "elsewhere".to_owned(), ..spec.clone() };
    assert_eq!(audit(warehouse, &elsewhere).await[0].checksum, None);

    read.query("UPDATE loadline_files SET checksum_rule = NULL").await;
    let found = audit(warehouse, &spec).await.remove(0);
    assert_eq!((found.rows, found.entry.progress.checksum, found.checksum), (10, sum, None));
}
