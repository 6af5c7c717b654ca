//! The sink as DataFusion reads files: ranges of them, counted. It cannot write.
//!
//! What was read counts as memory of the queries for as long as it is held, which Parquet's decoder does for the columns
//! of a row group. It is never refused, since a scan cannot do with less; sorts, joins and aggregates find that much less
//! and go to disk.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::error::unreadable;
use crate::own_sink::ArchiveError;
use crate::source::Sources;

/// Where the engine knows the store: any URL does, paths are those of the sink.
pub const URL: &str = "sink://tips";

/// A sink that is read.
pub struct SinkStore {
    sources: Arc<Sources>,
    /// Of nothing; those of what is read are made of it.
    memory: MemoryReservation,
}

/// Bytes that are counted until the last part of them is dropped.
struct Held {
    bytes: Bytes,
    _counted: MemoryReservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl SinkStore {
    /// Reads the sink of `sources` into `memory`.
    pub fn new(sources: Arc<Sources>, memory: &Arc<dyn MemoryPool>) -> Self {
        SinkStore { sources, memory: MemoryConsumer::new("files").register(memory) }
    }

    fn held(&self, bytes: Bytes) -> Bytes {
        let counted = self.memory.new_empty();
        counted.grow(bytes.len());
        Bytes::from_owner(Held { bytes, _counted: counted })
    }

    async fn read(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let sink = self.sources.own_sink();
        let read = sink.ask(|sink| async move { sink.read_range(path.as_ref(), range).await });
        let bytes = read.await.map_err(|error| self.failed(&error))?.ok_or_else(|| gone(path))?;
        self.sources.metrics.sink_reads.inc();
        self.sources.metrics.sink_bytes.inc_by(bytes.len() as u64);
        Ok(self.held(bytes))
    }

    async fn len(&self, path: &Path) -> Result<u64> {
        let stat = self.sources.own_sink().ask(|sink| async move { sink.stat(path.as_ref()).await });
        stat.await.map_err(|error| self.failed(&error))?.ok_or_else(|| gone(path))
    }

    fn failed(&self, error: &ArchiveError) -> Error {
        self.sources.metrics.sink_errors.inc();
        Error::Generic { store: "sink", source: Box::new(unreadable(error)) }
    }
}

fn gone(path: &Path) -> Error {
    Error::Generic { store: "sink", source: crate::error::gone(path).into() }
}

fn read_only<T>() -> Result<T> {
    Err(Error::NotSupported { source: "the query service writes nothing".into() })
}

#[async_trait]
impl ObjectStore for SinkStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let size = match (&options.range, options.head) {
            (Some(object_store::GetRange::Bounded(range)), false) => range.end,
            _ => self.len(location).await?,
        };
        let range = match &options.range {
            Some(range) => range
                .as_range(size)
                .map_err(|source| Error::Generic { store: "sink", source: Box::new(source) })?,
            None => 0..size,
        };
        let bytes = if options.head { Bytes::new() } else { self.read(location, range.clone()).await? };
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: Default::default(),
            size,
            e_tag: None,
            version: None,
        };
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        read_only()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        read_only()
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::once(async { read_only() }).boxed()
    }

    /// Files are listed by the tables.
    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { read_only() }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        read_only()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        read_only()
    }
}

impl fmt::Display for SinkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sink")
    }
}

impl fmt::Debug for SinkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SinkStore")
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::source::tests::sources_of;

    #[tokio::test]
    async fn what_is_read_counts_until_the_last_part_of_it_is_dropped() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("file"), [7; 1000]).expect("written");
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let store = SinkStore::new(sources_of(dir.path()), &pool);
        let path = Path::from("file");
        let read = store.get_range(&path, 100..900).await.expect("read");
        assert_eq!((read.len(), pool.reserved()), (800, 800), "more than there is, and not refused");
        let part = read.slice(10..20);
        drop(read);
        assert_eq!((&part[..], pool.reserved()), (&[7; 10][..], 800));
        drop(part);
        assert_eq!(pool.reserved(), 0);
    }
}
