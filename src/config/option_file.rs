//! `~/.my.cnf`, the option file of MySQL's own programs: its group `[client]`, and of that what a connection needs.
//!
//! Read as those programs read it: `-` and `_` in names are the same, values may stand in quotes, a backslash escapes,
//! `#` begins a comment, the last of several values counts. `!include` is not followed.
//!
//! Invariant: no message quotes a value.

use std::path::Path;

/// Nobody writes a larger one by hand.
const FILE_SIZE_MAX: u64 = 1024 * 1024;

/// The options of `[client]` that are set.
#[derive(Default)]
pub(super) struct ClientOptions {
    pub user: Option<String>,
    pub password: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub socket: Option<String>,
    pub ssl_ca: Option<String>,
    pub ssl_cert: Option<String>,
    pub ssl_key: Option<String>,
}

impl ClientOptions {
    /// A file that is not there sets nothing.
    pub fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
            Ok(file) if file.len() > FILE_SIZE_MAX => {
                return Err(format!("{} is larger than 1 MiB", path.display()));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|(line, problem)| format!("{}:{line}: {problem}", path.display()))
    }

    /// The error is a line, from 1, and what is wrong there.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut options = Self::default();
        let mut in_client = false;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if let Some(group) = line.strip_prefix('[') {
                in_client = group.split(']').next().map(str::trim) == Some("client");
            } else if in_client && !line.starts_with(['#', ';', '!']) {
                options.set(line).map_err(|problem| (number, problem))?;
            }
        }
        Ok(options)
    }

    fn set(&mut self, line: &str) -> Result<(), String> {
        let Some((name, value)) = line.split_once('=') else { return Ok(()) };
        let value = unquote(value.trim());
        let slot = match name.trim().replace('_', "-").as_str() {
            "user" => &mut self.user,
            "password" => &mut self.password,
            "host" => &mut self.host,
            "socket" => &mut self.socket,
            "ssl-ca" => &mut self.ssl_ca,
            "ssl-cert" => &mut self.ssl_cert,
            "ssl-key" => &mut self.ssl_key,
            "port" => {
                self.port = Some(value.parse().map_err(|_| "`port` is no port, 1 to 65535".to_owned())?);
                return Ok(());
            }
            _ => return Ok(()),
        };
        *slot = Some(value);
        Ok(())
    }
}

/// Takes quotes off, cuts a comment off, and resolves escapes.
fn unquote(value: &str) -> String {
    let quote = value.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let inner = &value[quote.map_or(0, char::len_utf8)..];
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => push_escaped(&mut text, rest.next()),
            c if Some(c) == quote => return text,
            '#' if quote.is_none() => return text.trim_end().to_owned(),
            c => text.push(c),
        }
    }
    text
}

fn push_escaped(text: &mut String, escaped: Option<char>) {
    match escaped {
        Some('b') => text.push('\u{8}'),
        Some('t') => text.push('\t'),
        Some('n') => text.push('\n'),
        Some('r') => text.push('\r'),
        Some('s') => text.push(' '),
        Some(c @ ('\\' | '\'' | '"')) => text.push(c),
        // Not an escape: the backslash stands for itself.
        Some(other) => text.extend(['\\', other]),
        None => text.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_client_counts_and_its_last_value() {
        let options = ClientOptions::parse(
            "[mysqld]\nuser=mysql\nport=1\n# a comment\n[client]\nuser = first\nuser=loader\nssl_ca=/ca.pem\n\
             skip-something\nport=3307\n; another\n!include /etc/x\n[client-other]\npassword=no\n",
        );
        let options = options.map_err(|(line, problem)| format!("{line}: {problem}")).unwrap();
        assert_eq!(options.user.as_deref(), Some("loader"));
        assert_eq!(options.ssl_ca.as_deref(), Some("/ca.pem"));
        assert_eq!((options.port, options.password), (Some(3307), None));
    }

    #[test]
    fn values_are_read_as_the_servers_programs_read_them() {
        for (written, value) in [
            ("plain", "plain"),
            ("with # a comment", "with"),
            ("'in # quotes'", "in # quotes"),
            ("\"say \\\"so\\\"\" # why", "say \"so\""),
            ("a\\sb\\\\c\\td", "a b\\c\td"),
            ("back\\slash", "back lash"),
            ("a\\xb", "a\\xb"),
            ("'", ""),
        ] {
            assert_eq!(unquote(written), value, "{written}");
        }
    }

    #[test]
    fn a_bad_port_is_told_with_its_line_and_without_its_text() {
        let (line, problem) = ClientOptions::parse("[client]\nport=hunter2\n").err().unwrap();
        assert_eq!(line, 2);
        assert!(!problem.contains("hunter2"));
    }
}
