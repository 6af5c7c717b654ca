//! Runs of `compact` and what they report.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::run;
use crate::worker::Pipeline;

/// The report of a run.
#[derive(Debug)]
pub struct Compacted(Value);

impl Pipeline<'_> {
    /// `compact` of this pipeline, for one day (`yyyy-mm-dd`), whether it has closed or not.
    pub fn compact_command(&self, day: &str, more: &[&str]) -> Result<Command> {
        let manifest = self.manifest().display().to_string();
        let arguments = ["compact", "-f", &manifest, "--json", "--day", day];
        self.command(&[&arguments[..], more].concat())
    }

    /// Runs it, to a good end.
    pub fn compact(&self, day: &str, more: &[&str]) -> Result<Compacted> {
        Compacted::of(&mut self.compact_command(day, more)?)
    }

    /// The same with these crash points, such as `compact::after-plan=sleep(1000)`.
    pub fn compact_with(&self, day: &str, points: &str) -> Result<Compacted> {
        Compacted::of(self.compact_command(day, &[])?.env("FAILPOINTS", points))
    }

    /// Runs it with this crash point, at which it has to die.
    pub fn compact_dies_at(&self, day: &str, point: &str) -> Result<()> {
        let mut command = self.compact_command(day, &[])?;
        let output = command.env("FAILPOINTS", format!("{point}=return")).output()?;
        ensure!(!output.status.success(), "compact did not pass {point}");
        Ok(())
    }
}

impl Compacted {
    fn of(command: &mut Command) -> Result<Self> {
        let report = run(command)?;
        Ok(Compacted(serde_json::from_str(&report).with_context(|| format!("no report: {report}"))?))
    }

    /// Folders in which something was done.
    pub fn folders(&self) -> usize {
        self.lines().len()
    }

    /// Files in them before and after.
    pub fn files(&self) -> (u64, u64) {
        let sum = |when: &str| self.lines().iter().filter_map(|line| line[when]["files"].as_u64()).sum();
        (sum("before"), sum("after"))
    }

    /// How long rows were there twice, at the longest.
    pub fn overlap(&self) -> Duration {
        let seconds = self.lines().iter().filter_map(|line| line["overlapSeconds"].as_f64());
        Duration::from_secs_f64(seconds.fold(0.0, f64::max))
    }

    fn lines(&self) -> &[Value] {
        self.0["folders"].as_array().map_or(&[], Vec::as_slice)
    }
}
