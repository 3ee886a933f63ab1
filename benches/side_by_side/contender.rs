//! Who loads: loadline from a folder or from S3, the vendor's own bulk loader, and what people install from PyPI.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Bench;
use crate::data::Truth;

const SCHEMA: &str = include_str!("../../schemas/loan_applications.yaml");
/// Where every contender loads to.
pub const DATABASE: &str = "side_by_side";
pub const TABLE: &str = "loan_applications";

/// The columns of the schema file, without lineage: what somebody without loadline would make.
const PLAIN_TABLE: &str = "CREATE TABLE loan_applications (
    id BIGINT NOT NULL PRIMARY KEY, serious_dlqin_2_yrs TINYINT UNSIGNED,
    revolving_utilization_of_unsecured_lines DOUBLE, age TINYINT UNSIGNED,
    number_of_time_30_59_days_past_due_not_worse SMALLINT UNSIGNED, debt_ratio DOUBLE, monthly_income BIGINT,
    number_of_open_credit_lines_and_loans SMALLINT UNSIGNED, number_of_times_90_days_late SMALLINT UNSIGNED,
    number_real_estate_loans_or_lines SMALLINT UNSIGNED, number_of_time_60_89_days_past_due_not_worse SMALLINT UNSIGNED,
    number_of_dependents SMALLINT UNSIGNED) ENGINE=InnoDB";

/// `NA` is no number: without the NULLIF, LOAD DATA stores 0 for it, and says so in a warning only.
const LOAD_DATA: &str = "FIELDS TERMINATED BY ',' IGNORE 1 LINES
    (id, serious_dlqin_2_yrs, revolving_utilization_of_unsecured_lines, age,
     number_of_time_30_59_days_past_due_not_worse, debt_ratio, @income, number_of_open_credit_lines_and_loans,
     number_of_times_90_days_late, number_real_estate_loans_or_lines, number_of_time_60_89_days_past_due_not_worse,
     @dependents)
    SET monthly_income = NULLIF(@income, 'NA'), number_of_dependents = NULLIF(@dependents, 'NA')";

const PANDAS: &str = "
import sys, pandas, sqlalchemy
url, table, path = sys.argv[1:]
frame = pandas.read_csv(path, na_values=['NA'])
frame.to_sql(table, sqlalchemy.create_engine(url), if_exists='append', index=False, chunksize=10000)
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    LoadData { connections: usize },
    Folder { connections: usize },
    S3 { connections: usize },
    Pandas,
    Sling,
}

impl Contender {
    pub fn name(self) -> String {
        match self {
            Self::LoadData { connections } => format!("LOAD DATA LOCAL, {connections} conn"),
            Self::Folder { connections } => format!("loadline file://, {connections} conn"),
            Self::S3 { connections } => format!("loadline s3://, {connections} conn"),
            Self::Pandas => "pandas to_sql".to_owned(),
            Self::Sling => "sling".to_owned(),
        }
    }

    /// Whose cost is the measure.
    pub fn against(self) -> String {
        let connections = match self {
            Self::LoadData { connections } | Self::Folder { connections } | Self::S3 { connections } => connections,
            Self::Pandas | Self::Sling => 1,
        };
        Self::LoadData { connections }.name()
    }

    /// Tools of a tenth of the speed load a part of the rows.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::Pandas | Self::Sling)
    }

    pub fn is_installed(self, bench: &Bench) -> bool {
        let mut probe = match self {
            Self::Pandas => {
                let mut python = Command::new(&bench.args.python);
                python.args(["-c", "import pandas, sqlalchemy, pymysql"]);
                python
            }
            Self::Sling => {
                let mut sling = Command::new(&bench.args.sling);
                sling.arg("--version");
                sling
            }
            _ => return true,
        };
        let ran = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    }

    /// Makes an empty table, and whatever else somebody has before the first load. Not measured.
    pub fn prepare(self, bench: &Bench, folder: &Path) {
        bench.sql(&format!("DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE}"));
        let (source, connections) = match self {
            Self::Folder { connections } => {
                (format!("{{url: \"file://{}\"}}", bench.data(self).folder.display()), connections)
            }
            Self::S3 { connections } => (bench.s3.source(""), connections),
            _ => return bench.sql(&format!("USE {DATABASE}; {PLAIN_TABLE}")),
        };
        let database = format!("{{url: \"{}\"}}", bench.url(DATABASE));
        let config = format!(
            "source: {source}\nmetadata_database: {database}\nreporting_database: {database}\n\
             feeds: [{{name: {TABLE}}}]\nscanner: {{settle: 0s}}\netl: {{workers: 1, connections: {connections}}}\n"
        );
        std::fs::create_dir_all(folder.join("schemas")).unwrap();
        std::fs::write(folder.join("config.yaml"), config).unwrap();
        std::fs::write(folder.join(format!("schemas/{TABLE}.yaml")), SCHEMA).unwrap();
        let ran = bench.loadline(folder, "setup").status().unwrap();
        assert!(ran.success(), "setup failed: {ran}");
    }

    /// What is measured: stages of commands that run side by side.
    pub fn stages(self, bench: &Bench, folder: &Path) -> Vec<Vec<Command>> {
        match self {
            Self::Folder { .. } | Self::S3 { .. } => {
                vec![vec![bench.loadline(folder, "scan")], vec![bench.loadline(folder, "etl")]]
            }
            Self::LoadData { connections } => vec![load_data(bench, connections)],
            Self::Pandas => vec![vec![pandas(bench)]],
            Self::Sling => vec![vec![sling(bench)]],
        }
    }

    /// The table holds what the files say, however it was loaded.
    pub fn check(self, bench: &Bench) {
        let found = bench.ask(&Truth::sql(&format!("{DATABASE}.{TABLE}")));
        assert_eq!(found.trim(), bench.data(self).truth.text(), "{}: sums of the table", self.name());
    }
}

/// One client a connection, files dealt round; a file is a transaction.
fn load_data(bench: &Bench, connections: usize) -> Vec<Command> {
    let mut scripts = vec![format!("USE {DATABASE};"); connections];
    for (index, path) in bench.full.paths().iter().enumerate() {
        let path = path.display();
        scripts[index % connections]
            .push_str(&format!("LOAD DATA LOCAL INFILE '{path}' INTO TABLE {TABLE} {LOAD_DATA};"));
    }
    scripts.iter().map(|script| bench.client(script)).collect()
}

fn pandas(bench: &Bench) -> Command {
    let url = bench.url(DATABASE).replace("mysql://", "mysql+pymysql://");
    let mut python = Command::new(&bench.args.python);
    python.args(["-c", PANDAS, &url, TABLE]).args(bench.small.paths());
    python
}

/// Makes a table of its own.
fn sling(bench: &Bench) -> Command {
    let mut sling = Command::new(&bench.args.sling);
    sling.env("SIDE_BY_SIDE", bench.url(DATABASE));
    let streams = bench.small.paths().iter().map(|path| format!("file://{}", path.display())).collect::<String>();
    sling.args(["run", "--mode", "full-refresh", "--src-options", "null_if: NA", "--src-stream", &streams]);
    sling.args(["--tgt-conn", "SIDE_BY_SIDE", "--tgt-object", &format!("{DATABASE}.{TABLE}")]);
    sling.stdout(Stdio::null()).stderr(Stdio::null());
    sling
}
