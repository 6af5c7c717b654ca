//! So many bytes a second and no more.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use crate::raw::remote::{Remote, joined};
use crate::sink::{Sink, SinkError};

/// Whoever reads or writes pays by waiting, before that. Clones share it.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes_per_second: Option<u64>,
    free_at: Arc<Mutex<Instant>>,
}

impl Pace {
    /// `None`: as fast as it goes.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Pace { bytes_per_second, free_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until `bytes` may be moved: for as long as they take, after all that was asked for before.
    pub async fn take(&self, bytes: u64) {
        if let Some(wait) = self.wait(bytes, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    fn wait(&self, bytes: u64, now: Instant) -> Option<Duration> {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second?.max(1) as f64);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        *free_at = (*free_at).max(now) + cost;
        Some(free_at.duration_since(now))
    }
}

/// A sink whose data files are read at a pace.
#[derive(Clone)]
pub struct PacedSink {
    sink: Sink,
    pace: Pace,
}

impl PacedSink {
    /// `sink`, read no faster than `pace` lets.
    pub fn new(sink: Sink, pace: Pace) -> Self {
        PacedSink { sink, pace }
    }

    /// All of a file of `len` bytes; see [`Sink::read`].
    ///
    /// # Errors
    /// Where the sink fails.
    pub async fn read(&self, path: &str, len: u64) -> Result<Option<Bytes>, SinkError> {
        self.pace.take(len).await;
        self.sink.read(path).await
    }

    /// A part of a file; see [`Sink::read_range`].
    ///
    /// # Errors
    /// Where the sink fails.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, SinkError> {
        self.pace.take(range.end - range.start).await;
        self.sink.read_range(path, range).await
    }

    /// The Parquet file at `path`.
    pub fn file(&self, path: &str, metadata: Arc<ParquetMetaData>) -> PacedFile {
        PacedFile { file: Remote::new(self.sink.clone(), path, metadata), pace: self.pace.clone() }
    }
}

/// A Parquet file of a [`PacedSink`].
pub struct PacedFile {
    file: Remote,
    pace: Pace,
}

impl AsyncFileReader for PacedFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            self.pace.take(range.end - range.start).await;
            self.file.get_bytes(range).await
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            self.pace.take(joined(ranges.clone()).iter().map(|block| block.end - block.start).sum()).await;
            self.file.get_byte_ranges(ranges).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        self.file.get_metadata(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_is_waited_for_and_so_is_what_was_asked_for_before() {
        let now = Instant::now();
        let pace = Pace { bytes_per_second: Some(100), free_at: Arc::new(Mutex::new(now)) };
        assert_eq!(pace.wait(50, now), Some(Duration::from_millis(500)));
        assert_eq!(pace.clone().wait(200, now), Some(Duration::from_millis(2500)));
        assert_eq!(pace.wait(1, now + Duration::from_secs(60)), Some(Duration::from_millis(10)));
        assert_eq!(Pace::new(None).wait(1 << 40, now), None);
    }
}
