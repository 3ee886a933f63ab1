//! What to do about a finding.

use crate::auditor::{Finding, Kind, Repair};
use crate::cli::output::printable;
use crate::cli::{GlobalArgs, shell};
use crate::job::{FileState, file_uri};

/// A sentence with the commands that help.
pub fn step(finding: &Finding, table: &str, source_url: &str, global: &GlobalArgs) -> String {
    let advice = Advice { finding, table, source_url, global };
    match finding.repair {
        Some(Repair::Requeue) => advice.then(&["audit --repair --yes", "etl"]),
        Some(Repair::Restore | Repair::Revoke) => advice.command("audit --repair --yes"),
        None => advice.by_hand(),
    }
}

struct Advice<'a> {
    finding: &'a Finding,
    table: &'a str,
    source_url: &'a str,
    global: &'a GlobalArgs,
}

impl Advice<'_> {
    fn command(&self, words: &str) -> String {
        format!("`{}`", shell::command(self.global, words))
    }

    fn then(&self, commands: &[&str]) -> String {
        commands.iter().map(|words| self.command(words)).collect::<Vec<_>>().join(", then ")
    }

    /// `--file URI --feed FEED`
    fn this_file(&self) -> String {
        let uri = file_uri(self.source_url, self.finding.key.as_deref().unwrap_or_default());
        format!("--file {} --feed {}", shell::word(&printable(&uri)), self.finding.feed)
    }

    fn by_hand(&self) -> String {
        let (job, number) = (self.finding.job.unwrap_or_default(), self.finding.file.unwrap_or_default());
        match self.finding.kind {
            Kind::Missing => "it was never loaded and can't be: put it back at the source, if it is to be".to_owned(),
            Kind::Changed => {
                format!("{} sets it aside; to load the new version instead: {}", self.command("scan"), self.reload())
            }
            Kind::RowsLost => format!(
                "the source has it no more, so that its rows can't be loaded again; put it back, then {}",
                self.then(&["audit --repair --yes", "etl"])
            ),
            Kind::Unfinished => self.then(&["scan --full", "etl"]),
            Kind::NotRegistered | Kind::CountsDiffer | Kind::VersionDiffers => self.reload(),
            Kind::StateDiffers => self.other_state(),
            Kind::RowsDoubled if !self.may_be_unloaded() => {
                format!("they are behind what the ledger knows; to delete them: {}", self.sql("_record", number))
            }
            Kind::RecordsDiffer
            | Kind::RowsDiffer
            | Kind::RowsDoubled
            | Kind::RejectsDiffer
            | Kind::ChecksumDiffers => self.reload(),
            Kind::RowsStray => format!("to delete them, by hand: DELETE FROM {} WHERE _file = {number}", self.table),
            Kind::JobDiffers => {
                format!("only the sums of job {job} are wrong, and nothing rests on them; by hand, if at all")
            }
            Kind::JobStuck => self.command("etl"),
        }
    }

    fn sql(&self, column: &str, number: i64) -> String {
        format!(
            "DELETE FROM {} WHERE _file = {number} AND {column} > (SELECT records_done FROM loadline_files WHERE file = \
             {number})",
            self.table
        )
    }

    fn may_be_unloaded(&self) -> bool {
        matches!(self.finding.state, Some(FileState::Loaded | FileState::Quarantined | FileState::Unloaded))
    }

    /// Takes the file out and loads it again.
    fn reload(&self) -> String {
        let file = self.this_file();
        let commands = [&format!("unload {file} --yes"), &format!("retry --unloaded {file}"), "scan", "etl"];
        if self.finding.is_at_source {
            return self.then(&commands);
        }
        "the source has it no more: unloaded, it could not be loaded again. Put it back first, or correct the rows by hand"
            .to_owned()
    }

    fn other_state(&self) -> String {
        let job = self.finding.job;
        match (self.finding.state, job) {
            (Some(FileState::Unloaded), _) => {
                format!("end the unload: {}", self.command(&format!("unload {} --yes", self.this_file())))
            }
            (Some(FileState::Failed | FileState::Quarantined), Some(job)) => self.then(&[&format!("retry {job}"), "etl"]),
            (Some(FileState::Quarantined), None) => self.then(&["retry --quarantined", "scan", "etl"]),
            (None, _) => format!(
                "{}, then end the unload: {}",
                self.command("audit --repair --yes"),
                self.command(&format!("unload {} --yes", self.this_file()))
            ),
            _ => "no worker will take it: set its row in scanner_files to state FOUND and job_id NULL, by hand, then scan"
                .to_owned(),
        }
    }
}
