//! What a running process has used, as /proc tells it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tips_e2e::Process;

/// The kernel counts in hundredths of a second on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const POLL: Duration = Duration::from_millis(10);

/// CPU time and memory of a process.
#[derive(Default)]
pub(super) struct Usage {
    /// User and system time of all its threads.
    pub(super) cpu_seconds: f64,
    /// The most memory that was ever resident.
    pub(super) peak_mib: f64,
    /// CPU seconds of its threads, also of those that have ended, by number; with what the thread does.
    threads: BTreeMap<u32, (&'static str, f64)>,
}

impl Usage {
    /// What `process` has used so far.
    pub(super) fn of(process: &Process) -> Self {
        let mut usage = Usage::default();
        usage.look(process);
        usage
    }

    /// Looks at `process` once more; one that has ended leaves all as it was.
    fn look(&mut self, process: &Process) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap_or_default();
        if let Some((_, seconds)) = cpu(&stat) {
            self.cpu_seconds = seconds;
        }
        if let Some(peak) = process.peak_mib() {
            self.peak_mib = peak;
        }
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", process.pid())) else { return };
        for thread in threads.flatten() {
            let number = thread.file_name().to_str().and_then(|number| number.parse().ok());
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            if let (Some(number), Some((name, seconds))) = (number, cpu(&stat)) {
                self.threads.insert(number, (stage(name), seconds));
            }
        }
    }

    /// CPU seconds by stage of the work.
    pub(super) fn stages(&self) -> BTreeMap<&'static str, f64> {
        let mut stages = BTreeMap::new();
        for (stage, seconds) in self.threads.values() {
            *stages.entry(*stage).or_default() += seconds;
        }
        stages
    }
}

/// What a thread of the worker does, by its name.
fn stage(thread: &str) -> &'static str {
    match thread {
        "reader" => "parse_clean_locate",
        name if name.starts_with("rdk:") => "fetch",
        name if name.starts_with("tokio-rt") => "join_apply_encode_publish",
        _ => "other",
    }
}

/// Name and CPU seconds of a process or thread by its `stat`.
fn cpu(stat: &str) -> Option<(&str, f64)> {
    // The name may hold blanks and parentheses; what follows the last one does not.
    let (name, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((name.split_once('(')?.1, ticks / TICKS_PER_SECOND))
}

/// Waits until `process` has ended well; what it had used when it was last looked at.
pub(super) fn until_end(process: &mut Process, patience: Duration) -> Result<Usage> {
    let mut usage = Usage::default();
    let begun = Instant::now();
    while begun.elapsed() < patience {
        usage.look(process);
        if let Some(status) = process.wait(POLL)? {
            if !status.success() {
                bail!("ended with {status}; {}", process.last_lines());
            }
            return Ok(usage);
        }
    }
    bail!("has not ended within {patience:?}; {}", process.last_lines())
}
