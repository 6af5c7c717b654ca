//! The programs of this workspace, as they were built.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// What `variable` names, or the program of that name that was built last.
pub(crate) fn built(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("finding this test")?;
    let built = test.ancestors().nth(2).map(|dir| dir.join(name)).filter(|path| path.exists());
    built.with_context(|| format!("no {name} beside the tests: run `make test`, or set {variable}"))
}
