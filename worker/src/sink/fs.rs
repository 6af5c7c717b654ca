//! A directory of a local or mounted file system.
//!
//! A file is written whole to a temporary name, made durable, and then given its final name by one
//! system call. `link(2)` does that for `put_if_absent`: it is atomic, it fails with EEXIST if the name
//! is taken, by whatever, and unlike `renameat2(RENAME_NOREPLACE)` POSIX has it and NFS too. `rename(2)`
//! does it for `replace`: atomic as well, and at no moment is the name absent. A reader finds either
//! nothing or all of it, since the bytes were there before the name.
//!
//! `replace` holds a lock on the file that it looks at until it has taken its place. Whoever else wants
//! to replace it does the same, so none can come between; the lock of a dead process is free, that of a
//! stopped one is not, and the others try again, as long as a sink is tried.
//!
//! Durability: the file is synced before it gets its name, and then every directory from its own up
//! to the root, since one of them may be new, made by us or by a racing writer that has not synced it
//! yet. The same is done where the file was there already: the caller will rely on it, and who wrote
//! it may have died before its own sync.
//!
//! NFS may answer EEXIST to a link that was made, when a reply was lost: that is `Put::Exists`, which
//! never promises whose file it is.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::{Category, Fault};
use super::folder::{self, found};
use super::name::{self, TEMPORARY_DIR};
use super::objects::is_older;
use super::{Entry, Mode, Put, Swept, Use, Version, crash, retry};

pub(super) struct Fs {
    root: Arc<Path>,
}

impl Fs {
    /// To write, makes the root if need be, and proves with a probe that files can be made and linked there.
    pub(super) async fn open(root: &Path, intent: Use) -> Result<Fs, Fault> {
        let root: Arc<Path> = Arc::from(root);
        if intent == Use::Write {
            let probed = Arc::clone(&root);
            blocking(move || probe(&probed)).await?;
        }
        Ok(Fs { root })
    }

    /// One blocking task does all of a try, so a caller that is cancelled leaves no half-done step.
    pub(super) async fn put(&self, path: &str, bytes: Bytes, mode: Mode) -> Result<Put, Fault> {
        retry::transient(|| {
            let (path, bytes, mode) = (path.to_owned(), bytes.clone(), mode.clone());
            self.blocking(move |root| publish(root, &path, &bytes, mode))
        })
        .await
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>, Fault> {
        Ok(self.read_version(path).await?.map(|(bytes, _)| bytes))
    }

    pub(super) async fn read_version(&self, path: &str) -> Result<Option<(Bytes, Version)>, Fault> {
        let file = self.root.join(path);
        blocking(move || {
            let Some(mut file) = found(File::open(file))? else { return Ok(None) };
            let version = version_of(&file.metadata()?);
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some((bytes.into(), version)))
        })
        .await
    }

    pub(super) async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, Fault> {
        let file = self.root.join(path);
        blocking(move || folder::read_range(&file, range)).await
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Option<u64>, Fault> {
        let file = self.root.join(path);
        blocking(move || Ok(folder::len(&file)?)).await
    }

    pub(super) async fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        let dir = dir.to_owned();
        self.blocking(move |root| {
            let files = folder::files(root, &dir)?.into_iter();
            Ok(files.map(|(path, there)| Entry { path, len: there.len() }).collect())
        })
        .await
    }

    pub(super) async fn dirs(&self, dir: &str) -> Result<Vec<String>, Fault> {
        let dir = dir.to_owned();
        self.blocking(move |root| Ok(folder::dirs(root, &dir)?)).await
    }

    /// Runs `work` on the root, beside the runtime.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let root = Arc::clone(&self.root);
        blocking(move || work(&root)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Fault> {
        let file = self.root.join(path);
        blocking(move || Ok(found(fs::remove_file(file)).map(drop)?)).await
    }

    pub(super) async fn sweep(&self, older_than: Duration) -> Result<Swept, Fault> {
        self.blocking(move |root| {
            let mut swept = Swept::default();
            for (path, there) in folder::files(root, TEMPORARY_DIR)? {
                if is_older(there.modified()?, older_than) {
                    found(fs::remove_file(root.join(path)))?;
                    swept.files += 1;
                }
            }
            Ok(swept)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Fault::new(Category::Other, "the runtime is shutting down")),
    }
}

fn publish(root: &Path, path: &str, bytes: &[u8], mode: Mode) -> Result<Put, Fault> {
    let target = root.join(path);
    let parent = target.parent().unwrap_or(root);
    crash::point("before-upload", path);
    let temporary = Temporary::write(root, path, bytes)?;
    fs::create_dir_all(parent)?;
    crash::point("before-publish", path);
    let put = match mode {
        Mode::IfAbsent => link(&temporary.0, &target)?,
        Mode::Replace(version) => replace(&temporary.0, &target, &version)?,
    };
    crash::point("after-publish", path);
    sync_up_to(root, parent)?;
    Ok(put)
}

fn link(temporary: &Path, target: &Path) -> Result<Put, Fault> {
    match fs::hard_link(temporary, target) {
        Ok(()) => Ok(Put::Created),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(target)?.is_file() {
                Ok(Put::Exists)
            } else {
                Err(Fault::new(Category::Conflict, "it is there, but is no file")
                    .advise("something that is not ours is in the way: move it"))
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// `Exists`: another file is there by now.
fn replace(temporary: &Path, target: &Path, version: &Version) -> Result<Put, Fault> {
    let there = match OpenOptions::new().read(true).write(true).open(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Put::Exists),
        opened => opened?,
    };
    match there.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Fault::new(Category::Conflict, "another worker is about to replace it").transient());
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    // By its name: what was opened may have been replaced before it was locked.
    if version_of(&fs::symlink_metadata(target)?) != *version {
        return Ok(Put::Exists);
    }
    fs::rename(temporary, target)?;
    Ok(Put::Created)
}

/// Files of one name differ in the number of their inode, or where that is used again, in their time.
fn version_of(file: &Metadata) -> Version {
    Version(format!("{}-{}-{}", file.ino(), file.ctime(), file.ctime_nsec()))
}

/// Makes the names durable: a directory's entries are its own content.
pub(super) fn sync_up_to(root: &Path, dir: &Path) -> io::Result<()> {
    for dir in dir.ancestors() {
        File::open(dir)?.sync_all()?;
        if dir == root {
            break;
        }
    }
    Ok(())
}

/// A file under the temporary directory that goes away again unless it was renamed. Only a dead
/// process leaves one behind; the sweep finds it.
struct Temporary(PathBuf);

impl Temporary {
    /// For what is to be at `path`.
    fn write(root: &Path, path: &str, bytes: &[u8]) -> io::Result<Temporary> {
        let temporary = root.join(name::temporary());
        let mut file = match create(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(root.join(TEMPORARY_DIR))?;
                create(&temporary)?
            }
            created => created?,
        };
        let temporary = Temporary(temporary);
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        crash::point("mid-upload", path);
        file.write_all(rest)?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already after a rename; anything else is the sweep's.
        let _ = fs::remove_file(&self.0);
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn probe(root: &Path) -> Result<(), Fault> {
    fs::create_dir_all(root.join(TEMPORARY_DIR))?;
    let file = Temporary::write(root, TEMPORARY_DIR, b"probe")?;
    let second = Temporary(root.join(name::temporary()));
    fs::hard_link(&file.0, &second.0).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied => {
            Fault::new(Category::Other, format!("no hard links here: {error}"))
                .advise("exactly-once needs them: use a file system that has them, or the s3 or hdfs sink")
        }
        _ => error.into(),
    })
}
