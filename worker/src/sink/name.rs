//! Paths inside a sink: which are allowed, and where temporary files live.

use rand::RngExt;

use super::error::{Category, Fault};

/// Where files live that are not published yet. Never under a data path (I3), and without an
/// extension, so that even a reader that globs everything takes none of them for Parquet.
pub(super) const TEMPORARY_DIR: &str = "_tips/tmp";

/// Where a file system's directories lie that are about to take the place of others. Apart from the temporary files,
/// since the sweep goes by age, and what is linked here is as old as it was before.
pub(super) const SWAP_DIR: &str = "_tips/swap";

/// All folders that a sink has files in. Whatever else lies at its root is another program's.
pub(super) const FOLDERS: [&str; 5] = ["rides", "fares", "invalid", "tips", "_tips"];

/// A name that no other writer uses, living or dead: two writers of one path must never share a
/// temporary file.
pub(super) fn temporary() -> String {
    let unique: u128 = rand::rng().random();
    format!("{TEMPORARY_DIR}/{unique:032x}")
}

/// Refuses a path that could leave the root or that would name a directory.
pub(super) fn check_file(path: &str) -> Result<(), Fault> {
    if path.split('/').all(is_plain) {
        return Ok(());
    }
    Err(Fault::new(Category::Other, "not a relative path of plain names"))
}

/// Like [`check_file`], but the root itself (`""`) and one closing slash are allowed.
pub(super) fn check_dir(path: &str) -> Result<&str, Fault> {
    let dir = path.strip_suffix('/').unwrap_or(path);
    if !dir.is_empty() {
        check_file(dir)?;
    }
    Ok(dir)
}

fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_the_root() {
        for bad in ["", "/etc/passwd", "a//b", "../a", "a/../../b", "a/.", "a/"] {
            assert!(check_file(bad).is_err(), "{bad:?}");
        }
        assert!(check_file("tips/year=2026/window=08-00/part.parquet").is_ok());
        assert_eq!(check_dir("").ok(), Some(""));
        assert_eq!(check_dir("tips/").ok(), Some("tips"));
        assert!(check_dir("..").is_err());
    }

    #[test]
    fn temporary_names_differ() {
        assert_ne!(temporary(), temporary());
        assert!(check_file(&temporary()).is_ok());
    }
}
