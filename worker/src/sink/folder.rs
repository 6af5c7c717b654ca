//! What lies below a folder of a file system, read as it is. A folder that is not there is an empty one, and stays away:
//! who only reads may not be able to make it.
//!
//! What vanishes while it is looked at is none.

use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::error::{Category, Fault};

/// Of what may not be there.
pub(super) fn found<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        there => there.map(Some),
    }
}

/// A part of a file.
pub(super) fn read_range(file: &Path, range: Range<u64>) -> Result<Option<Bytes>, Fault> {
    let Some(open) = found(File::open(file))? else { return Ok(None) };
    let mut bytes = vec![0; (range.end - range.start) as usize];
    match open.read_exact_at(&mut bytes, range.start) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let cause = format!("it has no {} bytes at {}", bytes.len(), range.start);
            Err(Fault::new(Category::Corrupt, cause))
        }
        read => Ok(read.map(|()| Some(bytes.into()))?),
    }
}

/// The size of a file.
pub(super) fn len(file: &Path) -> io::Result<Option<u64>> {
    Ok(found(fs::metadata(file))?.filter(Metadata::is_file).map(|there| there.len()))
}

/// All files below `dir` of `root`, at any depth, by their paths below `root`.
pub(super) fn files(root: &Path, dir: &str) -> io::Result<Vec<(String, Metadata)>> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in entries(&root.join(&dir))? {
            let (Some(kind), Some(path)) = (found(entry.file_type())?, path(&dir, &entry)) else { continue };
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file()
                && let Some(metadata) = found(entry.metadata())?
            {
                files.push((path, metadata));
            }
        }
    }
    Ok(files)
}

/// The folders right below `dir` of `root`, by their paths below `root`.
pub(super) fn dirs(root: &Path, dir: &str) -> io::Result<Vec<String>> {
    let mut dirs = Vec::new();
    for entry in entries(&root.join(dir))? {
        if found(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
            dirs.extend(path(dir, &entry));
        }
    }
    Ok(dirs)
}

fn entries(dir: &Path) -> io::Result<Vec<DirEntry>> {
    found(fs::read_dir(dir))?.map_or_else(|| Ok(Vec::new()), Iterator::collect)
}

/// `None`: a name that is not UTF-8, and so none of ours.
fn path(dir: &str, entry: &DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok()?;
    Some(if dir.is_empty() { name } else { format!("{dir}/{name}") })
}
