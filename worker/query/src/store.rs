//! The sink as DataFusion reads files: ranges of them, counted. It cannot write.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tips_worker::sink::SinkError;

use crate::source::Sources;

/// Where the engine knows the store: any URL does, paths are those of the sink.
pub const URL: &str = "sink://tips";

/// A sink that is read.
pub struct SinkStore(Arc<Sources>);

impl SinkStore {
    /// Reads the sink of `sources`.
    pub fn new(sources: Arc<Sources>) -> Self {
        SinkStore(sources)
    }

    async fn read(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let read = async { self.0.sink().await?.read_range(path.as_ref(), range).await };
        let bytes = read.await.map_err(|error| self.failed(error))?.ok_or_else(|| gone(path))?;
        self.0.metrics.sink_reads.inc();
        self.0.metrics.sink_bytes.inc_by(bytes.len() as u64);
        Ok(bytes)
    }

    async fn len(&self, path: &Path) -> Result<u64> {
        let stat = async { self.0.sink().await?.stat(path.as_ref()).await };
        stat.await.map_err(|error| self.failed(error))?.ok_or_else(|| gone(path))
    }

    fn failed(&self, error: SinkError) -> Error {
        self.0.metrics.sink_errors.inc();
        Error::Generic { store: "sink", source: Box::new(error) }
    }
}

/// A file that went between listing and reading was merged with others; the next listing has what stands for it.
fn gone(path: &Path) -> Error {
    let message = "the file was merged with others while the query ran; run it again";
    let refusal = crate::error::Refusal { code: "40001", message: format!("{path}: {message}") };
    Error::Generic { store: "sink", source: Box::new(refusal) }
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
