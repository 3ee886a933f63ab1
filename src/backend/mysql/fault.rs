//! What can go wrong on a connection, and what it means to people: the servers' codes, sorted once.
//!
//! Invariant: no value of a row reaches a message. Servers quote values in theirs (1062 the key, 1366 the number), so
//! that of a server's text only code, column and row number are kept; it stands as it is for the few codes whose
//! texts name nothing but users, databases, tables and columns.

use std::time::Duration;

use mysql_async::{DriverError, IoError, ServerError};

use crate::config::MysqlDatabase;
use crate::error::{Error, ErrorKind};

/// An error of the driver or the server, or one of ours that passes through as it is.
#[derive(Debug)]
pub(super) enum Fault {
    /// While a connection was made.
    Connecting(mysql_async::Error),
    Mysql(mysql_async::Error),
    ConnectTimeout(Duration),
    AnswerTimeout(Duration),
    Ours(Error),
    /// With where it happened.
    Within(String, Box<Fault>),
}

impl From<mysql_async::Error> for Fault {
    fn from(error: mysql_async::Error) -> Self {
        Self::Mysql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Connecting(mysql_async::Error::Server(error)) | Self::Mysql(mysql_async::Error::Server(error)) => {
                Some(error.code)
            }
            Self::Within(_, fault) => fault.code(),
            _ => None,
        }
    }

    pub fn within(self, place: String) -> Self {
        Self::Within(place, Box::new(self))
    }

    /// Whether a key stands in the table already.
    pub fn is_duplicate(&self) -> bool {
        matches!(self.code(), Some(1062 | 1169 | 1586))
    }

    /// Whether the transaction is gone and may be run again at once.
    pub fn is_deadlock(&self) -> bool {
        matches!(self.code(), Some(1213 | 1020))
    }

    pub fn is_unknown_database(&self) -> bool {
        self.code() == Some(1049)
    }

    pub fn is_missing_table(&self) -> bool {
        self.code() == Some(1146)
    }

    /// Whether the column that a step adds is there already.
    pub fn is_duplicate_column(&self) -> bool {
        self.code() == Some(1060)
    }

    /// Whether the connection is gone: of a COMMIT nobody knows whether it was done.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::AnswerTimeout(_) => true,
            Self::Mysql(mysql_async::Error::Server(error)) => matches!(error.code, 1053 | 2006 | 2013 | 4031 | 1927),
            Self::Mysql(_) => true,
            Self::Within(_, fault) => fault.is_lost(),
            Self::Connecting(_) | Self::ConnectTimeout(_) | Self::Ours(_) => false,
        }
    }

    /// The error for people, with the database's role and place in it.
    pub fn explain(self, role: &str, database: &MysqlDatabase) -> Error {
        let (meaning, text) = match self {
            Self::Ours(error) => return error,
            Self::Within(place, fault) => return fault.explain(role, database).context(place),
            Self::ConnectTimeout(after) => (UNREACHABLE, format!("no connection after {} s", after.as_secs())),
            Self::AnswerTimeout(after) => (LOST, format!("no answer after {} s", after.as_secs())),
            Self::Connecting(error) => (Meaning::of_connecting(&error), safe_text(&error)),
            Self::Mysql(error) => (Meaning::of(&error), safe_text(&error)),
        };
        let Meaning { kind, what, hint, is_outage } = meaning;
        let explained = Error::new(kind, format!("the {role} database {database}: {what}")).caused_by(text);
        let explained = if is_outage { explained.outage() } else { explained };
        if hint.is_empty() { explained } else { explained.hint(hint) }
    }
}

/// What people are told.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    kind: ErrorKind,
    what: &'static str,
    /// Empty: none.
    hint: &'static str,
    /// Whether it keeps every job from loading, though the server answers.
    is_outage: bool,
}

const fn meaning(kind: ErrorKind, what: &'static str, hint: &'static str) -> Meaning {
    Meaning { kind, what, hint, is_outage: false }
}

const fn outage(what: &'static str, hint: &'static str) -> Meaning {
    Meaning { kind: Unavailable, what, hint, is_outage: true }
}

use ErrorKind::{Config, Data, Internal, Unavailable};

const UNREACHABLE: Meaning =
    meaning(Unavailable, "the server can't be reached", "check host and port in the config, and that the server runs");
const LOST: Meaning = meaning(Unavailable, "the connection was lost", "try again");
const TLS: Meaning = meaning(
    Config,
    "the connection could not be encrypted and verified",
    "the server's certificate must be valid, name this host, and be signed by an authority in `tls_ca_file` (default: a \
     public one); a server that asks for a certificate gets `tls_cert_file` and `tls_key_file`",
);
const NO_TLS: Meaning = meaning(
    Config,
    "the server does not encrypt connections",
    "switch TLS on at the server, or write `tls: disabled` if the network in between is trusted",
);
const UNKNOWN: Meaning = meaning(Internal, "a statement failed", "");

/// The servers' codes, and those of the client library that proxies send.
#[rustfmt::skip]
const CODES: &[(&[u16], Meaning)] = &[
    // Try again: somebody else was faster, or the server has no room or no time.
    (&[1205], meaning(Unavailable, "another transaction holds a row for too long", "try again")),
    (&[1213, 1020, 3101], meaning(Unavailable, "another transaction was in the way", "try again")),
    (&[1040, 1203, 1226], meaning(Unavailable, "the server has no connection left", "try again, with fewer workers, or raise `max_connections`")),
    (&[1053, 1927, 2006, 2013, 2055, 4031], LOST),
    (&[1158, 1159, 1160, 1161], LOST),
    (&[2002, 2003, 2005], UNREACHABLE),
    (&[1290, 1836, 1792, 3750], outage("the server is read-only at present", "see whether it is a replica now, then try again")),
    (&[1021, 1114, 1026, 28], outage("the server's disk is full", "make room there, then try again")),
    (&[1030], meaning(Unavailable, "the server's disk is full or fails", "see its log, then try again")),
    (&[1037, 1038, 1041, 5, 135], meaning(Unavailable, "the server is out of memory", "try again")),
    (&[1317, 1969, 3024, 1907, 3168], meaning(Unavailable, "the server interrupted a statement", "try again")),
    (&[1047, 1180, 1412, 1615, 3572, 1637, 1206], meaning(Unavailable, "the server could not do it now", "try again")),
    // Somebody must change the config, the grants or the schema.
    (&[1045, 1698, 1862, 1820, 3118, 4151], meaning(Config, "the server refused user or password", "check the user in the url and its password")),
    (&[1044, 1142, 1143, 1227, 1370, 1410, 1141], meaning(Config, "the user lacks a right", "is the database's name in the url right? `loadline setup --print` writes the grants that are needed")),
    (&[1130, 1129], meaning(Config, "the server does not let this host in", "create the user for this host, or run `FLUSH HOSTS` there after many failed attempts")),
    (&[1049], meaning(Config, "there is no such database", "run `loadline setup`, or check the name in the url")),
    (&[1146, 1051], meaning(Config, "a table is missing", "run `loadline setup`")),
    (&[1054, 1136, 1364], meaning(Config, "a table has other columns than expected", "run `loadline setup`; the feed's table must be as its schema file says")),
    (&[3159], meaning(Config, "the server wants an encrypted connection", "write `tls: verified`")),
    (&[1251, 2059, 2061], meaning(Config, "the server wants another way to log in", "give the user the plugin caching_sha2_password or mysql_native_password")),
    (&[1071, 1117, 1118, 1074, 1070], meaning(Config, "a table can't be created", "the schema file has too many or too long columns, or too long a key")),
    (&[1665], meaning(Config, "the server logs statements, not rows", "set `binlog_format = ROW`")),
    (&[1286, 1178, 1031], meaning(Config, "a table is not of the engine InnoDB", "`ALTER TABLE ... ENGINE = InnoDB`")),
    // A row that the table does not take.
    (&[1062, 1169, 1586], meaning(Data, "a key stands in the table already", "")),
    (&[1048, 1263, 1264, 1265, 1292, 1366, 1367, 1406, 1411, 1441, 1690, 3819, 4025], meaning(Data, "the table refused a value", "compare the table's columns with the schema file")),
    (&[1216, 1451, 1452], meaning(Data, "a foreign key refused a row", "load the table it points at first, or drop the foreign key")),
    (&[1153, 1301], meaning(Data, "a row is larger than the server takes", "raise `max_allowed_packet` there")),
];

impl Meaning {
    fn of_code(code: u16) -> Self {
        let known = CODES.iter().find(|(codes, _)| codes.contains(&code));
        known.map_or(UNKNOWN, |(_, meaning)| *meaning)
    }

    fn of(error: &mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => Self::of_code(error.code),
            mysql_async::Error::Io(_) | mysql_async::Error::Driver(DriverError::ConnectionClosed) => LOST,
            _ => UNKNOWN,
        }
    }

    fn of_connecting(error: &mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => Self::of_code(error.code),
            mysql_async::Error::Io(IoError::Tls(_)) => TLS,
            // rustls speaks through errors of this kind, and nothing else does before the first statement.
            mysql_async::Error::Io(IoError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => TLS,
            mysql_async::Error::Io(IoError::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                meaning(Config, "its socket may not be used", "check the permissions of the socket")
            }
            mysql_async::Error::Io(_) => UNREACHABLE,
            mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => NO_TLS,
            mysql_async::Error::Driver(DriverError::NoKeyFound) => {
                meaning(Config, "`tls_key_file` holds no key", "write a private key in PEM into it")
            }
            mysql_async::Error::Driver(
                DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::CleartextPluginDisabled,
            ) => Self::of_code(1251),
            mysql_async::Error::Driver(DriverError::ConnectionClosed) => UNREACHABLE,
            _ => meaning(
                Config,
                "what answers there does not speak MySQL's protocol",
                "check host and port in the config",
            ),
        }
    }
}

/// Codes whose texts name users, hosts, databases, tables and columns only.
const NAMES_ONLY: [u16; 21] = [
    1044, 1045, 1049, 1051, 1054, 1060, 1129, 1130, 1142, 1143, 1146, 1205, 1213, 1227, 1290, 1364, 1698, 1792, 1836,
    3159, 1040,
];

fn safe_text(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => safe_server_text(error),
        mysql_async::Error::Io(IoError::Io(error)) => error.to_string(),
        mysql_async::Error::Io(IoError::Tls(error)) => error.to_string(),
        mysql_async::Error::Driver(DriverError::ConnectionClosed) => "the server closed it".to_owned(),
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => "it offers no TLS".to_owned(),
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => format!("it asks for `{name}`"),
        mysql_async::Error::Driver(DriverError::PacketTooLarge) => "a packet is too large".to_owned(),
        mysql_async::Error::Driver(DriverError::StmtParamsMismatch { required, supplied }) => {
            format!("a statement takes {required} values and got {supplied}")
        }
        _ => "the driver refused it".to_owned(),
    }
}

fn safe_server_text(error: &ServerError) -> String {
    if NAMES_ONLY.contains(&error.code) {
        return format!("server error {}: {}", error.code, error.message);
    }
    format!("server error {}{}", error.code, place_of(&error.message))
}

/// `, column x, row 3` of a server's message or warning; empty where it names neither. Only what stands behind the
/// last value is looked at.
pub(super) fn place_of(message: &str) -> String {
    let (before, row) = match message.rsplit_once(" at row ") {
        Some((before, row)) if !row.is_empty() && row.bytes().all(|byte| byte.is_ascii_digit()) => (before, row),
        _ => return String::new(),
    };
    let column = before.rsplit_once("column ").map(|(_, column)| column.rsplit('.').next().unwrap_or(column));
    let name = column.map(|column| column.trim_matches(['\'', '`']));
    let is_name = |name: &&str| crate::feed::is_identifier(name);
    let column = name.filter(is_name).map(|name| format!(", column {name}"));
    format!("{}, row {row} of the statement", column.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> Fault {
        let state = "HY000".to_owned();
        Fault::Mysql(mysql_async::Error::Server(ServerError { code, message: message.to_owned(), state }))
    }

    fn database() -> MysqlDatabase {
        crate::config::MysqlDatabase {
            host: "db.example".to_owned(),
            port: 3306,
            socket: None,
            user: "loader".to_owned(),
            password: None,
            name: "raw_data".to_owned(),
            tls: crate::config::Tls::Plain,
        }
    }

    #[test]
    fn values_that_servers_quote_are_dropped_and_their_place_is_kept() {
        for (code, message, kept) in [
            (1062, "Duplicate entry 'hunter2-1' for key 't.PRIMARY'", "server error 1062"),
            (
                1366,
                "Incorrect integer value: 'hunter2' for column `raw_data`.`loans`.`age` at row 3",
                "server error 1366, column age, row 3 of the statement",
            ),
            (
                1406,
                "Data too long for column 'name' at row 12",
                "server error 1406, column name, row 12 of the statement",
            ),
            (1292, "Truncated incorrect DOUBLE value: 'hunter2'", "server error 1292"),
            (1292, "Truncated incorrect DOUBLE value: ' for column `hunter2` at row 1'", "server error 1292"),
            (1064, "You have an error in your SQL syntax near 'hunter2'", "server error 1064"),
        ] {
            let chain = server(code, message).explain("reporting", &database()).chain();
            assert!(chain.ends_with(kept) && !chain.contains("hunter2"), "{chain}");
        }
    }

    #[test]
    fn codes_are_sorted_by_who_must_act() {
        for (kind, codes) in [
            (Unavailable, &[1205_u16, 1213, 1020, 1040, 2006, 2013, 4031, 1053, 1290, 1836, 1114, 1021, 28][..]),
            (Config, &[1045, 1044, 1049, 1130, 1142, 1146, 1054]),
            (Data, &[1062, 1366, 1406, 1264]),
            (Internal, &[1064, 9999]),
        ] {
            for code in codes {
                let error = server(*code, "").explain("metadata", &database());
                assert_eq!(error.kind(), kind, "{code}");
            }
        }
    }

    #[test]
    fn what_keeps_every_job_from_loading_is_an_outage() {
        for (code, is) in [(1290, true), (1836, true), (1114, true), (1021, true), (1205, false), (1213, false)] {
            let fault = server(code, "").within("the insert of records 1 to 2".to_owned());
            assert_eq!(fault.explain("reporting", &database()).is_outage(), is, "{code}");
        }
    }

    #[test]
    fn no_code_stands_in_the_table_twice() {
        let mut codes: Vec<u16> = CODES.iter().flat_map(|(codes, _)| *codes).copied().collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn a_missing_table_sends_to_setup() {
        let error = server(1146, "Table 'raw_data.loadline_files' doesn't exist").explain("reporting", &database());
        assert!(error.hint_text().unwrap().contains("loadline setup"));
        assert!(error.chain().contains("loadline_files") && error.chain().contains("mysql://loader@db.example"));
    }
}
