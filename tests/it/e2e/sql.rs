//! `sql`: questions to the files, and nothing else of the machine.

use std::fs;

use super::project::{Db, EVENTS_HEADER, Project, hour};

fn project() -> Project {
    let project = Project::events("");
    project.write(&format!("{}/a.csv", hour(0)), format!("{EVENTS_HEADER}1,10,\"x,y\"\n2,many,\nthree,30,z\n"));
    project.write_events(&format!("{}/b.csv", hour(1)), [4, 5]);
    project.scan().ok();
    project
}

#[test]
fn source_is_the_text_and_clean_is_what_would_be_loaded() {
    let project = project();
    let source = "SELECT id, amount, note, _record, _line FROM source WHERE _uri LIKE '%a.csv' ORDER BY _record";
    let ran = project.run(&["sql", "--job", &project.job(1), "-o", "csv", source]).ok();
    assert_eq!(
        ran.stdout.replace("\r\n", "\n"),
        "id,amount,note,_record,_line\n1,10,\"x,y\",1,2\n2,many,,2,3\nthree,30,z,3,4\n"
    );
    let clean = "SELECT count(*) AS n, sum(amount) AS s, count(amount) AS present FROM clean WHERE _reject IS NULL";
    let rows = project.run(&["sql", "--job", &project.job(1), "-o", "json", clean]).ok().json();
    assert_eq!(rows, serde_json::json!([{"n": 4, "s": 100, "present": 3}]));
    let rejects = "SELECT _record, _reject FROM clean WHERE _reject IS NOT NULL";
    let rows = project.run(&["sql", "--job", &project.job(1), "-o", "json", rejects]).ok().json();
    assert_eq!((rows.as_array().unwrap().len(), rows[0]["_record"].as_u64()), (1, Some(3)));
    let table = project.run(&["sql", "--job", &project.job(1), "SELECT count(*) AS records FROM source"]).ok().stdout;
    assert!(table.contains("records") && table.contains('5'), "{table}");
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), sum(amount), count(amount) FROM events"), "4|100|3");
}

#[test]
fn files_in_no_job_are_read_by_their_uri() {
    let project = project();
    project.write_events(&format!("{}/new.csv", hour(2)), [7, 8, 9]);
    let folder = fs::canonicalize(project.path("incoming")).unwrap();
    let uri = |key: &str| format!("file://{}/{key}", folder.display());
    let configured = project.row(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status <> 'NONE'");
    assert!(configured.starts_with("file:///"), "{configured}");
    let base = configured.split_once("/2026/").unwrap().0;
    let (new, known) = (format!("{base}/{}/new.csv", hour(2)), format!("{base}/{}/b.csv", hour(1)));
    let query = "SELECT count(*) FROM source";
    let ran = project.run(&["sql", "--uri", &new, "--uri", &known, "-o", "csv", query]).ok();
    assert_eq!(ran.stdout.lines().nth(1), Some("5"));
    project.run(&["sql", "--uri", &format!("{base}/{}/none.csv", hour(2)), query]).exits(2).says(&["does not exist"]);
    for outside in [
        uri("../config.yaml"),
        "file:///etc/passwd".to_owned(),
        format!("{base}/../config.yaml"),
        format!("{base}/%2e%2e/config.yaml"),
    ] {
        project.run(&["sql", "--uri", &outside, query]).exits(2);
    }
}

#[test]
fn what_writes_or_reaches_elsewhere_is_2() {
    let project = project();
    let target = project.path("out.csv");
    let secret = project.path("secret.csv");
    fs::write(&secret, "word\nhidden\n").unwrap();
    let (target, secret) = (target.display(), secret.display());
    let before = project.dump();
    for query in [
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "DROP TABLE source".to_owned(),
        "INSERT INTO source SELECT * FROM source".to_owned(),
        "DELETE FROM source".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'"),
        format!("COPY (SELECT 1) TO '{target}' STORED AS CSV"),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{target}' STORED AS CSV"),
        format!("SELECT * FROM '{secret}'"),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT * FROM events".to_owned(),
        "SELECT * FROM information_schema.tables".to_owned(),
        "SELECT no_such_column FROM source".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "SELEC 1".to_owned(),
        String::new(),
    ] {
        let ran = project.run(&["sql", "--job", &project.job(1), &query]);
        assert!(ran.code == Some(2) && ran.stderr.starts_with("error:"), "{ran}");
        assert!(!ran.stdout.contains("hidden"), "{ran}");
    }
    assert!(!project.path("out.csv").exists());
    assert!(project.dump() == before);
}

#[test]
fn a_bad_file_is_named() {
    let project = project();
    let key = format!("{}/bad.csv", hour(3));
    project.write(&key, format!("{EVENTS_HEADER}1,1,\"open\n"));
    project.scan().ok();
    project
        .run(&["sql", "--job", &project.job(2), "SELECT count(*) FROM source"])
        .exits(3)
        .says(&[&key, "unterminated quote"]);
}
