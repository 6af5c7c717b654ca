//! Images of what was built here, made and made known to a node without a registry or a container engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::machine::Machine;
use super::node::ctr;
use crate::process::run;
use crate::{Folder, cache};

/// What holds a pod's namespaces: every [`Node`](super::Node) has it, and its program does nothing until it is told to end.
pub const PAUSE: &str = "tipstream.test/pause:1";

/// An image in a file.
#[derive(Debug)]
pub struct Image {
    name: String,
    tar: PathBuf,
}

impl Image {
    /// Makes the image `name` of a program, as images/Dockerfile would.
    pub fn make(folder: &Folder, name: &str, program: &Path) -> Result<Self> {
        Self::make_with(folder, name, program, &[])
    }

    /// The same with more programs beside it, as the worker has the query service.
    pub fn make_with(folder: &Folder, name: &str, program: &Path, more: &[&Path]) -> Result<Self> {
        let file = program.file_name().context("a program without a name")?.to_string_lossy();
        let tar = folder.path().join(format!("{file}.tar"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("image.sh");
        run(Command::new(script).arg(name).arg(program).arg(&tar).args(more))?;
        Ok(Self { name: name.to_owned(), tar })
    }

    pub(super) fn pause(folder: &Folder) -> Result<Self> {
        Self::make(folder, PAUSE, &cache::binary("pause")?)
    }

    /// Its name, for a manifest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.tar
    }

    pub(super) fn load(&self, machine: &Machine) -> Result<()> {
        ctr(machine, &["images", "import", &self.tar.display().to_string()]).map(drop)
    }
}
