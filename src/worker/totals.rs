//! What a file's records add up to, and whether too much of it is bad.

use std::collections::BTreeMap;

use super::{EtlSettings, RATIO_FLOOR};
use crate::engine::CleanBatch;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Default)]
pub struct Totals {
    records: u64,
    rejects: u64,
    /// By column: values that do not convert and became NULL.
    pub invalid: BTreeMap<String, u64>,
    /// By column: values that are not missing.
    present: BTreeMap<String, u64>,
}

impl Totals {
    /// Goes on counting invalid values from what the ledger holds.
    pub fn from(invalid: &BTreeMap<String, u64>) -> Self {
        Self { invalid: invalid.clone(), ..Default::default() }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// Data, at the first value whose column says that it fails the file.
    pub fn add(&mut self, batch: &CleanBatch) -> Result<()> {
        if let Some(failure) = batch.failure()? {
            let place = format!("record {} (line {}), column {}", failure.record, failure.line, failure.column);
            return Err(Error::data(format!("{place}: {}", failure.reason))
                .hint("correct the value, or the column's `on_invalid: fail`, and `loadline retry` the job"));
        }
        self.records += batch.records() as u64;
        self.rejects += batch.reject_count()?;
        batch.count_values(&mut self.invalid, &mut self.present)?;
        Ok(())
    }

    /// Holds the whole file's sums against the ratios of the config.
    pub fn check(&self, settings: &EtlSettings) -> Result<()> {
        let max = settings.max_reject_ratio;
        if exceeds(self.rejects, self.records, max) {
            let share = percent(self.rejects, self.records);
            return Err(Error::data(format!(
                "{} of {} records are rejects ({share}), more than etl.max_reject_ratio = {max}",
                self.rejects, self.records
            ))
            .hint("look at the records with `loadline sql`, correct the file, and `loadline retry` the job"));
        }
        let max = settings.max_invalid_ratio;
        for (column, invalid) in &self.invalid {
            let present = self.present.get(column).copied().unwrap_or(0);
            if exceeds(*invalid, present, max) {
                let share = percent(*invalid, present);
                return Err(Error::data(format!(
                    "column {column}: {invalid} of {present} values do not convert ({share}), more than \
                     etl.max_invalid_ratio = {max}"
                ))
                .hint("has the format changed? correct the feed's schema file (type, null_tokens) or the file, and `loadline retry` the job"));
            }
        }
        Ok(())
    }
}

fn exceeds(bad: u64, of: u64, ratio: f64) -> bool {
    bad >= RATIO_FLOOR && bad as f64 > ratio * of as f64
}

fn percent(part: u64, of: u64) -> String {
    format!("{:.1}%", 100.0 * part as f64 / of.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bad_values_never_fail_a_file() {
        assert!(!exceeds(9, 9, 0.05));
        assert!(exceeds(10, 10, 0.05));
        assert!(!exceeds(10, 200, 0.05));
        assert!(exceeds(11, 200, 0.05));
    }
}
