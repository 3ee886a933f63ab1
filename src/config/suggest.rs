//! What serde says about a wrong file, in words for the person who wrote it: where, what is allowed, and the nearest
//! name to what was meant.
//!
//! Invariant: no text from the file is repeated but names of keys, numbers and words that had to be one of a few. What
//! stands where a url belongs may hold a password.

/// A wrong name is shown up to this length.
const NAME_SHOWN_MAX: usize = 80;

pub(super) struct Complaint {
    pub text: String,
    /// The key that is there twice, whose second place is wanted.
    pub twice: Option<String>,
}

pub(super) fn explain(error: &serde_yaml::Error) -> Complaint {
    let full = error.to_string();
    let place = error.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
    let bare = place.as_deref().and_then(|place| full.strip_suffix(place)).unwrap_or(&full);
    let (path, message) = split_path(bare);
    let mut twice = None;
    let text = if let Some(rest) = message.strip_prefix("unknown field `") {
        unknown_key(path, rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant `") {
        let (name, allowed) = split_expected(rest);
        format!("`{path}`: `{}` is not allowed{}", shown(name), suggestion(name, &allowed))
    } else if let Some(key) = message.strip_prefix("missing field `") {
        let key = key.trim_end_matches('`');
        if path.is_empty() { format!("the key `{key}` is missing") } else { format!("`{path}`: `{key}` is missing") }
    } else if let Some(key) = message.strip_prefix("duplicate field `") {
        let key = key.trim_end_matches('`');
        twice = Some(if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") });
        format!("the key `{key}`{} is there twice", inside(path))
    } else if let Some(rest) = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: ")) {
        wrong_type(path, rest)
    } else {
        format!("this can't be read as YAML (texts that hold braces, `: ` or ` #` need quotes): {bare}")
    };
    Complaint { text, twice }
}

/// The known name that was most likely meant, if any comes near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.6;
    let lower = name.to_ascii_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let other = candidate.to_ascii_lowercase();
        let mut score = strsim::normalized_damerau_levenshtein(&lower, &other);
        if lower.len() >= 3 && (other.contains(&lower) || lower.contains(&other)) {
            score = score.max(NEAR);
        }
        if score >= NEAR && best.is_none_or(|(least, _)| score > least) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `; did you mean `x`? Allowed: x, y`, to end a sentence that refuses `name`.
pub fn suggestion(name: &str, allowed: &[&str]) -> String {
    let list = allowed.join(", ");
    match nearest(name, allowed.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`? Allowed: {list}"),
        None => format!("; allowed: {list}"),
    }
}

/// A name from a file, safe to print: no control characters, no end of it.
pub fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(NAME_SHOWN_MAX).flat_map(char::escape_debug).collect();
    if name.chars().count() > NAME_SHOWN_MAX {
        text.push('…');
    }
    text
}

/// serde_yaml puts the path of the value before its message: `scanner.lookback: invalid type: ...`.
fn split_path(message: &str) -> (&str, &str) {
    let path_like = |path: &str| path.chars().all(|c| c.is_ascii_alphanumeric() || "_.[]".contains(c));
    match message.split_once(": ") {
        Some((path, rest)) if path_like(path) && path != "." => (path, rest),
        _ => ("", message),
    }
}

fn inside(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" in `{path}`") }
}

fn unknown_key(path: &str, rest: &str) -> String {
    let (name, allowed) = split_expected(rest);
    format!("unknown key `{}`{}{}", shown(name), inside(path), suggestion(name, &allowed))
}

/// Takes apart `x`, expected one of `a`, `b`: the name, and the names between backticks.
fn split_expected(rest: &str) -> (&str, Vec<&str>) {
    let (name, expected) = rest.rsplit_once("`, expected ").unwrap_or((rest.trim_end_matches('`'), ""));
    (name, expected.split('`').skip(1).step_by(2).collect())
}

fn wrong_type(path: &str, rest: &str) -> String {
    let (found, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, "something else"));
    let expected = match expected {
        "u64" | "u32" | "usize" => "a whole number, 0 or more",
        "f64" => "a number",
        "a string" => "a text (in quotes where it holds braces or brackets)",
        "a sequence" => "a list",
        "field identifier" => "keys that are plain names",
        other if other.starts_with("struct ") => "keys with their values (`key: value`)",
        other => other,
    };
    let number = |found: &str| format!("the number {}", found.split('`').nth(1).unwrap_or_default());
    let found = match found {
        "unit value" => "nothing".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "keys with values".to_owned(),
        _ if found.starts_with("string") => "a text".to_owned(),
        _ if found.starts_with("integer") || found.starts_with("floating point") => number(found),
        _ if found.starts_with("boolean") => "true or false".to_owned(),
        _ => "something else".to_owned(),
    };
    let subject = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
    format!("{subject} must be {expected}; found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["frequency", "start_from", "lookback", "full_every", "max_job_size", "max_job_files"];
        for (wrong, right) in
            [("lokback", "lookback"), ("Frequency", "frequency"), ("job_size", "max_job_size"), ("freq", "frequency")]
        {
            assert_eq!(nearest(wrong, keys), Some(right), "{wrong}");
        }
        assert_eq!(nearest("zzz", keys), None);
    }

    #[test]
    fn a_name_is_shown_without_control_characters_and_not_at_any_length() {
        assert_eq!(shown("a\u{1b}[1m"), "a\\u{1b}[1m");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), NAME_SHOWN_MAX + 1);
    }
}
