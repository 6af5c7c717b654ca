//! What a running process has used, as /proc tells it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tips_e2e::Process;

/// The kernel counts in hundredths of a second on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const POLL: Duration = Duration::from_millis(10);

/// CPU time and memory of a process.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// User and system time of all its threads.
    pub(super) cpu_seconds: f64,
    /// The most memory that was ever resident.
    pub(super) peak_mib: f64,
}

/// What `process` has used so far; `None` when it has ended.
pub(super) fn of(process: &Process) -> Option<Usage> {
    let proc = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", process.pid())).ok();
    let stat = proc("stat")?;
    // The name may hold blanks; what follows the last parenthesis does not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = proc("status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.split_whitespace().next()?.parse().ok()?;
    Some(Usage { cpu_seconds: ticks / TICKS_PER_SECOND, peak_mib: kib / 1024.0 })
}

/// Waits until `process` has ended well; what it had used when it was last looked at.
pub(super) fn until_end(process: &mut Process, patience: Duration) -> Result<Usage> {
    let mut last = Usage::default();
    for _ in 0..patience.as_millis() / POLL.as_millis() {
        if let Some(usage) = of(process) {
            last = usage;
        }
        if let Some(status) = process.wait(Duration::ZERO)? {
            if !status.success() {
                bail!("ended with {status}; {}", process.last_lines());
            }
            return Ok(last);
        }
        std::thread::sleep(POLL);
    }
    None.context(format!("has not ended within {patience:?}; {}", process.last_lines()))
}
