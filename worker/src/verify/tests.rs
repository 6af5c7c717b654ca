//! Facts made by hand, each with one fault, and the finding that it must give; and a whole run in memory.

mod merged;
mod raw;
mod run;
mod state;
mod windows;

use std::collections::BTreeMap;

use super::ranges::Published;
use super::report::Check;
use super::{Lane, Names};
use crate::core::shard::{Partition, Topic};

const RIDES: Partition = Partition { topic: Topic::Rides, index: 0 };

fn names() -> Names {
    Names::of_files()
}

fn rides() -> Lane {
    names().lane(RIDES)
}

fn published(origin: i64, end: i64, valid: i64, invalid: i64) -> BTreeMap<Lane, Published> {
    let written = super::ranges::Written { valid, invalid, unread: 0 };
    BTreeMap::from([(rides(), Published { origin, end, written })])
}

#[track_caller]
fn holds(check: &Check) {
    assert!(check.findings().is_empty(), "{check:?}");
}

/// The one finding of a check.
#[track_caller]
fn found(check: &Check) -> &str {
    let [finding] = check.findings() else { panic!("not one finding: {check:?}") };
    finding
}
