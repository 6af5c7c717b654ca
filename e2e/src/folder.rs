//! A folder for each test: removed when the test passes, kept and named when it fails.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result};

/// Keeps the folders of tests that passed, too.
const KEEP: &str = "TIPSTREAM_E2E_KEEP";
/// Where the folders are made, instead of the system's temporary folder.
const ROOT: &str = "TIPSTREAM_E2E_DIR";

/// A test's folder. Declare it before the servers that write into it, so that it is dropped after them.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// An empty folder whose name starts with the test's.
    pub fn new(test: &str) -> Result<Self> {
        // Two tests of one process may have the same name; two processes may run the same test.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = env::var_os(ROOT).map_or_else(|| env::temp_dir().join("tipstream-e2e"), PathBuf::from);
        let unique = format!("{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = root.join(unique);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("removing the old {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder inside, made if it is not there.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }

    /// A file inside with these contents.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    #[expect(clippy::print_stderr, reason = "a failed test says where its logs are")]
    fn drop(&mut self) {
        if thread::panicking() || env::var_os(KEEP).is_some() {
            eprintln!("kept for a look: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

/// Runs a test in its own folder, and panics with the whole chain of causes where it returns an error.
///
/// A test that returned the error itself would unwind nothing, so its folder would look like that of a success.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn scenario(name: &str, test: impl FnOnce(&Folder) -> Result<()>) {
    let folder = Folder::new(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    if let Err(error) = test(&folder) {
        panic!("{name}: {error:#}");
    }
}
