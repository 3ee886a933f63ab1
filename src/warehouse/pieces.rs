//! How an audit cuts its counting into statements that end in time, whatever the size of the files.
//!
//! Invariant: every record number of every file lies in exactly one piece, also those that no record has: the last piece
//! of a file is open at its end. What is counted of a file is the sum over its pieces.

use super::FileNumber;

/// Records that one statement looks at, about. A server answers that in seconds.
const RECORDS_MAX: u64 = 1_000_000;

/// Files, and which of their records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub files: Vec<FileNumber>,
    /// Only records above; `None`: from the first on.
    pub after: Option<u64>,
    /// Only records up to here; `None`: to the last one.
    pub to: Option<u64>,
}

/// Pieces of files with so many records each, in the order given.
pub fn pieces(files: &[(FileNumber, u64)]) -> Vec<Piece> {
    cut(files, RECORDS_MAX)
}

fn cut(files: &[(FileNumber, u64)], records_max: u64) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut room = 0;
    for &(file, records) in files {
        if records > records_max {
            pieces.extend(ranges(file, records, records_max));
            room = 0;
        } else if let Some(piece) = pieces.last_mut().filter(|_| records < room) {
            piece.files.push(file);
            room -= records + 1;
        } else {
            pieces.push(Piece { files: vec![file], after: None, to: None });
            room = records_max.saturating_sub(records);
        }
    }
    pieces
}

fn ranges(file: FileNumber, records: u64, records_max: u64) -> impl Iterator<Item = Piece> {
    let count = records.div_ceil(records_max);
    (0..count).map(move |n| Piece {
        files: vec![file],
        after: (n > 0).then_some(n * records_max),
        to: (n + 1 < count).then_some((n + 1) * records_max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(files: &[FileNumber], after: Option<u64>, to: Option<u64>) -> Piece {
        Piece { files: files.to_vec(), after, to }
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
        assert_eq!(cut(&files, 10), expected);
    }

    #[test]
    fn every_record_is_in_one_piece() {
        let files: Vec<(FileNumber, u64)> = (0..40).map(|n| (n, (n as u64 * 7) % 35)).collect();
        for (file, records) in &files {
            for record in 0..=records + 30 {
                let holds = |piece: &&Piece| {
                    piece.files.contains(file)
                        && piece.after.is_none_or(|after| record > after)
                        && piece.to.is_none_or(|to| record <= to)
                };
                assert_eq!(cut(&files, 10).iter().filter(holds).count(), 1, "record {record} of file {file}");
            }
        }
    }
}
