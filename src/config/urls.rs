//! Urls of the source and of the databases: secrets filled in, relative paths made absolute, passwords masked.
//!
//! Invariant: no message repeats a url after its `${ENV}` parts were filled in, nor a password written in it.

use std::path::{Path, PathBuf};

use url::Url;

/// Fills in `${NAME}` from the environment.
pub(super) fn substitute(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let (name, tail) = after.split_once('}').ok_or("`${` without its `}`")?;
        if !crate::feed::is_identifier(name) {
            return Err("between `${` and `}` stands the name of an environment variable: letters, digits, `_`".into());
        }
        let value = env(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        filled.push_str(&value);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The same url with `***` for its password and for values in its query that look like one. Rather too much than too
/// little: a password may hold any character.
pub fn mask(url: &str) -> String {
    let authority = match url.find("://") {
        Some(end) => end + 3,
        None => 0,
    };
    let (scheme, rest) = url.split_at(authority);
    let mut masked = scheme.to_owned();
    let userinfo = rest.rfind('@').filter(|_| !rest.starts_with('/'));
    let password = userinfo.and_then(|at| rest[..at].find(':').map(|colon| (colon + 1, at)));
    let rest = match password {
        Some((start, end)) => {
            masked.push_str(&rest[..start]);
            masked.push_str("***");
            &rest[end..]
        }
        None => rest,
    };
    let Some((path, query)) = rest.split_once('?') else {
        return masked + rest;
    };
    let secret = |key: &str| ["pass", "pwd", "secret", "token"].iter().any(|word| key.to_lowercase().contains(word));
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if secret(key) => format!("{key}=***"),
        _ => pair.to_owned(),
    });
    format!("{masked}{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The source's url, absolute and with a trailing `/`. The folder or bucket need not exist.
pub(super) fn source_url(url: &str, folder: &Path) -> Result<Url, String> {
    const FORMS: &str = "write s3://bucket/prefix, file:///folder, or file://./folder beside this file";
    let (scheme, rest) = split_scheme(url).ok_or_else(|| format!("this is not a url; {FORMS}"))?;
    match scheme.as_str() {
        "file" => {}
        "s3" => return s3_url(rest),
        _ => return Err(format!("a source's url begins with s3:// or file://; {FORMS}")),
    }
    let after_slashes = rest.strip_prefix("//").unwrap_or(rest);
    let after_slashes = after_slashes.strip_prefix("localhost").filter(|r| r.starts_with('/')).unwrap_or(after_slashes);
    let first = after_slashes.split('/').next().unwrap_or_default();
    if rest.starts_with("//") && !["", ".", ".."].contains(&first) {
        return Err("file:// is followed by a folder of this machine, not by a host; \
                    write file:///folder, or file://./folder beside this file"
            .to_owned());
    }
    let path = absolute_path(after_slashes, folder)?;
    Url::from_directory_path(path).map_err(|()| format!("the folder is not absolute; {FORMS}"))
}

/// `rest` is what follows `s3:`. In the prefix, `%20` and the like stand for characters.
fn s3_url(rest: &str) -> Result<Url, String> {
    const FORM: &str = "write s3://bucket/prefix";
    let rest = rest.strip_prefix("//").ok_or_else(|| format!("this names no bucket; {FORM}"))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(format!("this names no bucket; {FORM}"));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if !bucket.chars().all(plain) {
        return Err(format!(
            "a bucket's name holds lower-case letters, digits, `-` and `.`; keys and endpoints don't belong here; {FORM}"
        ));
    }
    if prefix.contains(['?', '#']) {
        return Err("options (`?`, `#`) are not known here; in a prefix, write %3F and %23".to_owned());
    }
    let given = !prefix.is_empty();
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let decoded = percent_encoding::percent_decode_str(prefix).decode_utf8().map_err(|error| error.to_string())?;
    let odd = given && decoded.split('/').any(|folder| matches!(folder, "" | "." | ".."));
    if odd || decoded.chars().any(char::is_control) || decoded.trim() != decoded {
        return Err("a prefix holds no `//`, `.`, `..` or control characters, and no space at its ends".to_owned());
    }
    let url = if decoded.is_empty() {
        format!("s3://{bucket}/")
    } else {
        crate::job::file_uri(&format!("s3://{bucket}"), &format!("{decoded}/"))
    };
    Url::parse(&url).map_err(|error| format!("this is not a url: {error}; {FORM}"))
}

/// Scheme, host and port of a server, without a last `/`.
pub(super) fn endpoint_url(url: &str, _folder: &Path) -> Result<String, String> {
    const FORM: &str = "write https://host:port";
    let parsed = Url::parse(url).map_err(|error| format!("this is not a url: {error}; {FORM}"))?;
    if !["http", "https"].contains(&parsed.scheme()) || parsed.host().is_none() {
        return Err(format!("an endpoint begins with https:// or http://; {FORM}"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("credentials don't belong into an endpoint; put them into the environment (AWS_ACCESS_KEY_ID, \
                    AWS_SECRET_ACCESS_KEY)"
            .to_owned());
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("options (`?`, `#`) are not known here; {FORM}"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// The file of a database, absolute. It need not exist.
pub(super) fn sqlite_path(url: &str, folder: &Path) -> Result<PathBuf, String> {
    const FORMS: &str = "write sqlite:///folder/file.db, or sqlite://file.db beside this file";
    let (scheme, rest) = split_scheme(url).ok_or_else(|| format!("this is not a url; {FORMS}"))?;
    match scheme.as_str() {
        "sqlite" => {}
        _ => return Err(format!("a database's url begins with mysql:// or sqlite://; {FORMS}")),
    }
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path == ":memory:" {
        return Err(format!("a database in memory forgets what was loaded; {FORMS}"));
    }
    if matches!(path.rsplit('/').next(), None | Some("" | "." | "..")) {
        return Err(format!("this names no file; {FORMS}"));
    }
    absolute_path(path, folder)
}

/// `sqlite:///folder/file.db`, with odd characters percent-encoded.
pub(super) fn sqlite_url(path: &Path) -> String {
    match Url::from_file_path(path) {
        Ok(url) => format!("sqlite://{}", url.path()),
        Err(()) => format!("sqlite:{}", path.display()),
    }
}

fn split_scheme(url: &str) -> Option<(String, &str)> {
    url.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
}

/// A path as it stands in a url (percent-encoded where it must be), relative to `folder` or absolute.
fn absolute_path(path: &str, folder: &Path) -> Result<PathBuf, String> {
    if path.is_empty() || path.starts_with("//") {
        return Err("this names no path".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("options (`?`, `#`) are not known here; in a path, write %3F and %23".to_owned());
    }
    if path.chars().any(char::is_control) || path.trim() != path {
        return Err("a path can't begin or end with a space or hold control characters".to_owned());
    }
    let base = Url::from_directory_path(folder).map_err(|()| "the folder of this file is unknown".to_owned())?;
    let relative = if path.starts_with('/') { path.to_owned() } else { format!("./{path}") };
    let joined = base.join(&relative).map_err(|error| format!("this is not a path: {error}"))?;
    joined.to_file_path().map_err(|()| "this is not a path of this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        for (url, masked) in [
            ("mysql://user:secret@host/db", "mysql://user:***@host/db"),
            ("mysql://user:se/cr@et@host:3306/db", "mysql://user:***@host:3306/db"),
            ("mysql://user:12/34@host/db", "mysql://user:***@host/db"),
            ("user:secret@host/db", "user:***@host/db"),
            ("mysql://host/db?password=x&tls=1", "mysql://host/db?password=***&tls=1"),
            ("mysql://user@host/db", "mysql://user@host/db"),
            ("sqlite:///data/a@b:c@d.db", "sqlite:///data/a@b:c@d.db"),
            ("file:///data/incoming/", "file:///data/incoming/"),
        ] {
            assert_eq!(mask(url), masked);
        }
    }

    #[test]
    fn variables_are_filled_in() {
        let env = |name: &str| (name == "DIR").then(|| "/data".to_owned());
        assert_eq!(substitute("file://${DIR}/in/${DIR}", &env).unwrap(), "file:///data/in//data");
        assert_eq!(substitute("file:///cost$5", &env).unwrap(), "file:///cost$5");
        assert!(substitute("file://${NOPE}", &env).unwrap_err().contains("`NOPE` is not set"));
        assert!(substitute("file://${DIR", &env).unwrap_err().contains("without"));
        assert!(substitute("file://${A-B}", &env).is_err());
    }

    #[test]
    fn source_urls_become_absolute() {
        let folder = Path::new("/home/x y");
        for (url, absolute) in [
            ("file:///data/incoming", "file:///data/incoming/"),
            ("file:/data/incoming/", "file:///data/incoming/"),
            ("FILE://localhost/data", "file:///data/"),
            ("file://./incoming", "file:///home/x%20y/incoming/"),
            ("file:incoming", "file:///home/x%20y/incoming/"),
            ("file:a:b", "file:///home/x%20y/a:b/"),
            ("file://../in", "file:///home/in/"),
            ("file:.", "file:///home/x%20y/"),
            ("file:///data/ü 1%232", "file:///data/%C3%BC%201%232/"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/", "s3://bucket/"),
            ("S3://my.bucket/in/eu/", "s3://my.bucket/in/eu/"),
            ("s3://bucket/ü 1%232,{a}%25", "s3://bucket/%C3%BC%201%232%2C%7Ba%7D%25/"),
        ] {
            assert_eq!(source_url(url, folder).unwrap().as_str(), absolute, "{url}");
        }
        for (url, reason) in [
            ("https://host/in", "begins with s3:// or file://"),
            ("s3:bucket/in", "no bucket"),
            ("s3:///in", "no bucket"),
            ("s3://key:secret@bucket/in", "don't belong here"),
            ("s3://bucket/a//b", "no `//`"),
            ("s3://bucket//", "no `//`"),
            ("s3://bucket/a/../b", "`..`"),
            ("s3://bucket/a/%2e%2e/b", "`..`"),
            ("s3://bucket/in?x=1", "%3F"),
            ("incoming", "not a url"),
            ("file://server/share", "not by a host"),
            ("file:///in?x=1", "%3F"),
            ("file:", "no path"),
        ] {
            let error = source_url(url, folder).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn database_urls_become_paths() {
        let folder = Path::new("/home/x");
        for (url, path) in [
            ("sqlite://metadata.db", "/home/x/metadata.db"),
            ("sqlite:metadata.db", "/home/x/metadata.db"),
            ("sqlite://data/metadata.db", "/home/x/data/metadata.db"),
            ("sqlite:///abs/my%20file%231.db", "/abs/my file#1.db"),
        ] {
            assert_eq!(sqlite_path(url, folder).unwrap(), Path::new(path), "{url}");
            let shown = sqlite_url(Path::new(path));
            assert_eq!(sqlite_path(&shown, Path::new("/")).unwrap(), Path::new(path), "{shown}");
        }
        for (url, reason) in [
            ("postgres://host/db", "begins with mysql:// or sqlite://"),
            ("metadata.db", "not a url"),
            ("sqlite::memory:", "forgets"),
            ("sqlite:///data/", "no file"),
            ("sqlite://metadata.db?mode=ro", "%3F"),
        ] {
            let error = sqlite_path(url, folder).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
