//! Where the servers are on this machine and how each makes its data folder and is started.
//!
//! MariaDB comes from the distribution. MySQL is the `mysqld` on the PATH, or stands in a folder of Debian sid that
//! `tests/install` has made, and runs there by the loader and the libraries of that folder, without chroot.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Kind;
use super::process::SOCKET;

pub struct Installed {
    kind: Kind,
    /// The program and what has to come before its other arguments.
    server: Vec<String>,
}

pub fn find(kind: Kind) -> Option<Installed> {
    let server = match kind {
        Kind::MariaDb => vec![program("mariadbd")?],
        Kind::MySql => mysql_of_sid().or_else(mysql_on_the_path)?,
    };
    Some(Installed { kind, server })
}

fn text(path: &Path) -> String {
    path.to_str().expect("the path of a server is UTF-8").to_owned()
}

fn program(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file()).map(|path| text(&path))
}

fn mysql_of_sid() -> Option<Vec<String>> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|set| !set.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let root = cache.join("loadline/mysql-sid");
    let first = |folder: &str, start: &str| {
        let names = std::fs::read_dir(root.join(folder)).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))).min()
    };
    // x86_64: lib64/ld-linux-x86-64.so.2; aarch64: lib/ld-linux-aarch64.so.1.
    let loader = first("lib64", "ld-linux-").or_else(|| first("lib", "ld-linux-"))?;
    let libraries = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = [root.join("usr/lib").join(libraries), root.join("usr/lib/mysql/private")];
    let libraries: Vec<String> = libraries.iter().map(|path| text(path)).collect();
    let server = root.join("usr/sbin/mysqld");
    server.is_file().then(|| {
        let basedir = format!("--basedir={}", text(&root.join("usr")));
        let load = [text(&loader), "--library-path".to_owned(), libraries.join(":"), text(&server)];
        load.into_iter().chain(["--no-defaults".to_owned(), basedir]).collect()
    })
}

fn mysql_on_the_path() -> Option<Vec<String>> {
    let server = program("mysqld")?;
    let said = Command::new(&server).arg("--version").output().ok()?;
    let is_mysql = said.status.success() && !String::from_utf8_lossy(&said.stdout).contains("MariaDB");
    is_mysql.then(|| vec![server, "--no-defaults".to_owned()])
}

impl Installed {
    /// Makes an empty data folder whose root user has no password.
    pub fn create_data(&self, folder: &Path) -> Vec<String> {
        let mut command = match self.kind {
            Kind::MariaDb => {
                let options = "--no-defaults --auth-root-authentication-method=normal --skip-test-db \
                               --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=0";
                let program = program("mariadb-install-db").unwrap_or_else(|| "mariadb-install-db".to_owned());
                std::iter::once(program).chain(options.split(' ').map(str::to_owned)).collect()
            }
            Kind::MySql => [self.server.as_slice(), &["--initialize-insecure".to_owned()]].concat(),
        };
        command.push(format!("--datadir={}", text(&folder.join("data"))));
        // Two that are made at once get in each other's way in a common one.
        command.push(format!("--tmpdir={}", text(folder)));
        command.extend(user().map(str::to_owned));
        command
    }

    /// Runs the server on that folder.
    pub fn command(&self, folder: &Path, port: u16) -> Vec<String> {
        let mut command = self.server.clone();
        let path = |name: &str| text(&folder.join(name));
        if self.kind == Kind::MariaDb {
            command.extend(["--no-defaults".to_owned(), "--innodb-log-file-size=64M".to_owned()]);
        } else {
            command.extend(["--mysqlx=OFF".to_owned(), "--innodb-redo-log-capacity=64M".to_owned()]);
        }
        command.extend(user().map(str::to_owned));
        command.extend([
            format!("--datadir={}", path("data")),
            format!("--tmpdir={}", path("")),
            format!("--socket={}", path(SOCKET)),
            format!("--pid-file={}", path("pid")),
            format!("--secure-file-priv={}", path("")),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
        ]);
        command
    }
}

/// Servers refuse to run as root unless it is named.
fn user() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().unwrap();
    (id.stdout == b"0\n").then_some("--user=root")
}
