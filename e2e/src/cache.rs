//! Where `setup.sh` puts what the tests start, and the message for who has not run it.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

const MISSING: &str = "run `make setup` (or e2e/setup.sh) first";

/// Kafka's jars.
pub const KAFKA: &str = "kafka-4.4.0";
/// Hadoop's jars.
pub const HADOOP: &str = "hadoop-3.5.0";
/// The PostgreSQL JDBC driver.
pub const PGJDBC: &str = "pgjdbc-42.7.14";

fn root() -> Result<PathBuf> {
    if let Some(root) = env::var_os("TIPSTREAM_CACHE") {
        return Ok(root.into());
    }
    let home = env::var_os("HOME").context("neither TIPSTREAM_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/tipstream"))
}

/// A file or folder of the cache.
fn item(path: &str) -> Result<PathBuf> {
    let found = root()?.join(path);
    if !found.exists() {
        bail!("{} is missing: {MISSING}", found.display());
    }
    Ok(found)
}

/// A Java class path of all jars of `name`.
pub fn jars(name: &str) -> Result<String> {
    Ok(format!("{}/*", item(&format!("jars/{name}"))?.display()))
}

/// A program that was built into the cache.
pub fn binary(name: &str) -> Result<PathBuf> {
    item(&format!("bin/{name}"))
}

/// The script of axe-core, which finds what is not accessible in a page.
pub fn axe() -> Result<PathBuf> {
    item("axe/axe.min.js")
}

/// The Python that the oracle runs on.
pub fn python() -> Result<PathBuf> {
    item("venv/bin/python")
}

/// The linter of Dockerfiles.
pub fn hadolint() -> Result<PathBuf> {
    item("venv/bin/hadolint")
}

/// The ODBC driver of PostgreSQL, where Debian has it.
pub fn odbc_driver() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").context("reading /usr/lib")?;
    folders
        .filter_map(|folder| Some(folder.ok()?.path().join("odbc/psqlodbcw.so")))
        .find(|path| path.is_file())
        .with_context(|| format!("psqlodbcw.so is not there: {MISSING}"))
}

/// A program of the system.
pub fn program(name: &str) -> Result<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not in PATH: {MISSING}"))
}
