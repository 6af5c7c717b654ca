//! A file system's part of [`Sink::merge`](super::Sink::merge): a directory exchanged with another in one step.
//!
//! The new directory is made under `_tips/swap/`: the target, written and synced, and hard links to every file of the
//! old one but the sources. `renameat2(RENAME_EXCHANGE)` puts one in the place of the other. The sources are then under
//! `_tips/swap/` and deleted there.
//!
//! Other writers link files into the directory while this goes on. One that comes after the links were made, and before
//! the exchange, is in the old directory alone, for the few system calls until it is linked back. So is one whose writer
//! has looked the directory up before the exchange and links after it: the old directory is not removed with what is in
//! it, but file by file, once each is known to be a source or to be back, and a directory only when it is empty; whoever
//! comes later finds no directory. Whoever dies before that leaves the old directory under `_tips/swap/`, named after the
//! target; the next merge into that target does the rest. What it puts back may have been deleted since: that costs a
//! file that is there once too often, which the next compaction removes, and never one that is missing.
//!
//! One does this at a time: `_tips/swap/lock` is locked (`flock(2)`), and another who comes waits.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Put;
use super::error::{Category, Fault};
use super::fs::sync_up_to;
use super::merge::{Merge, Merged, Twice};
use super::name::SWAP_DIR;
use crate::crash;

/// How long one waits for another's exchange, which takes milliseconds and the writing of a file.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// See [`Sink::merge`](super::Sink::merge). Blocks.
pub(super) fn merge(root: &Path, merge: Merge<'_>, bytes: Option<Bytes>) -> Result<Merged, Fault> {
    let _locked = lock(root)?;
    let swap = Swap::new(root, merge)?;
    swap.clear_leftovers()?;
    let (Some(bytes), false) = (bytes, root.join(merge.target).exists()) else {
        let overlap = swap.remove_left_sources()?;
        return Ok(Merged { put: Put::Exists, overlap });
    };
    let staged = swap.stage(&bytes)?;
    crash::point("sink::before-exchange");
    // Once more: to write the target takes a while.
    swap.link_others(&staged)?;
    match renameat_with(CWD, &staged, CWD, &swap.dir, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::XDEV) => return swap.one_by_one(&staged),
        Err(error) => return Err(io::Error::from(error).into()),
    }
    crash::point("sink::after-exchange");
    swap.retire(&staged)?;
    Ok(Merged { put: Put::Created, overlap: Duration::ZERO })
}

struct Swap<'a> {
    root: &'a Path,
    merge: Merge<'a>,
    /// The directory that is exchanged.
    dir: PathBuf,
    /// What directories of this target are called under `_tips/swap/`.
    prefix: String,
}

impl<'a> Swap<'a> {
    fn new(root: &'a Path, merge: Merge<'a>) -> Result<Self, Fault> {
        let inside = |path: &str| path.strip_prefix(merge.dir).is_some_and(|rest| rest.starts_with('/'));
        if !merge.sources.iter().map(String::as_str).chain([merge.target]).all(inside) {
            return Err(Fault::new(Category::Other, format!("not all files lie below {}", merge.dir)));
        }
        let prefix = format!("{}.", merge.target.replace('/', "~"));
        Ok(Swap { root, merge, dir: root.join(merge.dir), prefix })
    }

    fn is_source(&self, below: &Path) -> bool {
        let path = Path::new(self.merge.dir).join(below);
        self.merge.sources.iter().any(|source| Path::new(source) == path)
    }

    /// The target's path in the directory.
    fn target(&self) -> &Path {
        Path::new(self.merge.target.strip_prefix(self.merge.dir).unwrap_or_default().trim_matches('/'))
    }

    fn clear_leftovers(&self) -> io::Result<()> {
        let left = match fs::read_dir(self.root.join(SWAP_DIR)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            left => left?,
        };
        for entry in left {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                continue;
            }
            if entry.path().join(self.target()).exists() {
                // It was not exchanged, and nobody else knows its name.
                fs::remove_dir_all(entry.path())?;
            } else {
                self.retire(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes `old`, once all that it has and that is no source is in the directory that took its place.
    fn retire(&self, old: &Path) -> io::Result<()> {
        loop {
            let files = files_below(old)?;
            for below in files.iter().filter(|below| !self.is_source(below)) {
                link(&old.join(below), &self.dir.join(below))?;
            }
            sync_down(&self.dir)?;
            sync_up_to(self.root, &self.dir)?;
            for below in &files {
                fs::remove_file(old.join(below))?;
            }
            let dirs = dirs_below(old)?;
            // The deepest first.
            match dirs.iter().rev().try_for_each(fs::remove_dir) {
                // A file has come.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                removed => return removed,
            }
        }
    }

    fn stage(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let unique: u64 = rand::rng().random();
        let staged = self.root.join(SWAP_DIR).join(format!("{}{unique:016x}", self.prefix));
        fs::create_dir_all(&staged)?;
        fs::set_permissions(&staged, fs::metadata(&self.dir)?.permissions())?;
        let target = staged.join(self.target());
        fs::create_dir_all(target.parent().unwrap_or(&staged))?;
        let mut file = File::create_new(&target)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.link_others(&staged)?;
        sync_down(&staged)?;
        Ok(staged)
    }

    /// Links every file of the directory but the sources into `staged`.
    fn link_others(&self, staged: &Path) -> io::Result<()> {
        for below in files_below(&self.dir)?.iter().filter(|below| !self.is_source(below)) {
            // A writer may give way to another run meanwhile.
            gone_is_fine(link(&self.dir.join(below), &staged.join(below)))?;
        }
        Ok(())
    }

    /// Removes the sources of a target that was there; returns for how long they were there together.
    fn remove_left_sources(&self) -> io::Result<Duration> {
        let paths = self.merge.sources.iter().map(String::as_str).chain([self.merge.target]);
        let mut there = Vec::new();
        for path in paths {
            match fs::metadata(self.root.join(path)) {
                Ok(file) => there.push((path, file.modified()?)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let twice = Twice::left(self.merge, there);
        self.remove_sources()?;
        Ok(twice.so_far())
    }

    fn remove_sources(&self) -> io::Result<()> {
        for source in self.merge.sources {
            gone_is_fine(fs::remove_file(self.root.join(source)))?;
        }
        for dir in self.merge.emptied() {
            match fs::remove_dir(self.root.join(dir)) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                removed => gone_is_fine(removed)?,
            }
        }
        sync_up_to(self.root, &self.dir)
    }

    /// Where directories cannot be exchanged.
    fn one_by_one(&self, staged: &Path) -> Result<Merged, Fault> {
        let target = self.dir.join(self.target());
        let put = if link(&staged.join(self.target()), &target)? { Put::Created } else { Put::Exists };
        sync_up_to(self.root, target.parent().unwrap_or(&self.dir))?;
        let overlap = match put {
            Put::Created => {
                let twice = Twice::from_now();
                self.remove_sources()?;
                twice.so_far()
            }
            Put::Exists => self.remove_left_sources()?,
        };
        fs::remove_dir_all(staged)?;
        Ok(Merged { put, overlap })
    }
}

/// Free again when it is dropped, and when the process dies. A process that was stopped keeps it.
fn lock(root: &Path) -> Result<File, Fault> {
    let dir = root.join(SWAP_DIR);
    fs::create_dir_all(&dir)?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => {
                return Err(Fault::new(Category::Conflict, "another process merges files here").transient());
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Gives the file at `from` the name `to` too; `false`: the name is taken.
fn link(from: &Path, to: &Path) -> io::Result<bool> {
    let mut linked = fs::hard_link(from, to);
    if linked.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        linked = fs::hard_link(from, to);
    }
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn gone_is_fine<T: Default>(done: io::Result<T>) -> io::Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        done => done,
    }
}

fn sync_down(dir: &Path) -> io::Result<()> {
    dirs_below(dir)?.iter().try_for_each(|dir| File::open(dir)?.sync_all())
}

/// Files at any depth, relative to `dir`.
fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for inner in dirs_below(dir)? {
        let entries = match fs::read_dir(&inner) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                files.push(entry.path().strip_prefix(dir).map(Path::to_owned).unwrap_or_default());
            }
        }
    }
    Ok(files)
}

/// `dir` and all directories below it.
fn dirs_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(dir) = dirs.get(next).cloned() {
        next += 1;
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    Ok(dirs)
}
