//! A Parquet file in the sink, of which a decoder reads the parts that it needs.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use crate::sink::Sink;

/// A file whose metadata is known.
pub struct Remote {
    sink: Sink,
    path: String,
    metadata: Arc<ParquetMetaData>,
}

impl Remote {
    /// The file at `path`.
    pub fn new(sink: Sink, path: &str, metadata: Arc<ParquetMetaData>) -> Self {
        Remote { sink, path: path.to_owned(), metadata }
    }
}

impl AsyncFileReader for Remote {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        read(&self.sink, &self.path, range).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let reads = joined(ranges.clone()).into_iter().map(|range| {
            let (sink, path) = (&self.sink, &self.path);
            async move { read(sink, path, range.clone()).await.map(|bytes| (range.start, bytes)) }
        });
        async move {
            let blocks: Vec<(u64, Bytes)> = try_join_all(reads).await?;
            let cut = |range: &Range<u64>| {
                let block = blocks.iter().rev().find(|(start, _)| *start <= range.start);
                let (start, bytes) = block.expect("every range is in a block");
                bytes.slice((range.start - start) as usize..(range.end - start) as usize)
            };
            Ok(ranges.iter().map(cut).collect())
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        std::future::ready(Ok(self.metadata.clone())).boxed()
    }
}

async fn read(sink: &Sink, path: &str, range: Range<u64>) -> Result<Bytes, ParquetError> {
    let read = sink.read_range(path, range).await.map_err(|error| ParquetError::External(error.into()))?;
    read.ok_or_else(|| ParquetError::General(format!("{path} is gone")))
}

/// Ranges that lie close to each other are read as one: a request costs more than some bytes.
pub fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    const CLOSE: u64 = 64 << 10;
    ranges.sort_unstable_by_key(|range| range.start);
    let mut blocks: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match blocks.last_mut() {
            Some(block) if range.start <= block.end + CLOSE => block.end = block.end.max(range.end),
            _ => blocks.push(range),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_lie_close_are_read_as_one() {
        let far = 1 << 20;
        assert_eq!(joined(vec![far..far + 10, 30..40, 0..20]), [0..40, far..far + 10]);
    }
}
