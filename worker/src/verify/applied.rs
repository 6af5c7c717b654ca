//! The state has applied what the files hold, or a worker is at it (I5).
//!
//! The state may be behind the files: by a few batches, as raw files do not wait for it, or by all, when it was lost
//! and is built anew. That is no fault as long as a worker reads; whether one does shows in the offsets of the shards,
//! looked at twice. Where they stand still, no window is to be expected of what the files hold.

use std::collections::BTreeMap;

use indicatif::HumanCount;

use super::ranges::Published;
use super::report::Check;
use super::{Lane, Names};
use crate::core::shard::{Partition, Topic};
use crate::state::View;

const NAME: &str = "applied";

/// A check that is not made.
pub fn not_made(why: &str) -> Check {
    Check::not_made(NAME, why)
}

/// Partitions of which offsets are published that a shard has not applied, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behind(BTreeMap<Partition, i64>);

impl Behind {
    /// How far the shards are behind the files.
    pub fn new(names: &Names, published: &BTreeMap<Lane, Published>, views: &[View]) -> Self {
        let topic_of = |lane: &Lane| Topic::ALL.into_iter().find(|topic| names.of(*topic) == lane.topic);
        let of = |(lane, is): (&Lane, &Published)| {
            let partition = Partition { topic: topic_of(lane)?, index: lane.partition };
            let applied = |view: &View| view.progress.get(&partition).map_or(is.origin, |at| at.offset);
            let least = views.iter().map(applied).min()?;
            (is.end > least).then_some((partition, is.end - least))
        };
        Behind(published.iter().filter_map(of).collect())
    }

    /// Whether any is.
    pub fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether some of these are less so by `later`: a worker applies records.
    pub fn is_less(&self, later: &Behind) -> bool {
        self.0.iter().any(|(partition, by)| later.0.get(partition).is_none_or(|later| later < by))
    }
}

/// Checks that who is behind moves: `before` and `after` are of the same files.
pub fn check(names: &Names, before: &Behind, after: &Behind) -> Check {
    let mut check = Check::new(NAME);
    let moves = before.is_less(after);
    for (partition, by) in &after.0 {
        let (lane, by) = (names.lane(*partition), HumanCount(*by as u64));
        let behind = format!("{lane}: the state is {by} offsets behind the files");
        if moves {
            check.note(format!("{behind}; a worker is reading them"));
        } else {
            check.find(format!("{behind} and stands still; start a worker, which reads them again"));
        }
    }
    let by: i64 = after.0.values().sum();
    check.looked_at(format!("{} offsets published and not applied", HumanCount(by as u64)))
}
