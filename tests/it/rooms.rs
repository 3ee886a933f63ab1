//! House rules, held by reading the sources: which room may see which, and what stands nowhere.
//!
//! They are read as text, comments and `#[cfg(test)]` modules left out: crude, and enough to catch a careless `use`.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file without comments and tests.
struct Source {
    /// Relative to the crate, such as `src/job/plan.rs`.
    path: String,
    text: String,
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = rust_files(&root.join("src"));
    let source = |file: &PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        Source { path, text: without_comments_and_tests(&fs::read_to_string(file).unwrap()) }
    };
    let sources: Vec<Source> = files.iter().map(source).filter(|source| !source.is_test()).collect();
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

/// Test modules stand at the end of a file, behind everything else.
fn without_comments_and_tests(text: &str) -> String {
    let starts = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(super) mod tests {"];
    let end = starts.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

impl Source {
    /// Files that only tests compile.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || name == "fakes.rs"
    }

    fn is_in(&self, room: &str) -> bool {
        self.path == format!("src/{room}.rs") || self.path.starts_with(&format!("src/{room}/"))
    }

    /// Whether the name stands in it as a word of its own, followed by `::` or ending a path.
    fn names(&self, path: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.text.match_indices(path).any(|(at, _)| {
            let before = self.text[..at].chars().next_back();
            let behind = self.text[at + path.len()..].chars().next();
            !before.is_some_and(is_word) && !behind.is_some_and(is_word)
        })
    }

    /// The rooms of this crate that it sees: `crate::room`, and `use crate::{room, ...}`.
    fn sees(&self, room: &str) -> bool {
        let listed = self.text.split("crate::{").skip(1).any(|list| {
            let list = list.split(';').next().unwrap_or_default();
            list.split(['{', '}', ',']).any(|item| item.trim().split("::").next() == Some(room))
        });
        listed || self.names(&format!("crate::{room}"))
    }
}

/// Every file of the room that sees one of those.
fn assert_never_sees(sources: &[Source], room: &str, hidden: &[&str]) {
    let files: Vec<&Source> = sources.iter().filter(|source| source.is_in(room)).collect();
    assert!(!files.is_empty(), "there is no room {room}");
    for source in files {
        for other in hidden {
            assert!(!source.sees(other), "{} of room {room} sees crate::{other}", source.path);
        }
    }
}

#[test]
fn rooms_see_only_what_they_may() {
    let sources = sources();
    let above = ["backend", "engine", "source", "worker", "scanner", "cli"];
    for room in ["job", "feed", "config", "error"] {
        assert_never_sees(&sources, room, &above);
    }
    assert_never_sees(&sources, "source", &["engine", "backend", "worker", "scanner", "cli"]);
    assert_never_sees(&sources, "engine", &["backend", "worker", "scanner", "cli"]);
    assert_never_sees(&sources, "warehouse", &above);
    assert_never_sees(&sources, "backend", &["engine", "source", "worker", "scanner", "cli"]);
    assert_never_sees(&sources, "scanner", &["backend", "engine", "worker", "cli"]);
    assert_never_sees(&sources, "unloader", &["backend", "engine", "source", "worker", "scanner", "cli"]);
    assert_never_sees(&sources, "auditor", &["backend", "engine", "worker", "unloader", "cli"]);
    assert_never_sees(&sources, "worker", &["backend", "scanner", "unloader", "cli"]);
}

#[test]
fn only_the_command_line_chooses_a_backend() {
    for source in sources() {
        let may = ["backend", "cli", "main"].iter().any(|room| source.is_in(room));
        assert!(may || !source.sees("backend"), "{} sees backend", source.path);
        assert!(may || !source.names("loadline::backend"), "{} sees backend", source.path);
    }
}

#[test]
fn drivers_and_the_engine_stay_in_their_rooms() {
    // The naive loader that the chaos demo compares with, and the count of both sides, must not go through what is being
    // counted.
    let beside = "src/demo/chaos/database.rs";
    for source in sources() {
        let may = source.is_in("backend") || source.path == beside;
        assert!(may || !source.names("rusqlite"), "{} names rusqlite", source.path);
        for room in
            ["job", "feed", "config", "error", "warehouse", "backend", "worker", "scanner", "unloader", "auditor"]
        {
            assert!(!source.is_in(room) || !source.names("datafusion"), "{} names datafusion", source.path);
        }
    }
}

#[test]
fn there_is_one_clock() {
    for source in sources() {
        let asks = source.names("Utc::now") || source.names("SystemTime::now") || source.names("Local::now");
        assert!(source.is_in("clock") || !asks, "{} asks another clock than clock::now", source.path);
    }
}

#[test]
fn nothing_panics_for_want_of_a_value() {
    for source in sources() {
        for call in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("] {
            assert!(!source.text.contains(call), "{} has `{call}`", source.path);
        }
    }
}

#[test]
fn every_file_of_the_tests_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for file in rust_files(&root) {
        let (folder, stem) = (file.parent().unwrap(), file.file_stem().unwrap().to_string_lossy());
        let (owner, name) = match stem.as_ref() {
            "main" => continue,
            "mod" => (folder.parent().unwrap(), folder.file_name().unwrap().to_string_lossy()),
            _ => (folder, stem),
        };
        let owner = if owner == root { owner.join("main.rs") } else { owner.join("mod.rs") };
        let declarations = fs::read_to_string(&owner).unwrap();
        let declared = declarations.lines().any(|line| line.trim_start_matches("pub ") == format!("mod {name};"));
        assert!(declared, "{} is not declared in {}", file.display(), owner.display());
    }
}
