//! `sql`: ad-hoc questions to files.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::{ArgGroup, Args};
use futures::StreamExt;

use super::output::{self, Format, Printer, Value};
use super::{Context, Exit, jobs};
use crate::engine;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::job::JobId;
use crate::source::{self, FileRef, Source};

/// Ask SQL of the files themselves, loaded or not
///
/// Two tables are there. `source`: every record as it stands in the files, all columns as
/// text, with `_uri`, `_record`, `_line`, `_offset`, `_error` and `_raw`. `clean`: the same
/// records as `etl` would load them. Read-only: no DDL, no writes, and no other path of the
/// machine can be reached. The SQL is DataFusion's.
///
///   loadline sql --job 1 "SELECT age, count(*) FROM clean GROUP BY age ORDER BY age"
///   loadline sql --job 1 "SELECT _line, _error, _raw FROM source WHERE _error IS NOT NULL"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("which").args(["job", "uri"]).required(true).multiple(false))]
pub struct SqlArgs {
    /// The files of this job
    #[arg(long, value_name = "ID")]
    pub job: Option<JobId>,

    /// This file of the source, also if it is in no job; may be given several times
    #[arg(long, value_name = "URI")]
    pub uri: Vec<String>,

    /// Whose schema --uri is read by; needed only where the config has several feeds
    #[arg(long, value_name = "FEED", conflicts_with = "job")]
    pub feed: Option<String>,

    /// One SELECT over `source` and `clean`
    pub query: String,

    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

pub async fn run(args: &SqlArgs, context: &Context) -> Result<Exit> {
    let source = context.source()?;
    let (feed, files) = match args.job {
        Some(id) => files_of_job(id, context).await?,
        None => files_by_uri(args, context, &source).await?,
    };
    let mut batches = engine::query(&source, feed, &files, &args.query).await?;
    // What fails at once fails before anything is printed.
    let mut next = batches.next().await.transpose().map_err(engine::from_datafusion)?;
    let columns = batches.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut out = output::stdout();
    let Some(mut printer) = output::written(Printer::new(args.output, columns, &mut out))? else {
        return Ok(Exit::Done);
    };
    while let Some(batch) = next {
        if output::written(print_batch(&batch, &mut printer)?)?.is_none() {
            return Ok(Exit::Done);
        }
        next = batches.next().await.transpose().map_err(engine::from_datafusion)?;
    }
    if output::written(printer.finish())?.is_some() {
        output::written(out.flush())?;
    }
    Ok(Exit::Done)
}

async fn files_of_job(id: JobId, context: &Context) -> Result<(&Feed, Vec<FileRef>)> {
    let store = context.job_store().await?;
    let job = jobs::job(id, store.as_ref()).await?;
    let files = store.files_of(id).await?.into_iter();
    let files = files.map(|file| FileRef { key: file.key, version: file.version, size: file.size }).collect();
    Ok((context.config.feed(&job.feed)?, files))
}

async fn files_by_uri<'a>(args: &SqlArgs, context: &'a Context, source: &Source) -> Result<(&'a Feed, Vec<FileRef>)> {
    let mut files = Vec::with_capacity(args.uri.len());
    for uri in &args.uri {
        let elsewhere = || {
            Error::config(format!("{uri} is not under the source {}", source.url()))
                .hint("only files of the configured source can be read; give their full URI")
        };
        let key = source.key_of(uri).ok_or_else(elsewhere)?;
        let found = source::head(source, &key).await?;
        let found = found.ok_or_else(|| Error::config(format!("{uri} does not exist")))?;
        files.push(FileRef { key: found.key, version: found.version, size: found.size });
    }
    let feed = match (&args.feed, context.config.feeds.as_slice()) {
        (Some(name), _) => context.config.feed(name)?,
        (None, [only]) => only,
        (None, _) => {
            return Err(Error::config("the config has several feeds").hint("say by which to read: --feed FEED"));
        }
    };
    Ok((feed, files))
}

/// The outer result is about the values, the inner one about the output.
fn print_batch(batch: &RecordBatch, printer: &mut Printer<'_>) -> Result<std::io::Result<()>> {
    for row in 0..batch.num_rows() {
        let values: Result<Vec<Value>> = batch.columns().iter().map(|column| value(column, row)).collect();
        if let Err(error) = printer.row(&values?) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Numbers and booleans keep their kind; bytes are shown as text; the rest is what Arrow prints.
fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => Value::UInt(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => Value::Float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            shown(column, row)?.parse().map_or(Value::Null, Value::Int)
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => Value::Decimal(shown(column, row)?),
        DataType::BinaryView => Value::Text(String::from_utf8_lossy(column.as_binary_view().value(row)).into_owned()),
        DataType::Binary => Value::Text(String::from_utf8_lossy(column.as_binary::<i32>().value(row)).into_owned()),
        _ => Value::Text(shown(column, row)?),
    })
}

fn shown(column: &ArrayRef, row: usize) -> Result<String> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options);
    let formatter = formatter.map_err(|error| Error::internal("a column can't be shown").caused_by(error))?;
    Ok(formatter.value(row).to_string())
}
