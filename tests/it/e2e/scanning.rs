//! What a scan finds, what it leaves alone, and which jobs it forms.

use super::project::{Db, Project, events, hour};

/// Keys of the registry, sorted.
fn keys(project: &Project) -> Vec<String> {
    project
        .rows(Db::Metadata, "SELECT key FROM scanner_files ORDER BY key")
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

/// How many files each job has.
fn job_sizes(project: &Project) -> Vec<usize> {
    let lists = project.rows(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status <> 'NONE' ORDER BY id");
    lists.iter().map(|row| row[0].split(',').count()).collect()
}

#[test]
fn a_file_that_comes_late_into_an_old_folder_is_loaded() {
    let project = Project::events("");
    for number in 24..30 {
        project.write_events(&format!("{}/events.csv", hour(number)), [number as u64]);
    }
    project.scan_and_load();
    project.write_at(&format!("{}/late.csv", hour(0)), events([1]), 0);
    project.scan_and_load();
    assert_eq!(job_sizes(&project), [6, 1]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), min(id) FROM events"), "7|1");
}

#[test]
fn equal_modified_times_at_the_border_of_a_job_lose_nothing() {
    let project = Project::events("scanner: {max_job_files: 2}");
    for number in 0..5 {
        project.write_at(&format!("{}/{number}.csv", hour(0)), events([number]), 7);
    }
    project.scan().ok();
    for number in 5..8 {
        project.write_at(&format!("{}/{number}.csv", hour(0)), events([number]), 7);
    }
    project.scan_and_load();
    assert_eq!(job_sizes(&project), [2, 2, 1, 2, 1]);
    assert_eq!(project.row(Db::Reporting, "SELECT count(*), count(DISTINCT id) FROM events"), "8|8");
}

#[test]
fn a_changed_file_goes_into_quarantine_and_is_not_loaded() {
    let project = Project::events("");
    let key = format!("{}/events.csv", hour(0));
    project.write_events(&key, [1, 2]);
    project.scan_and_load();
    project.write_events(&key, [1, 2, 3]);
    project.scan().ok().says(&["1 file QUARANTINED", &key]);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "2");
    assert_eq!(project.row(Db::Metadata, "SELECT state FROM scanner_files"), "QUARANTINED");
    assert_eq!(project.statuses(), ["LOADED"]);
    project.scan().ok().in_silence();
}

#[test]
fn what_is_no_file_of_the_feed_is_counted_and_left_alone() {
    let project = Project::events("");
    project.write_events(&format!("{}/events.csv", hour(0)), [1]);
    for name in [".events.csv", "_SUCCESS", "readme.txt", "notes.md"] {
        project.write(&format!("{}/{name}", hour(0)), "");
    }
    project.write("2026/13/01/00/events.csv", events([2]));
    project.write("events.csv", events([3]));
    project.scan().ok().says(&["dotfiles: 1", "markers: 1", "other names: 2", "outside the layout: 2"]);
    assert_eq!(keys(&project).len(), 1);
}

#[test]
fn keys_with_odd_characters_are_loaded_and_addressed() {
    let names = ["a b,c.csv", "100%.csv", "a%2Cb.csv", "grüße 日本.csv", "x#y.csv", "q?=&+.csv", "it's \"it\".csv"];
    let project = Project::events("");
    for (id, name) in names.iter().enumerate() {
        project.write_events(&format!("{}/{name}", hour(0)), [id as u64]);
    }
    project.scan_and_load();
    let sql = "SELECT count(*), count(DISTINCT id) FROM events";
    assert_eq!(project.row(Db::Reporting, sql), format!("{0}|{0}", names.len()));
    let mut expected: Vec<String> = names.iter().map(|name| format!("{}/{name}", hour(0))).collect();
    expected.sort();
    assert_eq!(keys(&project), expected);

    let list = project.row(Db::Metadata, "SELECT files FROM scanner_jobs WHERE status = 'LOADED'");
    assert_eq!(list.split(',').count(), names.len(), "{list}");
    for uri in list.split(',') {
        let ran = project.run(&["sql", "--uri", uri, "-o", "csv", "SELECT count(*) FROM source"]).ok();
        assert_eq!(ran.stdout.lines().nth(1), Some("1"), "{uri}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_stops_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::events("");
    project.write_events(&format!("{}/a.csv", hour(0)), [1]);
    project.write_events(&format!("{}/z.csv", hour(0)), [2]);
    let odd = std::ffi::OsStr::from_bytes(b"m\xff.csv");
    std::fs::copy(project.incoming(&hour(0)).join("a.csv"), project.incoming(&hour(0)).join(odd)).unwrap();
    project.run(&["setup", "--check"]).ok();
    project.scan().ok().says(&["2 new files", "keys that can't be addressed: 1"]);
    project.etl().ok();
    assert_eq!(project.row(Db::Reporting, "SELECT count(*) FROM events"), "2");
}

#[test]
fn a_dry_run_tells_the_jobs_and_changes_nothing() {
    let project = Project::events("scanner: {max_job_files: 2}");
    for number in 0..3 {
        project.write_events(&format!("{}/events.csv", hour(number)), [number as u64]);
    }
    let before = project.dump();
    let planned = project.run(&["scan", "--dry-run"]).ok();
    assert!(project.dump() == before, "a dry run changed something");
    let text = format!("{}{}", planned.stdout, planned.stderr);
    for part in ["3 new files", "2026-01-01T00", "2026-01-01T02"] {
        assert!(text.contains(part), "{part}: {planned}");
    }
    project.scan().ok();
    assert_eq!(job_sizes(&project), [2, 1]);
}

#[test]
fn a_window_takes_only_its_hours() {
    let project = Project::events("scanner: {start_from: 2026-01-01T04:00:00Z}");
    for number in 0..8 {
        project.write_events(&format!("{}/events.csv", hour(number)), [number as u64]);
    }
    project.run(&["scan", "--from", "2026-01-01T01", "--to", "2026-01-01T03"]).ok();
    assert_eq!(keys(&project), [1, 2].map(|number| format!("{}/events.csv", hour(number))));
    project.scan().ok().says(&["outside the window: 4"]);
    assert_eq!(keys(&project).len(), 6, "1 and 2 by hand, 4 to 7 from start_from on");
    project.etl().ok();
    assert_eq!(
        project.row(Db::Reporting, "SELECT group_concat(id) FROM (SELECT id FROM events ORDER BY id)"),
        "1,2,4,5,6,7"
    );
}

#[test]
fn jobs_are_bounded_by_bytes_and_one_larger_file_is_alone() {
    let project = Project::events("scanner: {max_job_size: 250B}");
    let padded = |id: u64, size: usize| {
        let text = events([id]);
        let padding = size - text.len() - 1;
        format!("{}{}\n", text.trim_end(), "x".repeat(padding + 1))
    };
    for (number, size) in [100, 100, 100, 700, 100, 150, 1].into_iter().enumerate() {
        let size = size.max(40);
        let text = padded(number as u64, size);
        assert_eq!(text.len(), size);
        project.write(&format!("{}/events.csv", hour(number)), text);
    }
    project.scan().ok();
    assert_eq!(job_sizes(&project), [2, 1, 1, 2, 1]);
    let sql =
        "SELECT group_concat(total_size_in_bytes) FROM (SELECT * FROM scanner_jobs WHERE status <> 'NONE' ORDER BY id)";
    assert_eq!(project.row(Db::Metadata, sql), "200,100,700,250,40");
}

#[test]
fn a_partial_job_waits_for_max_wait_and_no_longer() {
    let project = Project::events("scanner: {max_job_files: 2, max_wait: 1h}");
    for number in 0..3 {
        project.write_events(&format!("{}/events.csv", hour(number)), [number as u64]);
    }
    project.scan().ok().says(&["1 file waiting"]);
    assert_eq!(job_sizes(&project), [2]);
    project.scan().ok();
    assert_eq!(job_sizes(&project), [2]);
    project.configure("scanner: {max_job_files: 2, max_wait: 0s}");
    project.scan().ok();
    assert_eq!(job_sizes(&project), [2, 1]);
}

#[test]
fn a_file_that_may_still_be_written_is_left_for_later() {
    let project = Project::events("scanner: {settle: 1h}");
    let path = project.incoming(&format!("{}/events.csv", hour(0)));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, events([1])).unwrap();
    project.scan().ok();
    assert!(keys(&project).is_empty());
    project.configure("scanner: {settle: 0s}");
    project.scan().ok();
    assert_eq!(keys(&project).len(), 1);
}
