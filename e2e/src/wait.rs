//! Waiting for what comes in its own time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

const POLL: Duration = Duration::from_millis(200);

/// Asks `holds` until it does.
///
/// # Errors
/// Where it cannot be asked, or does not hold within `timeout`.
pub fn until(what: &str, timeout: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while !holds()? {
        ensure!(Instant::now() < deadline, "not {what} within {timeout:?}");
        std::thread::sleep(POLL);
    }
    Ok(())
}
