//! The rows that every contender loads: the demo's made-up loan applications from a fixed seed, in hourly files, and what
//! a right load of them adds up to.

use std::path::{Path, PathBuf};

use loadline::demo::{MISSING, write_record};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const SEED: u64 = 20_260_131;
const NAME: &str = "loan_applications.csv";

/// What the table must add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    pub rows: u64,
    pub id_sum: u64,
    pub age_sum: u64,
    pub incomes_missing: u64,
}

impl Truth {
    /// As [`Truth::sql`] answers it.
    pub fn text(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.rows, self.id_sum, self.age_sum, self.incomes_missing)
    }

    pub fn sql(table: &str) -> String {
        format!("SELECT count(*), sum(id), sum(age), sum(monthly_income IS NULL) FROM {table}")
    }
}

pub struct Data {
    pub folder: PathBuf,
    /// In the order of their hours.
    pub keys: Vec<String>,
    pub bytes: u64,
    pub truth: Truth,
}

impl Data {
    /// Writes `rows` records, dealt over `files` files with the given header, below `folder`.
    pub fn make(folder: &Path, header: &str, rows: u64, files: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut truth = Truth { rows, id_sum: 0, age_sum: 0, incomes_missing: 0 };
        let (mut keys, mut bytes, mut id) = (Vec::new(), 0, 0);
        for file in 0..files {
            let mut text = header.as_bytes().to_vec();
            let last = rows * (file + 1) / files;
            while id < last {
                id += 1;
                let start = text.len();
                let missing = write_record(&mut text, id, MISSING, None, &mut rng);
                truth.id_sum += id;
                truth.age_sum += age(&text[start..]);
                truth.incomes_missing += u64::from(missing);
            }
            let key = format!("2026/01/{:02}/{:02}/{NAME}", 1 + file / 24, file % 24);
            let path = folder.join(&key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
            bytes += text.len() as u64;
            keys.push(key);
        }
        Self { folder: folder.to_owned(), keys, bytes, truth }
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.keys.iter().map(|key| self.folder.join(key)).collect()
    }
}

fn age(record: &[u8]) -> u64 {
    std::str::from_utf8(record).unwrap().split(',').nth(3).unwrap().parse().unwrap()
}
