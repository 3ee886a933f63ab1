//! One made-up loan application, with the shape of the Give Me Some Credit data: the same columns, about the same
//! distributions and the same share of missing values, none of its records.

use std::io::Write as _;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// As published: the first header cell, the id's, is empty.
pub const HEADER: &str = ",SeriousDlqin2yrs,RevolvingUtilizationOfUnsecuredLines,age,\
    NumberOfTime30-59DaysPastDueNotWorse,DebtRatio,MonthlyIncome,NumberOfOpenCreditLinesAndLoans,\
    NumberOfTimes90DaysLate,NumberRealEstateLoansOrLines,NumberOfTime60-89DaysPastDueNotWorse,NumberOfDependents\n";

/// What the published files write for a missing value.
pub const MISSING: &str = "NA";

/// (share of values below, value), rising; values in between are interpolated.
type Quantiles = &'static [(f64, f64)];
/// (value, how many of 1,000 records have it); what remains has the last value.
type Shares = &'static [(u8, u32)];

const AGE: Quantiles = &[
    (0.0, 21.0),
    (0.01, 24.0),
    (0.05, 29.0),
    (0.25, 41.0),
    (0.5, 52.0),
    (0.75, 62.0),
    (0.9, 72.0),
    (0.95, 78.0),
    (0.99, 87.0),
    (1.0, 101.0),
];
const UTILIZATION: Quantiles =
    &[(0.0, 0.00001), (0.25, 0.036), (0.5, 0.17), (0.75, 0.55), (0.97, 1.0), (0.998, 1.4), (1.0, 3000.0)];
const INCOME: Quantiles = &[
    (0.0, 0.0),
    (0.02, 1.0),
    (0.05, 1320.0),
    (0.25, 3400.0),
    (0.5, 5400.0),
    (0.75, 8200.0),
    (0.9, 11_600.0),
    (0.95, 14_430.0),
    (0.99, 25_200.0),
    (0.9995, 60_000.0),
    (1.0, 210_000.0),
];
const DEBT_RATIO: Quantiles = &[
    (0.0, 0.0),
    (0.05, 0.0044),
    (0.25, 0.143),
    (0.5, 0.297),
    (0.75, 0.485),
    (0.95, 1.08),
    (0.999, 30.0),
    (1.0, 9000.0),
];
/// Where the income is missing, the debt itself stands in the ratio's place.
const DEBT: Quantiles =
    &[(0.0, 0.0), (0.05, 0.0), (0.25, 115.0), (0.5, 1131.0), (0.75, 2326.0), (0.95, 4729.0), (1.0, 60_000.0)];
const CREDIT_LINES: Quantiles =
    &[(0.0, 0.0), (0.05, 2.0), (0.25, 5.0), (0.5, 8.0), (0.75, 11.0), (0.95, 18.0), (0.99, 24.0), (1.0, 46.0)];

const PAST_DUE_30: Shares = &[(0, 839), (1, 110), (2, 28), (3, 13), (4, 5), (5, 3), (98, 1), (6, 1)];
const PAST_DUE_60: Shares = &[(0, 948), (1, 40), (2, 8), (98, 1), (3, 3)];
const LATE_90: Shares = &[(0, 941), (1, 37), (2, 11), (3, 6), (4, 2), (98, 1), (5, 2)];
const REAL_ESTATE: Shares = &[(0, 374), (1, 352), (2, 211), (3, 41), (4, 13), (5, 5), (6, 3), (9, 1)];
const DEPENDENTS: Shares = &[(0, 599), (1, 178), (2, 136), (3, 59), (4, 21), (5, 5), (6, 2)];

/// What stands in a record that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The last value is lacking.
    Short,
    /// One value too many.
    Long,
    /// A byte that no UTF-8 text has.
    NotUtf8,
    /// An id that is no number.
    Id,
    /// An age that is no number.
    Age(&'static str),
}

impl Flaw {
    /// Whether the record is rejected; otherwise only the value becomes NULL.
    pub fn rejects(self) -> bool {
        !matches!(self, Self::Age(_))
    }
}

/// Appends one record with its line end. Returns whether its income is missing.
pub fn write_record(out: &mut Vec<u8>, id: u64, missing: &str, flaw: Option<Flaw>, rng: &mut ChaCha8Rng) -> bool {
    let income_is_missing = per_mille(rng) < 197;
    let seriously_late = per_mille(rng) < 64;
    let sign = if flaw == Some(Flaw::Id) { "A-" } else { "" };
    put(out, format_args!("{sign}{id},{},", u8::from(seriously_late)));
    utilization(out, rng);
    match flaw {
        Some(Flaw::Age(text)) => put(out, format_args!(",{text}")),
        _ => put(out, format_args!(",{}", quantile(AGE, rng) as u8)),
    }
    if flaw == Some(Flaw::NotUtf8) {
        out.push(0xff);
    }
    put(out, format_args!(",{},", share(PAST_DUE_30, rng)));
    if income_is_missing {
        put(out, format_args!("{},{missing}", quantile(DEBT, rng) as u32));
    } else {
        let (ratio, income) = (quantile(DEBT_RATIO, rng), quantile(INCOME, rng));
        put(out, format_args!("{ratio:.9},{}", income as u32));
    }
    let (lines, late, estate) = (quantile(CREDIT_LINES, rng) as u8, share(LATE_90, rng), share(REAL_ESTATE, rng));
    put(out, format_args!(",{lines},{late},{estate},{}", share(PAST_DUE_60, rng)));
    // The dice are cast for every record alike: a flaw changes its own record only.
    let (dependents, dependents_are_missing) = (share(DEPENDENTS, rng), per_mille(rng) < 28);
    match flaw {
        Some(Flaw::Short) => {}
        _ if dependents_are_missing => put(out, format_args!(",{MISSING}")),
        _ => put(out, format_args!(",{dependents}")),
    }
    out.extend_from_slice(if flaw == Some(Flaw::Long) { b",0\n" } else { b"\n" });
    income_is_missing
}

/// Unused and exhausted lines stand out.
fn utilization(out: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    match per_mille(rng) {
        0..72 => out.push(b'0'),
        72..145 => out.extend_from_slice(b"0.9999999"),
        _ => put(out, format_args!("{:.9}", quantile(UTILIZATION, rng))),
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Appending to memory does not fail.
    let _ = out.write_fmt(text);
}

fn per_mille(rng: &mut ChaCha8Rng) -> u32 {
    rng.random_range(0..1000)
}

fn quantile(table: Quantiles, rng: &mut ChaCha8Rng) -> f64 {
    let share: f64 = rng.random();
    let mut below = (0.0, 0.0);
    for &(upper, value) in table {
        if share < upper {
            let (lower, start) = below;
            return start + (value - start) * (share - lower) / (upper - lower);
        }
        below = (upper, value);
    }
    below.1
}

fn share(table: Shares, rng: &mut ChaCha8Rng) -> u8 {
    let mut rest = per_mille(rng);
    let mut last = 0;
    for &(value, count) in table {
        last = value;
        if rest < count {
            break;
        }
        rest -= count;
    }
    last
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn records(count: u64, flaw: Option<Flaw>) -> Vec<Vec<String>> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut out = Vec::new();
        for id in 1..=count {
            write_record(&mut out, id, MISSING, flaw, &mut rng);
        }
        let text = String::from_utf8_lossy(&out).into_owned();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn values_have_the_shape_of_the_real_ones() {
        let records = records(20_000, None);
        let width = HEADER.trim_end().split(',').count();
        assert!(records.iter().all(|record| record.len() == width));
        let missing = |column: usize| records.iter().filter(|record| record[column] == MISSING).count();
        assert!((3_600..4_400).contains(&missing(6)), "{}", missing(6));
        assert!((450..700).contains(&missing(11)), "{}", missing(11));
        let ages: Vec<u8> = records.iter().map(|record| record[3].parse().unwrap()).collect();
        assert!(ages.iter().all(|age| (21..=100).contains(age)));
        let mean = ages.iter().map(|age| f64::from(*age)).sum::<f64>() / ages.len() as f64;
        assert!((50.0..54.0).contains(&mean), "{mean}");
        for column in [2, 5] {
            assert!(records.iter().all(|record| record[column].parse::<f64>().is_ok_and(|value| value >= 0.0)));
        }
    }

    #[test]
    fn a_flaw_changes_nothing_else() {
        let sound = records(5, None);
        assert!(records(5, Some(Flaw::Short)).iter().zip(&sound).all(|(short, whole)| *short == whole[..11]));
        assert!(records(5, Some(Flaw::Long)).iter().zip(&sound).all(|(long, whole)| long[..12] == whole[..]));
        assert!(records(5, Some(Flaw::Age("forty"))).iter().all(|record| record[3] == "forty"));
        assert!(records(5, Some(Flaw::Id)).iter().all(|record| record[0].starts_with("A-")));
        assert!(records(5, Some(Flaw::NotUtf8)).iter().all(|record| record[3].ends_with('\u{fffd}')));
    }
}
