//! `demo`: the whole path in a folder of its own, and what it tells at the end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::etl::EtlArgs;
use super::output::{self, printable};
use super::setup::SetupArgs;
use super::summary::Summary;
use super::{Context, Exit, GlobalArgs, Watcher, chaos, etl, report, scan, setup, shell};
use crate::demo::{self, Planned};
use crate::error::{Error, Result};
use crate::job::{JobFilter, JobId, JobStatus};
use crate::scanner::ScanRequest;
use crate::worker::Stop;

/// The schema file that ships with loadline.
pub(super) const SCHEMA: &str = include_str!("../../schemas/loan_applications.yaml");

pub(super) const DEFAULT_DIR: &str = "./loadline-demo";

/// Watch a first run in a folder of its own, with nothing else installed
///
/// Makes a folder with 30 hourly CSV files of made-up loan applications (over 100,000
/// records, the same in every run), a config and a schema file, then runs setup, scan and
/// etl on it. The source is the folder itself, the databases are two SQLite files in it.
/// One file has bad records, one is gzipped, and one fails as a whole: at the end the demo
/// says why, and which command repairs it.
///
/// With --chaos it tries to destroy itself: files stream in while three `run` processes and
/// a `scan` are killed, frozen and told to end at random moments, and files come late, half
/// written, without records or with bad ones, or are overwritten. Beside them a naive loader,
/// written as most people would, meets the same faults. In the end both tables are counted:
/// exit code 0 if loadline has every record once, 5 if not. It says the seed that replays the
/// files and the faults.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DemoArgs {
    /// The folder; must be new, empty, or that of an earlier demo, which is made anew
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    pub dir: PathBuf,

    /// Kill, freeze and confuse its own processes, and count what comes of it
    #[arg(long)]
    pub chaos: bool,

    /// With --chaos: how long the faults go on
    #[arg(long, value_name = "N", default_value = "60", requires = "chaos")]
    #[arg(value_parser = clap::value_parser!(u32).range(3..=86_400))]
    pub seconds: u32,

    /// With --chaos: which files and faults; by default others each time
    #[arg(long, value_name = "N", requires = "chaos")]
    pub seed: Option<u64>,
}

pub async fn run(args: &DemoArgs, global: &GlobalArgs, watcher: &Watcher) -> Result<Exit> {
    if args.chaos {
        return chaos::run(args, global).await;
    }
    let planned = demo::make(&args.dir, SCHEMA).await?;
    let made = format!(
        "made {}: {} of one feed, {} records, {}",
        args.dir.display(),
        super::human::counted(planned.files as u64, "hourly file"),
        super::human::count(planned.records),
        super::human::size(planned.bytes)
    );
    report::note(global, &made);
    let global = GlobalArgs { config: args.dir.join(demo::CONFIG_FILE), ..global.clone() };
    let context = Context::load(&global)?;
    setup::run(&SetupArgs { check: false, print: false }, &context).await?;
    let scanned = scan::scan(&context, None, &ScanRequest::default(), watcher).await?;
    for scanned in scanned.unwrap_or_default() {
        report::note(&global, &scan::render(&scanned));
    }
    etl::etl(&EtlArgs { feed: None, workers: None, order: None }, &context, watcher, &Stop::default()).await?;
    let summary = watcher.finish();
    let loaded_job = job_to_look_at(&context).await?;
    let ending = Ending { program: &program(), dir: &args.dir, planned: &planned, summary: &summary, loaded_job };
    output::written(output::stdout().write_all(ending.render().as_bytes()))?;
    if ending.is_as_planned() {
        return Ok(Exit::Done);
    }
    Err(Error::internal("the demo did not come to what was planned")
        .hint("please report it, with all that was printed"))
}

/// A loaded job, with rejects if there is one.
async fn job_to_look_at(context: &Context) -> Result<JobId> {
    let filter = JobFilter { status: Some(JobStatus::Loaded), feed: None };
    let jobs = context.job_store().await?.jobs(&filter).await?;
    let most = jobs.iter().rev().max_by_key(|job| job.rows_rejected);
    most.map(|job| job.id).ok_or_else(|| Error::internal("no job of the demo was loaded"))
}

/// How a person calls this program again.
pub(super) fn program() -> String {
    if std::env::var_os("CARGO").is_some() {
        return "cargo run -q --".to_owned();
    }
    let called = std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
    called.unwrap_or_else(|| "loadline".to_owned())
}

/// What the demo came to.
pub struct Ending<'a> {
    /// How this program was called, as a shell takes it: `cargo run --`, or its path.
    pub program: &'a str,
    /// The folder as it was given, so that commands work where the demo was called.
    pub dir: &'a Path,
    pub planned: &'a Planned,
    pub summary: &'a Summary,
    /// A job that was loaded and has rejects, for the commands to try.
    pub loaded_job: JobId,
}

impl Ending<'_> {
    /// Whether the run came to exactly what was planned, the failure included.
    pub fn is_as_planned(&self) -> bool {
        let Self { planned, summary, .. } = self;
        summary.jobs_failed == 1
            && summary.jobs_postponed() + summary.jobs_lost == 0
            && (summary.rows, summary.rejects) == (planned.rows, planned.rejects)
            && summary.failures.iter().all(|(_, reason)| reason.contains(&planned.failing.key))
    }

    /// The last screen: what was loaded, what failed and why, the command that repairs it, and three to go on with.
    pub fn render(&self) -> String {
        let loadline = self.loadline();
        let mut text = format!("\nDone     {}\n", self.summary.render());
        for (job, reason) in &self.summary.failures {
            let _ = writeln!(text, "\nFailed   job {job}: {}", printable(reason));
        }
        if !self.summary.failures.is_empty() {
            let _ = writeln!(text, "{}", self.why());
            let _ = writeln!(text, "\nRepair it, and load what is missing:\n\n  {}", self.fix());
        }
        let query = "SELECT age, count(*) AS people, avg(monthly_income) AS income \
                     FROM clean GROUP BY age ORDER BY people DESC LIMIT 10";
        let _ = write!(
            text,
            "\nThen try:\n\n  {loadline} jobs\n  {loadline} rejects --limit 10\n  {loadline} sql --job {} \"{query}\"\n",
            self.loaded_job
        );
        text
    }

    /// One line for a shell, which works with GNU's sed and BSD's.
    fn fix(&self) -> String {
        let loadline = self.loadline();
        let schema = shell::path(&self.dir.join(crate::demo::SCHEMA_FILE));
        format!("sed -i.bak '{}' {schema} && {loadline} retry --failed && {loadline} etl", crate::demo::FIX)
    }

    fn why(&self) -> String {
        let failing = &self.planned.failing;
        format!(
            "         The vendor wrote `{}` for a missing monthly_income, in {} of the {} records of this file. The schema\n         \
             does not know that word yet: rather than turn a column to NULL, loadline loads nothing of the file.\n         \
             The other files of the job are loaded.",
            crate::demo::UNKNOWN_TOKEN,
            super::human::count(failing.unknown_tokens),
            super::human::count(failing.records)
        )
    }

    fn loadline(&self) -> String {
        format!("{} -c {}", self.program, shell::path(&self.dir.join(crate::demo::CONFIG_FILE)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::Failing;

    fn planned() -> Planned {
        let failing =
            Failing { key: "2026/01/01/17/loan_applications.csv".to_owned(), records: 4000, unknown_tokens: 800 };
        Planned { files: 30, bytes: 5_000_000, records: 110_010, rows: 106_000, rejects: 10, invalid_ages: 4, failing }
    }

    fn summary() -> Summary {
        let reason = "2026/01/01/17/loan_applications.csv: too many invalid values".to_owned();
        Summary {
            jobs_loaded: 4,
            jobs_failed: 1,
            files: 30,
            rows: 106_000,
            rejects: 10,
            elapsed: Duration::from_secs(4),
            failures: vec![(3, reason)],
            ..Summary::default()
        }
    }

    #[test]
    fn commands_can_be_pasted() {
        let (planned, summary) = (planned(), summary());
        let dir = Path::new("my demo");
        let ending = Ending { program: "cargo run --", dir, planned: &planned, summary: &summary, loaded_job: 2 };
        assert!(ending.is_as_planned());
        let text = ending.render();
        for part in [
            "4 jobs loaded, 1 failed; 30 files",
            "106,010 records = 106,000 rows + 10 rejects; 26,500 rows/s",
            "Failed   job 3: 2026/01/01/17/loan_applications.csv: too many",
            "in 800 of the 4,000 records",
            "'my demo/schemas/loan_applications.yaml' && cargo run -- -c 'my demo/config.yaml' retry --failed",
            "\n  cargo run -- -c 'my demo/config.yaml' jobs\n",
            "sql --job 2 \"SELECT age",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn another_failure_is_not_as_planned() {
        let (planned, mut summary) = (planned(), summary());
        summary.failures[0].1 = "other.csv: gone".to_owned();
        let dir = Path::new("demo");
        let ending = Ending { program: "loadline", dir, planned: &planned, summary: &summary, loaded_job: 2 };
        assert!(!ending.is_as_planned());
    }
}
