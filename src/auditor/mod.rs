//! The auditor: compares four sets of books and says where they disagree, and mends what can be mended.
//!
//! ```text
//! source (listing) = registry (scanner_files, scanner_jobs) = ledger (loadline_files) = target rows and rejects
//! ```
//!
//! They are read in the order registry, ledger with its tables, source, page by page, while files arrive and are loaded.
//! In that order, because a file is complete in the ledger before the registry calls it LOADED, and because an audit that
//! saw a version in the registry before it saw another at the source has seen a change. What looks wrong on the way is a
//! suspect, no more: every suspect is looked at again, its registry row before and after its ledger row, and only what
//! still disagrees while nothing moved is a finding. So a pipeline at work never makes the audit cry wolf.
//!
//! A repair only ever writes the registry, which is a cache of the ledger: nothing is loaded twice by a wrong one. See
//! [`repair`].
//!
//! Memory: about 400 bytes for each file of the feed under audit, as much again for each suspect, and the rest by pages.
//!
//! Invariant: without [`Request::repair`] nothing is changed; with it, no row, reject or ledger row is.

mod compare;
mod finding;
mod kind;
mod look;
mod repair;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;

pub use finding::Finding;
pub use kind::{Kind, Repair};
pub use repair::Repaired;

use crate::config::{RetentionConfig, ScannerConfig};
use crate::error::Result;
use crate::feed::Feed;
use crate::job::JobStore;
use crate::source::Source;
use crate::warehouse::{TableSpec, Warehouse};
use compare::Rules;

/// Files looked at again, and repaired, at a time.
const CHUNK: usize = 1000;
/// Findings that a report keeps of one feed. All are counted.
const FINDINGS_KEPT: usize = 10_000;
/// Numbers of files without a ledger row that are looked for in one table.
const STRAYS_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// Only files whose hour (or day) begins at or behind this time.
    pub since: Option<DateTime<Utc>>,
    /// Compare the checksums too.
    pub deep: bool,
    /// Mend what can be mended.
    pub repair: bool,
}

/// An audit of one feed.
pub struct Auditor<'a> {
    pub source: &'a Source,
    pub store: &'a dyn JobStore,
    pub warehouse: &'a dyn Warehouse,
    pub feed: &'a Feed,
    pub scanner: &'a ScannerConfig,
    pub retention: &'a RetentionConfig,
    pub request: Request,
    pub now: DateTime<Utc>,
    /// Told how many files more have been seen.
    pub seen: &'a (dyn Fn(u64) + Sync),
}

/// How many files a set of books holds, and what they sum up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    pub files: u64,
    pub rows: u64,
    pub rejects: u64,
}

impl Sums {
    fn add(&mut self, rows: u64, rejects: u64) {
        self.files += 1;
        self.rows += rows;
        self.rejects += rejects;
    }
}

/// What is no disagreement, and worth knowing: files by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// At the source, and no scan has registered them yet.
    pub unregistered: u64,
    /// Registered, and waiting to be loaded or being loaded.
    pub on_the_way: u64,
    /// In quarantine with the rows of an earlier version in the table.
    pub quarantined: u64,
    /// Of another version at the source than was registered, which the next scan takes up or the feed's policy passes over.
    pub replaced: u64,
    /// Loaded, unloaded, failed or in quarantine, and gone from the source since.
    pub gone: u64,
    /// Begun in the ledger and not complete.
    pub incomplete: u64,
    /// Complete, and asked for the checksum, which can't be compared: loaded with other columns or by an earlier version.
    pub uncompared: u64,
}

/// What the audit of one feed came to.
#[derive(Debug, Default)]
pub struct FeedAudit {
    pub feed: String,
    pub table: String,
    /// Files at the source, and their bytes.
    pub listed: u64,
    pub listed_bytes: u64,
    /// Files that are registered.
    pub known: u64,
    /// Those of them that are loaded, as the registry counts them.
    pub registry: Sums,
    /// Complete files, as the ledger counts them.
    pub ledger: Sums,
    /// What the tables hold of the complete files.
    pub tables: Sums,
    pub notes: Notes,
    /// How many of each kind were found.
    pub found: BTreeMap<Kind, u64>,
    /// How many of them a repair mends, or has mended.
    pub mendable: u64,
    /// The first [`FINDINGS_KEPT`].
    pub findings: Vec<Finding>,
    /// What was done, where it was asked for.
    pub repaired: Option<Repaired>,
}

impl FeedAudit {
    pub fn mismatches(&self) -> u64 {
        self.found.values().sum()
    }

    /// What stays wrong.
    pub fn left(&self) -> u64 {
        if self.repaired.is_some() { self.mismatches() - self.mendable } else { self.mismatches() }
    }

    fn add(&mut self, finding: Finding) {
        *self.found.entry(finding.kind).or_default() += 1;
        self.mendable += u64::from(finding.repair.is_some());
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(finding);
        }
    }
}

impl Auditor<'_> {
    /// Compares, looks again at what is suspicious, and repairs where that is asked for.
    pub async fn run(&self) -> Result<FeedAudit> {
        let mut audit =
            FeedAudit { feed: self.feed.name.clone(), table: self.feed.table.clone(), ..FeedAudit::default() };
        let mut repaired = Repaired::default();
        let suspects = self.walk(&mut audit).await?;
        tracing::info!(feed = self.feed.name, suspects = suspects.files.len(), "looking again");
        let mut files = suspects.files.into_iter();
        loop {
            let chunk: Vec<_> = files.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let judged = self.judge(self.look(&chunk).await?);
            if self.request.repair {
                self.repair(&judged, &mut repaired).await?;
            }
            judged.into_iter().flat_map(|judged| judged.findings).for_each(|finding| audit.add(finding));
        }
        for finding in self.jobs(&suspects.jobs).await? {
            audit.add(finding);
        }
        if self.request.repair {
            self.form_jobs(&mut repaired).await?;
            audit.repaired = Some(repaired);
        }
        Ok(audit)
    }

    /// Rows of the feed's table that no ledger row stands behind, of whichever feed.
    pub async fn strays(&self, audit: &mut FeedAudit) -> Result<()> {
        for (file, rows) in self.warehouse.strays(&self.feed.table, STRAYS_MAX).await? {
            audit.add(Finding::stray(self.feed, file, rows));
        }
        Ok(())
    }

    fn rules(&self) -> Rules {
        // Rejects are deleted by clocks that may be ahead of this one.
        let rejects_kept = self.retention.rejects.map(|kept| kept - Duration::hours(1));
        Rules { now: self.now, rejects_kept, on_overwrite: self.feed.on_overwrite }
    }

    fn table(&self) -> TableSpec {
        TableSpec::of(self.feed)
    }
}
