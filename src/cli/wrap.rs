//! Long lines on a terminal, broken between words.
//!
//! Invariant: what stands in backquotes stays on one line, however long, so that a command can be copied; and where
//! nobody watches, no line is broken.

use console::Term;

/// Narrower terminals break lines as they like.
const WIDTH_MIN: usize = 40;

/// Columns of the terminal that stderr is, if it is one.
pub fn of_stderr() -> Option<usize> {
    width(&Term::stderr())
}

/// Columns of the terminal that stdout is, if it is one.
pub fn of_stdout() -> Option<usize> {
    width(&Term::stdout())
}

fn width(terminal: &Term) -> Option<usize> {
    let (_, columns) = terminal.is_term().then(|| terminal.size_checked()).flatten()?;
    (usize::from(columns) >= WIDTH_MIN).then_some(usize::from(columns))
}

/// `text`, whose first line begins at column `indent.len()`, in lines of at most `width` columns; all but the first
/// begin with `indent`. Line ends of its own stay.
pub fn wrap(text: &str, width: Option<usize>, indent: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| wrap_line(line, width, indent)).collect();
    lines.join(&format!("\n{indent}"))
}

fn wrap_line(line: &str, width: Option<usize>, indent: &str) -> String {
    let Some(width) = width else { return line.to_owned() };
    let mut wrapped = String::with_capacity(line.len() + 16);
    let mut column = indent.len();
    for word in words(line) {
        let length = word.trim_end().chars().count();
        if column > indent.len() && column + length > width {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.push_str(indent);
            column = indent.len();
        }
        wrapped.push_str(word);
        column += word.chars().count();
    }
    wrapped
}

/// Pieces of a line, each with the spaces behind it.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut begin, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in line.char_indices() {
        match c {
            '`' => quoted = !quoted,
            ' ' if !quoted && !line[at + 1..].starts_with(' ') => {
                words.push(&line[begin..=at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    words.push(&line[begin..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_never_in_a_command() {
        let text = "hint: run `loadline retry 7 8 9`, then wait";
        assert_eq!(wrap(text, Some(20), "  "), "hint: run\n  `loadline retry 7 8 9`,\n  then wait");
        assert_eq!(wrap(text, None, "  "), text);
        assert_eq!(wrap("a\nb c", Some(40), "  "), "a\n  b c");
        assert_eq!(wrap("", Some(40), ""), "");
    }

    #[test]
    fn a_line_that_fits_is_left_alone() {
        let text = "x".repeat(30) + " " + &"y".repeat(9);
        assert_eq!(wrap(&text, Some(40), ""), text);
        assert_eq!(wrap(&(text + "y"), Some(40), "").lines().count(), 2);
    }
}
