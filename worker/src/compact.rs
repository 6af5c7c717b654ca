//! Compaction: the many small files of a closed day become few large ones, and every row stays there once.
//!
//! # How
//!
//! A [`folder`] is a day of rides, fares or tips. [`plan`] says which of its files are merged into which; the plan is
//! written down in the [`journal`] before anything is done, and a run that finds one that is not done finishes it first.
//! Raw files are merged by [`raw`], sorted by event time; windows by [`day_file`](crate::results::day_file). A merge is one call of
//! [`Sink::merge`](crate::sink::Sink::merge), which never loses a row, and [`visible`] says which files count for a
//! reader that knows the journal.
//!
//! # Why it is right
//!
//! - C1. **One plan at a time.** Plans of a folder are numbered. A number is taken by exclusive create, and only when the
//!   plan before it is done; its files were listed after that. So all its sources are there when it is created, and
//!   nobody but who carries it out takes them away: no file is ever a source of two targets.
//! - C2. **A target is a function of its sources**, name and bytes, since sources never change: raw files are functions
//!   of their ranges (R4), and so are merged ones; window files change only in another epoch (C5). So two runs write the
//!   same target, and the second gets `Exists`. (The order within a second that has more rows than memory holds hangs on
//!   that memory too; the rows do not.)
//! - C3. **Each step may be repeated.** A merge whose target is there lacks only the removal of its sources; one whose
//!   target is not there has all its sources, since they go after. So whoever finds a plan that is not done can finish
//!   it, and two who do it at once do no harm.
//! - C4. **No writer brings a source back for good.** A raw file is taken only when a newer range of its partition has
//!   begun: its range is whole then (R3), and whoever comes to publish it finds the newer entry and stops. One that
//!   slept since before, in the middle of publishing, puts a file that was merged away: it then looks into the journal
//!   and deletes it (`raw/publish.rs`). The publisher of windows looks for its window under `window=all` before it
//!   writes one, and after (`results/shelf.rs`). A run of compaction that slept does the same. Who dies between the two
//!   leaves a file of rows that a merged file has too: the next run deletes it ([`plan::Plan::stale`]), `verify` names it.
//! - C5. **A raised epoch overtakes no merge.** A publisher of the new epoch replaces window files; what a merge has read
//!   before is of the old one. So it holds a window for placed only if no plan of an older epoch was open, before and
//!   after (`results/shelf.rs`), and looks again else: in the end it replaces the window in the file of the day. A plan
//!   is made only where all windows are of its own epoch.

pub mod folder;
pub mod footer;
pub mod journal;
pub mod pace;
pub mod plan;
pub mod raw;
pub mod report;
pub mod run;
pub mod select;
pub mod visible;

/// Reads that wait for an answer at once.
const AT_ONCE: usize = 16;
