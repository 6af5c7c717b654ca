//! Which partition is read next: records are read in the order in which they were sent, so that both sides of a ride
//! tend to be in one batch and join there.

use crate::core::shard::Partition;
use crate::core::time::{EventTime, Span};

/// Partitions whose event times differ by less are about level: more than a ride lasts.
const LEVEL: Span = Span::from_seconds(3600);

/// How far a partition is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) partition: Partition,
    /// The greatest event time read.
    pub(super) event_time: Option<EventTime>,
    /// Kafka's timestamp of the last record read, in milliseconds.
    pub(super) sent: Option<i64>,
    /// Whether nothing more is known to be there.
    pub(super) at_end: bool,
    /// Whether it may be read now.
    pub(super) readable: bool,
    /// Whether it is within a range that another worker has begun.
    pub(super) within_begun: bool,
}

/// The partitions that may be read. The one comes first whose next record was sent first: by Kafka's timestamp among
/// those that are about level in event time, else by event time. A fare is sent when its ride ends, but its event
/// time is the start: by event time alone fares would be read minutes ahead of their rides.
pub(super) fn reading_order(standings: &[Standing]) -> impl Iterator<Item = Partition> + use<> {
    let more = standings.iter().filter(|one| one.readable && !one.at_end);
    let level = more.filter_map(|one| one.event_time).min().map(|least| least.plus(LEVEL));
    let mut order: Vec<Standing> = standings.iter().copied().filter(|one| one.readable).collect();
    order.sort_by_cached_key(|one| {
        let ahead = pair_event_time(standings, one).filter(|time| level.is_some_and(|level| *time > level));
        let first = one.within_begun.then_some(one.partition);
        (first.is_none(), first, ahead, one.sent, one.event_time)
    });
    order.into_iter().map(|one| one.partition)
}

/// Partitions of one number go on or wait together: in topics that are keyed alike they hold both sides of the same
/// rides.
fn pair_event_time(standings: &[Standing], one: &Standing) -> Option<EventTime> {
    let Partition { topic, index } = one.partition;
    let pair = Partition { topic: topic.other(), index };
    let other = standings.iter().find(|other| other.partition == pair && !other.at_end);
    other.map_or(one.event_time, |other| other.event_time.min(one.event_time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::shard::Topic::{self, Fares, Rides};

    fn standing(topic: Topic, index: i32, event_time: i64, sent: i64) -> Standing {
        Standing {
            partition: Partition { topic, index },
            event_time: Some(EventTime::from_seconds(event_time)),
            sent: Some(sent),
            at_end: false,
            readable: true,
            within_begun: false,
        }
    }

    fn order(standings: &[Standing]) -> Vec<(Topic, i32)> {
        reading_order(standings).map(|partition| (partition.topic, partition.index)).collect()
    }

    #[test]
    fn about_level_partitions_are_read_by_the_time_of_sending() {
        let fare_of_a_long_ride = standing(Fares, 0, 1_000, 5_000);
        assert_eq!(order(&[standing(Rides, 0, 3_000, 4_000), fare_of_a_long_ride]), [(Rides, 0), (Fares, 0)]);
    }

    #[test]
    fn a_partition_that_is_hours_behind_comes_first_though_it_was_sent_last() {
        let behind = standing(Rides, 1, 0, 9_000);
        assert_eq!(order(&[standing(Rides, 0, 10_000, 1_000), behind]), [(Rides, 1), (Rides, 0)]);
    }

    #[test]
    fn a_partition_waits_with_its_pair_or_goes_on_with_it() {
        let rides = standing(Rides, 1, 0, 9_000);
        let fares = standing(Fares, 1, 10_000, 9_500);
        let level = standing(Rides, 0, 10_000, 1_000);
        assert_eq!(order(&[level, fares, rides]), [(Rides, 1), (Fares, 1), (Rides, 0)]);
        let read = Standing { at_end: true, ..rides };
        let waits_for_nobody = order(&[level, fares, read]);
        assert!(
            waits_for_nobody.iter().position(|one| *one == (Rides, 0))
                < waits_for_nobody.iter().position(|one| *one == (Fares, 1))
        );
    }

    #[test]
    fn what_was_never_read_comes_first_and_what_may_not_be_read_not_at_all() {
        let new = Standing { event_time: None, sent: None, ..standing(Fares, 2, 0, 0) };
        let paused = Standing { readable: false, ..standing(Rides, 1, 0, 0) };
        assert_eq!(order(&[standing(Rides, 0, 0, 0), paused, new]), [(Fares, 2), (Rides, 0)]);
    }

    #[test]
    fn of_ranges_that_were_begun_one_is_read_to_its_end_before_the_next() {
        let begun =
            |index, event_time| Standing { within_begun: true, ..standing(Rides, index, event_time, 0) };
        for behind in [0, 10_000] {
            let standings = [standing(Fares, 0, 0, 0), begun(1, 10_000 - behind), begun(0, behind)];
            assert_eq!(order(&standings), [(Rides, 0), (Rides, 1), (Fares, 0)]);
        }
    }
}
