//! Rows into a table: multi-row prepared statements, the next one encoded while the server works on the last.
//!
//! A statement takes a power of two of rows, so that a table has a handful of prepared statements however its rows
//! fall: as many rows as its placeholders measure best, and fewer where they are long.
//!
//! Invariant: a value is stored as it is, or the statement fails. Whatever the server has to remark about a row, a
//! warning or a note, is an error.

use std::ops::Range;

use mysql_async::{Params, Statement, Value};

use super::connection::{Session, quote};
use super::fault::{Fault, place_of};
use super::value::field;
use crate::error::Error;
use crate::warehouse::insert_sql;

/// Limit of the protocol.
const PLACEHOLDERS_MAX: usize = 65_535;

/// Placeholders of a full statement. Measured with 12 columns: 250 to 1,000 rows are best, 5,000 a third slower.
const PLACEHOLDERS: usize = 8_192;

/// Rows of a full statement of a narrow table.
const ROWS_MAX: usize = 1_024;

/// A larger packet buys nothing, and from 16 MiB on the driver sends texts one by one.
const PACKET_MAX: usize = 4 * 1024 * 1024;

/// What the protocol adds to a value: its type, and its place in the bitmap of NULLs.
const VALUE_OVERHEAD: usize = 3;

/// Rows on their way into a table.
pub(super) trait Rows: Sync {
    fn table(&self) -> &str;
    fn columns(&self) -> Vec<&str>;
    fn len(&self) -> usize;
    /// The record that a row comes from.
    fn record(&self, row: usize) -> Result<u64, Fault>;
    /// Bytes of the row's values, about.
    fn size(&self, row: usize) -> usize;
    /// Appends the row's values, one a column.
    fn encode(&self, row: usize, values: &mut Vec<Value>) -> Result<(), Fault>;
}

/// Why rows were not inserted.
pub(super) enum Refused {
    /// The key of this record stands in the table already.
    Duplicate {
        record: u64,
    },
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// Inserts all rows. A duplicate key is looked for where `finds_duplicates`.
pub(super) async fn insert(session: &mut Session, rows: &dyn Rows, finds_duplicates: bool) -> Result<(), Refused> {
    let mut statements = Statements::of(rows, session.packet_max());
    statements.prepare(session, rows).await?;
    let mut chunk = statements.chunk(rows, 0)?;
    let mut values = encode(rows, &chunk)?;
    while !chunk.is_empty() {
        let next = statements.chunk(rows, chunk.end)?;
        let sent = statements.send(session, chunk.clone(), values);
        let (sent, encoded) = tokio::join!(sent, async { encode(rows, &next) });
        match sent {
            Err(fault) if fault.is_duplicate() && finds_duplicates => {
                return Err(statements.find_duplicate(session, rows, chunk).await?);
            }
            other => other.map_err(|fault| at_records(fault, rows, &chunk))?,
        }
        (chunk, values) = (next, encoded?);
    }
    Ok(())
}

fn encode(rows: &dyn Rows, chunk: &Range<usize>) -> Result<Vec<Value>, Fault> {
    let mut values = Vec::with_capacity(chunk.len() * rows.columns().len());
    chunk.clone().try_for_each(|row| rows.encode(row, &mut values))?;
    Ok(values)
}

/// The statements of one table.
struct Statements<'a> {
    table: &'a str,
    columns: Vec<&'a str>,
    rows_max: usize,
    /// The statement of that many rows, where there are as many: looking it up by its text reads the whole of it.
    full: Option<Statement>,
    /// Bytes that a statement of several rows may have.
    bytes_max: usize,
    /// Bytes that the server takes.
    packet_max: usize,
}

impl<'a> Statements<'a> {
    fn of(rows: &'a dyn Rows, packet_max: usize) -> Self {
        let (table, columns) = (rows.table(), rows.columns());
        let rows_max = rows_per_statement(columns.len());
        Self { table, columns, rows_max, full: None, bytes_max: PACKET_MAX.min(packet_max / 4), packet_max }
    }

    async fn prepare(&mut self, session: &mut Session, rows: &dyn Rows) -> Result<(), Fault> {
        if rows.len() >= self.rows_max {
            self.full = Some(session.prepare(&sql(self.table, &self.columns, self.rows_max)).await?);
        }
        Ok(())
    }

    /// The rows of the next statement; none at the end.
    fn chunk(&self, rows: &dyn Rows, first: usize) -> Result<Range<usize>, Fault> {
        let (mut count, mut bytes) = (0, 0);
        while first + count < rows.len() && count < self.rows_max {
            bytes += rows.size(first + count) + VALUE_OVERHEAD * self.columns.len();
            if count > 0 && bytes > self.bytes_max {
                break;
            }
            if bytes > self.packet_max {
                return Err(self.too_large(rows.record(first)?));
            }
            count += 1;
        }
        let power = count.checked_ilog2().map_or(0, |power| 1_usize << power);
        Ok(first..first + power)
    }

    fn too_large(&self, record: u64) -> Fault {
        let message = format!("record {record} is larger than the server takes: {} bytes", self.packet_max);
        Error::data(message).hint("raise `max_allowed_packet` there").into()
    }

    async fn send(&self, session: &mut Session, chunk: Range<usize>, values: Vec<Value>) -> Result<(), Fault> {
        let inserted = match &self.full {
            Some(full) if chunk.len() == self.rows_max => session.execute(full, Params::Positional(values)).await?,
            _ => session.execute(sql(self.table, &self.columns, chunk.len()), Params::Positional(values)).await?,
        };
        if session.warnings() > 0 {
            return Err(self.remarks(session).await?.into());
        }
        if inserted != chunk.len() as u64 {
            return Err(Error::internal("an insert did not take all of its rows").into());
        }
        Ok(())
    }

    /// What the server remarks about the last statement, without the values it quotes.
    async fn remarks(&self, session: &mut Session) -> Result<Error, Fault> {
        let mut remarks = Vec::new();
        for mut row in session.text_rows("SHOW WARNINGS LIMIT 3").await? {
            let (code, message): (u16, String) = (field(&mut row, "Code")?, field(&mut row, "Message")?);
            remarks.push(format!("{code}{}", place_of(&message)));
        }
        let message = format!("the server would have changed values of table {}: {}", self.table, remarks.join("; "));
        Ok(Error::data(message).hint("compare the table's columns with the schema file"))
    }

    /// The refused statement once more in halves, down to the one row that is to blame: a statement that fails takes
    /// nothing but its own rows back.
    async fn find_duplicate(
        &self,
        session: &mut Session,
        rows: &dyn Rows,
        mut chunk: Range<usize>,
    ) -> Result<Refused, Fault> {
        while chunk.len() > 1 {
            let middle = chunk.start + chunk.len() / 2;
            let half = chunk.start..middle;
            chunk = match self.send(session, half.clone(), encode(rows, &half)?).await {
                Err(fault) if fault.is_duplicate() => half,
                other => other.map(|()| middle..chunk.end)?,
            };
        }
        Ok(Refused::Duplicate { record: rows.record(chunk.start)? })
    }
}

fn sql(table: &str, columns: &[&str], rows: usize) -> String {
    insert_sql(table, columns, rows, |name| quote(name))
}

/// A power of two.
fn rows_per_statement(columns: usize) -> usize {
    let columns = columns.max(1);
    let rows = (PLACEHOLDERS / columns).min(PLACEHOLDERS_MAX / columns).clamp(1, ROWS_MAX);
    1 << rows.ilog2()
}

/// A refused value is somewhere in these records.
fn at_records(fault: Fault, rows: &dyn Rows, chunk: &Range<usize>) -> Fault {
    let ends = (rows.record(chunk.start), rows.record(chunk.end.saturating_sub(1)));
    match ends {
        (Ok(first), Ok(last)) => fault.within(format!("the insert of records {first} to {last}")),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_powers_of_two_within_the_protocol() {
        assert_eq!([2, 14, 100, 702, 4096].map(rows_per_statement), [1024, 512, 64, 8, 2]);
        for columns in 1..=4096 {
            let rows = rows_per_statement(columns);
            assert!(rows.is_power_of_two() && rows * columns <= PLACEHOLDERS_MAX);
        }
    }

    struct Fake(Vec<usize>);

    impl Rows for Fake {
        fn table(&self) -> &str {
            "t"
        }

        fn columns(&self) -> Vec<&str> {
            vec!["a", "b"]
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn record(&self, row: usize) -> Result<u64, Fault> {
            Ok(row as u64 + 1)
        }

        fn size(&self, row: usize) -> usize {
            self.0[row]
        }

        fn encode(&self, _row: usize, values: &mut Vec<Value>) -> Result<(), Fault> {
            values.extend([Value::Int(1), Value::Int(2)]);
            Ok(())
        }
    }

    fn chunks(rows: &Fake, packet_max: usize) -> Result<Vec<usize>, Fault> {
        let statements = Statements::of(rows, packet_max);
        let (mut sizes, mut at) = (Vec::new(), 0);
        loop {
            let chunk = statements.chunk(rows, at)?;
            if chunk.is_empty() {
                return Ok(sizes);
            }
            at = chunk.end;
            sizes.push(chunk.len());
        }
    }

    #[test]
    fn rows_are_cut_by_count_and_by_bytes_and_none_is_left_out() {
        assert_eq!(chunks(&Fake(vec![10; 1_500]), 1 << 24).unwrap(), [1024, 256, 128, 64, 16, 8, 4]);
        assert_eq!(chunks(&Fake(vec![94; 7]), 1_200).unwrap(), [2, 2, 2, 1]);
        assert_eq!(chunks(&Fake(vec![1_000; 2]), 1_200).unwrap(), [1, 1]);
        assert_eq!(chunks(&Fake(Vec::new()), 1_200).unwrap(), Vec::<usize>::new());
    }

    #[test]
    fn a_row_that_the_server_does_not_take_is_named() {
        let Err(Fault::Ours(error)) = chunks(&Fake(vec![10, 10, 2_000]), 1_200) else { panic!("it was taken") };
        assert!(error.to_string().contains("record 3"), "{error}");
    }
}
