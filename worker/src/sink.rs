//! Where results go: a directory, an S3 bucket or HDFS, each with the same few promises.
//!
//! The pipeline is exactly-once because of what a sink does (I3, I4): a file appears whole or not at
//! all, under a name that is taken once. [`Sink::put_if_absent`] is that step, and how each backend
//! takes it is written down beside it: `fs` links, `s3` puts on condition, `hdfs` renames.
//! Reading, listing and deleting carry no promise and are plain.
//!
//! What a sink makes for itself lives under `_tips/tmp/` (on S3: unfinished uploads, which no reader
//! can see). A writer that dies leaves it there, and [`Sink::sweep`] removes it.
//!
//! Where a writer can be killed is in `crash` and `merge`.

mod crash;
mod error;
mod exchange;
mod folder;
mod fs;
mod hdfs;
mod merge;
mod name;
mod objects;
pub mod owner;
mod retry;
mod s3;
mod uploads;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use error::Fault;
pub use error::{Category, SinkError};
use fs::Fs;
use hdfs::Hdfs;
pub use merge::{Merge, Merged};
use s3::S3;

/// How many operations of one sink run at once: enough to hide the 0.3 s that HDFS takes to close a
/// small file, few enough not to be a burden on the store.
const CONCURRENCY: usize = 32;

/// Which store, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConfig {
    /// A directory; made if it is not there.
    Fs {
        /// The directory.
        root: PathBuf,
    },
    /// A bucket. Credentials come from the environment, as for every AWS tool.
    S3 {
        /// The bucket; it must be there.
        bucket: String,
        /// What all keys begin with, or nothing.
        prefix: String,
        /// `https://host[:port]` of a store that is not AWS.
        endpoint: Option<String>,
        /// Any name will do for most stores that are not AWS.
        region: String,
    },
    /// A directory of HDFS. `HADOOP_CONF_DIR` says where `core-site.xml` and `hdfs-site.xml` are.
    Hdfs {
        /// `hdfs://host:port`, or `hdfs://name` for a name service that the configuration defines.
        name_node: String,
        /// The directory; made if it is not there and may be made.
        path: String,
        /// Whom to act as with Kerberos: one of the keytab's. `None`: the first of them, or of the
        /// ticket cache. Without Kerberos `HADOOP_USER_NAME` says it, or the process's user.
        principal: Option<String>,
    },
}

/// What became of a [`Sink::put_if_absent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The file is there, and it is surely this call that put it there.
    Created,
    /// A whole file is there that another call put there, or this one, when the reply to its first
    /// try was lost. So of racing writers at most one gets `Created`, exactly one where no reply is
    /// lost; who needs to know what the file says reads it.
    Exists,
}

/// A file in a sink.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative to the root.
    pub path: String,
    /// In bytes.
    pub len: u64,
}

/// What a sweep has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Temporary files.
    pub files: u64,
    /// Unfinished S3 uploads.
    pub uploads: u64,
}

/// Tells a file from every other that was or will be under its name, where that says something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

/// What a sink is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

/// How a file takes its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    IfAbsent,
    Replace(Version),
}

/// An open sink. Clones share connections.
#[derive(Clone)]
pub struct Sink(Arc<Inner>);

struct Inner {
    backend: Backend,
    location: String,
    permits: Semaphore,
}

enum Backend {
    Fs(Fs),
    S3(Box<S3>),
    Hdfs(Hdfs),
}

impl Sink {
    /// Connects, and proves that the root can be written: what is wrong with the settings is said
    /// here, before the first record is read.
    pub async fn open(config: &SinkConfig) -> Result<Sink, SinkError> {
        Self::open_for(config, Use::Write).await
    }

    /// Connects to read: nothing is written, so that no right to write is needed, and a store that is away is
    /// no failure yet.
    pub async fn open_to_read(config: &SinkConfig) -> Result<Sink, SinkError> {
        Self::open_for(config, Use::Read).await
    }

    async fn open_for(config: &SinkConfig, intent: Use) -> Result<Sink, SinkError> {
        let location = config.location();
        match Backend::open(config, intent).await {
            Ok(backend) => {
                Ok(Sink(Arc::new(Inner { backend, location, permits: Semaphore::new(CONCURRENCY) })))
            }
            Err(fault) => Err(fault.at("open", location)),
        }
    }

    /// Publishes `bytes` at `path`, whole or not at all, and only if no file is there. Repeating it
    /// after any failure, by anybody, is safe where the bytes are a function of the path (I3).
    pub async fn put_if_absent(&self, path: &str, bytes: Bytes) -> Result<Put, SinkError> {
        self.run("publish", path, self.put(path, bytes, Mode::IfAbsent)).await
    }

    /// Publishes `bytes` at `path` in place of the file of this version, at no moment absent or in
    /// part. Returns `false` where another file is there by now, perhaps this one, when the reply to its
    /// first try was lost. After a failure that is transient the old or the new file is there.
    ///
    /// Looking and replacing are one step on S3 and on a file system. On HDFS they are two, next to each
    /// other: it has no such step.
    pub async fn replace(&self, path: &str, version: Version, bytes: Bytes) -> Result<bool, SinkError> {
        let put = self.run("replace", path, self.put(path, bytes, Mode::Replace(version))).await?;
        Ok(put == Put::Created)
    }

    /// All of a file with its version, or `None` if there is none.
    pub async fn read_version(&self, path: &str) -> Result<Option<(Bytes, Version)>, SinkError> {
        let read = async {
            name::check_file(path)?;
            match &self.0.backend {
                Backend::Fs(fs) => fs.read_version(path).await,
                Backend::S3(s3) => s3.read_version(path).await,
                Backend::Hdfs(hdfs) => hdfs.read_version(path).await,
            }
        };
        self.run("read", path, read).await
    }

    /// All of a file, or `None` if there is none.
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>, SinkError> {
        let read = async {
            name::check_file(path)?;
            match &self.0.backend {
                Backend::Fs(fs) => fs.read(path).await,
                Backend::S3(s3) => s3.objects.read(path).await,
                Backend::Hdfs(hdfs) => hdfs.read(path).await,
            }
        };
        self.run("read", path, read).await
    }

    /// The bytes of a file from `range.start` up to `range.end`, which lie in it, or `None` if there is none.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, SinkError> {
        // Stores do not agree on what an empty range is.
        if range.is_empty() {
            return Ok(self.stat(path).await?.map(|_| Bytes::new()));
        }
        let read = async {
            name::check_file(path)?;
            match &self.0.backend {
                Backend::Fs(fs) => fs.read_range(path, range).await,
                Backend::S3(s3) => s3.objects.read_range(path, range).await,
                Backend::Hdfs(hdfs) => hdfs.read_range(path, range).await,
            }
        };
        self.run("read", path, read).await
    }

    /// The size of a file, or `None` if there is none.
    pub async fn stat(&self, path: &str) -> Result<Option<u64>, SinkError> {
        let stat = async {
            name::check_file(path)?;
            match &self.0.backend {
                Backend::Fs(fs) => fs.stat(path).await,
                Backend::S3(s3) => s3.objects.stat(path).await,
                Backend::Hdfs(hdfs) => hdfs.stat(path).await,
            }
        };
        self.run("look at", path, stat).await
    }

    /// All files below `dir` (`""` is the root), at any depth, sorted by path. A directory that is
    /// not there is an empty one.
    pub async fn list(&self, dir: &str) -> Result<Vec<Entry>, SinkError> {
        let list = async {
            let dir = name::check_dir(dir)?;
            let mut entries = match &self.0.backend {
                Backend::Fs(fs) => fs.list(dir).await?,
                Backend::S3(s3) => s3.objects.list(dir).await?,
                Backend::Hdfs(hdfs) => hdfs.list(dir).await?,
            };
            entries.sort_unstable();
            Ok(entries)
        };
        self.run("list", dir, list).await
    }

    /// The folders right below `dir` (`""` is the root), sorted, by their paths. What is in them is not read, so that
    /// this takes as long as there are folders and files right below `dir`. A directory that is not there is an empty
    /// one. Except on S3, which knows no folder without a file, those are told too that hold none.
    pub async fn dirs(&self, dir: &str) -> Result<Vec<String>, SinkError> {
        let list = async {
            let dir = name::check_dir(dir)?;
            let mut dirs = match &self.0.backend {
                Backend::Fs(fs) => fs.dirs(dir).await?,
                Backend::S3(s3) => s3.objects.dirs(dir).await?,
                Backend::Hdfs(hdfs) => hdfs.dirs(dir).await?,
            };
            dirs.sort_unstable();
            Ok(dirs)
        };
        self.run("list", dir, list).await
    }

    /// Deletes a file. One that is not there is fine; a directory is left alone.
    pub async fn delete(&self, path: &str) -> Result<(), SinkError> {
        let delete = async {
            name::check_file(path)?;
            match &self.0.backend {
                Backend::Fs(fs) => fs.delete(path).await,
                Backend::S3(s3) => s3.objects.delete(path).await,
                Backend::Hdfs(hdfs) => hdfs.delete(path).await,
            }
        };
        self.run("delete", path, delete).await
    }

    /// Removes what writers have left that died at least `older_than` ago. A writer that is only slow
    /// and loses its temporary file this way starts again, so the limit costs no data; an hour is far
    /// above any upload and any difference of clocks.
    pub async fn sweep(&self, older_than: Duration) -> Result<Swept, SinkError> {
        let sweep = async {
            match &self.0.backend {
                Backend::Fs(fs) => fs.sweep(older_than).await,
                Backend::S3(s3) => s3.sweep(older_than).await,
                Backend::Hdfs(hdfs) => hdfs.sweep(older_than).await,
            }
        };
        self.run("sweep", name::TEMPORARY_DIR, sweep).await
    }

    /// Where it is, as a URL without credentials, for people.
    pub fn location(&self) -> &str {
        &self.0.location
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: Mode) -> Result<Put, Fault> {
        name::check_file(path)?;
        match &self.0.backend {
            Backend::Fs(fs) => fs.put(path, bytes, mode).await,
            Backend::S3(s3) => s3.put(path, bytes, mode).await,
            Backend::Hdfs(hdfs) => hdfs.put(path, bytes, mode).await,
        }
    }

    async fn run<T>(
        &self,
        action: &'static str,
        path: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, SinkError> {
        let _permit = self.0.permits.acquire().await.expect("never closed");
        work.await.map_err(|fault| fault.at(action, format!("{}/{path}", self.0.location)))
    }
}

impl Backend {
    async fn open(config: &SinkConfig, intent: Use) -> Result<Backend, Fault> {
        Ok(match config {
            SinkConfig::Fs { root } => Backend::Fs(Fs::open(root, intent).await?),
            SinkConfig::S3 { bucket, prefix, endpoint, region } => {
                let place = s3::Place { bucket, prefix, endpoint: endpoint.as_deref(), region };
                Backend::S3(Box::new(S3::open(place, intent).await?))
            }
            SinkConfig::Hdfs { name_node, path, principal } => {
                Backend::Hdfs(Hdfs::open(name_node, path, principal.as_deref(), intent).await?)
            }
        })
    }
}

impl SinkConfig {
    fn location(&self) -> String {
        match self {
            SinkConfig::Fs { root } => root.display().to_string(),
            SinkConfig::S3 { bucket, prefix, .. } => {
                format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned()
            }
            SinkConfig::Hdfs { name_node, path, .. } => {
                format!("{}/{}", name_node.trim_end_matches('/'), path.trim_matches('/'))
            }
        }
    }
}
