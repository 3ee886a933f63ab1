//! A MySQL database of the config: what the url names, then the keys beside it, then `[client]` of `~/.my.cnf`, then
//! the environment.
//!
//! Invariant: a connection beyond this machine is encrypted and the server's certificate verified, unless
//! `tls: disabled` is written. No message and no `Debug` holds a password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::option_file::ClientOptions;
use super::raw::{RawDatabase, RawTls};
use super::secret::Secret;
use super::urls::substitute;

const PORT: u16 = 3306;

/// Longest name of a database, in characters.
const NAME_LENGTH_MAX: usize = 64;

const FORMS: &str = "write mysql://user@host:3306/database, or mysql://user@localhost/database?socket=/path";

/// What a url's parts may hold as they stand.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A database on a server that speaks MySQL's protocol. Printed as its url, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlDatabase {
    pub host: String,
    pub port: u16,
    /// Instead of host and port.
    pub socket: Option<PathBuf>,
    pub user: String,
    pub password: Option<Password>,
    pub name: String,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    pub secret: Secret,
    pub(super) origin: PasswordOrigin,
}

/// Where the password stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PasswordOrigin {
    Url,
    /// `password_file`, absolute.
    File(PathBuf),
    OptionFile,
    Environment,
}

/// How the bytes travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Plain,
    /// The server's certificate must be of an authority that is trusted, and of the host's name.
    Verified {
        /// Trusted instead of the public authorities; absolute.
        ca_file: Option<PathBuf>,
        /// Certificate and key of this client; absolute.
        identity: Option<(PathBuf, PathBuf)>,
    },
}

impl fmt::Display for MysqlDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(""))
    }
}

impl MysqlDatabase {
    /// As in the config, with `***` where a password stood.
    pub(super) fn masked_url(&self) -> String {
        let written = self.password.as_ref().is_some_and(|password| password.origin == PasswordOrigin::Url);
        self.url(if written { ":***" } else { "" })
    }

    fn url(&self, behind_user: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let (user, name) = (encoded(&self.user), encoded(&self.name));
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.socket {
            Some(socket) => {
                let socket = encoded(&socket.to_string_lossy());
                format!("mysql://{user}{behind_user}@{host}/{name}?socket={socket}")
            }
            None => format!("mysql://{user}{behind_user}@{host}:{}/{name}", self.port),
        }
    }

    pub(super) fn password_file(&self) -> Option<&Path> {
        match &self.password.as_ref()?.origin {
            PasswordOrigin::File(path) => Some(path),
            _ => None,
        }
    }
}

/// What a url names; the rest is left to the keys beside it and to `~/.my.cnf`.
#[derive(Debug)]
pub(super) struct MysqlUrl {
    user: Option<String>,
    password: Option<Secret>,
    host: Option<String>,
    port: Option<u16>,
    socket: Option<PathBuf>,
    name: String,
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl MysqlUrl {
    /// `${ENV}` parts are filled in after the url was taken apart, so that a password may hold any character.
    pub fn parse(url: &str, env: Env<'_>) -> Result<Self, String> {
        let rest = url.split_once("://").map(|(_, rest)| rest).ok_or(FORMS)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let (login, place) = place.rsplit_once('@').map_or((None, place), |(login, place)| (Some(login), place));
        let (host, name) = place.split_once('/').ok_or_else(|| format!("it names no database; {FORMS}"))?;
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (filled(user, env)?, filled(password, env)?),
            None => (String::new(), String::new()),
        };
        let (host, port) = host_and_port(host, env)?;
        Ok(Self {
            user: some(user),
            password: some(password).map(Secret::new),
            host: some(host),
            port,
            socket: socket(query, env)?,
            name: database_name(&filled(name, env)?)?,
        })
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn filled(part: &str, env: Env<'_>) -> Result<String, String> {
    let decoded = percent_decode_str(part).decode_utf8();
    substitute(&decoded.map_err(|_| "its percent-encoded parts are not UTF-8".to_owned())?, env)
}

fn host_and_port(text: &str, env: Env<'_>) -> Result<(String, Option<u16>), String> {
    let text = filled(text, env)?;
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => (host, rest.strip_prefix(':')),
        Some(None) => return Err("`[` in the host without its `]`".to_owned()),
        None => text.split_once(':').map_or((text.as_str(), None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0));
    match port {
        Some(None) => Err("behind the host stands no port, 1 to 65535".to_owned()),
        Some(port) => Ok((host.to_owned(), port)),
        None => Ok((host.to_owned(), None)),
    }
}

fn socket(query: Option<&str>, env: Env<'_>) -> Result<Option<PathBuf>, String> {
    let mut socket = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != "socket" {
            return Err(
                "a parameter behind `?` is not known; `socket` is, and the other settings are keys beside `url`: \
                        password_file, tls, tls_ca_file, tls_cert_file, tls_key_file"
                    .to_owned(),
            );
        }
        let path = PathBuf::from(filled(value, env)?);
        if !path.is_absolute() {
            return Err("`socket` is no absolute path".to_owned());
        }
        socket = Some(path);
    }
    Ok(socket)
}

fn database_name(name: &str) -> Result<String, String> {
    let odd = name.contains(['/', '\\', '.', '#', '\0']) || name.trim() != name || name.chars().any(char::is_control);
    if name.is_empty() {
        return Err(format!("it names no database; {FORMS}"));
    }
    if odd || name.chars().count() > NAME_LENGTH_MAX {
        return Err(format!("this is not a name of a database; {FORMS}"));
    }
    Ok(name.to_owned())
}

/// Which key is to blame, without the name of the database's own key in front, and why.
pub(super) type Problem = (&'static str, String);

/// Puts the parts together.
pub(super) fn mysql_database(
    url: MysqlUrl,
    raw: &RawDatabase,
    folder: &Path,
    env: Env<'_>,
) -> Result<MysqlDatabase, Problem> {
    let options = match env("HOME") {
        Some(home) => ClientOptions::read(&Path::new(&home).join(".my.cnf")).map_err(|problem| ("url", problem))?,
        None => ClientOptions::default(),
    };
    let local = url.host.is_none() || (url.host.as_deref() == Some("localhost") && url.port.is_none());
    let password = password(url.password, raw, &options, folder, env)?;
    let named = url.socket.is_some() || url.host.is_some();
    let host = url.host.or(options.host.clone().filter(|_| !named)).unwrap_or_else(|| "localhost".to_owned());
    let here = host == "localhost" && local;
    let socket = url.socket.or(options.socket.clone().map(PathBuf::from).filter(|_| here));
    let tls = tls(raw, &options, folder, socket.is_some(), is_loopback(&host))?;
    let nobody = || ("url", format!("it names no user, nor does [client] of ~/.my.cnf; {FORMS}"));
    Ok(MysqlDatabase {
        port: url.port.or(options.port.filter(|_| !named || local)).unwrap_or(PORT),
        host,
        socket,
        user: url.user.or(options.user).ok_or_else(nobody)?,
        password,
        name: url.name,
        tls,
    })
}

fn password(
    in_url: Option<Secret>,
    raw: &RawDatabase,
    options: &ClientOptions,
    folder: &Path,
    env: Env<'_>,
) -> Result<Option<Password>, Problem> {
    let from = |secret: Secret, origin| Ok(Some(Password { secret, origin }));
    match (in_url, &raw.password_file) {
        (Some(_), Some(_)) => {
            Err(("password_file", "the url holds a password already; leave one of them out".to_owned()))
        }
        (Some(secret), None) => from(secret, PasswordOrigin::Url),
        (None, Some(file)) => {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| ("password_file", format!("{} can't be read: {error}", path.display())))?;
            match text.lines().next() {
                Some(line) if !line.is_empty() => from(Secret::new(line), PasswordOrigin::File(path)),
                _ => Err(("password_file", format!("the first line of {} is empty", path.display()))),
            }
        }
        (None, None) => {
            if let Some(password) = &options.password {
                return from(Secret::new(password.as_str()), PasswordOrigin::OptionFile);
            }
            let Some(password) = env("MYSQL_PWD") else { return Ok(None) };
            tracing::warn!(
                "the password comes from MYSQL_PWD, which other programs can see and MySQL deprecates: \
                            use password_file, ${{ENV}} in the url or ~/.my.cnf"
            );
            from(Secret::new(password), PasswordOrigin::Environment)
        }
    }
}

fn tls(
    raw: &RawDatabase,
    options: &ClientOptions,
    folder: &Path,
    socket: bool,
    loopback: bool,
) -> Result<Tls, Problem> {
    let written =
        [("tls_ca_file", &raw.tls_ca_file), ("tls_cert_file", &raw.tls_cert_file), ("tls_key_file", &raw.tls_key_file)];
    let first_written = written.iter().find(|(_, file)| file.is_some()).map(|(key, _)| *key);
    let plain = socket || raw.tls == Some(RawTls::Disabled);
    if let (true, Some(key)) = (plain, first_written) {
        return Err((key, "the connection is not encrypted: leave this key out".to_owned()));
    }
    if socket && raw.tls == Some(RawTls::Verified) {
        return Err(("tls", "a socket is not encrypted and does not leave the machine: leave this key out".to_owned()));
    }
    if plain || (loopback && raw.tls.is_none() && first_written.is_none()) {
        return Ok(Tls::Plain);
    }
    let [ca, certificate, key] =
        [(written[0], &options.ssl_ca), (written[1], &options.ssl_cert), (written[2], &options.ssl_key)]
            .map(|((key, written), option)| readable(key, written.as_deref().or(option.as_deref()), folder));
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(("tls_cert_file", "it needs tls_key_file beside it".to_owned())),
        (None, Some(_)) => return Err(("tls_key_file", "it needs tls_cert_file beside it".to_owned())),
    };
    Ok(Tls::Verified { ca_file: ca?, identity })
}

/// The file, absolute, after it was opened once.
fn readable(key: &'static str, file: Option<&str>, folder: &Path) -> Result<Option<PathBuf>, Problem> {
    let Some(file) = file else { return Ok(None) };
    let path = folder.join(file);
    match std::fs::File::open(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) => Err((key, format!("{} can't be read: {error}", path.display()))),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME_LESS: Env<'static> = &|_| None;

    fn database(url: &str, keys: RawDatabase, env: Env<'_>) -> Result<MysqlDatabase, String> {
        let url = MysqlUrl::parse(url, env)?;
        mysql_database(url, &keys, Path::new("/config"), env).map_err(|(key, problem)| format!("{key}: {problem}"))
    }

    fn plain(url: &str) -> Result<MysqlDatabase, String> {
        database(url, RawDatabase::of(String::new()), HOME_LESS)
    }

    #[test]
    fn urls_name_user_host_and_database() {
        for (url, shown) in [
            ("mysql://loader@db.example/raw_data", "mysql://loader@db.example:3306/raw_data"),
            ("MySQL://loader@db:3307/raw%20data", "mysql://loader@db:3307/raw%20data"),
            ("mysql://a%40b:se/c:r@t@[::1]:3307/x", "mysql://a%40b@[::1]:3307/x"),
            (
                "mysql://loader@localhost/x?socket=/run/my%20sql.sock",
                "mysql://loader@localhost/x?socket=/run/my%20sql.sock",
            ),
        ] {
            let read = plain(url).unwrap();
            assert_eq!(read.to_string(), shown);
            let again = plain(&shown.replace('@', if read.password.is_some() { ":se/c:r@t@" } else { "@" }));
            assert_eq!(again.unwrap(), read, "{shown} reads back as something else");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_repeated() {
        for (url, reason) in [
            ("mysql:loader@db/x", "write mysql://"),
            ("mysql://loader:hunter2@db", "names no database"),
            ("mysql://loader:hunter2@db/", "names no database"),
            ("mysql://loader:hunter2@db:port/x", "no port"),
            ("mysql://loader:hunter2@db:0/x", "no port"),
            ("mysql://loader:hunter2@[::1/x", "without its `]`"),
            ("mysql://loader:hunter2@db/x/y", "not a name of a database"),
            ("mysql://loader:hunter2@db/x?ssl=hunter2", "is not known"),
            ("mysql://loader:hunter2@db/x?socket=s", "no absolute path"),
            ("mysql://db/x", "names no user"),
            ("mysql://loader:${PW}@db/x", "`PW` is not set"),
        ] {
            let problem = plain(url).unwrap_err();
            assert!(problem.contains(reason) && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }

    #[test]
    fn a_password_from_the_environment_may_hold_any_character() {
        let env = |name: &str| (name == "PW").then(|| "a%40/b@c?d#e${PW}".to_owned());
        let read = database("mysql://loader:${PW}@db/x", RawDatabase::of(String::new()), &env).unwrap();
        assert_eq!(read.password.as_ref().unwrap().secret.reveal(), "a%40/b@c?d#e${PW}");
        assert!(!format!("{read:?} {read} {}", read.masked_url()).contains("a%40"), "{read:?}");
        assert_eq!(read.masked_url(), "mysql://loader:***@db:3306/x");
    }

    #[test]
    fn beyond_this_machine_only_what_is_written_goes_unencrypted() {
        let verified = Tls::Verified { ca_file: None, identity: None };
        for (url, written, tls) in [
            ("mysql://u@db/x", None, &verified),
            ("mysql://u@db/x", Some(RawTls::Disabled), &Tls::Plain),
            ("mysql://u@10.0.0.1/x", None, &verified),
            ("mysql://u@localhost.example/x", None, &verified),
            ("mysql://u@127.0.0.1/x", None, &Tls::Plain),
            ("mysql://u@[::1]/x", None, &Tls::Plain),
            ("mysql://u@localhost:3307/x", None, &Tls::Plain),
            ("mysql://u@localhost:3307/x", Some(RawTls::Verified), &verified),
            ("mysql://u@db/x?socket=/s", None, &Tls::Plain),
        ] {
            let keys = RawDatabase { tls: written, ..RawDatabase::of(String::new()) };
            assert_eq!(database(url, keys, HOME_LESS).unwrap().tls, *tls, "{url}");
        }
        let keys = RawDatabase {
            tls: Some(RawTls::Disabled),
            tls_ca_file: Some("ca".to_owned()),
            ..RawDatabase::of(String::new())
        };
        assert!(database("mysql://u@db/x", keys, HOME_LESS).unwrap_err().starts_with("tls_ca_file: "));
        let keys = RawDatabase { tls_ca_file: Some("no such file".to_owned()), ..RawDatabase::of(String::new()) };
        assert!(
            database("mysql://u@db/x", keys, HOME_LESS).unwrap_err().starts_with("tls_ca_file: /config/no such file")
        );
    }

    #[test]
    fn the_option_file_fills_what_nobody_names() {
        let home = tempfile::tempdir().unwrap();
        let options = "[client]\nuser=from_file\npassword='from # file'\nhost=other\nport=3310\nsocket=/run/s\n";
        std::fs::write(home.path().join(".my.cnf"), options).unwrap();
        std::fs::write(home.path().join("pw"), "first line\nsecond\n").unwrap();
        let env = |name: &str| match name {
            "HOME" => home.path().to_str().map(str::to_owned),
            "MYSQL_PWD" => Some("from environment".to_owned()),
            _ => None,
        };
        let read = |url: &str, keys: RawDatabase| database(url, keys, &env);
        let none = || RawDatabase::of(String::new());
        let secret = |read: &MysqlDatabase| read.password.as_ref().map(|p| p.secret.reveal().to_owned());

        let all = read("mysql:///x", none()).unwrap();
        assert_eq!((all.user.as_str(), all.host.as_str(), all.port), ("from_file", "other", 3310));
        assert_eq!((all.socket.as_deref(), secret(&all).as_deref()), (None, Some("from # file")));
        let local = read("mysql://u@localhost/x", none()).unwrap();
        assert_eq!((local.user.as_str(), local.socket.as_deref()), ("u", Some(Path::new("/run/s"))));
        let named = read("mysql://u:mine@db/x", none()).unwrap();
        assert_eq!((named.port, named.socket.as_deref(), secret(&named).as_deref()), (3306, None, Some("mine")));

        let file = home.path().join("pw").to_str().map(str::to_owned);
        let keys = || RawDatabase { password_file: file.clone(), ..none() };
        let from_file = read("mysql://u@db/x", keys()).unwrap();
        assert_eq!(secret(&from_file).as_deref(), Some("first line"));
        assert_eq!(from_file.password_file(), Some(home.path().join("pw").as_path()));
        assert!(read("mysql://u:mine@db/x", keys()).unwrap_err().starts_with("password_file: "));

        std::fs::remove_file(home.path().join(".my.cnf")).unwrap();
        let last = read("mysql://u@db/x", none()).unwrap();
        assert_eq!(secret(&last).as_deref(), Some("from environment"));
    }
}
