//! How queries open Parquet files. A small one, such as that of a window, is read whole, by one request: its footer is
//! looked for at the end of so many bytes that all of it comes along anyway. Of others the ranges are read that are wanted.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::parquet;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;

/// Opens the files of a store.
#[derive(Debug)]
pub struct Readers(DefaultParquetFileReaderFactory);

impl Readers {
    /// Those of `store`.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Readers(DefaultParquetFileReaderFactory::new(store))
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let (path, len) = (file.object_meta.location.clone(), file.object_meta.size);
        let ranges = self.0.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        let is_small = metadata_size_hint.is_some_and(|hint| len <= hint as u64);
        Ok(if is_small { Box::new(Small { path, len, ranges, whole: None }) } else { ranges })
    }
}

/// A file that is read whole.
struct Small {
    path: Path,
    len: u64,
    ranges: Box<dyn AsyncFileReader + Send>,
    whole: Option<Bytes>,
}

impl Small {
    async fn whole(&mut self) -> parquet::errors::Result<&Bytes> {
        let whole = match self.whole.take() {
            Some(whole) => whole,
            None => self.ranges.get_bytes(0..self.len).await?,
        };
        Ok(self.whole.insert(whole))
    }
}

impl AsyncFileReader for Small {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { part(self.whole().await?, &range) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            let footer = reader.parse_and_finish(self.whole().await?);
            footer.map(Arc::new).map_err(|error| ParquetError::General(format!("{}: {error}", self.path)))
        }
        .boxed()
    }
}

/// A footer may name bytes that the file does not have.
fn part(whole: &Bytes, range: &Range<u64>) -> parquet::errors::Result<Bytes> {
    match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) if start <= end && end <= whole.len() => Ok(whole.slice(start..end)),
        _ => Err(ParquetError::EOF(format!("bytes {range:?} of a file of {}", whole.len()))),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
    use futures::TryStreamExt;

    use super::*;
    use crate::source::Sources;
    use crate::source::tests::sources_of;
    use crate::store::SinkStore;

    fn file(rows: usize) -> Vec<u8> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let column = Int64Array::from_iter_values((0..rows).map(|n| n as i64));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).expect("a batch");
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        bytes
    }

    fn open(sources: &Arc<Sources>, len: usize, hint: usize) -> Box<dyn AsyncFileReader> {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let readers = Readers::new(Arc::new(SinkStore::new(Arc::clone(sources), &pool)));
        let file = PartitionedFile::new("file", len as u64);
        readers.create_reader(0, file, Some(hint), &ExecutionPlanMetricsSet::new()).expect("a reader")
    }

    async fn rows(reader: Box<dyn AsyncFileReader>) -> usize {
        let stream = ParquetRecordBatchStreamBuilder::new(reader).await.expect("a footer").build();
        let batches: Vec<RecordBatch> = stream.expect("a stream").try_collect().await.expect("rows");
        batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[tokio::test]
    async fn a_small_file_is_read_once_and_a_larger_one_by_ranges() {
        let (dir, bytes) = (tempfile::tempdir().expect("a folder"), file(1000));
        std::fs::write(dir.path().join("file"), &bytes).expect("written");
        for (hint, requests) in [(bytes.len(), 1), (bytes.len() - 1, 2)] {
            let sources = sources_of(dir.path());
            assert_eq!(rows(open(&sources, bytes.len(), hint)).await, 1000);
            assert_eq!(sources.metrics.sink_reads.get(), requests, "with a hint of {hint}");
        }
    }

    #[tokio::test]
    async fn a_footer_that_makes_no_sense_is_said_of_its_file() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("file"), [7; 100]).expect("written");
        let sources = sources_of(dir.path());
        let error = open(&sources, 100, 100).get_metadata(None).await.expect_err("no footer");
        assert!(error.to_string().contains("file: "), "{error}");
    }

    #[test]
    fn bytes_beyond_the_end_are_an_error() {
        let whole = Bytes::from_static(b"abc");
        assert_eq!(part(&whole, &(1..3)).expect("within"), "bc");
        for outside in [1..4, 4..5, Range { start: 2, end: 1 }, 0..u64::MAX] {
            assert!(part(&whole, &outside).is_err(), "{outside:?}");
        }
    }
}
