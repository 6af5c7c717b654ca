//! How far event time has come.

use std::collections::BTreeMap;

use super::shard::{Partition, PartitionCounts};
use super::time::{EventTime, Span};

/// What a shard knows of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records below this offset have been applied.
    pub offset: i64,
    /// The greatest event time among them, of valid lines.
    pub max_event_time: Option<EventTime>,
    /// Its owner has stood at its end for the idle timeout.
    pub idle: bool,
}

/// The watermark of a shard: the least of its partitions' greatest event times, less `delay`.
///
/// An idle partition does not hold it back. A partition that is `known` but not heard of, or that has had no
/// valid line yet, holds it at `None` until it is idle (I2). Where every partition is idle none is left to
/// wait for, so the greatest of all counts: the order in which they fell idle then makes no difference.
pub fn watermark(
    known: PartitionCounts,
    progress: &BTreeMap<Partition, Progress>,
    delay: Span,
) -> Option<EventTime> {
    let mut least_active: Option<EventTime> = None;
    let mut greatest: Option<EventTime> = None;
    for partition in known.partitions() {
        let heard = progress.get(&partition)?;
        greatest = greatest.max(heard.max_event_time);
        if !heard.idle {
            let time = heard.max_event_time?;
            least_active = Some(least_active.map_or(time, |least| least.min(time)));
        }
    }
    least_active.or(greatest).map(|time| time.minus(delay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::shard::Topic;

    const KNOWN: PartitionCounts = PartitionCounts { rides: 1, fares: 1 };

    fn of(rides: Option<Progress>, fares: Option<Progress>) -> Option<i64> {
        let mut progress = BTreeMap::new();
        for (topic, heard) in Topic::ALL.into_iter().zip([rides, fares]) {
            heard.map(|heard| progress.insert(Partition { topic, index: 0 }, heard));
        }
        watermark(KNOWN, &progress, Span::from_seconds(10)).map(EventTime::seconds)
    }

    fn heard(time: i64, idle: bool) -> Option<Progress> {
        Some(Progress { offset: 1, max_event_time: Some(EventTime::from_seconds(time)), idle })
    }

    fn silent(idle: bool) -> Option<Progress> {
        Some(Progress { offset: 0, max_event_time: None, idle })
    }

    #[test]
    fn the_slowest_partition_decides() {
        assert_eq!(of(heard(100, false), heard(50, false)), Some(40));
    }

    #[test]
    fn a_partition_never_heard_of_holds_it() {
        assert_eq!(of(heard(100, false), None), None);
        assert_eq!(of(heard(100, true), None), None);
        assert_eq!(of(heard(100, false), silent(false)), None);
    }

    #[test]
    fn an_idle_partition_does_not() {
        assert_eq!(of(heard(100, false), heard(50, true)), Some(90));
        assert_eq!(of(heard(100, false), silent(true)), Some(90));
    }

    #[test]
    fn when_all_are_idle_the_greatest_counts_whoever_fell_idle_first() {
        assert_eq!(of(heard(100, true), heard(50, true)), Some(90));
        assert_eq!(of(silent(true), silent(true)), None);
    }
}
