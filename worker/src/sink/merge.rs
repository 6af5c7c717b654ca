//! One file in the place of many: the step that compaction rests on.
//!
//! [`Sink::merge`] leaves the target there, whole, and its sources gone; nothing else under their directory changes,
//! whoever writes to it meanwhile. It may be repeated after any failure, by anybody, where the target's bytes follow
//! from the sources. No step of it loses a row: the target is there before a source goes.
//!
//! | sink | how the sources give way | a row may be seen twice for |
//! |---|---|---|
//! | file system | a directory that has the target and all but the sources is exchanged with theirs (`renameat2`), one step | never |
//! | HDFS | the target is renamed into place, then the sources are deleted, 32 at once | the deletions |
//! | S3 | the target is put, then the sources are deleted, 1,000 a request, all requests at once | those requests |
//!
//! HDFS has no step that takes many names away and gives one. Its rename moves one file or one directory, and takes the
//! place of one file or of an empty directory: so one rename can make sources vanish (their directory moved away) or the
//! target appear, or do both for a single source, but not for two. Moving the day's directory away and another into its
//! place are two renames, and between them a reader would find no row at all. (`concat` takes many files away at once,
//! but what it makes of them are their bytes one after the other, unsorted and with every old footer in between.) So the
//! target comes first. A file system that cannot exchange (NFS) is treated like HDFS. How long rows were there twice is
//! measured and told: [`Merged::overlap`]. Whoever finishes what another has left begins to count when the target was
//! written, by the clocks of this machine and of the store.
//!
//! A listing takes time too, and one that a merge falls into is of no single moment. On S3 and HDFS it goes by name, and a
//! target's name comes after those of its sources: such a listing has rows twice at worst, and none is missing.
//!
//! Crash points (see `crash`):
//!
//! | name | where |
//! |---|---|
//! | `sink::before-exchange` | a directory with the merged file in it is ready (file system only) |
//! | `sink::after-exchange` | it is in its place; what came meanwhile is not put back (file system only) |
//! | `sink::before-removal` | the merged file is there, and so are its sources (not on a file system) |

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::{TryStreamExt, stream};

use super::error::Fault;
use super::fs::Fs;
use super::hdfs::Hdfs;
use super::s3::S3;
use super::{Backend, CONCURRENCY, Mode, Put, Sink, SinkError, name};
use crate::crash;

/// Which files give way to which.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// The directory that all of them lie below.
    pub dir: &'a str,
    /// The files that go.
    pub sources: &'a [String],
    /// The file that comes.
    pub target: &'a str,
}

/// What became of a [`Sink::merge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Whether it is surely this call that put the target there.
    pub put: Put,
    /// How long target and sources were there together.
    pub overlap: Duration,
}

impl Sink {
    /// Puts `bytes` at the target and takes the sources away. `None`: the target is there already.
    ///
    /// # Errors
    /// Where the sink fails; target and sources may then both be there, until it is called again.
    pub async fn merge(&self, merge: Merge<'_>, bytes: Option<Bytes>) -> Result<Merged, SinkError> {
        let work = async {
            for path in merge.sources.iter().map(String::as_str).chain([merge.target]) {
                name::check_file(path)?;
            }
            match &self.0.backend {
                Backend::Fs(fs) => fs.merge(merge, bytes).await,
                Backend::S3(s3) => s3.merge(merge, bytes).await,
                Backend::Hdfs(hdfs) => hdfs.merge(merge, bytes).await,
            }
        };
        self.run("merge into", merge.target, work).await
    }
}

impl S3 {
    async fn merge(&self, merge: Merge<'_>, bytes: Option<Bytes>) -> Result<Merged, Fault> {
        let put = match bytes {
            Some(bytes) => self.put(merge.target, bytes, Mode::IfAbsent).await?,
            None => Put::Exists,
        };
        let twice = match put {
            Put::Created => Twice::from_now(),
            Put::Exists => Twice::left(merge, self.objects.list_written(merge.dir).await?),
        };
        crash::point("sink::before-removal");
        self.objects.delete_all(merge.sources).await?;
        Ok(Merged { put, overlap: twice.so_far() })
    }
}

impl Hdfs {
    async fn merge(&self, merge: Merge<'_>, bytes: Option<Bytes>) -> Result<Merged, Fault> {
        let put = match bytes {
            Some(bytes) => {
                // Before the upload, so that who walks the directory meanwhile comes to the target at last.
                self.make_dir_of(merge.target).await?;
                self.put(merge.target, bytes, Mode::IfAbsent).await?
            }
            None => Put::Exists,
        };
        let twice = match put {
            Put::Created => Twice::from_now(),
            Put::Exists => Twice::left(merge, self.list_written(merge.dir).await?),
        };
        crash::point("sink::before-removal");
        stream::iter(merge.sources.iter().map(Ok))
            .try_for_each_concurrent(CONCURRENCY, |source| self.delete_known(source))
            .await?;
        let overlap = twice.so_far();
        for dir in merge.emptied() {
            self.delete_dir_if_empty(dir).await?;
        }
        Ok(Merged { put, overlap })
    }
}

impl Fs {
    async fn merge(&self, merge: Merge<'_>, bytes: Option<Bytes>) -> Result<Merged, Fault> {
        let (dir, target) = (merge.dir.to_owned(), merge.target.to_owned());
        let sources = merge.sources.to_vec();
        self.blocking(move |root| {
            super::exchange::merge(root, Merge { dir: &dir, sources: &sources, target: &target }, bytes)
        })
        .await
    }
}

/// How long a target and its sources are there together.
pub(super) struct Twice {
    /// Before `since`; `None`: no source is there.
    before: Option<Duration>,
    since: Instant,
}

impl Twice {
    /// The target has just come.
    pub(super) fn from_now() -> Self {
        Twice { before: Some(Duration::ZERO), since: Instant::now() }
    }

    /// The target was there: `files` are those below the directory, and when they were written.
    pub(super) fn left(
        merge: Merge<'_>,
        files: impl IntoIterator<Item = (impl AsRef<str>, SystemTime)>,
    ) -> Self {
        let sources: HashSet<&str> = merge.sources.iter().map(String::as_str).collect();
        let (mut is_twice, mut age) = (false, Duration::ZERO);
        for (path, written) in files {
            is_twice |= sources.contains(path.as_ref());
            if path.as_ref() == merge.target {
                age = written.elapsed().unwrap_or_default();
            }
        }
        Twice { before: is_twice.then_some(age), since: Instant::now() }
    }

    pub(super) fn so_far(&self) -> Duration {
        self.before.map_or(Duration::ZERO, |before| before + self.since.elapsed())
    }
}

impl<'a> Merge<'a> {
    /// Directories that may be empty afterwards: those of sources that do not lie in the one that stays.
    pub(super) fn emptied(&self) -> impl Iterator<Item = &'a str> {
        let parent = |path: &'a str| path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut dirs: Vec<&str> = self.sources.iter().map(|source| parent(source)).collect();
        dirs.retain(|dir| *dir != self.dir && *dir != parent(self.target));
        dirs.sort_unstable();
        dirs.dedup();
        dirs.into_iter()
    }
}
