//! What this machine lacks: a test that can't run says SKIPPED and passes, unless `LOADLINE_TEST_NO_SKIP` is set.
//! `.ci/run` sets it, so that a backend that is not there fails a check instead of going unnoticed.

use std::io::{self, Write};

/// Past the test harness, which keeps what `eprintln!` prints to itself where a test passes.
pub fn say(text: &str) {
    io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Says what is missing. The caller returns.
pub fn skipped(what: &str) {
    say(&format!("SKIPPED: {what}"));
    let allowed = std::env::var_os("LOADLINE_TEST_NO_SKIP").is_none_or(|set| set.is_empty());
    assert!(allowed, "{what}; `tests/install` says how to get it");
}

/// How many, or which: a variable for whoever runs a test by hand.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
