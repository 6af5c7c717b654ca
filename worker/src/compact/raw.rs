//! Raw files merged into one, sorted by event time, in bounded memory.
//!
//! The time that the sources cover is cut into spans whose rows fit in memory; span after span, what the sources have of
//! it is read, sorted and encoded. Statistics leave out row groups, and pages once the event times are known, so a source
//! is not read again as a whole for each span. A second with more rows than fit is copied from source after source, which
//! is an order too.
//!
//! Rows of one second keep the order of partition and offset. While they pass, they are counted by the parts that the
//! sources' footers promise, and a merge that does not come out even is not published.

mod output;
mod source;
mod span;
mod tally;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::TryStreamExt;
use parquet::errors::ParquetError;

use self::output::Output;
pub use self::source::RawSource;
use self::span::Span;
use self::tally::Tally;
use super::footer::{FooterError, time_column};
use super::pace::PacedSink;
use crate::core::shard::Topic;
use crate::raw::columns::{fare_schema, ride_schema};
use crate::sink::SinkError;

/// What a decoded row takes, about: enough for a first guess.
const ROW_BYTES: u64 = 128;

/// Why files cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A source that is gone: another run has taken it away.
    #[error("{0} is gone")]
    Gone(String),
    /// A source that is none.
    #[error("{path} {error}: move it away; what it holds is not merged")]
    Footer {
        /// Which.
        path: String,
        /// What is wrong.
        error: FooterError,
    },
    /// Parquet.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// Arrow.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The rows are not those that the footers promise.
    #[error("{0}; nothing was changed: run verify, which says which file is wrong")]
    Uneven(String),
}

/// Merges raw files of one folder.
pub struct Merger<'a> {
    /// Where they are, and how fast they are read.
    pub sink: &'a PacedSink,
    /// Whose rows.
    pub topic: Topic,
    /// Bytes of decoded rows that are held at once.
    pub memory: u64,
}

impl Merger<'_> {
    /// The file of all rows of `sources`, which are of one topic of Kafka.
    ///
    /// # Errors
    /// Where a source cannot be read, or has other rows than its footer says.
    pub async fn merge(&self, sources: &[RawSource]) -> Result<Bytes, MergeError> {
        let schema = schema(self.topic);
        let tally = Tally::new(sources.iter().map(|source| &source.footer));
        let mut output = Output::new(schema.clone(), tally)?;
        let mut spans: Vec<Span> =
            Span::of(sources.iter().map(|source| source.footer.times)).into_iter().collect();
        while let Some(span) = spans.pop() {
            if self.guess(sources, span) > self.memory
                && let Some((early, late)) = span.halves()
            {
                spans.extend([late, early]);
                continue;
            }
            match self.collect(sources, span).await? {
                Some(batches) => output.add(&sorted(&schema, self.topic, &batches)?)?,
                None => match span.halves() {
                    Some((early, late)) => spans.extend([late, early]),
                    None => self.copy(&mut output, sources, span).await?,
                },
            }
        }
        let topic = sources.first().map(|source| source.footer.topic.clone()).unwrap_or_default();
        let mut fingerprints: Vec<&str> = sources.iter().map(|source| source.fingerprint.as_str()).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        output.finish(topic, fingerprints.join(","))
    }

    /// Bytes of the rows of a span, decoded, if every source has its rows evenly in its time.
    fn guess(&self, sources: &[RawSource], span: Span) -> u64 {
        let share =
            |source: &RawSource| (source.footer.rows as f64 * span.share_of(source.footer.times)) as u64;
        sources.iter().map(share).sum::<u64>() * ROW_BYTES
    }

    /// The rows of a span; `None` where they do not fit.
    async fn collect(
        &self,
        sources: &[RawSource],
        span: Span,
    ) -> Result<Option<Vec<RecordBatch>>, MergeError> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for source in sources.iter().filter(|source| span.overlaps(source.footer.times)) {
            let mut rows = source.rows(self.sink, self.topic, span)?;
            while let Some(batch) = rows.try_next().await? {
                let batch = tight(&batch)?;
                bytes += batch.get_array_memory_size() as u64;
                if bytes > self.memory {
                    return Ok(None);
                }
                batches.push(batch);
            }
        }
        Ok(Some(batches))
    }

    /// The same without an order among rows of one second but that of the sources.
    async fn copy(&self, output: &mut Output, sources: &[RawSource], span: Span) -> Result<(), MergeError> {
        for source in sources.iter().filter(|source| span.overlaps(source.footer.times)) {
            let mut rows = source.rows(self.sink, self.topic, span)?;
            while let Some(batch) = rows.try_next().await? {
                output.add(&batch)?;
            }
        }
        Ok(())
    }
}

/// Columns of the rows of a topic.
fn schema(topic: Topic) -> SchemaRef {
    match topic {
        Topic::Rides => ride_schema(),
        Topic::Fares => fare_schema(),
    }
}

/// A copy without the room that the reader has left for rows of other spans.
fn tight(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    take_record_batch(rows, &UInt32Array::from_iter_values(0..rows.num_rows() as u32))
}

fn sorted(schema: &SchemaRef, topic: Topic, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let rows = concat_batches(schema, batches)?;
    let keys = [time_column(topic), "kafka_partition", "kafka_offset"];
    let column = |name| {
        let values =
            rows.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no {name}")))?;
        Ok(SortColumn { values: values.clone(), options: None })
    };
    let columns = keys.into_iter().map(column).collect::<Result<Vec<_>, ArrowError>>()?;
    let order: UInt32Array = lexsort_to_indices(&columns, None)?;
    take_record_batch(&rows, &order)
}

/// A column of whole numbers.
fn numbers(rows: &RecordBatch, name: &str) -> Option<Int64Array> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    rows.column_by_name(name)?.as_primitive_opt::<Int64Type>().cloned()
}

#[cfg(test)]
mod tests;
