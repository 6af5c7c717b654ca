//! A reader beside the writers: it looks at an output directory again and again while a test runs, and fails if it
//! ever sees a file that is not whole, a row twice, or a file that changes or disappears.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::oracle::python;
use crate::{Folder, Process};

/// The last look reads all that is new since the one before.
const LAST_LOOK: Duration = Duration::from_secs(120);

/// What compaction may do to files while they are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// Nothing.
    None,
    /// Files may disappear, as long as every row that was seen is seen again, once.
    AtOnce,
    /// The same, but rows may be there twice for a while.
    Overlapping,
}

/// What the watched store may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// It is there all the time.
    Stays,
    /// It goes and comes back, and has not to answer meanwhile.
    MayBeAway,
}

/// A running watcher.
#[derive(Debug)]
pub struct Watcher {
    process: Process,
    until: PathBuf,
}

impl Watcher {
    /// Watches `output`, which need not be there yet: a local folder, or the WebHDFS address of one of HDFS.
    pub fn start(folder: &Folder, output: impl AsRef<OsStr>, merging: Merging) -> Result<Self> {
        Self::start_with(folder, output, merging, Store::Stays)
    }

    /// The same, of a store that may be away at times.
    pub fn start_with(
        folder: &Folder,
        output: impl AsRef<OsStr>,
        merging: Merging,
        store: Store,
    ) -> Result<Self> {
        let dir = folder.dir("watcher")?;
        let until = dir.join("until");
        let mut command = python("watch")?;
        command.arg("--output").arg(output).arg("--until").arg(&until);
        match merging {
            Merging::None => {}
            Merging::AtOnce => _ = command.arg("--may-merge"),
            Merging::Overlapping => _ = command.args(["--may-merge", "--may-overlap"]),
        }
        if store == Store::MayBeAway {
            command.arg("--may-be-away");
        }
        let process = Process::start("watcher", command, &dir.join("watcher.log"))?;
        Ok(Self { process, until })
    }

    /// Waits until it has looked once.
    pub fn until_looked(&mut self, timeout: Duration) -> Result<()> {
        self.process.until_said("watching", timeout)
    }

    /// Has one more look, ends, and fails with what was seen amiss at any time; else says how much was seen.
    pub fn finish(mut self) -> Result<String> {
        fs::write(&self.until, "").context("telling the watcher to end")?;
        let status = self.process.wait(LAST_LOOK)?.context("the watcher does not end")?;
        if !status.success() {
            bail!("the watcher saw something amiss; {}", self.process.last_lines());
        }
        let log = fs::read_to_string(self.process.log()).context("reading the watcher's log")?;
        Ok(log.trim().lines().next_back().unwrap_or_default().to_owned())
    }
}
