//! A second opinion: `moto`, which others wrote against the documentation of S3. Skipped where it is not installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::e2e::project::{Db, EVENTS_SCHEMA, Project, events, hour};

/// Where `tests/run` installs it.
fn moto() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"));
    cache.join("loadline/moto/bin/moto_server")
}

struct Moto {
    child: Child,
    address: String,
}

impl Moto {
    fn start() -> Self {
        let mut command = Command::new(moto());
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "moto ended before it listened");
            if let Some((_, address)) = line.split_once("http://") {
                break address.trim().to_owned();
            }
        };
        // It goes on to log; a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address }
    }

    /// moto does not check signatures, so that a plain request does.
    fn put(&self, path: &str, bytes: &[u8]) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "PUT /{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request\r\n\r\n",
            self.address,
            bytes.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(bytes).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn moto_agrees() {
    if !moto().is_file() {
        // Not `println!`, which the test harness keeps to itself where a test passes.
        let said = format!("SKIPPED: moto is not installed ({})\n", moto().display());
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    }
    let moto = Moto::start();
    moto.put("hourly", b"");
    for number in 0..3_u64 {
        moto.put(
            &format!("hourly/in/{}/x%20%2C%25.csv", hour(number as usize)),
            events(number * 10..number * 10 + 10).as_bytes(),
        );
    }
    moto.put("hourly/in/a//b.csv", b"id\n");
    let source = format!(
        "{{url: \"s3://hourly/in\", endpoint: \"http://{}\", region: us-east-1, allow_http: true}}",
        moto.address
    );
    let variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.to_owned(), "test".to_owned()));
    let project = Project::over(&source, &variables, "events", EVENTS_SCHEMA, "");
    project.run(&["setup"]).ok();
    project.scan().ok().says(&["3 new files", "keys that can't be addressed: 1"]);
    project.etl().ok();
    assert_eq!(
        project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id), sum(amount) FROM events"),
        "30|30|4350"
    );
    moto.put(&format!("hourly/in/{}/new.csv", hour(3)), events(40..50).as_bytes());
    project.run(&["scan", "--full"]).ok().says(&["1 new file"]);
    moto.put(&format!("hourly/in/{}/new.csv", hour(3)), events(60..70).as_bytes());
    project.etl().exits(3).says(&["changed since the scan"]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "30");
}
