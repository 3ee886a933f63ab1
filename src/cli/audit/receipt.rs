//! The receipts of all feeds as one document, written while the ledger is read: it may be longer than memory.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use super::AuditArgs;
use crate::cli::output::{PageFormat, stdout, written};
use crate::cli::{Context, human};
use crate::error::Result;
use crate::feed::Feed;
use crate::receipt::{FileReceipt, receipts};
use crate::warehouse::Warehouse;

pub async fn print(args: &AuditArgs, context: &Context, feeds: &[&Feed], now: DateTime<Utc>) -> Result<()> {
    let warehouse = context.warehouse().await?;
    let mut document = Document { out: stdout(), json: args.output == PageFormat::Json, files: 0 };
    let source = context.source()?.url().to_string();
    if written(document.begin(&source, now))?.is_none() {
        return Ok(());
    }
    for feed in feeds {
        document.feed(warehouse.as_ref(), feed, args.since).await?;
    }
    written(document.end()).map(drop)
}

struct Document<W> {
    out: W,
    json: bool,
    files: u64,
}

impl<W: Write + Send> Document<W> {
    fn begin(&mut self, source: &str, now: DateTime<Utc>) -> io::Result<()> {
        let made = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let loadline = env!("CARGO_PKG_VERSION");
        match self.json {
            true => {
                let head = [("loadline", json!(loadline)), ("made", json!(made)), ("source", json!(source))];
                let head = head.map(|(name, value)| format!("  \"{name}\": {value},\n")).concat();
                write!(self.out, "{{\n{head}  \"files\": [")
            }
            false => writeln!(self.out, "what loadline {loadline} has loaded from {source}, as of {made}\n"),
        }
    }

    /// Every file of a feed, and for people, how to count the last one of each table again.
    async fn feed(&mut self, warehouse: &dyn Warehouse, feed: &Feed, since: Option<DateTime<Utc>>) -> Result<()> {
        let mut last: Option<FileReceipt> = None;
        receipts(warehouse, feed, since, |receipt| {
            let goes_on = written(self.file(&receipt))?.is_some();
            last = Some(receipt);
            Ok(goes_on)
        })
        .await?;
        let example = last.filter(|_| !self.json);
        example.map_or(Ok(()), |receipt| written(self.example(&receipt)).map(drop))
    }

    fn file(&mut self, receipt: &FileReceipt) -> io::Result<()> {
        let first = self.files == 0;
        self.files += 1;
        match self.json {
            true => {
                self.out.write_all(if first { b"\n    " } else { b",\n    " })?;
                serde_json::to_writer(&mut self.out, receipt).map_err(io::Error::from)
            }
            false => writeln!(self.out, "{receipt}"),
        }
    }

    fn example(&mut self, receipt: &FileReceipt) -> io::Result<()> {
        let FileReceipt { file, table, sql, rejects_sql, .. } = receipt;
        writeln!(
            self.out,
            "In any client of the database, for file {file} of table {table}:\n\n  {sql};\n\n  {rejects_sql};\n\n\
             For other files put their number in its place; -o json has the statements of each.\n"
        )
    }

    fn end(&mut self) -> io::Result<()> {
        match self.json {
            true => writeln!(self.out, "\n  ]\n}}")?,
            false => writeln!(self.out, "{}", human::counted(self.files, "file"))?,
        }
        self.out.flush()
    }
}
