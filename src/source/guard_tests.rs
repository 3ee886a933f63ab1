use proptest::prelude::*;

use super::*;

/// What the guard makes of a file fed in chunks of the given sizes, again and again.
struct Read {
    header: Option<Vec<u8>>,
    text: Vec<u8>,
    raws: Vec<Vec<u8>>,
    lines: Vec<u64>,
    offsets: Vec<u64>,
    /// (row from 0 in the file, reason)
    malformed: Vec<(usize, String)>,
}

fn read(file: &[u8], chunk: usize) -> Result<Read> {
    let mut guard = Guard::new(b',');
    let mut chunks = file.chunks(chunk.max(1));
    let mut next = |guard: &mut Guard| match chunks.next() {
        Some(chunk) => guard.feed(chunk),
        None => guard.end(),
    };
    let header = loop {
        match guard.header()? {
            Some(header) => break Some(header),
            None if guard.ended => break None,
            None => next(&mut guard),
        }
    };
    let mut read = Read { header, text: vec![], raws: vec![], lines: vec![], offsets: vec![], malformed: vec![] };
    loop {
        while let Some(block) = guard.next_block()? {
            let before = read.lines.len();
            assert_eq!(block.first_record, before as u64 + 1);
            read.raws.extend(block.raws().map(<[u8]>::to_vec));
            read.malformed.extend(block.malformed.iter().map(|bad| (before + bad.row, bad.reason.clone())));
            read.text.extend_from_slice(&block.text);
            read.lines.extend(block.lines);
            read.offsets.extend(block.offsets);
        }
        if guard.ended {
            return Ok(read);
        }
        next(&mut guard);
    }
}

fn whole(file: &str) -> Read {
    read(file.as_bytes(), usize::MAX).unwrap()
}

#[test]
fn plain_records_are_passed_on_as_they_are() {
    let read = whole("a,b\n1,2\n3,4\n");
    assert_eq!(read.header.as_deref(), Some(b"a,b".as_slice()));
    assert_eq!(read.text, b"1,2\n3,4\n");
    assert_eq!((read.lines, read.offsets), (vec![2, 3], vec![4, 8]));
}

#[test]
fn line_ends_byte_order_marks_and_blank_lines_are_not_records() {
    let read = whole("\u{feff}a,b\r\n\r\n1,2\r\n\n3,4\r5,6");
    assert_eq!(read.header.as_deref(), Some(b"a,b".as_slice()));
    assert_eq!(read.text, b"1,2\n3,4\n5,6\n");
    assert_eq!(read.lines, [3, 5, 6]);
    assert_eq!(read.offsets, [10, 16, 20]);
}

#[test]
fn quoted_newlines_stay_in_their_record() {
    let read = whole("a,b\n1,\"x\ny\"\"\n\"\n3,4\n");
    assert_eq!(read.text, b"1,\"x\ny\"\"\n\"\n3,4\n");
    assert_eq!(read.lines, [2, 5]);
    assert!(read.malformed.is_empty());
}

#[test]
fn malformed_records_leave_an_empty_one_and_their_bytes() {
    let file = b"a,b\n1\n2,\xff\n3,4,5\n6,7\n";
    let read = read(file, usize::MAX).unwrap();
    assert_eq!(read.text, b",\n,\n,\n6,7\n");
    let reasons: Vec<&str> = read.malformed.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["has 1 fields, the header has 2", "is not valid UTF-8", "has 3 fields, the header has 2"]);
    assert_eq!(read.raws, [b"1".to_vec(), b"2,\xff".to_vec(), b"3,4,5".to_vec(), b"6,7".to_vec()]);
}

#[test]
fn a_malformed_record_of_one_column_is_still_a_record() {
    let read = whole("a\n1,2\n3\n");
    assert_eq!(read.text, b"\"\"\n3\n");
}

#[test]
fn an_unterminated_quote_names_where_it_was_opened() {
    let error = read(b"a,b\n1,2\n3,\"x\n4,5\n", 3).err().unwrap().to_string();
    assert_eq!(
        error,
        "unterminated quote: opened in field 2 of record 2 (line 3, byte 8), on line 3 at byte 10 and never closed"
    );
}

#[test]
fn a_record_that_is_too_long_is_rejected_in_bounded_memory() {
    for (open, close) in [("", ""), ("\"", "\"")] {
        let long = "x".repeat(3 * RECORD_BYTES_MAX);
        let file = format!("a,b\n1,{open}{long}{close}\n2,3\n");
        let mut guard = Guard::new(b',');
        let mut largest = 0;
        let mut blocks = Vec::new();
        let mut header = None;
        for chunk in file.as_bytes().chunks(64 * 1024) {
            guard.feed(chunk);
            if header.is_none() {
                header = guard.header().unwrap();
            }
            blocks.extend(guard.next_block().unwrap());
            largest = largest.max(guard.buffer.len());
        }
        guard.end();
        blocks.extend(guard.next_block().unwrap());
        assert!(largest <= RECORD_BYTES_MAX + 2 * 64 * 1024, "{largest}");
        assert_eq!(blocks[0].text, b",\n2,3\n");
        assert_eq!(blocks[0].malformed[0].reason, "longer than 1048576 bytes");
        assert_eq!(blocks[0].malformed[0].raw.len(), RAW_BYTES_MAX);
        assert_eq!(blocks[0].offsets[1], file.len() as u64 - 4);
    }
}

#[test]
fn an_endless_quote_is_held_in_bounded_memory() {
    let mut guard = Guard::new(b',');
    guard.feed(b"a,b\n1,\"");
    guard.header().unwrap();
    for _ in 0..200 {
        guard.feed(&[b'x'; 64 * 1024]);
        assert!(guard.next_block().unwrap().is_none());
        assert!(guard.buffer.len() < 2 * RECORD_BYTES_MAX);
    }
    guard.end();
    let error = guard.next_block().err().unwrap().to_string();
    assert!(error.contains("field 2 of record 1 (line 2, byte 4), on line 2 at byte 6"), "{error}");
}

/// The csv crate's reading of the records behind the header, as the reference.
fn reference(file: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let records = reader.byte_records().map(|record| record.unwrap());
    records.map(|record| record.iter().map(<[u8]>::to_vec).collect()).collect()
}

fn csv_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b",".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"\"\"".to_vec()),
        Just(b"ab".to_vec()),
        Just("é".as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Records, widths and values are those of the csv crate; an error only where a quote is open at the end.
    #[test]
    fn agrees_with_the_csv_crate(body in csv_like(), chunk in 1_usize..20) {
        let file = [b"h1,h2\n".as_slice(), &body].concat();
        let expected = &reference(&file)[1..];
        match read(&file, chunk) {
            Ok(read) => {
                prop_assert_eq!(read.raws.len(), expected.len());
                for (row, record) in expected.iter().enumerate() {
                    let bad = read.malformed.iter().any(|(at, _)| *at == row);
                    prop_assert_eq!(bad, record.len() != 2, "row {}", row);
                }
                let good: Vec<_> = expected.iter().filter(|record| record.len() == 2).cloned().collect();
                let passed = reference(&read.text);
                let empty = vec![Vec::<u8>::new(), Vec::new()];
                let passed: Vec<_> = passed
                    .iter()
                    .enumerate()
                    .filter(|(row, _)| !read.malformed.iter().any(|(at, _)| at == row))
                    .map(|(_, record)| record.clone())
                    .collect();
                prop_assert_eq!(passed, good);
                prop_assert!(read.malformed.iter().all(|(row, _)| reference(&read.text)[*row] == empty));
            }
            Err(_) => {
                // Closing the quote makes one more or the same record; only then was the error right.
                let closed = [file.as_slice(), b"\""].concat();
                prop_assert!(read(&closed, chunk).is_ok());
            }
        }
    }

    /// The cut into chunks changes nothing.
    #[test]
    fn any_cut_gives_the_same(body in csv_like(), chunk in 1_usize..20) {
        let file = [b"h1,h2\n".as_slice(), &body].concat();
        match (read(&file, usize::MAX), read(&file, chunk)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.text, other.text);
                prop_assert_eq!(one.raws, other.raws);
                prop_assert_eq!(one.lines, other.lines);
                prop_assert_eq!(one.offsets, other.offsets);
                prop_assert_eq!(one.malformed, other.malformed);
            }
            (Err(one), Err(other)) => prop_assert_eq!(one.to_string(), other.to_string()),
            _ => prop_assert!(false, "one failed, the other did not"),
        }
    }
}
