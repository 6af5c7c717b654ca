//! What lies in a bucket of S3: reading, listing and deleting through OpenDAL.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use opendal::options::{ListOptions, ReadOptions};
use opendal::{EntryMode, ErrorKind, Operator};

use super::error::{Category, Fault};
use super::name::TEMPORARY_DIR;
use super::{CONCURRENCY, Entry};

/// S3 takes no more in one request.
const DELETED_AT_ONCE: usize = 1000;

#[derive(Clone)]
pub(super) struct Objects(pub(super) Operator);

impl Objects {
    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>, Fault> {
        self.read_with(path, ReadOptions::default()).await
    }

    pub(super) async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, Fault> {
        let (start, len) = (range.start, range.end - range.start);
        let options = ReadOptions { range: range.into(), ..ReadOptions::default() };
        let read = self.read_with(path, options).await?;
        match read {
            Some(bytes) if bytes.len() as u64 != len => {
                let cause = format!("{} of {len} bytes could be read at {start}", bytes.len());
                Err(Fault::new(Category::Corrupt, cause))
            }
            read => Ok(read),
        }
    }

    async fn read_with(&self, path: &str, options: ReadOptions) -> Result<Option<Bytes>, Fault> {
        match self.0.read_options(path, options).await {
            Ok(buffer) => Ok(Some(buffer.to_bytes())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Option<u64>, Fault> {
        match self.0.stat(path).await {
            Ok(meta) => Ok((meta.mode() == EntryMode::FILE).then(|| meta.content_length())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The ETag of a file, or `None` if there is none.
    pub(super) async fn etag(&self, path: &str) -> Result<Option<String>, Fault> {
        match self.0.stat(path).await {
            Ok(meta) => match meta.etag() {
                Some(etag) => Ok(Some(etag.to_owned())),
                None => Err(Fault::new(Category::Other, "the store tells no ETag")),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        let files = self.entries(dir).await?.into_iter().map(|entry| {
            let (path, meta) = entry.into_parts();
            let len = meta.content_length();
            Entry { path, len }
        });
        Ok(files.collect())
    }

    /// It is asked with a delimiter, so that it tells the folders and not what is in them.
    pub(super) async fn dirs(&self, dir: &str) -> Result<Vec<String>, Fault> {
        let below = self.0.list(&folder(dir)).await?;
        let dirs = below.iter().filter(|entry| entry.metadata().mode() == EntryMode::DIR);
        let paths = dirs.map(|entry| entry.path().trim_matches('/').to_owned());
        // The folder itself is among them.
        Ok(paths.filter(|path| path != dir).collect())
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Fault> {
        Ok(self.0.delete(path).await?)
    }

    /// The files below `dir` that tell when they were written, and when.
    pub(super) async fn list_written(&self, dir: &str) -> Result<Vec<(String, SystemTime)>, Fault> {
        let files = self.entries(dir).await?.into_iter().filter_map(|entry| {
            let (path, meta) = entry.into_parts();
            Some((path, meta.last_modified()?.into()))
        });
        Ok(files.collect())
    }

    /// Deletes these: on S3 a thousand in one request, and all requests at once.
    ///
    /// A gateway over a folder may say of an object that another run deletes at the same time that there is none, and the
    /// request fails with all that is in it. By itself it may be gone already, so each is then asked for by itself.
    pub(super) async fn delete_all(&self, paths: &[String]) -> Result<(), Fault> {
        let requests = paths.chunks(DELETED_AT_ONCE).map(async |paths| {
            match self.0.delete_iter(paths.iter().cloned()).await {
                Err(error) if !error.is_temporary() => {
                    let each = stream::iter(paths).map(Ok);
                    each.try_for_each_concurrent(CONCURRENCY, |path| self.delete(path)).await
                }
                deleted => Ok(deleted?),
            }
        });
        try_join_all(requests).await?;
        Ok(())
    }

    /// Deletes temporary files last written before `older_than` ago, and says how many.
    pub(super) async fn sweep(&self, older_than: Duration) -> Result<u64, Fault> {
        let mut swept = 0;
        for entry in self.entries(TEMPORARY_DIR).await? {
            let old =
                entry.metadata().last_modified().is_some_and(|written| is_older(written.into(), older_than));
            if old {
                self.delete(entry.path()).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn entries(&self, dir: &str) -> Result<Vec<opendal::Entry>, Fault> {
        let all = ListOptions { recursive: true, ..ListOptions::default() };
        let mut entries = self.0.list_options(&folder(dir), all).await?;
        entries.retain(|entry| entry.metadata().mode() == EntryMode::FILE);
        Ok(entries)
    }
}

/// As OpenDAL writes it.
fn folder(dir: &str) -> String {
    format!("{dir}/")
}

/// By this machine's clock: the limit is to be far above any clock's error.
pub(super) fn is_older(written: SystemTime, limit: Duration) -> bool {
    SystemTime::now().duration_since(written).is_ok_and(|age| age >= limit)
}
