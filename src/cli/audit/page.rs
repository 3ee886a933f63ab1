//! What an audit came to: a page for people, a document for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

use super::{AuditArgs, next};
use crate::auditor::{FeedAudit, Finding, Kind, Repaired, Sums};
use crate::cli::output::{Format, Table, clipped, printable, shortened};
use crate::cli::{GlobalArgs, human, shell};
use crate::job::file_uri;

/// How many findings are told one by one.
const ITEMS: usize = 20;
const NAME: usize = 44;
const TOLD: usize = 60;

pub struct Page<'a> {
    pub args: &'a AuditArgs,
    pub audits: &'a [FeedAudit],
    pub now: DateTime<Utc>,
    pub took: Duration,
    pub source_url: String,
    pub global: &'a GlobalArgs,
}

impl Page<'_> {
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{line}");
        };
        for audit in self.audits {
            line(sums(audit));
            notes(audit).into_iter().for_each(|note| line(format!("  {note}")));
        }
        let findings = self.findings();
        if !findings.is_empty() {
            line(table(&findings));
            let more = self.mismatches() - findings.len().min(ITEMS) as u64;
            if more > 0 {
                line(format!("and {} more: -o json tells of them", human::count(more)));
            }
            self.steps().into_iter().for_each(&mut line);
        }
        line(self.conclusion());
        text
    }

    fn findings(&self) -> Vec<&Finding> {
        self.audits.iter().flat_map(|audit| &audit.findings).collect()
    }

    fn mismatches(&self) -> u64 {
        self.audits.iter().map(FeedAudit::mismatches).sum()
    }

    fn kinds(&self) -> BTreeMap<Kind, u64> {
        let mut kinds = BTreeMap::new();
        for (kind, found) in self.audits.iter().flat_map(|audit| &audit.found) {
            *kinds.entry(*kind).or_default() += found;
        }
        kinds
    }

    fn next_step(&self, finding: &Finding) -> String {
        let audit = self.audits.iter().find(|audit| audit.feed == finding.feed);
        next::step(finding, audit.map_or("", |audit| &audit.table), &self.source_url, self.global)
    }

    /// What to do, once for each kind and way, with the first file of it as the example.
    fn steps(&self) -> Vec<String> {
        let mut steps: BTreeMap<_, (u64, String)> = BTreeMap::new();
        let repaired = self.repaired().is_some();
        for finding in self.findings().into_iter().filter(|finding| !(repaired && finding.repair.is_some())) {
            let way = (finding.kind, finding.repair, finding.state.map(|state| state.as_str()), finding.is_at_source);
            steps.entry(way).or_insert_with(|| (0, self.next_step(finding))).0 += 1;
        }
        let step = |((kind, ..), (_, step)): (&(Kind, _, _, _), &(u64, String))| format!("{}: {step}", kind.as_str());
        let mut lines: Vec<String> = steps.iter().map(step).collect();
        lines.dedup();
        lines
    }

    fn conclusion(&self) -> String {
        let (mismatches, took) = (self.mismatches(), human::duration(self.took));
        if mismatches == 0 && self.repaired().is_none_or(|repaired| repaired == Repaired::default()) {
            let deep = if self.args.deep { ", and so do the checksums" } else { "" };
            return format!("source, registry, ledger and table agree{deep}; {took}");
        }
        let kinds = self.kinds().into_iter().map(|(kind, found)| format!("{} {}", human::count(found), kind.as_str()));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        let found = match mismatches {
            0 => "nothing disagrees".to_owned(),
            more => format!("{}: {kinds}", human::counted(more, "disagreement")),
        };
        format!("{found}; {}{took}", self.repairs())
    }

    fn repaired(&self) -> Option<Repaired> {
        let done: Vec<Repaired> = self.audits.iter().filter_map(|audit| audit.repaired).collect();
        (!done.is_empty()).then(|| {
            done.into_iter().fold(Repaired::default(), |sum, one| Repaired {
                restored: sum.restored + one.restored,
                restored_quarantined: sum.restored_quarantined + one.restored_quarantined,
                requeued: sum.requeued + one.requeued,
                revoked: sum.revoked + one.revoked,
                jobs: sum.jobs + one.jobs,
                waiting: sum.waiting + one.waiting,
            })
        })
    }

    fn repairs(&self) -> String {
        let mendable: u64 = self.audits.iter().map(|audit| audit.mendable).sum();
        let Some(repaired) = self.repaired() else {
            if mendable == 0 {
                return String::new();
            }
            let repair = shell::command(self.global, "audit --repair --yes");
            let did = if self.args.repair { "nothing was changed, " } else { "" };
            return format!("{did}{} can be mended: `{repair}`; ", human::count(mendable));
        };
        let mut did = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                did.push(format!("{} {what}", human::counted(count, "file")));
            }
        };
        say(repaired.restored, "restored");
        say(repaired.requeued, "queued again");
        say(repaired.revoked, "UNLOADED again");
        say(repaired.restored_quarantined, "of the restored QUARANTINED: the source holds another version");
        say(repaired.waiting, "waiting for a fuller job");
        if repaired.jobs > 0 {
            let etl = shell::command(self.global, "etl");
            did.push(format!("{} formed, to be loaded by `{etl}`", human::counted(repaired.jobs, "job")));
        }
        let left: u64 = self.audits.iter().map(FeedAudit::left).sum();
        if left > 0 {
            did.push(format!("{} left", human::count(left)));
        }
        if did.is_empty() { String::new() } else { format!("{}; ", did.join(", ")) }
    }

    pub fn json(&self) -> Json {
        let left_out = self.mismatches() - self.findings().len() as u64;
        json!({
            "time": rfc3339(self.now),
            "since": self.args.since.map(rfc3339),
            "deep": self.args.deep,
            "agree": self.mismatches() == 0,
            "left": self.audits.iter().map(FeedAudit::left).sum::<u64>(),
            "feeds": self.audits.iter().map(feed_json).collect::<Vec<_>>(),
            "findings": self.findings().into_iter().map(|finding| self.finding_json(finding)).collect::<Vec<_>>(),
            "findings_left_out": left_out,
            "repaired": self.repaired(),
        })
    }

    fn finding_json(&self, finding: &Finding) -> Json {
        json!({
            "kind": finding.kind,
            "feed": finding.feed,
            "key": finding.key,
            "uri": finding.key.as_ref().map(|key| file_uri(&self.source_url, key)),
            "file": finding.file,
            "job": finding.job,
            "expected": finding.expected,
            "found": finding.found,
            "repair": finding.repair.map(|repair| repair.as_str()),
            "next_step": self.next_step(finding),
        })
    }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn feed_json(audit: &FeedAudit) -> Json {
    let found: BTreeMap<&str, u64> = audit.found.iter().map(|(kind, found)| (kind.as_str(), *found)).collect();
    json!({
        "feed": audit.feed,
        "table": audit.table,
        "source": {"files": audit.listed, "bytes": audit.listed_bytes},
        "registry": audit.registry,
        "ledger": audit.ledger,
        "target": audit.tables,
        "registered": audit.known,
        "notes": audit.notes,
        "found": found,
    })
}

/// `weather: 5 files at the source; 5 loaded, 18 records = 16 rows + 2 rejects, in registry, ledger and table`
fn sums(audit: &FeedAudit) -> String {
    let head = format!("{}: {} at the source", audit.feed, human::counted(audit.listed, "file"));
    let records = |sums: &Sums| {
        let (files, records) = (human::count(sums.files), human::count(sums.rows + sums.rejects));
        let (rows, rejects) = (human::counted(sums.rows, "row"), human::counted(sums.rejects, "reject"));
        format!("{files} loaded, {records} records = {rows} + {rejects}")
    };
    if audit.registry == audit.ledger && audit.ledger == audit.tables {
        return format!("{head}; {}, in registry, ledger and table", records(&audit.ledger));
    }
    let [registry, ledger, table] = [&audit.registry, &audit.ledger, &audit.tables].map(records);
    format!("{head}\n  registry: {registry}\n  ledger:   {ledger}\n  table:    {table}")
}

fn notes(audit: &FeedAudit) -> Vec<String> {
    let notes = &audit.notes;
    let told = [
        (notes.unregistered, "that no scan has registered yet"),
        (notes.on_the_way, "waiting or being loaded"),
        (notes.incomplete, "loaded in part"),
        (notes.uncompared, "loaded with other columns or by an earlier loadline: their checksum can't be compared"),
        (notes.quarantined, "in quarantine with the rows of an earlier version in the table"),
        (notes.replaced, "replaced at the source, for a scan to take up or pass over"),
        (notes.gone, "gone from the source since"),
    ];
    let told = told.into_iter().filter(|(files, _)| *files > 0);
    told.map(|(files, what)| format!("{} {what}", human::counted(files, "file"))).collect()
}

fn table(findings: &[&Finding]) -> String {
    let mut table = Table::new(["kind", "file", "expected", "found"]);
    table.rows.extend(findings.iter().take(ITEMS).map(|finding| {
        let of = match (&finding.key, finding.job, finding.file) {
            (Some(key), ..) => shortened(key, NAME),
            (None, Some(job), _) => format!("job {job}"),
            (None, None, file) => format!("_file {}", file.unwrap_or_default()),
        };
        let told = |text: &str| clipped(&printable(text), TOLD);
        vec![finding.kind.as_str().into(), of.into(), told(&finding.expected).into(), told(&finding.found).into()]
    }));
    let mut out = Vec::new();
    // Nor does writing to a Vec.
    let _ = table.print(Format::Table, &mut out);
    String::from_utf8_lossy(&out).trim_end().to_owned()
}
