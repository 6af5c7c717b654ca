//! A server of the cluster that can be stopped, and started again as it was.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::Process;

/// A server of the cluster.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    program: OsString,
    arguments: Vec<OsString>,
    log: PathBuf,
    process: Process,
}

impl Part {
    /// Starts `command`, its log in `dir`.
    pub(super) fn start(name: &'static str, command: Command, dir: &Path) -> Result<Self> {
        let program = command.get_program().to_owned();
        let arguments = command.get_args().map(ToOwned::to_owned).collect();
        let log = dir.join(format!("{name}.log"));
        let process = Process::start(name, command, &log)?;
        Ok(Self { name, program, arguments, log, process })
    }

    /// The process, to stop and wake it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends in good order, and stays down until [`Part::up`].
    pub fn down(&mut self) -> Result<()> {
        self.process.end()
    }

    /// Ends without a warning, and stays down until [`Part::up`].
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts again with the same arguments. Whether it is ready is for the cluster to say.
    pub fn up(&mut self) -> Result<()> {
        self.process.end()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        self.process = Process::start(self.name, command, &self.log)?;
        Ok(())
    }
}
