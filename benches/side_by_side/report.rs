//! The table at the end: medians of the rounds, and ratios to `LOAD DATA` at the same number of connections.

use crate::measure::Cost;

/// All rounds of one contender.
pub struct Rounds {
    pub name: String,
    /// Which contender is 1.00.
    pub against: String,
    pub rows: u64,
    pub costs: Vec<Cost>,
}

impl Rounds {
    fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        let mut values: Vec<f64> = self.costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.median(|cost| cost.wall)
    }

    /// CPU seconds of client and server together for a million rows.
    fn cpu(&self) -> f64 {
        self.per_million(|cost| cost.client + cost.server)
    }

    fn per_million(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        self.median(of) * 1e6 / self.rows as f64
    }
}

/// As Markdown, so that it can be kept as it is.
pub fn print(all: &[Rounds]) {
    println!("| contender | rows/s | x wall | client CPU s/M rows | server CPU s/M rows | x CPU | peak MiB |");
    println!("|---|---|---|---|---|---|---|");
    for rounds in all {
        let base = all.iter().find(|other| other.name == rounds.against).unwrap_or(rounds);
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            rounds.name,
            rounds.rows_per_second(),
            rounds.rows_per_second() / base.rows_per_second(),
            rounds.per_million(|cost| cost.client),
            rounds.per_million(|cost| cost.server),
            base.cpu() / rounds.cpu(),
            rounds.median(|cost| cost.memory as f64) / 1048576.0,
        );
    }
}
