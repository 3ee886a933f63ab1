//! Encrypted connections to MariaDB and MySQL: what is verified is accepted, everything else refused.

use std::path::{Path, PathBuf};

use loadline::error::Error;
use loadline::warehouse::Warehouse;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::mysql::warehouse;
use crate::servers::{Kind, Server};

/// Certificates in a folder, each `NAME.pem` with its `NAME.key`.
struct Certificates {
    folder: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(&folder.path().join("ca"));
        authority_file(&folder.path().join("other_ca"));
        Self { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A certificate for the name `localhost`, and for no address.
    fn issue(&self, name: &str, years: (i32, i32)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        write(&self.path(name), &certificate.pem(), &key);
    }

    /// Options of a server with that certificate, which asks clients for one of the same authority.
    fn options(&self, name: &str) -> Vec<String> {
        [("ssl-ca", "ca.pem".to_owned()), ("ssl-cert", format!("{name}.pem")), ("ssl-key", format!("{name}.key"))]
            .map(|(option, file)| format!("--{option}={}", self.text(&file)))
            .into()
    }

    fn server(&self, kind: Kind, name: &str) -> Option<Server> {
        let options = self.options(name);
        Server::start(kind, &options.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn write(path: &Path, certificate: &str, key: &KeyPair) {
    std::fs::write(path.with_extension("pem"), certificate).unwrap();
    std::fs::write(path.with_extension("key"), key.serialize_pem()).unwrap();
}

fn authority(path: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, path.file_stem().unwrap().to_str().unwrap());
    write(path, &params.self_signed(&key).unwrap().pem(), &key);
    Issuer::new(params, key)
}

fn authority_file(path: &Path) {
    drop(authority(path));
}

async fn asked(url: &str, keys: &[(&str, &str)]) -> Result<Option<u32>, Error> {
    warehouse(url, keys).version().await
}

/// Refused as a matter of the config, with that word in the story and the password nowhere.
async fn refused(url: &str, keys: &[(&str, &str)], word: &str) {
    let error = asked(url, keys).await.expect_err(url);
    let story = format!("{} {:?}", error.chain(), error.hint_text());
    assert_eq!(error.exit_code(), 2, "{story}");
    assert!(story.contains(word) && !story.contains("hunter2"), "{story}");
}

async fn only_what_is_verified_is_accepted(kind: Kind) {
    let certificates = Certificates::new();
    for (name, years) in [("good", (2020, 2100)), ("expired", (2020, 2021)), ("client", (2020, 2100))] {
        certificates.issue(name, years);
    }
    let Some(server) = certificates.server(kind, "good") else { return };
    server.execute(&[
        "CREATE USER 'secure'@'%' IDENTIFIED BY 'hunter2' REQUIRE SSL",
        "CREATE USER 'known'@'%' IDENTIFIED BY 'hunter2' REQUIRE X509",
        "GRANT ALL ON *.* TO 'secure'@'%', 'known'@'%'",
    ]);
    let url = |user: &str, host: &str| format!("mysql://{user}:hunter2@{host}:{}/nowhere", server.port());
    let (ca, other_ca) = (certificates.text("ca.pem"), certificates.text("other_ca.pem"));
    let verified = [("tls", "verified"), ("tls_ca_file", ca.as_str())];
    assert_eq!(asked(&url("secure", "localhost"), &verified).await.unwrap(), None);

    refused(&url("secure", "localhost"), &[("tls", "verified"), ("tls_ca_file", &other_ca)], "UnknownIssuer").await;
    refused(&url("secure", "localhost"), &[("tls", "verified")], "UnknownIssuer").await;
    refused(&url("secure", "127.0.0.1"), &verified, "not valid for name").await;
    // The server insists where this side did not ask.
    refused(&url("secure", "localhost"), &[("tls", "disabled")], "the server refused user or password").await;

    refused(&url("known", "localhost"), &verified, "the server refused user or password").await;
    let (certificate, key) = (certificates.text("client.pem"), certificates.text("client.key"));
    let with_identity = [verified.as_slice(), &[("tls_cert_file", &certificate), ("tls_key_file", &key)]].concat();
    assert_eq!(asked(&url("known", "localhost"), &with_identity).await.unwrap(), None);

    let port = server.port();
    drop(server);
    let gone = asked(&format!("mysql://secure:hunter2@localhost:{port}/nowhere"), &verified).await.unwrap_err();
    assert_eq!(gone.exit_code(), 4, "{}", gone.chain());

    let Some(server) = certificates.server(kind, "expired") else { return };
    refused(&format!("mysql://root@localhost:{}/nowhere", server.port()), &verified, "expired").await;
}

/// A server, or whoever stands before it, says that it can't encrypt.
async fn a_downgrade_is_refused(kind: Kind) {
    let without = match kind {
        Kind::MariaDb => "--skip-ssl",
        Kind::MySql => "--tls-version=",
    };
    let Some(server) = Server::start(kind, &[without]) else { return };
    let url = format!("mysql://root@localhost:{}/nowhere", server.port());
    refused(&url, &[("tls", "verified")], "does not encrypt").await;
    assert_eq!(asked(&url, &[]).await.unwrap(), None, "to this machine, plain is the default");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_verified() {
    only_what_is_verified_is_accepted(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_is_verified() {
    only_what_is_verified_is_accepted(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_not_downgraded() {
    a_downgrade_is_refused(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_is_not_downgraded() {
    a_downgrade_is_refused(Kind::MySql).await;
}

/// The full exchange each time, as a server makes it for a user that it does not remember.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caching_sha2_password_works_over_every_way() {
    let certificates = Certificates::new();
    certificates.issue("good", (2020, 2100));
    let Some(server) = certificates.server(Kind::MySql, "good") else { return };
    server.execute(&[
        "CREATE USER 'loader'@'%' IDENTIFIED WITH caching_sha2_password BY 'hunter2'",
        "CREATE USER 'loader'@'localhost' IDENTIFIED WITH caching_sha2_password BY 'hunter2'",
        "GRANT ALL ON *.* TO 'loader'@'%', 'loader'@'localhost'",
    ]);
    let (port, ca) = (server.port(), certificates.text("ca.pem"));
    let socket = server.socket();
    let verified = [("tls", "verified"), ("tls_ca_file", ca.as_str())];
    let over_socket = format!("mysql://loader:hunter2@localhost/nowhere?socket={}", socket.display());
    let over_tcp = format!("mysql://loader:hunter2@localhost:{port}/nowhere");
    for (url, keys) in [(&over_tcp, &verified[..]), (&over_socket, &[]), (&over_tcp, &[])] {
        server.execute(&["FLUSH PRIVILEGES"]);
        assert_eq!(asked(url, keys).await.unwrap(), None, "{url} {keys:?}");
    }
    for (url, keys) in [(&over_tcp, &verified[..]), (&over_socket, &[]), (&over_tcp, &[])] {
        server.execute(&["FLUSH PRIVILEGES"]);
        let error = asked(&url.replace("hunter2", "hunter3"), keys).await.unwrap_err();
        assert!(error.exit_code() == 2 && !error.chain().contains("hunter3"), "{}", error.chain());
    }
}
