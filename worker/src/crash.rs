//! Named crash points of the protocol, for the tests that end a worker there.
//!
//! With `FAILPOINTS="raw::after-range=return"` in the environment the process ends at that point as SIGKILL would
//! end it: nothing is flushed, nothing is cleaned up; with `return(ms)` so many milliseconds later, in which what was
//! sent arrives. Only in builds with debug assertions: in a release a point is nothing.
//!
//! | name | where |
//! |---|---|
//! | `state::before-apply` | a batch is joined, no shard has it yet |
//! | `state::between-shards` | some shards have the batch (see [`point_between`]) |
//! | `state::after-apply` | all shards have it |
//! | `raw::before-range` | a file is due, its range is not fixed |
//! | `raw::after-range` | the range is fixed, no file is there |
//! | `raw::after-file` | one file of the range is there |
//! | `raw::before-prune` | all are |
//! | `raw::before-commit` | old entries of the range log are pruned |
//! | `raw::after-commit` | the group's offset is on its way, after `return(ms)` it is committed |
//! | `tips::before-window` | a window is closed, its file is not there |
//! | `tips::before-replace` | a file of an older epoch is there, and about to make way |
//! | `tips::after-window` | its file is there |
//! | `tips::before-forget` | its frozen sums are about to be deleted |
//! | `compact::before-plan` | files are listed, their plan is not written down |
//! | `compact::after-plan` | it is, and nothing is done |
//! | `compact::before-merge` | a merged file is ready, in memory |
//! | `compact::after-merge` | it is there, and its sources are gone |
//! | `compact::before-done` | all of a plan is done, and the journal does not say so |
//! | `compact::after-done` | it does |
//! | `compact::before-prune` | all days are done, what is old in the journal is there still |

use std::time::Duration;

/// Ends the process here if the environment says so.
#[inline]
pub fn point(name: &str) {
    if let Some(pause) = pause_before_death(name) {
        std::thread::sleep(pause);
        std::process::abort();
    }
}

/// Between calls that leave together, before each of them. With `N*off->return(ms)` N calls leave, those that follow wait
/// here, and the process ends after so many milliseconds, in which what has left arrives.
pub async fn point_between(name: &str) {
    if let Some(pause) = pause_before_death(name) {
        tokio::time::sleep(pause).await;
        std::process::abort();
    }
}

fn pause_before_death(name: &str) -> Option<Duration> {
    if cfg!(debug_assertions) {
        fail::fail_point!(name, |ms| {
            let ms = ms.and_then(|ms| ms.parse().ok()).unwrap_or_default();
            Some(Duration::from_millis(ms))
        });
    }
    None
}
