//! Commands that a reader can paste into a POSIX shell.

use std::path::Path;

use super::GlobalArgs;

/// `loadline COMMAND` with the config that this run was given, if it was not the default.
pub fn command(global: &GlobalArgs, command: &str) -> String {
    if global.config == Path::new(super::DEFAULT_CONFIG) {
        return format!("loadline {command}");
    }
    format!("loadline -c {} {command}", path(&global.config))
}

/// A path as one word.
pub fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { word(&format!("./{text}")) } else { word(&text) }
}

/// Any text as one word.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn global(line: &str) -> GlobalArgs {
        Cli::try_parse_from(line.split(' ')).unwrap().global
    }

    #[test]
    fn a_command_names_the_config_only_where_it_must() {
        assert_eq!(command(&global("loadline etl"), "retry 7"), "loadline retry 7");
        assert_eq!(command(&global("loadline -c /srv/a.yaml etl"), "retry 7"), "loadline -c /srv/a.yaml retry 7");
    }

    #[test]
    fn words_survive_the_shell() {
        for (text, expected) in [
            ("s3://bucket/a%2Cb.csv", "s3://bucket/a%2Cb.csv"),
            ("a b", "'a b'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
        assert_eq!((path(Path::new("-x")), path(Path::new("a/b-1.c"))), ("./-x".to_owned(), "a/b-1.c".to_owned()));
    }
}
