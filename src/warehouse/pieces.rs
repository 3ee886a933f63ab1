//! How an audit cuts its counting into statements that end in time, whatever the size of the files.
//!
//! Invariant: every record number of every file lies in exactly one piece, also those that no record has: the last piece
//! of a file is open at its end. What is counted of a file is the sum over its pieces.

use std::collections::BTreeMap;

use super::{AuditedFile, FileNumber, TableSpec, checksum_rule};

/// Records that one statement looks at, about. A server answers that in seconds.
const RECORDS_MAX: u64 = 1_000_000;

/// What one statement counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub table: String,
    pub files: Vec<FileNumber>,
    /// Only records above; `None`: from the first on.
    pub after: Option<u64>,
    /// Only records up to here; `None`: to the last one.
    pub to: Option<u64>,
    /// Whether the rows are to be summed up as well.
    pub summed: bool,
}

/// What a piece found of one file.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub file: FileNumber,
    pub rows: u64,
    /// Records that are due to be there, each once.
    pub due: u64,
    pub checksum: Option<i64>,
}

impl AuditedFile {
    /// Adds what a piece found.
    pub fn add(&mut self, found: Found) {
        self.rows += found.rows;
        self.surplus += found.rows - found.due;
        self.checksum = self.checksum.map(|sum| sum.wrapping_add(found.checksum.unwrap_or_default()));
    }
}

/// Everything that is to be counted of a page of files. With `deep`, those whose checksum `table` can tell get one, which
/// is 0 so far: of what lies in another table, was loaded under another rule, or is on its way out, it can't.
pub fn pieces(files: &mut [AuditedFile], table: &TableSpec, deep: bool) -> Vec<Piece> {
    let rule = checksum_rule(table);
    let mut groups: BTreeMap<(String, bool), Vec<(FileNumber, u64)>> = BTreeMap::new();
    for file in files {
        let entry = &file.entry;
        let same_rule = entry.progress.checksum_rule.as_deref() == Some(&rule);
        let summed = deep && entry.table == table.name && same_rule && !file.walking_back;
        file.checksum = summed.then_some(0);
        groups.entry((entry.table.clone(), summed)).or_default().push((entry.file, entry.progress.records_done));
    }
    let groups = groups.iter().flat_map(|((table, summed), files)| cut(table, *summed, files, RECORDS_MAX));
    groups.collect()
}

fn cut(table: &str, summed: bool, files: &[(FileNumber, u64)], records_max: u64) -> Vec<Piece> {
    let piece = |file, after, to| Piece { table: table.to_owned(), files: vec![file], after, to, summed };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut room = 0;
    for &(file, records) in files {
        if records > records_max {
            let count = records.div_ceil(records_max);
            let after = |n| (n > 0).then_some(n * records_max);
            let to = |n| (n + 1 < count).then_some((n + 1) * records_max);
            pieces.extend((0..count).map(|n| piece(file, after(n), to(n))));
            room = 0;
        } else if let Some(piece) = pieces.last_mut().filter(|_| records < room) {
            piece.files.push(file);
            room -= records + 1;
        } else {
            pieces.push(piece(file, None, None));
            room = records_max - records;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(files: &[FileNumber], after: Option<u64>, to: Option<u64>) -> Piece {
        Piece { table: "t".to_owned(), files: files.to_vec(), after, to, summed: true }
    }

    #[test]
    fn small_files_share_a_statement_and_large_ones_are_cut() {
        let files = [(1, 4), (2, 4), (3, 4), (4, 25), (5, 0), (6, 10), (7, 1)];
        let expected = [
            piece(&[1, 2], None, None),
            piece(&[3], None, None),
            piece(&[4], None, Some(10)),
            piece(&[4], Some(10), Some(20)),
            piece(&[4], Some(20), None),
            piece(&[5], None, None),
            piece(&[6], None, None),
            piece(&[7], None, None),
        ];
        assert_eq!(cut("t", true, &files, 10), expected);
    }

    #[test]
    fn every_record_is_in_one_piece() {
        let files: Vec<(FileNumber, u64)> = (0..40).map(|n| (n, (n as u64 * 7) % 35)).collect();
        let pieces = cut("t", true, &files, 10);
        for (file, records) in &files {
            for record in 0..=records + 30 {
                let holds = |piece: &&Piece| {
                    piece.files.contains(file)
                        && piece.after.is_none_or(|after| record > after)
                        && piece.to.is_none_or(|to| record <= to)
                };
                assert_eq!(pieces.iter().filter(holds).count(), 1, "record {record} of file {file}");
            }
        }
    }
}
