//! The receipt of every file, held against the bytes, and by the vendors' client against the tables.

use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::project::{Db, EVENTS_SCHEMA, Project, events, everywhere, gzip, hour};
use super::servers::{SCHEMA, file};
use crate::servers::{Database, Kind, Server};
use crate::skip::skipped;

/// The one row of a query, as `mariadb -e` prints it.
fn ask(database: &Database<'_>, charset: &str, sql: &str) -> Option<Vec<String>> {
    let mut client = Command::new("mariadb");
    client.args([
        "--no-defaults",
        "--protocol=TCP",
        "--host=127.0.0.1",
        "--user=root",
        "--batch",
        "--skip-column-names",
    ]);
    client.arg(format!("--port={}", database.server.port())).arg(format!("--default-character-set={charset}"));
    let ran = client.arg(&database.name).args(["--execute", sql]).output().ok()?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(String::from_utf8(ran.stdout).unwrap().trim_end().split('\t').map(str::to_owned).collect())
}

fn number(receipt: &Value, field: &str) -> String {
    receipt[field].as_i64().unwrap_or_else(|| panic!("no {field}: {receipt:#}")).to_string()
}

#[test]
fn the_sql_of_a_receipt_gives_its_numbers_in_the_vendors_client() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = Server::shared(kind) else { continue };
        let database = server.fresh();
        if ask(&database, "utf8mb4", "SELECT 1").is_none() {
            return skipped("no `mariadb` client is on this machine");
        }
        let project = Project::new("events", SCHEMA, "").on(&database, &database, "etl: {max_reject_ratio: 0.5}");
        project.run(&["setup"]).ok();
        let plain = [file(1, 700), file(10_001, 50), file(20_001, 0)];
        let files = [
            (format!("{}/e.csv", hour(0)), plain[0].clone().into_bytes()),
            (format!("{}/e.csv.gz", hour(1)), gzip(plain[1].as_bytes())),
            (format!("{}/e.csv", hour(2)), plain[2].clone().into_bytes()),
        ];
        for (key, bytes) in &files {
            project.write(key, bytes);
        }
        project.scan_and_load();
        let document = project.run(&["audit", "--receipt", "-o", "json"]).ok().json();
        let mut receipts = document["files"].as_array().unwrap().clone();
        receipts.sort_by_key(|receipt| receipt["key"].as_str().unwrap().to_owned());
        assert_eq!(receipts.len(), 3);
        for (receipt, (key, bytes)) in receipts.iter().zip(&files) {
            assert_eq!(receipt["key"], key.as_str());
            assert_eq!(number(receipt, "bytes"), bytes.len().to_string());
            let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(receipt["sha256"], sha256.as_str());
            let [rows, rejects, records] = ["rows", "rejects", "records"].map(|count| receipt[count].as_u64().unwrap());
            assert_eq!(rows + rejects, records);
            let sql = |name: &str| receipt[name].as_str().unwrap();
            for charset in ["utf8mb4", "latin1", "binary"] {
                let counted = ask(&database, charset, sql("sql")).unwrap();
                assert_eq!(counted, [number(receipt, "rows"), number(receipt, "checksum")], "{kind:?} {charset} {key}");
                assert_eq!(ask(&database, charset, sql("rejects_sql")).unwrap(), [number(receipt, "rejects")]);
            }
        }
        // The same of a table that somebody has been at.
        database.execute(&["UPDATE events SET ratio = ratio * 2 WHERE id = 5"]);
        let counted = ask(&database, "utf8mb4", receipts[0]["sql"].as_str().unwrap()).unwrap();
        assert_eq!(counted[0], number(&receipts[0], "rows"));
        assert_ne!(counted[1], number(&receipts[0], "checksum"));
    }
}

#[test]
fn only_what_is_loaded_has_a_receipt() {
    everywhere("events", EVENTS_SCHEMA, "scanner: {max_job_files: 1}", |project| {
        let receipts = |arguments: &[&str]| {
            let document = project.run(&[&["audit", "--receipt", "-o", "json"], arguments].concat()).ok().json();
            let files = document["files"].as_array().unwrap().clone();
            let mut keys: Vec<String> = files.iter().map(|file| file["key"].as_str().unwrap().to_owned()).collect();
            keys.sort();
            keys
        };
        assert!(receipts(&[]).is_empty());
        let keys: Vec<String> = (0..4).map(|number| format!("{}/events.csv", hour(number))).collect();
        for (number, key) in keys.iter().enumerate() {
            let first = 10 * number as u64;
            project.write(key, if number == 3 { "id,value,flag\n\"".to_owned() } else { events(first..first + 3) });
        }
        project.scan().ok();
        project.etl();
        assert_eq!(receipts(&[]), keys[..3]);
        let uri = format!("file://{}", std::fs::canonicalize(project.incoming(&keys[1])).unwrap().display());
        project.run(&["unload", "--file", &uri, "--yes"]).ok();
        assert_eq!(receipts(&["--feed", "events"]), [keys[0].clone(), keys[2].clone()]);
        let text = project.run(&["audit", "--receipt"]).ok().stdout;
        assert!(text.contains(&keys[0]) && text.contains("3 rows, 0 rejects") && text.ends_with("2 files\n"), "{text}");
        assert!(text.contains("rejects FROM loadline_rejects WHERE file = "), "{text}");
        project.run(&["audit", "--receipt", "--deep"]).exits(2);
        // As an earlier loadline has left it: nothing to compare, and nothing to blame it for.
        project.tamper(Db::Reporting, "UPDATE loadline_files SET checksum_rule = NULL, sha256 = NULL, bytes = NULL");
        let text = project.run(&["audit", "--deep"]).ok().stdout;
        assert!(text.contains("2 files loaded with other columns or by an earlier loadline"), "{text}");
        let document = project.run(&["audit", "--receipt", "-o", "json"]).ok().json();
        for file in document["files"].as_array().unwrap() {
            assert!(file["checksum"].is_null() && file["sha256"].is_null() && file["rows"] == 3, "{file:#}");
        }
    });
}
