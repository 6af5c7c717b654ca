//! A directory of HDFS.
//!
//! The library behind OpenDAL is used directly. OpenDAL's rename on HDFS is not atomic (it deletes
//! or creates the target first), its delete takes whole directories, it marks no failure as
//! temporary, and it knows neither a logical name service nor a user. The library has all of it:
//! name services, Kerberos and the rest of the site's settings come from its configuration directory.
//!
//! A file is written to a temporary name and closed; only a close that was answered says that the
//! namenode has every block (a rename of a file that its dead writer left open succeeds, and proves
//! nothing). Then one `rename` publishes it. The namenode takes it under its lock, in one step: with
//! `overwrite=false` it refuses where the target is there, so one of several racing writers wins;
//! with `overwrite=true` it replaces the target without a gap. It does so whatever the target is by then:
//! [`put`](Hdfs::put) looks for the version that it is to replace just before, and that is all it can do.
//!
//! # When a reply is lost
//!
//! A rename whose reply is lost may have happened, may happen yet (the request waits in the namenode's
//! queue), or never will. Sending it again is no answer: if the first one happened, the second finds no
//! source, and fails. So we **delete the temporary file**, and that is both the question and the fence:
//!
//! - *deleted*: the rename has not happened, and now it cannot, for want of a source. Start again from
//!   the upload, under a new temporary name.
//! - *was not there*: the rename happened (or a sweep took the file). If the target is there, it is
//!   whole, and the outcome is `Put::Exists`: true, and all that the caller needs. If not, or if we
//!   were to replace, start again: with the same bytes, twice is as good as once.
//! - *no reply either*: the namenode is away. Starting again is still right for `put_if_absent`, since
//!   the namenode lets at most one rename to that target through, whenever it comes.
//!
//! # Leases
//!
//! A writer that dies leaves its temporary file open, with a lease. Nobody waits for that lease: the
//! name is never used again, and deleting the file, which the sweep does, ends it.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hdfs_native::client::FileStatus;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};

use super::error::{Category, Fault};
use super::name::{self, TEMPORARY_DIR};
use super::objects::is_older;
use super::{Entry, Mode, Put, Swept, Use, Version, crash, retry};

const DIRECTORY_PERMISSION: u32 = 0o755;

pub(super) struct Hdfs {
    client: Client,
    root: String,
}

impl Hdfs {
    pub(super) async fn open(
        name_node: &str,
        path: &str,
        principal: Option<&str>,
        intent: Use,
    ) -> Result<Hdfs, Fault> {
        let mut builder = ClientBuilder::new().with_url(name_node).with_config(PATIENCE);
        if let Some(principal) = principal {
            builder = builder.with_kerberos_principal(principal);
        }
        let hdfs = Hdfs { client: builder.build()?, root: format!("/{}", path.trim_matches('/')) };
        if intent == Use::Write {
            retry::transient(|| hdfs.probe()).await?;
        }
        Ok(hdfs)
    }

    /// Proves that the namenode answers, that we may write, and that a datanode takes a block.
    async fn probe(&self) -> Result<(), Fault> {
        self.make_dir(&self.absolute(TEMPORARY_DIR)).await?;
        let temporary = self.absolute(&name::temporary());
        let written = self.upload(&temporary, TEMPORARY_DIR, Bytes::from_static(b"probe")).await;
        let removed = self.remove(&temporary).await;
        written?;
        removed?;
        Ok(())
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes, mode: Mode) -> Result<Put, Fault> {
        retry::transient(|| self.publish(path, bytes.clone(), &mode)).await
    }

    /// One try, with a temporary name of its own. Safe to repeat: see "When a reply is lost".
    async fn publish(&self, path: &str, bytes: Bytes, mode: &Mode) -> Result<Put, Fault> {
        let temporary = self.absolute(&name::temporary());
        crash::point("before-upload", path);
        let published = match self.upload(&temporary, path, bytes).await {
            Ok(()) => self.rename(&temporary, path, mode).await,
            Err(fault) => Err(fault),
        };
        let fault = match published {
            Ok(Put::Created) => return Ok(Put::Created),
            Ok(Put::Exists) => {
                // Should this fail, the sweep will do it.
                let _ = self.remove(&temporary).await;
                return Ok(Put::Exists);
            }
            Err(fault) => fault,
        };
        match self.remove(&temporary).await {
            Ok(Removed::WasNotThere) if *mode == Mode::IfAbsent => {
                match self.file(&self.absolute(path)).await? {
                    Some(_) => Ok(Put::Exists),
                    None => Err(fault),
                }
            }
            _ => Err(fault),
        }
    }

    /// Writes what is to be at `path`. Returns only once the namenode has confirmed the file as complete.
    async fn upload(&self, temporary: &str, path: &str, bytes: Bytes) -> Result<(), Fault> {
        let len = bytes.len();
        let write = async {
            let options = WriteOptions::default().overwrite(false).create_parent(true);
            let mut writer = self.client.create(temporary, options).await?;
            let middle = len / 2;
            writer.write_bytes(bytes.slice(..middle)).await?;
            crash::point("mid-upload", path);
            writer.write_bytes(bytes.slice(middle..)).await?;
            writer.close().await
        };
        retry::transfer(len, write).await
    }

    async fn rename(&self, temporary: &str, path: &str, mode: &Mode) -> Result<Put, Fault> {
        let target = &self.absolute(path);
        if let Some((parent, _)) = target.rsplit_once('/') {
            self.make_dir(parent).await?;
        }
        crash::point("before-publish", path);
        let overwrite = match mode {
            Mode::IfAbsent => false,
            Mode::Replace(version) => {
                if self.file(target).await?.is_none_or(|there| version_of(&there) != *version) {
                    return Ok(Put::Exists);
                }
                true
            }
        };
        let renamed = self.client.rename(temporary, target, overwrite);
        let renamed = retry::call(async { Ok::<_, Fault>(renamed.await) }).await?;
        crash::point("after-publish", path);
        match renamed {
            Ok(()) => Ok(Put::Created),
            Err(HdfsError::AlreadyExists(_)) if !overwrite => match self.status(target).await? {
                Some(there) if !there.isdir => Ok(Put::Exists),
                Some(_) => Err(Fault::new(Category::Conflict, "a directory is there")),
                None => Err(Fault::new(Category::Conflict, "what was there is gone").transient()),
            },
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>, Fault> {
        self.read_part(path, None).await
    }

    pub(super) async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, Fault> {
        self.read_part(path, Some(range)).await
    }

    pub(super) async fn read_version(&self, path: &str) -> Result<Option<(Bytes, Version)>, Fault> {
        let target = self.absolute(path);
        // The version first: should the file be replaced meanwhile, it is not the one that is there.
        let Some(there) = retry::transient(|| self.file(&target)).await? else { return Ok(None) };
        Ok(self.read(path).await?.map(|bytes| (bytes, version_of(&there))))
    }

    /// `None`: all of it.
    async fn read_part(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Fault> {
        let path = self.absolute(path);
        retry::transient(|| async {
            let open = retry::call(found(self.client.read(&path))).await?;
            let Some(reader) = open else { return Ok(None) };
            let (start, len) = match &range {
                Some(range) => (range.start as usize, (range.end - range.start) as usize),
                None => (0, reader.file_length()),
            };
            // Beyond the end the library panics.
            let bytes = match reader.file_length().checked_sub(start) {
                Some(rest) => retry::transfer(len, reader.read_range(start, len.min(rest))).await?,
                None => Bytes::new(),
            };
            if bytes.len() != len {
                let cause = format!("{} of {len} bytes could be read at {start}", bytes.len());
                return Err(Fault::new(Category::Corrupt, cause));
            }
            Ok(Some(bytes))
        })
        .await
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Option<u64>, Fault> {
        let path = self.absolute(path);
        let file = retry::transient(|| self.file(&path)).await?;
        Ok(file.map(|file| file.length as u64))
    }

    pub(super) async fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        let files = self
            .files_below(dir)
            .await?
            .into_iter()
            .map(|file| Entry { path: self.relative(&file.path), len: file.length as u64 });
        Ok(files.collect())
    }

    pub(super) async fn dirs(&self, dir: &str) -> Result<Vec<String>, Fault> {
        let there = self.below(dir, false).await?;
        Ok(there.iter().filter(|there| there.isdir).map(|dir| self.relative(&dir.path)).collect())
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Fault> {
        let path = self.absolute(path);
        retry::transient(|| async {
            // The namenode deletes an empty directory too, so look first. Nobody turns a file of ours
            // into a directory in between.
            if self.status(&path).await?.is_some_and(|there| there.isdir) {
                return Err(Fault::new(Category::Conflict, "it is a directory"));
            }
            self.remove(&path).await.map(|_| ())
        })
        .await
    }

    /// Deletes what is known to be a file, in one step; one that is not there is fine.
    pub(super) async fn delete_known(&self, path: &str) -> Result<(), Fault> {
        let path = self.absolute(path);
        retry::transient(|| async { self.remove(&path).await.map(drop) }).await
    }

    /// A file that comes meanwhile keeps its directory: the namenode deletes only an empty one.
    pub(super) async fn delete_dir_if_empty(&self, dir: &str) -> Result<(), Fault> {
        let dir = self.absolute(dir);
        match retry::transient(|| self.remove(&dir)).await {
            Err(fault) if fault.category == Category::Conflict => Ok(()),
            done => done.map(drop),
        }
    }

    pub(super) async fn sweep(&self, older_than: Duration) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        for file in self.files_below(TEMPORARY_DIR).await? {
            let written = UNIX_EPOCH + Duration::from_millis(file.modification_time);
            if is_older(written, older_than) {
                retry::transient(|| self.remove(&file.path)).await?;
                swept.files += 1;
            }
        }
        Ok(swept)
    }

    async fn files_below(&self, dir: &str) -> Result<Vec<FileStatus>, Fault> {
        let mut files = self.below(dir, true).await?;
        files.retain(|file| !file.isdir);
        Ok(files)
    }

    async fn below(&self, dir: &str, recursive: bool) -> Result<Vec<FileStatus>, Fault> {
        let dir = self.absolute(dir);
        retry::transient(|| async {
            let mut found = Vec::new();
            if self.status(&dir).await?.is_none() {
                return Ok(found);
            }
            let below = self.client.list_status_iter(&dir, recursive);
            // A directory that vanishes meanwhile is a transient fault: the list begins anew.
            while let Some(status) = retry::call(async { below.next().await.transpose() }).await? {
                found.push(status);
            }
            Ok(found)
        })
        .await
    }

    /// Makes the directory of the file at `path`.
    pub(super) async fn make_dir_of(&self, path: &str) -> Result<(), Fault> {
        let dir = self.absolute(path.rsplit_once('/').map_or("", |(dir, _)| dir));
        retry::transient(|| self.make_dir(&dir)).await
    }

    async fn make_dir(&self, dir: &str) -> Result<(), Fault> {
        retry::call(self.client.mkdirs(dir, DIRECTORY_PERMISSION, true)).await
    }

    async fn remove(&self, path: &str) -> Result<Removed, Fault> {
        let deleted = retry::call(self.client.delete(path, false)).await?;
        Ok(if deleted { Removed::Deleted } else { Removed::WasNotThere })
    }

    async fn file(&self, path: &str) -> Result<Option<FileStatus>, Fault> {
        Ok(self.status(path).await?.filter(|status| !status.isdir))
    }

    async fn status(&self, path: &str) -> Result<Option<FileStatus>, Fault> {
        retry::call(found(self.client.get_file_info(path))).await
    }

    fn absolute(&self, path: &str) -> String {
        let root = self.root.trim_end_matches('/');
        match path {
            "" => self.root.clone(),
            path => format!("{root}/{path}"),
        }
    }

    fn relative(&self, path: &str) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.trim_start_matches('/').to_owned()
    }
}

/// The client does not tell the number of a file.
fn version_of(file: &FileStatus) -> Version {
    Version(format!("{}-{}", file.modification_time, file.length))
}

enum Removed {
    Deleted,
    WasNotThere,
}

/// The client's own failover, cut short: it would wait for minutes on a namenode that is away, and
/// how long to be patient is decided in one place (`retry`).
const PATIENCE: [(&str, &str); 2] =
    [("dfs.client.failover.max.attempts", "3"), ("dfs.client.failover.sleep.max.millis", "1000")];

async fn found<T>(asked: impl Future<Output = Result<T, HdfsError>>) -> Result<Option<T>, HdfsError> {
    match asked.await {
        Ok(found) => Ok(Some(found)),
        Err(HdfsError::FileNotFound(_)) => Ok(None),
        Err(HdfsError::RPCError(class, _)) if class == "java.io.FileNotFoundException" => Ok(None),
        Err(error) => Err(error),
    }
}
