//! Makes sure that a run's files stand alone: a directory that holds something is refused, or,
//! where the user insists, cleared of what an earlier run has left.

use std::fs;
use std::io;
use std::path::Path;

use super::error::GenerateError;
use super::expected::{BOOKS, TIPS};
use super::sink::files::is_part;

/// For the lines. With `force` the parts of an earlier run go, however many it had; other files
/// stay.
pub(super) fn for_parts(dir: &Path, force: bool) -> Result<(), GenerateError> {
    make_room(dir, force, is_part)
}

/// For the expected answer.
pub(super) fn for_expected(dir: &Path, force: bool) -> Result<(), GenerateError> {
    make_room(dir, force, |name| name == TIPS || name == BOOKS)
}

fn make_room(dir: &Path, force: bool, ours: fn(&str) -> bool) -> Result<(), GenerateError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(GenerateError::file("read", dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(GenerateError::file("read", dir))?;
        if !force {
            return Err(GenerateError::NotEmpty { path: dir.into() });
        }
        if entry.file_name().to_str().is_some_and(ours) {
            fs::remove_file(entry.path()).map_err(GenerateError::file("remove", entry.path()))?;
        }
    }
    Ok(())
}
