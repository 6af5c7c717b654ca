//! Named crash points of the protocol, for the tests that end a worker there.
//!
//! With `FAILPOINTS="raw::after-range=return"` in the environment the process ends at that point as SIGKILL would
//! end it: nothing is flushed, nothing is cleaned up. Only in builds with debug assertions: in a release a point is
//! nothing.
//!
//! | name | where |
//! |---|---|
//! | `state::before-apply` | a batch is joined, no shard has it yet |
//! | `state::between-shards` | some shards have the batch |
//! | `state::after-apply` | all shards have it |
//! | `raw::before-range` | a file is due, its range is not fixed |
//! | `raw::after-range` | the range is fixed, no file is there |
//! | `raw::after-file` | one file of the range is there |
//! | `raw::before-prune` | all are |
//! | `raw::before-commit` | old entries of the range log are pruned |
//! | `raw::after-commit` | the group's offset is committed |
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

/// Ends the process here if the environment says so.
#[inline]
pub fn point(name: &str) {
    if cfg!(debug_assertions) {
        fail::fail_point!(name, |_| std::process::abort());
    }
}
