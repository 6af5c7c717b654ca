//! Windows against the state: one that has closed on every shard has its file, with the sums of all shards.
//!
//! The state forgets a window long after its file is there; older files are checked by themselves only. A state
//! that was lost and folded again from Kafka need not agree with the files of before where records were late then:
//! what is late depends on how partitions were read, and a file is written once.

use std::collections::{BTreeMap, BTreeSet};

use super::path::window_path;
use super::report::Check;
use super::window_file::{Row, WindowFile};
use crate::core::amount::TipSum;
use crate::core::fold::Sums;
use crate::core::locate::Neighbourhoods;
use crate::core::time::{EventTime, Span};

const NAME: &str = "window sums";

/// A check that is not made.
pub fn not_made(why: &str) -> Check {
    Check::not_made(NAME, why)
}

/// What a file has to hold, by neighbourhood.
pub type Expected = BTreeMap<String, TipSum>;

/// The sums of a window over all shards, under the names of their neighbourhoods.
pub fn expected(shards: impl IntoIterator<Item = Sums>, neighbourhoods: &Neighbourhoods) -> Expected {
    let mut expected = Expected::new();
    for (place, sum) in shards.into_iter().flatten() {
        *expected.entry(neighbourhoods.name(place).to_owned()).or_default() += sum;
    }
    expected
}

/// What is wrong with the file of a closed window.
pub fn wrong(expected: &Expected, file: Option<&WindowFile>, epoch: u64) -> Option<String> {
    let Some(file) = file else { return Some("has no file".into()) };
    if file.epoch < epoch {
        return Some(format!("has the file of epoch {} still", file.epoch));
    }
    if file.rows.len() != expected.len() {
        let (rows, wanted) = (file.rows.len(), expected.len());
        return Some(format!("has {rows} rows, the state {wanted} neighbourhoods"));
    }
    let differs = |row: &&Row| {
        let sum = TipSum { micros: row.micros, trips: row.trips as u64 };
        expected.get(&row.name) != Some(&sum)
    };
    let Row { name, trips, micros, .. } = file.rows.iter().find(differs)?;
    let state = expected.get(name).copied().unwrap_or_default();
    Some(format!(
        "has {trips} trips and {micros} millionths of {name}, the state {} and {}",
        state.trips, state.micros
    ))
}

/// What the state says of its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Windows that every shard had closed when it was looked at first.
    pub closed: BTreeSet<EventTime>,
    /// Windows that end up to here are closed on every shard.
    pub closed_up_to: Option<EventTime>,
    /// Of the windows that end after this none is forgotten.
    pub kept_from: Option<EventTime>,
}

impl Windows {
    /// The files, by the start of their windows, of this epoch that the state should know of and does not; and
    /// how many it cannot know of, since it has not closed their windows.
    pub fn unknown(&self, files: &BTreeSet<EventTime>, window: Span) -> (Vec<EventTime>, usize) {
        let (mut unknown, mut open) = (Vec::new(), 0);
        for start in files {
            let end = start.plus(window);
            if self.closed_up_to.is_none_or(|closed| end > closed) {
                open += 1;
            } else if self.kept_from.is_some_and(|kept| end > kept) && !self.closed.contains(start) {
                unknown.push(*start);
            }
        }
        (unknown, open)
    }
}

/// The check, from what was found of single windows.
pub fn check(
    windows: &Windows,
    wrong: &BTreeMap<EventTime, String>,
    files: &BTreeSet<EventTime>,
    window: Span,
) -> Check {
    let mut check = Check::new(NAME);
    for (start, wrong) in wrong {
        check.find(format!("the window of {start} {wrong} ({})", window_path(*start)));
    }
    let (unknown, open) = windows.unknown(files, window);
    for start in unknown {
        check.find(format!("{} is of a window without trips in the state", window_path(start)));
    }
    if open > 0 {
        check.note(format!(
            "{open} files of windows that the state has still to close: it has lost its last writes"
        ));
    }
    let closed = windows.closed_up_to.map_or("none yet".to_owned(), |end| format!("closed up to {end}"));
    check.looked_at(format!("{} windows that the state keeps, {closed}", windows.closed.len()))
}
