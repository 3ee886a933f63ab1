//! What an audit can find.

use serde::Serialize;

/// A disagreement of the books. Its name in results is that of [`Kind::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Registered and not loaded yet, and the source has it no more.
    Missing,
    /// The source holds another version than the one that is loaded, and no scan has noticed.
    Changed,
    /// The registry says LOADED; in the ledger it is not complete.
    RowsLost,
    /// Loaded or unloaded in the ledger; the registry does not know it.
    NotRegistered,
    /// A part of it is loaded, and nobody is going to load the rest.
    Unfinished,
    /// The registry says that nothing of it is in the table; the ledger says otherwise. Or the registry has it in a job
    /// that has ended, or that there is not.
    StateDiffers,
    /// The registry says LOADED in another version than the ledger.
    VersionDiffers,
    /// Registry and ledger count differently.
    CountsDiffer,
    /// In the ledger, records are not rows plus rejects.
    RecordsDiffer,
    /// The table holds fewer rows than the ledger counts.
    RowsDiffer,
    /// Rows are in the table twice, or behind where the ledger stands.
    RowsDoubled,
    /// As many rejects are kept as the ledger does not count.
    RejectsDiffer,
    /// The rows are not those that were loaded.
    ChecksumDiffers,
    /// Rows of a file that is in no ledger row.
    RowsStray,
    /// The sums of a job are not those of its files.
    JobDiffers,
    /// A job at work whose lease ended long ago.
    JobStuck,
}

impl Kind {
    pub const ALL: [Self; 16] = [
        Self::Missing,
        Self::Changed,
        Self::RowsLost,
        Self::NotRegistered,
        Self::Unfinished,
        Self::StateDiffers,
        Self::VersionDiffers,
        Self::CountsDiffer,
        Self::RecordsDiffer,
        Self::RowsDiffer,
        Self::RowsDoubled,
        Self::RejectsDiffer,
        Self::ChecksumDiffers,
        Self::RowsStray,
        Self::JobDiffers,
        Self::JobStuck,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::RowsLost => "rows_lost",
            Self::NotRegistered => "not_registered",
            Self::Unfinished => "unfinished",
            Self::StateDiffers => "state_differs",
            Self::VersionDiffers => "version_differs",
            Self::CountsDiffer => "counts_differ",
            Self::RecordsDiffer => "records_differ",
            Self::RowsDiffer => "rows_differ",
            Self::RowsDoubled => "rows_doubled",
            Self::RejectsDiffer => "rejects_differ",
            Self::ChecksumDiffers => "checksum_differs",
            Self::RowsStray => "rows_stray",
            Self::JobDiffers => "job_differs",
            Self::JobStuck => "job_stuck",
        }
    }

    /// Between the ledger and the tables it stands beside: what only loading the file anew can mend.
    pub fn is_of_the_table(self) -> bool {
        matches!(
            self,
            Self::RecordsDiffer | Self::RowsDiffer | Self::RowsDoubled | Self::RejectsDiffer | Self::ChecksumDiffers
        )
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What [`super::Auditor`] does about a finding when it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// The registry's row is written again, as the ledger has the file.
    Restore,
    /// The file is FOUND again and comes into a job: what the ledger lacks of it is loaded, and what it holds is recorded.
    Requeue,
    /// The file becomes UNLOADED, as it is in the ledger.
    Revoke,
}

impl Repair {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Requeue => "requeue",
            Self::Revoke => "revoke",
        }
    }
}
