//! The published files with their known sums. They do not ship with the sources: without them the tests say SKIPPED.

use std::fs;
use std::path::{Path, PathBuf};

use super::project::{Db, Project, hour};
use crate::skip;

pub const SCHEMA: &str = include_str!("../../../schemas/loan_applications.yaml");
const COLUMNS: [&str; 11] = [
    "serious_dlqin_2_yrs",
    "revolving_utilization_of_unsecured_lines",
    "age",
    "number_of_time_30_59_days_past_due_not_worse",
    "debt_ratio",
    "monthly_income",
    "number_of_open_credit_lines_and_loans",
    "number_of_times_90_days_late",
    "number_real_estate_loans_or_lines",
    "number_of_time_60_89_days_past_due_not_worse",
    "number_of_dependents",
];

/// What a file comes to: (sum, missing values) of each of [`COLUMNS`].
pub struct Known {
    pub file: &'static str,
    sums: [(f64, u64); 11],
}

pub const TRAIN: Known = Known {
    file: "give_me_some_credit_train_9999.csv",
    sums: [
        (640.0, 0),
        (49_312.058_070, 0),
        (521_587.0, 0),
        (3_851.0, 0),
        (3_504_572.337_392, 0),
        (53_010_299.0, 1_974),
        (83_435.0, 0),
        (2_315.0, 0),
        (10_079.0, 0),
        (2_022.0, 0),
        (7_275.0, 284),
    ],
};

pub const TEST: Known = Known {
    file: "give_me_some_credit_test_9999.csv",
    sums: [
        (0.0, 9_999),
        (44_242.602_844, 0),
        (522_424.0, 0),
        (4_643.0, 0),
        (3_286_806.214_127, 0),
        (53_404_183.0, 1_974),
        (83_692.0, 0),
        (3_083.0, 0),
        (10_073.0, 0),
        (2_754.0, 0),
        (7_387.0, 267),
    ],
};

/// The text of a published file, or `None` and a word about it.
pub fn published(name: &str) -> Option<String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folders = std::env::var_os("LOADLINE_TEST_DATA").map(PathBuf::from).into_iter().chain([beside]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        skip::say(&format!("SKIPPED: {name} is neither in ../shared/data nor in $LOADLINE_TEST_DATA"));
    }
    found.map(|path| fs::read_to_string(path).unwrap())
}

/// Its hourly files of so many records each, the header repeated.
pub fn hours_of(text: &str, records: usize) -> Vec<String> {
    let (header, lines) = text.split_once('\n').unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    lines.chunks(records).map(|chunk| format!("{header}\n{}\n", chunk.join("\n"))).collect()
}

/// Writes it as hourly files and returns how many there are.
fn split_into_hours(project: &Project, text: &str, records: usize) -> usize {
    let files = hours_of(text, records);
    for (number, text) in files.iter().enumerate() {
        project.write(&format!("{}/loan_applications.csv", hour(number)), text);
    }
    files.len()
}

fn project() -> Project {
    Project::set_up("loan_applications", SCHEMA, "scanner: {max_job_files: 7}")
}

/// That the feed, whose table has its name, holds the file once and nothing else.
pub fn assert_sums(project: &Project, known: &Known, feed: &str) {
    for (column, (sum, missing)) in COLUMNS.into_iter().zip(known.sums) {
        let sql = format!("SELECT coalesce(sum({column}), 0), count(*) - count({column}) FROM {feed}");
        let row = &project.rows(Db::Reporting, &sql)[0];
        let found: f64 = row[0].parse().unwrap();
        assert!((found - sum).abs() < 1e-6, "{}: sum of {column} is {found}, not {sum}", known.file);
        assert_eq!(row[1], missing.to_string(), "{}: missing values of {column}", known.file);
    }
    let sql = format!("SELECT count(*), sum(id), count(DISTINCT id) FROM {feed}");
    assert_eq!(project.row(Db::Reporting, &sql), "9999|49995000|9999");
    let sql = "SELECT count(*) FROM loadline_rejects";
    assert_eq!(project.row(Db::Reporting, sql), "0");
    let sql = format!("SELECT sum(`rows`), sum(rejects), min(complete) FROM loadline_files WHERE feed = '{feed}'");
    assert_eq!(project.row(Db::Reporting, &sql), "9999|0|1");
}

#[test]
fn the_training_file_comes_to_its_sums_and_nothing_changes_afterwards() {
    let Some(text) = published(TRAIN.file) else { return };
    let project = project();
    let files = split_into_hours(&project, &text, 321);
    project.scan_and_load();
    assert_sums(&project, &TRAIN, "loan_applications");
    assert_eq!(project.statuses(), vec!["LOADED"; files.div_ceil(7)]);

    let before = project.dump();
    project.scan().ok().in_silence();
    project.etl().ok().in_silence();
    assert!(project.dump() == before, "a second scan and etl changed something");

    fs::rename(project.path("incoming"), project.path("elsewhere")).unwrap();
    let config = fs::read_to_string(project.path("config.yaml")).unwrap();
    fs::write(project.path("config.yaml"), config.replace("file:incoming", "file:elsewhere")).unwrap();
    project.scan().ok().in_silence();
    project.etl().ok().in_silence();
    assert!(project.dump() == before, "moving the folder changed something");

    assert_source_counts(&project);
}

/// `sql` over the files of each job gives the records that were loaded from it.
fn assert_source_counts(project: &Project) {
    let mut sum = 0;
    let jobs = project.rows(Db::Metadata, "SELECT id, rows_loaded FROM scanner_jobs WHERE status = 'LOADED'");
    for job in jobs {
        let ran = project.run(&["sql", "--job", &job[0], "-o", "csv", "SELECT count(*) FROM source"]).ok();
        let count = ran.stdout.lines().nth(1).unwrap();
        assert_eq!(count, job[1], "job {}", job[0]);
        sum += count.parse::<u64>().unwrap();
    }
    assert_eq!(sum, 9_999);
}

#[test]
fn the_test_file_comes_to_its_sums() {
    let Some(text) = published(TEST.file) else { return };
    let project = project();
    let files = split_into_hours(&project, &text, 1000);
    project.scan_and_load();
    assert_sums(&project, &TEST, "loan_applications");
    assert_eq!(project.statuses(), vec!["LOADED"; files.div_ceil(7)]);
}
