//! A raw file that is merged: its rows of a span, read in parts from the sink.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, Scalar, TimestampMicrosecondArray};
use arrow::compute::kernels::cmp::{gt_eq, lt};
use arrow::compute::{and, cast};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use futures::{Stream, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::file::metadata::ParquetMetaData;

use super::span::Span;
use super::{MergeError, schema};
use crate::compact::footer::{self, Footer, FooterError, Tail, group_bounds, time_column};
use crate::compact::pace::PacedSink;
use crate::core::shard::Topic;

/// What is read of a file at first: footer and page indexes of most.
const TAIL: u64 = 64 << 10;
/// Rows of a batch.
const BATCH: usize = 8192;

/// A raw file whose footer is read.
pub struct RawSource {
    /// Its path.
    pub path: String,
    /// What it holds.
    pub footer: Footer,
    /// Of the settings that it was written with.
    pub fingerprint: String,
    metadata: Arc<ParquetMetaData>,
    topic: Topic,
}

impl RawSource {
    /// Reads the footer of the file of `bytes` bytes at `path`, with its page indexes where its rows are to be read.
    ///
    /// # Errors
    /// Where it is gone or none of ours.
    pub async fn open(
        sink: &PacedSink,
        path: &str,
        bytes: u64,
        topic: Topic,
        indexes: bool,
    ) -> Result<RawSource, MergeError> {
        let wrong = |error: FooterError| MergeError::Footer { path: path.to_owned(), error };
        let metadata = metadata(sink, path, bytes, indexes).await?;
        let footer = Footer::read(&metadata, topic).map_err(wrong)?;
        let fingerprint = footer::text(&metadata, "tipstream.fingerprint").map_err(wrong)?.to_owned();
        Ok(RawSource { path: path.to_owned(), footer, fingerprint, metadata: Arc::new(metadata), topic })
    }

    /// Its rows of a span, as the worker writes them.
    ///
    /// # Errors
    /// Where the file is none of ours; the stream also where it cannot be read.
    pub(super) fn rows(
        &self,
        sink: &PacedSink,
        topic: Topic,
        span: Span,
    ) -> Result<impl Stream<Item = Result<RecordBatch, MergeError>> + Unpin + use<>, MergeError> {
        let reader = sink.file(&self.path, self.metadata.clone());
        let metadata = ArrowReaderMetadata::try_new(self.metadata.clone(), ArrowReaderOptions::new())?;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
        let columns = builder.parquet_schema();
        let time = ProjectionMask::columns(columns, [time_column(topic)]);
        let is_inside = ArrowPredicateFn::new(time, move |rows| within(&rows, span));
        let stream = builder
            .with_row_groups(self.groups(span))
            .with_row_filter(RowFilter::new(vec![Box::new(is_inside)]))
            .with_batch_size(BATCH)
            .build()?;
        Ok(Box::pin(
            stream
                .map_err(MergeError::from)
                .and_then(move |rows| async move { Ok(as_written(&rows, topic)?) }),
        ))
    }

    /// Row groups that may have rows of a span.
    fn groups(&self, span: Span) -> Vec<usize> {
        let column = time_column(self.topic);
        let may = |group: &usize| {
            group_bounds(&self.metadata, *group, column).is_none_or(|times| span.overlaps(times))
        };
        (0..self.metadata.num_row_groups()).filter(may).collect()
    }
}

async fn metadata(
    sink: &PacedSink,
    path: &str,
    bytes: u64,
    indexes: bool,
) -> Result<ParquetMetaData, MergeError> {
    let mut needed = TAIL;
    loop {
        let tail = sink.read_range(path, bytes.saturating_sub(needed)..bytes).await?;
        let tail = tail.ok_or_else(|| MergeError::Gone(path.to_owned()))?;
        match footer::tail(&tail, bytes, indexes) {
            Ok(Tail::Metadata(metadata)) => return Ok(*metadata),
            Ok(Tail::Longer(longer)) => needed = longer,
            Err(error) => return Err(MergeError::Footer { path: path.to_owned(), error }),
        }
    }
}

fn within(times: &RecordBatch, span: Span) -> Result<BooleanArray, ArrowError> {
    let times = times.column(0).as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| ArrowError::SchemaError("event times are no timestamps".into()))?;
    let at = |micros| {
        Scalar::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone_opt(times.timezone()))
    };
    and(&gt_eq(times, &at(span.from))?, &lt(times, &at(span.to))?)
}

/// Parquet has a decimal of 64 bits read back as one of 128.
fn as_written(rows: &RecordBatch, topic: Topic) -> Result<RecordBatch, ArrowError> {
    let schema = schema(topic);
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let values = rows.column_by_name(field.name());
        let values = values.ok_or_else(|| ArrowError::SchemaError(format!("no column {}", field.name())))?;
        cast(values, field.data_type())
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}
