//! `demo --chaos` as a stranger meets it: real processes, real faults, and a count that can tell a loader that loses and
//! doubles from one that does not.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::project::{EVENTS_SCHEMA, Project, rows_of, signal};

/// Of these, one at least must hurt the naive loader; the first nearly always does.
const SEEDS: [&str; 3] = ["7", "11", "13"];

#[test]
fn loadline_is_exact_where_a_naive_loader_is_not() {
    let project = Project::new("unused", EVENTS_SCHEMA, "");
    let mut naive_harm = 0;
    for seed in SEEDS {
        let ran = project.run(&["demo", "--chaos", "--seconds", "8", "--seed", seed, "--dir", "my demo"]).ok();
        let [faults, _] = counts(&ran.stdout, "in all");
        assert!(faults >= 5, "{ran}");
        assert!(ran.stdout.contains(&format!("demo --chaos --seconds 8 --seed {seed} --dir 'my demo'")), "{ran}");
        assert!(ran.stderr.contains("faults; loadline "), "without a terminal there are lines: {ran}");
        let harms = ["LOST", "DOUBLED", "outdated", "files of which only"].map(|name| counts(&ran.stdout, name));
        assert!(harms.iter().all(|[loadline, _]| *loadline == 0), "{ran}");
        // Counted once more, by other means.
        let [rows, _] = counts(&ran.stdout, "rows");
        let sql = "SELECT count(*), count(DISTINCT id), (SELECT sum(rows) FROM loadline_files) FROM loan_applications";
        let found = &rows_of(&project.path("my demo/reporting.db"), sql)[0];
        assert!(rows > 0 && found.iter().all(|count| *count == rows.to_string()), "{found:?} of {ran}");
        naive_harm += harms[0][1] + harms[1][1];
        if naive_harm > 0 {
            break;
        }
    }
    assert!(naive_harm > 0, "no seed hurt the naive loader: the faults have no power");
}

/// The count is not loadline's word for it: a row that somebody takes away and one that somebody doubles are found.
#[test]
fn one_row_too_few_and_one_too_many_are_found() {
    let project = Project::new("unused", EVENTS_SCHEMA, "");
    // This seed overwrites no file, which would mend it.
    let arguments = ["demo", "--chaos", "--seconds", "6", "--seed", "5", "--dir", "demo"];
    let child = project.start(&arguments);
    wait_until(|| spoil(&project.path("demo/reporting.db")).is_some());
    let ran = project.finish(&arguments, child);
    let found = ["LOST", "DOUBLED", "files of which only"].map(|name| counts(&ran.stdout, name)[0]);
    assert_eq!((found, ran.code), ([1, 1, 1], Some(5)), "{ran}");
    assert!(ran.stdout.contains("did NOT keep its promise"), "{ran}");
}

/// However it ends: a workshop of killers must not be left running on somebody's machine.
#[test]
fn no_process_outlives_the_demo() {
    for name in ["KILL", "INT"] {
        let project = Project::new("unused", EVENTS_SCHEMA, "");
        let folder = project.path("demo").display().to_string();
        let child = project.start(&["demo", "--chaos", "--seconds", "60", "--seed", "5", "--dir", &folder]);
        // Itself and those that it has started.
        wait_until(|| processes_in(&folder) > 4);
        signal(&child, name);
        child.wait_with_output().unwrap();
        wait_until(|| processes_in(&folder) == 0);
    }
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many processes of this machine name the folder when they were called.
fn processes_in(folder: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("cmdline")));
    processes.filter(|path| std::fs::read_to_string(path).is_ok_and(|called| called.contains(folder))).count()
}

/// Doubles the first record of a file that is loaded and takes its second one away. `None`: there is no such file yet.
fn spoil(reporting: &Path) -> Option<()> {
    if !reporting.exists() {
        return None;
    }
    let connection = Connection::open(reporting).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    let sql = "SELECT file FROM loadline_files WHERE complete AND records_done > 2 LIMIT 1";
    let file: i64 = connection.query_row(sql, [], |row| row.get(0)).ok()?;
    let doubled = "INSERT INTO loan_applications (id, _file, _record) \
                   SELECT id, _file, _record + 1000000 FROM loan_applications WHERE _file = ?1 AND _record = 1";
    assert_eq!(connection.execute(doubled, [file]).unwrap(), 1);
    assert_eq!(
        connection.execute("DELETE FROM loan_applications WHERE _file = ?1 AND _record = 2", [file]).unwrap(),
        1
    );
    Some(())
}

/// The two counts of the line that begins with `name`.
fn counts(printed: &str, name: &str) -> [u64; 2] {
    let line = printed.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {printed}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    [2, 1].map(|from_end| words[words.len() - from_end].replace(',', "").parse().unwrap())
}
