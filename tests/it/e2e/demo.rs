//! `demo` as a stranger meets it: every command that it prints is run as it is printed.

use std::process::Command;

use super::project::{Db, EVENTS_SCHEMA, Project, rows_of};

#[test]
fn every_command_that_the_demo_prints_works() {
    let project = Project::new("unused", EVENTS_SCHEMA, "");
    let ran = project.run(&["demo", "--dir", "my demo"]).ok();
    let commands: Vec<&str> =
        ran.stdout.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(commands.len(), 4, "the repair and three to try next: {ran}");
    let reporting = project.path("my demo/reporting.db");
    let count = || rows_of(&reporting, "SELECT count(*) FROM loan_applications")[0][0].parse::<u64>().unwrap();
    let before = count();
    for command in commands {
        let output = Command::new("sh").args(["-c", command]).current_dir(project.path(".")).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}\n{out}\n{err}");
        assert!(!out.is_empty() || command.contains("retry"), "{command} says nothing");
    }
    assert!(count() > before, "the failed file is loaded by its repair");
    let sql = "SELECT count(*), sum(complete), sum(rows + rejects) >= 100000 FROM loadline_files";
    let row = &rows_of(&reporting, sql)[0];
    assert!(row[0] == row[1] && row[2] == "1" && row[0].parse::<u64>().unwrap() >= 24, "{row:?}");
    let statuses = rows_of(&project.path("my demo/metadata.db"), "SELECT DISTINCT status FROM scanner_jobs ORDER BY 1");
    assert_eq!(statuses, [["LOADED"], ["NONE"]]);
    assert!(!project.db_path(Db::Metadata).exists(), "the demo keeps to its folder");
}
