//! One file as a stream of record batches: bytes through the guard, its blocks through arrow-csv's decoder.
//!
//! Invariant: row *i* of all batches together is record *i* of the file; the decoder must agree with the guard on the
//! number of records in every block, or the stream ends in an error.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BinaryViewBuilder, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, UInt64Array,
};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Decoder;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use futures::StreamExt;
use regex::Regex;

use super::block::Block;
use super::decompress::decompress;
use super::fingerprint::{FingerprintCell, fingerprinted};
use super::guard::Guard;
use super::header;
use super::pinned::{self, ByteStream};
use super::table::SideColumn;
use super::{FileRef, Source};
use crate::error::{Error, Result};
use crate::feed::Schema;

const DELIMITER: u8 = b',';

/// Matches no text, so that an empty value stays an empty value: what is missing is for the cleaning to say. The decoder
/// asks it of every value. That it could only ever match 1,000 bytes lets the regex crate answer by the length, which
/// makes reading half as fast again as with a pattern such as `[^\s\S]`.
static NEVER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A\z[x]{1000}\z").ok());

/// A column that a reader is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Position among the declared columns.
    Declared(usize),
    Side(SideColumn),
}

pub struct RecordReader {
    source: Source,
    file: FileRef,
    /// Takes the file's fingerprint, where somebody has asked for it.
    fingerprint: Option<FingerprintCell>,
    uri: String,
    schema: Arc<Schema>,
    wanted: Vec<Wanted>,
    output: SchemaRef,
    opened: bool,
    /// `None` before it is opened and from its end on.
    bytes: Option<ByteStream>,
    guard: Guard,
    /// Made when the header is known; `None` inside where no declared column is wanted.
    columns: Option<DeclaredColumns>,
}

/// The declared columns that are wanted, decoded from the order of the file.
struct DeclaredColumns {
    /// Columns of the file.
    width: usize,
    /// Positions of the wanted ones.
    projection: Vec<usize>,
    decoder: Option<Decoder>,
    /// How many records the decoder takes at a time.
    capacity: usize,
}

impl RecordReader {
    pub(super) fn new(
        source: Source,
        file: FileRef,
        fingerprint: Option<FingerprintCell>,
        schema: Arc<Schema>,
        wanted: Vec<Wanted>,
        output: SchemaRef,
    ) -> Self {
        let uri = source.uri(&file.key);
        let guard = Guard::new(DELIMITER);
        Self {
            source,
            file,
            fingerprint,
            uri,
            schema,
            wanted,
            output,
            opened: false,
            bytes: None,
            guard,
            columns: None,
        }
    }

    /// The next batch, `None` at the end of the file. After an error there is no more.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.advance().await;
        batch.map_err(|error| error.context(self.file.key.clone()))
    }

    async fn advance(&mut self) -> Result<Option<RecordBatch>> {
        if !self.opened {
            let mut bytes = pinned::open(&self.source, &self.file).await?;
            if let Some(cell) = &self.fingerprint {
                bytes = fingerprinted(bytes, cell.clone());
            }
            self.bytes = Some(decompress(&self.file.key, bytes));
            self.opened = true;
        }
        loop {
            if self.columns.is_none() {
                self.read_header()?;
            }
            if self.columns.is_some()
                && let Some(block) = self.guard.next_block()?
            {
                return self.batch(&block).map(Some);
            }
            if !self.read_bytes().await? {
                return self.last_batch();
            }
        }
    }

    /// What is left when the guard has been told of the end. A file without any record has not even a header.
    fn last_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.columns.is_none() && !self.read_header()? {
            return Ok(None);
        }
        match self.guard.next_block()? {
            Some(block) => self.batch(&block).map(Some),
            None => Ok(None),
        }
    }

    /// Feeds the guard; false at the end of the file, of which the guard has then been told.
    async fn read_bytes(&mut self) -> Result<bool> {
        let next = match &mut self.bytes {
            Some(bytes) => bytes.next().await,
            None => None,
        };
        match next {
            Some(chunk) => self.guard.feed(&chunk?),
            None => {
                self.bytes = None;
                self.guard.end();
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_header(&mut self) -> Result<bool> {
        let Some(record) = self.guard.header()? else { return Ok(false) };
        let found = header::cells(&record, DELIMITER)?;
        let positions = header::match_columns(&self.schema, &found)?;
        let projection: Vec<usize> = self
            .wanted
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Declared(column) => Some(positions[*column]),
                Wanted::Side(_) => None,
            })
            .collect();
        self.columns = Some(DeclaredColumns { width: found.len(), projection, decoder: None, capacity: 0 });
        Ok(true)
    }

    fn batch(&mut self, block: &Block) -> Result<RecordBatch> {
        let declared = match &mut self.columns {
            Some(columns) => columns.decode(block)?,
            None => Vec::new(),
        };
        let mut declared = declared.into_iter();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.wanted.len());
        for wanted in &self.wanted {
            arrays.push(match wanted {
                Wanted::Declared(_) => declared.next().ok_or_else(|| Error::internal("a decoded column is missing"))?,
                Wanted::Side(side) => side_column(*side, block, &self.uri),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(block.len()));
        RecordBatch::try_new_with_options(self.output.clone(), arrays, &options)
            .map_err(|error| Error::internal("records and their places do not fit together").caused_by(error))
    }
}

impl DeclaredColumns {
    fn decode(&mut self, block: &Block) -> Result<Vec<ArrayRef>> {
        if self.projection.is_empty() {
            return Ok(Vec::new());
        }
        // A decoder clears memory for all the records that it could take: a small file must not pay for a large block.
        if self.decoder.is_none() || self.capacity < block.len() {
            self.capacity = block.len().next_power_of_two();
            self.decoder = Some(new_decoder(self.width, self.projection.clone(), self.capacity)?);
        }
        let decoder = self.decoder.as_mut().ok_or_else(|| Error::internal("there is no decoder"))?;
        decode(decoder, block)
    }
}

/// A decoder over `width` text columns that hands out those of `projection`, in its order.
fn new_decoder(width: usize, projection: Vec<usize>, capacity: usize) -> Result<Decoder> {
    let fields: Vec<Field> = (0..width).map(|i| Field::new(format!("c{i}"), DataType::Utf8, true)).collect();
    let never = NEVER.clone().ok_or_else(|| Error::internal("the regex that never matches is none"))?;
    let mut decoder = ReaderBuilder::new(Arc::new(ArrowSchema::new(fields)))
        .with_delimiter(DELIMITER)
        .with_null_regex(never)
        .with_projection(projection)
        .with_batch_size(capacity)
        .with_header(true)
        .build_decoder();
    // The guard has the real header. This one is for csv-core, which would take U+FEFF at the start of the first
    // record for a byte-order mark and drop it.
    let header = format!("x{}\n", ",".repeat(width - 1));
    decoder.decode(header.as_bytes()).map_err(decoder_error)?;
    Ok(decoder)
}

fn decode(decoder: &mut Decoder, block: &Block) -> Result<Vec<ArrayRef>> {
    let mut rest = block.text.as_slice();
    while !rest.is_empty() {
        let read = decoder.decode(rest).map_err(decoder_error)?;
        if read == 0 {
            return Err(Error::internal("the decoder found more records than the guard"));
        }
        rest = &rest[read..];
    }
    let batch = decoder.flush().map_err(decoder_error)?;
    let batch = batch.ok_or_else(|| Error::internal("the decoder found no record in a block"))?;
    if batch.num_rows() != block.len() {
        let (decoded, guarded) = (batch.num_rows(), block.len());
        return Err(Error::internal(format!("the decoder found {decoded} records where the guard found {guarded}")));
    }
    Ok(batch.columns().to_vec())
}

fn decoder_error(error: arrow::error::ArrowError) -> Error {
    Error::internal("the decoder refused what the guard let through").caused_by(error)
}

fn side_column(side: SideColumn, block: &Block, uri: &str) -> ArrayRef {
    let rows = block.len();
    match side {
        SideColumn::Uri => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(uri, rows))),
        SideColumn::Record => {
            let first = block.first_record;
            Arc::new(UInt64Array::from_iter_values(first..first + rows as u64))
        }
        SideColumn::Line => Arc::new(UInt64Array::from(block.lines.clone())),
        SideColumn::Offset => Arc::new(UInt64Array::from(block.offsets.clone())),
        SideColumn::Error => error_column(block),
        SideColumn::Raw => {
            let mut raws = BinaryViewBuilder::with_capacity(rows);
            block.raws().for_each(|raw| raws.append_value(raw));
            Arc::new(raws.finish())
        }
    }
}

fn error_column(block: &Block) -> ArrayRef {
    if block.malformed.is_empty() {
        return Arc::new(StringArray::new_null(block.len()));
    }
    let mut errors = StringBuilder::new();
    let mut malformed = block.malformed.iter().peekable();
    for row in 0..block.len() {
        errors.append_option(malformed.next_if(|bad| bad.row == row).map(|bad| bad.reason.as_str()));
    }
    let errors = errors.finish();
    debug_assert_eq!(errors.len() - errors.null_count(), block.malformed.len());
    Arc::new(errors)
}
