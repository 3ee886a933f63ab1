//! The config as a whole: defaults, the files that ship, wrong files and what is said about them.

use std::fs;
use std::path::Path;

use super::*;
use crate::feed::{ColumnType, OnInvalid};

const HEAD: &str = "source: {url: \"file:incoming\"}
metadata_database: {url: \"sqlite://metadata.db\"}
reporting_database: {url: \"sqlite://reporting.db\"}
";
const FEED: &str = "feeds:\n  - name: loans\n";
const SCHEMA: &str = "columns:\n  - {name: id, type: int64}\n";

fn no_env(_: &str) -> Option<String> {
    None
}

/// Loads `config` from a folder that has `schema` as schemas/loans.yaml.
fn load_in(folder: &Path, config: &str, schema: &str) -> Result<Config> {
    fs::create_dir_all(folder.join("schemas")).unwrap();
    fs::write(folder.join("schemas/loans.yaml"), schema).unwrap();
    fs::write(folder.join("config.yaml"), config).unwrap();
    check::load(&folder.join("config.yaml"), &no_env)
}

/// Every case at once, so that one look shows all that differs.
#[track_caller]
fn assert_said(cases: &[(String, String, &[&str])]) {
    let missing = cases.iter().flat_map(|(case, message, parts)| {
        let missing = parts.iter().filter(|part| !message.contains(**part));
        missing.map(move |part| format!("{case}\n  said: {message}\n  not:  {part}\n"))
    });
    let missing: String = missing.collect();
    assert!(missing.is_empty(), "{missing}");
}

fn load(config: &str, schema: &str) -> Result<Config> {
    load_in(tempfile::tempdir().unwrap().path(), config, schema)
}

fn schema(text: &str) -> crate::feed::Schema {
    load(&format!("{HEAD}{FEED}"), text).unwrap_or_else(|error| panic!("{}", error.chain())).feeds.remove(0).schema
}

/// The message without the folder, which is another one each time.
#[track_caller]
fn refused(config: &str, schema: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = load_in(folder.path(), config, schema).expect_err(&format!("{config}\n{schema}"));
    assert_eq!(error.exit_code(), 2);
    error.chain().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn defaults_are_those_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let config = load_in(folder.path(), &format!("{HEAD}{FEED}"), SCHEMA).unwrap();
    let expected = url::Url::from_directory_path(folder.path().join("incoming")).unwrap();
    assert_eq!(config.source.url, expected);
    assert_eq!(config.metadata_database, Database::Sqlite { path: folder.path().join("metadata.db") });
    assert_eq!(config.reporting_database, Database::Sqlite { path: folder.path().join("reporting.db") });
    let yaml = config.effective_yaml();
    let defaults = yaml.split_once("feeds:\n").unwrap().1;
    let schema = folder.path().join("schemas/loans.yaml");
    assert_eq!(
        defaults,
        format!(
            "- name: loans
  prefix: ''
  layout: '{{yyyy}}/{{mm}}/{{dd}}/{{HH}}/'
  files: '*.csv*'
  schema: {}
  table: loans
  on_overwrite: quarantine
  fresh_within: null
scanner:
  frequency: 1h
  start_from: null
  lookback: 72h
  full_every: 24h
  settle: null
  max_job_size: 256MiB
  max_job_files: 1000
  max_wait: 0s
etl:
  workers: 2
  connections: {connections}
  max_attempts: 5
  max_expiries: 3
  lease: 1m
  order: oldest
  max_reject_ratio: 0.05
  max_invalid_ratio: 0.05
retention:
  rejects: null
  jobs: null
",
            schema.display(),
            connections = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
        )
    );
}

#[test]
fn the_example_and_the_schema_that_ship_load_and_hold_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = check::load(&root.join("config.example.yaml"), &no_env).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plain = load_in(folder.path(), &format!("{HEAD}{FEED}"), SCHEMA).unwrap();
    let settings = |config: &Config| format!("{:?} {:?} {:?}", config.scanner, config.etl, config.retention);
    assert_eq!(settings(&config), settings(&plain));

    let schema = &config.feed("loan_applications").unwrap().schema;
    assert_eq!(schema.columns.len(), 12);
    let id = &schema.columns[0];
    assert_eq!((id.header.as_str(), id.name.as_str(), id.ty), ("", "id", ColumnType::Int64));
    assert_eq!((id.required, id.on_invalid), (true, OnInvalid::Reject));
    assert!(schema.columns.iter().all(|column| column.null_tokens == ["NA", ""]));
}

#[test]
fn the_effective_config_reads_back_as_itself() {
    let config = format!(
        "{HEAD}{FEED}    prefix: a b
    table: other
    fresh_within: 3h
retention: {{rejects: 90d, jobs: 365d}}
scanner: {{frequency: 90s, start_from: 2026-01-31, settle: 1500ms, max_job_size: 1000kB, max_wait: 10m}}
etl: {{workers: 7, order: newest, max_reject_ratio: 0}}
"
    );
    let folder = tempfile::tempdir().unwrap();
    let first = load_in(&folder.path().join("odd ${name} #1"), &config, SCHEMA).unwrap();
    let path = folder.path().join("effective.yaml");
    fs::write(&path, first.effective_yaml()).unwrap();
    let second = check::load(&path, &no_env).unwrap();
    assert_eq!(format!("{first:?}"), format!("{:?}", Config { path: first.path.clone(), ..second }));
}

/// Where the password stands is kept, the password is not.
#[test]
fn a_mysql_database_reads_back_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["pw", "ca.pem", "client.pem", "client.key"] {
        fs::write(folder.path().join(file), "hunter2\n").unwrap();
    }
    for database in [
        "url: \"mysql://u@db.example:3307/raw data\", password_file: pw, tls_ca_file: ca.pem",
        "url: \"mysql://u@db/x\", tls: verified, tls_cert_file: client.pem, tls_key_file: client.key",
        "url: \"mysql://u@db/x\", tls: disabled",
        "url: \"mysql://u@localhost/x?socket=/run/s.sock\", password_file: pw",
    ] {
        let config = format!("{HEAD}{FEED}").replace("url: \"sqlite://reporting.db\"", database);
        let first = load_in(folder.path(), &config, SCHEMA).unwrap_or_else(|error| panic!("{}", error.chain()));
        let yaml = first.effective_yaml();
        assert!(!yaml.contains("hunter2") && !format!("{first:?}").contains("hunter2"), "{yaml}");
        fs::create_dir_all(folder.path().join("other")).unwrap();
        let path = folder.path().join("other/effective.yaml");
        fs::write(&path, yaml).unwrap();
        let second = check::load(&path, &no_env).unwrap();
        assert_eq!(second.reporting_database, first.reporting_database);
    }
    let written = format!("{HEAD}{FEED}").replace("sqlite://reporting.db", "mysql://u:hunter2@db/x");
    let yaml = load_in(folder.path(), &written, SCHEMA).unwrap().effective_yaml();
    assert!(yaml.contains("mysql://u:***@db:3306/x") && yaml.contains("tls: verified"), "{yaml}");
}

#[test]
fn environment_variables_reach_urls() {
    let folder = tempfile::tempdir().unwrap();
    load_in(folder.path(), &format!("{HEAD}{FEED}").replace("file:incoming", "file://${DIR}/in"), SCHEMA).unwrap_err();
    let env = |name: &str| (name == "DIR").then(|| "/data".to_owned());
    let config = check::load(&folder.path().join("config.yaml"), &env).unwrap();
    assert_eq!(config.source.url.as_str(), "file:///data/in/");
}

#[test]
fn an_unknown_feed_is_answered_with_the_nearest() {
    let config = load(&format!("{HEAD}{FEED}"), SCHEMA).unwrap();
    let error = config.feed("loan").unwrap_err();
    assert!(error.to_string().contains("no feed `loan`"), "{error}");
    assert!(error.to_string().contains("did you mean `loans`?"), "{error}");
}

#[test]
fn sections_may_be_empty() {
    load(&format!("{HEAD}{FEED}scanner:\netl:\n"), SCHEMA).unwrap();
}

#[test]
fn wrong_configs_are_refused_in_plain_words() {
    let mut said = Vec::new();
    const LOKBACK: &str =
        "config.yaml:7:3: unknown key `lokback` in `scanner`; did you mean `lookback`? Allowed: frequency, ";
    for (tail, parts) in [
        ("scanner:\n  lokback: 1h\n", &[LOKBACK, "max_wait"][..]),
        ("scannr: {}\n", &["config.yaml:6:1: unknown key `scannr`; did you mean `scanner`?"]),
        ("    colour: red\n", &["config.yaml:6:5: unknown key `colour` in `feeds[0]`", "allowed: name, prefix"]),
        ("scanner: {lookback: 72}\n", &["config.yaml:6:21: `scanner.lookback`: `72` is not a duration", "72h"]),
        ("scanner: {frequency: 0s}\n", &["`scanner.frequency`", "at least 1s"]),
        ("scanner: {frequency: }\n", &["config.yaml:6:", "`scanner.frequency`: needs a value"]),
        ("scanner: {settle: soon}\n", &["config.yaml:6:19: `scanner.settle`", "such as 30s"]),
        ("scanner: {start_from: soon}\n", &["`scanner.start_from`: `soon` is not a time", "2026-01-31"]),
        ("scanner: {max_job_size: big}\n", &["config.yaml:6:25: `scanner.max_job_size`: `big` is not a size", "MiB"]),
        ("scanner: {max_job_size: 0}\n", &["`scanner.max_job_size`", "at least 1B"]),
        (
            "scanner: {max_job_files: many}\n",
            &["config.yaml:6:26: `scanner.max_job_files` must be a whole number", "found a text"],
        ),
        ("scanner: {max_job_files: 0}\n", &["config.yaml:6:26", "allowed: 1 to 1000000"]),
        ("scanner: []\n", &["`scanner` must be keys with their values", "found a list"]),
        ("etl: {workers: 0}\n", &["config.yaml:6:16: `etl.workers`: 0 is not allowed; allowed: 1 to 256"]),
        ("etl: {workers: -1}\n", &["config.yaml:6:16: `etl.workers` must be a whole number", "found the number -1"]),
        (
            "etl: {max_reject_ratio: 5}\n",
            &["config.yaml:6:25: `etl.max_reject_ratio`: 5 is not a ratio; allowed: 0 to 1"],
        ),
        ("etl: {max_invalid_ratio: .nan}\n", &["`etl.max_invalid_ratio`", "allowed: 0 to 1"]),
        (
            "etl: {order: oldst}\n",
            &["config.yaml:6:14: `etl.order`: `oldst` is not allowed; did you mean `oldest`? Allowed: oldest, newest"],
        ),
        ("etl:\n  workers: 1\n  workers: 2\n", &["config.yaml:8:12: the key `workers` in `etl` is there twice"]),
        ("    layout: \"{yyyy}/{mm}/{dd}/{MM}/\"\n", &["config.yaml:6:13: `feeds[0].layout`", "{MM}", "{HH}"]),
        ("    layout: {yyyy}/{mm}/\n", &["config.yaml:6:13: `feeds[0].layout` must be a text (in quotes"]),
        ("    files: \"a[\"\n", &["config.yaml:6:12: `feeds[0].files`: `a[` is not a pattern"]),
        ("    files: \"a/*\"\n", &["`feeds[0].files`", "folders belong to"]),
        ("    prefix: /in\n", &["config.yaml:6:13: `feeds[0].prefix`: `/in` is not a prefix"]),
        ("    prefix: a//b\n", &["`a//b` is not a prefix"]),
        ("    prefix: ../b\n", &["`../b` is not a prefix"]),
        ("    table: loadline_files\n", &["config.yaml:6:12: `feeds[0].table`", "reserved"]),
        ("    table: Scanner_x\n", &["reserved"]),
        ("    table: my-table\n", &["`my-table` is not a name for a table", "digits"]),
        ("    schema: nope.yaml\n", &["config.yaml:6:13: `feeds[0].schema`: nope.yaml can't be read", "No such file"]),
        ("  - name: other\n", &["config.yaml:6:5: `feeds[1].schema`: schemas/other.yaml can't be read"]),
        ("  - {name: Loans, schema: schemas/loans.yaml}\n", &["config.yaml:6:12: `feeds[1].name`", "earlier feed"]),
        (
            "  - {name: b, schema: schemas/loans.yaml, table: loans, prefix: x}\n",
            &["config.yaml:6:65: `feeds[1].prefix`", "overlap", "feed `loans`"],
        ),
        ("  - {schema: schemas/loans.yaml}\n", &["config.yaml:6:5: `feeds[1].name`: needs a value"]),
    ] {
        let message = refused(&format!("{HEAD}{FEED}{tail}"), SCHEMA);
        said.push((tail.to_owned(), message, parts));
    }
    assert_said(&said);
}

#[test]
fn wrong_heads_are_refused_in_plain_words() {
    let mut said = Vec::new();
    let whole = format!("{HEAD}{FEED}");
    for (from, to, parts) in [
        (
            "file:incoming",
            "s3://bucket/in",
            &["config.yaml:1:15: `source.url`: `s3://bucket/in`: this version reads file:// only"][..],
        ),
        ("file:incoming", "ftp://host/in", &["a source's url begins with file://"]),
        ("file:incoming", "file://${NOPE}/in", &["config.yaml:1:15: `source.url`", "`NOPE` is not set"]),
        (
            "sqlite://metadata.db",
            "mysql://user:secret@host/db?tls=no",
            &["config.yaml:2:26: `metadata_database.url`", "user:***@host", "a parameter behind `?` is not known"],
        ),
        (
            "{url: \"sqlite://reporting.db\"}",
            "mysql://user:secret@host/db",
            &["config.yaml:3:21: `reporting_database` must be keys", "found a text"],
        ),
        (
            "metadata.db\"",
            "metadata.db\", password_file: pw",
            &["config.yaml:2:65: `metadata_database.password_file`: a SQLite database has no password"],
        ),
        (
            "metadata.db\"",
            "metadata.db\", password: pw",
            &["unknown key `password` in `metadata_database`; did you mean `password_file`?"],
        ),
        ("{url: \"file:incoming\"}", "{}", &["config.yaml:1:9: `source.url`: needs a value"]),
        ("source: {url: \"file:incoming\"}\n", "", &["config.yaml:1:1: the key `source` is missing"]),
        (FEED, "feeds: []\n", &["config.yaml:4:8: `feeds`: names no feed"]),
        (FEED, "feeds: loans\n", &["config.yaml:4:8: `feeds` must be a list; found a text"]),
        ("name: loans", "name: [", &["config.yaml:"]),
        ("name: loans", "name: 1a", &["config.yaml:5:11: `feeds[0].name`: `1a` is not a name for a feed"]),
        (&whole, "# nothing\n", &["the key `source` is missing"]),
        (&whole, "", &["the key `source` is missing"]),
        ("feeds:", "feeds: }", &["config.yaml:4:8: this can't be read as YAML"]),
        (&whole, "a: &a [*a]\n", &["config.yaml"]),
    ] {
        let message = refused(&whole.replace(from, to), SCHEMA);
        assert!(!message.contains("secret"), "{message}");
        said.push((to.to_owned(), message, parts));
    }
    assert_said(&said);
}

#[test]
fn overlapping_prefixes_are_fine_for_two_tables() {
    let second = "  - {name: b, schema: schemas/loans.yaml, prefix: x}\n";
    assert_eq!(load(&format!("{HEAD}{FEED}{second}"), SCHEMA).unwrap().feeds[1].prefix, "x/");
    let both = format!("{HEAD}feeds:\n  - {{name: loans, prefix: a}}\n{second}")
        .replace("prefix: x", "prefix: ab, table: loans");
    assert_eq!(load(&both, SCHEMA).unwrap().feeds[1].table, "loans");
}

#[test]
fn one_table_has_one_shape() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other.yaml"), "columns: [{name: id, type: int32}]").unwrap();
    let feeds = "feeds: [{name: loans, prefix: a}, {name: b, prefix: b, table: loans, schema: other.yaml}]";
    let error = load_in(folder.path(), &format!("{HEAD}{feeds}"), SCHEMA).unwrap_err();
    assert!(error.to_string().contains("other columns"), "{error}");
}

#[test]
fn large_files_are_refused() {
    let message = refused(&format!("{HEAD}{FEED}#{}", "x".repeat(5 * 1024 * 1024)), SCHEMA);
    assert!(message.contains("larger than 4 MiB"), "{message}");
}

#[test]
fn null_tokens_are_the_text_that_was_written() {
    let tokens = |text: &str| schema(&format!("columns: [{{name: a, type: text, null_tokens: {text}}}]")).columns;
    let tokens = |text: &str| tokens(text).remove(0).null_tokens;
    assert_eq!(
        tokens("[NA, \"\", null, ~, NO, 1.0, 0x10, ' x ']"),
        ["NA", "", "null", "~", "NO", "1.0", "0x10", " x "]
    );
    assert_eq!(tokens("[]"), [""; 0]);
    assert_eq!(schema("null_tokens: [' NA ']\ncolumns: [{name: a, type: int8}]").columns[0].null_tokens, ["NA"]);
    assert_eq!(schema(SCHEMA).columns[0].null_tokens, [""]);
}

#[test]
fn on_invalid_null_is_a_policy() {
    for (text, policy) in [
        ("null", OnInvalid::Null),
        ("~", OnInvalid::Null),
        ("\"null\"", OnInvalid::Null),
        ("reject", OnInvalid::Reject),
        ("fail", OnInvalid::Fail),
    ] {
        let schema = schema(&format!("columns: [{{name: a, type: int8, on_invalid: {text}}}]"));
        assert_eq!(schema.columns[0].on_invalid, policy, "{text}");
    }
}

#[test]
fn zones_go_from_the_file_to_the_column() {
    let text = "timezone: Europe/Berlin
columns:
  - {name: a, type: timestamp}
  - {name: b, type: timestamp(6), timezone: Asia/Tokyo}
  - {name: c, type: date}
";
    let zones: Vec<&str> = schema(text).columns.iter().map(|column| column.timezone.name()).collect();
    assert_eq!(zones, ["Europe/Berlin", "Asia/Tokyo", "Europe/Berlin"]);
}

#[test]
fn wrong_schema_files_are_refused_in_plain_words() {
    let mut said = Vec::new();
    let required = "required: true, on_invalid: reject";
    for (text, parts) in [
        ("columns: []", &["schemas/loans.yaml:1:10: `columns`", "allowed: 1 to 1000"][..]),
        ("column: []", &["schemas/loans.yaml:1:1: unknown key `column`; did you mean `columns`?"]),
        ("columns: [{name: a, typ: int8}]", &["unknown key `typ` in `columns[0]`; did you mean `type`?"]),
        ("columns: [{name: a, type: int7}]", &["1:27: `columns[0].type`: `int7` is not a type", "did you mean `int"]),
        ("columns: [{name: a}]", &["1:11: `columns[0].type`: needs a value"]),
        ("columns: [{name: 1a, type: int8}]", &["1:18: `columns[0].name`: `1a` is not a name"]),
        ("columns: [{name: _a, type: int8}]", &["`_a` is not a name for a column"]),
        ("columns: [{name: a, type: int8}, {name: A, type: int8}]", &["1:41: `columns[1].name`", "earlier column"]),
        (
            "columns: [{name: a, type: int8}, {name: b, header: a, type: int8}]",
            &["1:52: `columns[1].header`", "earlier"],
        ),
        ("columns: [{name: a, type: int8, header: }]", &["`columns[0].header`: needs a value", "quotes"]),
        ("columns: [{name: a, type: int8, null_tokens: }]", &["`columns[0].null_tokens`: needs a value, a list"]),
        ("columns: [{name: a, type: int8, null_tokens: NA}]", &["must be a list; found a text"]),
        (
            "columns: [{name: a, type: int8, on_invalid: rejct}]",
            &["1:45: `columns[0].on_invalid`", "did you mean `reject`? Allowed: null, reject, fail"],
        ),
        ("columns: [{name: a, type: int8, required: true}]", &["1:43: `columns[0].required`", "on_invalid: reject"]),
        ("columns: [{name: a, type: int8, required: yes}]", &["`columns[0].required` must be"]),
        ("columns: [{name: a, type: int8, timezone: UTC}]", &["`columns[0].timezone`: only a timestamp has a zone"]),
        (
            "timezone: Europe/Berln\ncolumns: [{name: a, type: int8}]",
            &["1:11: `timezone`", "did you mean `Europe/Berlin`?"],
        ),
        ("timezone: utc\ncolumns: [{name: a, type: int8}]", &["did you mean `UTC`?"]),
        (
            "primary_key: [b]\ncolumns: [{name: a, type: int8}]",
            &["1:15: `primary_key[0]`: `b` is not a column; allowed: a"],
        ),
        ("primary_key: [a]\ncolumns: [{name: a, type: int8}]", &["`primary_key[0]`: a key can't be missing"]),
        (&format!("primary_key: [a, a]\ncolumns: [{{name: a, type: int8, {required}}}]"), &["named twice"]),
        (&format!("primary_key: [a]\ncolumns: [{{name: a, type: text, {required}}}]"), &["string(n)"]),
    ] {
        let message = refused(&format!("{HEAD}{FEED}"), text);
        said.push((text.to_owned(), message, parts));
    }
    assert_said(&said);
}

#[test]
fn json_schemas_describe_every_key() {
    let config: serde_json::Value = serde_json::from_str(&config_json_schema()).unwrap();
    let scanner = &config["definitions"]["RawScanner"]["properties"];
    assert_eq!(scanner["lookback"]["default"], "72h", "{config:#}");
    assert_eq!(scanner.as_object().unwrap().len(), 8);
    let schema: serde_json::Value = serde_json::from_str(&schema_file_json_schema()).unwrap();
    assert_eq!(schema["properties"]["timezone"]["default"], "UTC", "{schema:#}");
    for root in [&config, &schema] {
        for (name, definition) in root["definitions"].as_object().unwrap() {
            for (key, property) in definition["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string() || property["$ref"].is_string(), "{name}.{key}");
            }
        }
    }
}
