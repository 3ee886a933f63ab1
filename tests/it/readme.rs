//! The README is run: every ```sh block, one after another, in one folder, as a reader would paste them.
//!
//! A ```text block right behind `<!-- prints -->` is what the sh block above it prints, on stdout and stderr, but for
//! times, rates and the folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;

const LOADLINE: &str = env!("CARGO_BIN_EXE_loadline");
/// Fewer would mean that the blocks are not found any more.
const SH_BLOCKS_MIN: usize = 10;
const PRINTS_MIN: usize = 8;
/// The folder as the README calls it.
const FOLDER: &str = "/home/ada/tour";

struct Block {
    /// Of its first line, in the README.
    line: usize,
    language: String,
    /// The last line before it that is not blank.
    lead: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut lead = String::new();
    for (number, line) in (1..).zip(markdown.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, lead) = (language.to_owned(), std::mem::take(&mut lead));
                open = Some(Block { line: number + 1, language, lead, text: String::new() });
            }
            (None, None) if !line.trim().is_empty() => lead = line.to_owned(),
            (None, None) => {}
            (Some(block), None) => block.text.extend([line, "\n"]),
            (Some(_), Some(_)) => blocks.extend(open.take()),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Runs the text as `sh -eu` does; what it prints, both streams in their order.
fn run(block: &Block, folder: &Path) -> String {
    let bin = Path::new(LOADLINE).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", &format!("exec 2>&1\n{}", block.text)]).current_dir(folder);
    shell.env("PATH", path).env_remove("NO_COLOR").stdin(Stdio::null());
    let output = shell.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "README.md:{}: {}\n{}\n{printed}", block.line, output.status, block.text);
    printed
}

/// Without what differs from run to run.
fn steady(printed: &str, folder: &Path) -> String {
    let mut text = printed.replace(&folder.display().to_string(), FOLDER);
    for (pattern, word) in [
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+Z", "TIME"),
        // Times in the data are written with a T.
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "TIME "),
        (r"\b[\d.]+ (ms|s|min)\b", "DURATION"),
        (r"[\d,]+ rows/s", "RATE"),
        // Tables are as wide as their values.
        (r" {2,}", " "),
        (r"[─═]+", "─"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, word).into_owned();
    }
    text
}

#[test]
fn every_shell_block_runs_and_prints_what_the_readme_says() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().canonicalize().unwrap();
    let (mut ran, mut compared) = (0, 0);
    let mut printed = String::new();
    for block in blocks(&readme()) {
        match block.language.as_str() {
            "sh" => {
                printed = run(&block, &folder);
                ran += 1;
            }
            "text" if block.lead == "<!-- prints -->" => {
                let (found, expected) = (steady(&printed, &folder), steady(&block.text, &folder));
                assert_eq!(found, expected, "README.md:{}: as printed:\n{printed}", block.line);
                compared += 1;
            }
            "text" | "console" => {}
            other => panic!("README.md:{}: `{other}` blocks are not known here", block.line),
        }
    }
    assert!(ran >= SH_BLOCKS_MIN, "only {ran} sh blocks were found");
    assert!(compared >= PRINTS_MIN, "only {compared} outputs were compared");
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(LOADLINE).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn commands() -> Vec<String> {
    let help = help(&[]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_section_with_its_options() {
    let readme = readme();
    let commands = commands();
    assert!(commands.len() >= 9, "{commands:?}");
    let option = Regex::new(r"(?m)^ +(?:-\w, )?(--[a-z-]+)").unwrap();
    let global = help(&[]);
    for command in commands {
        let heading = format!("### `loadline {command}`\n");
        let (_, section) = readme.split_once(&heading).unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
        for (_, [name]) in option.captures_iter(&help(&[&command])).map(|found| found.extract()) {
            let known =
                section.contains(name) || global.contains(name) || (name == "--output" && section.contains("-o"));
            assert!(known, "the section of {command} does not name {name}");
        }
    }
}

/// The keys of a YAML mapping as the README writes them: `feeds[].name`.
fn keys(prefix: &str, value: &serde_yaml::Value, found: &mut Vec<String>) {
    match value {
        serde_yaml::Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let key = key.as_str().unwrap();
                let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                keys(&path, value, found);
            }
        }
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| keys(&format!("{prefix}[]"), item, found)),
        _ => found.push(prefix.to_owned()),
    }
}

#[test]
fn every_config_key_is_named() {
    let example = fs::read_to_string(root().join("config.example.yaml")).unwrap();
    let mut found = Vec::new();
    keys("", &serde_yaml::from_str(&example).unwrap(), &mut found);
    assert!(found.len() >= 20, "{found:?}");
    let readme = readme();
    for key in found {
        assert!(readme.contains(&format!("| `{key}` |")), "the config table does not name `{key}`");
    }
}

#[test]
fn every_column_of_loadlines_tables_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let config = "source: {url: \"file:in\"}\nmetadata_database: {url: \"sqlite:m.db\"}\n\
                  reporting_database: {url: \"sqlite:r.db\"}\nfeeds: [{name: f}]\n";
    fs::create_dir(temp.path().join("schemas")).unwrap();
    fs::File::create(temp.path().join("config.yaml")).unwrap().write_all(config.as_bytes()).unwrap();
    fs::write(temp.path().join("schemas/f.yaml"), "columns: [{name: a, type: text}]\n").unwrap();
    let output = Command::new(LOADLINE).args(["setup", "--print"]).current_dir(temp.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ddl = String::from_utf8(output.stdout).unwrap();
    let (readme, column) = (readme(), Regex::new(r"(?m)^    ([a-z_]+) +(INTEGER|TEXT|BLOB)").unwrap());
    let mut checked = 0;
    for statement in ddl.split(";\n") {
        let Some((_, rest)) = statement.split_once("CREATE TABLE IF NOT EXISTS ") else { continue };
        let table = rest.split_whitespace().next().unwrap();
        if table.starts_with('"') || table == "loadline_schema" {
            continue;
        }
        let (_, section) = readme.split_once(&format!("### `{table}`")).unwrap_or_else(|| panic!("no section {table}"));
        let section = section.split("\n### ").next().unwrap();
        for (_, [name, _]) in column.captures_iter(statement).map(|found| found.extract()) {
            assert!(section.contains(&format!("`{name}`")), "the section of {table} does not name {name}");
            checked += 1;
        }
    }
    assert!(checked >= 50, "only {checked} columns were found");
}
