//! What goes to stderr besides logs: errors with their causes and hints, and short notes.
//!
//! Invariant: nothing in here can panic because stderr is closed, and no message reaches a terminal with control
//! characters in it.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use super::output::printable;
use super::wrap::{self, wrap};
use super::{GlobalArgs, LogFormat};
use crate::error::Error;

/// Prints an error that ended the command.
pub fn error(global: &GlobalArgs, error: &Error) {
    let text = match global.log_format {
        LogFormat::Text => render(error, colours(&io::stderr()), wrap::of_stderr()),
        LogFormat::Json => json(error),
    };
    // Nobody is left to tell where stderr itself is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints a line for people: what was done, or that there was nothing to do. Kept back by `-q` and in JSON logs.
pub fn note(global: &GlobalArgs, text: &str) {
    if !global.quiet && global.log_format == LogFormat::Text {
        line(&wrapped(text));
    }
}

/// A sentence for people as stderr shows it best: on a terminal, its lines after the first are indented.
pub(super) fn wrapped(text: &str) -> String {
    wrap(text, wrap::of_stderr(), "  ")
}

/// Prints a line to stderr, come what may.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether colours may be used on `stream`: see <https://no-color.org>.
pub fn colours(stream: &impl IsTerminal) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_color && !is_dumb()
}

pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// ```text
/// error: what went wrong
/// caused by:
///   1: the error below it
///   2: and the one below that
/// hint: what to do
/// ```
pub fn render(error: &Error, colours: bool, width: Option<usize>) -> String {
    let (red, cyan, reset) = if colours { ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error:{reset} {}\n", lines(&error.to_string(), width, "       "));
    for (i, cause) in causes(error).iter().enumerate() {
        if i == 0 {
            text.push_str("caused by:\n");
        }
        let _ = writeln!(text, "{:>3}: {}", i + 1, lines(cause, width, "     "));
    }
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(text, "{cyan}hint:{reset} {}", lines(hint, width, "      "));
    }
    text
}

fn json(error: &Error) -> String {
    let value = serde_json::json!({
        "event": "error",
        "message": error.to_string(),
        "causes": causes(error),
        "hint": error.hint_text(),
        "exit_code": error.exit_code(),
    });
    format!("{value}\n")
}

/// The causes below the error, outermost first, without those that the one above them has said already.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut above = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !above.ends_with(&text) {
            causes.push(text.clone());
            above = text;
        }
        next = cause.source();
    }
    causes
}

/// `text` fit for a terminal; its own line ends stay, the lines after the first indented.
pub(super) fn lines(text: &str, width: Option<usize>, indent: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().map(printable).collect();
    wrap(&lines.join("\n"), width, indent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Error {
        Error::data("record 7\u{1b}[2J is ragged\nline 8")
            .hint("look at it with `loadline rejects`")
            .context("a.csv")
            .context("job 3 failed")
    }

    #[test]
    fn an_error_shows_its_causes_and_its_hint() {
        let expected = "\
error: job 3 failed
caused by:
  1: a.csv
  2: record 7\\u{1b}[2J is ragged
     line 8
hint: look at it with `loadline rejects`
";
        assert_eq!(render(&sample(), false, None), expected);
        assert_eq!(render(&Error::internal("odd"), false, None), "error: odd\n");
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let coloured = render(&sample(), true, None);
        assert!(coloured.starts_with("\x1b[1;31merror:\x1b[0m job 3"), "{coloured:?}");
        assert!(coloured.contains("\x1b[1;36mhint:\x1b[0m look"), "{coloured:?}");
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let error = Error::unavailable("can't open: disk is full").caused_by("disk is full");
        assert_eq!(render(&error, false, None), "error: can't open: disk is full\n");
    }

    #[test]
    fn json_is_one_line_with_the_exit_code() {
        let line = json(&sample());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!((value["exit_code"].as_u64(), value["causes"][0].as_str()), (Some(3), Some("a.csv")));
    }
}
