//! What the topics hold, generated.

use proptest::collection::vec;
use proptest::prelude::*;
use tips_worker::core::record::{Fare, Ride};
use tips_worker::core::shard::{Partition, PartitionCounts, Topic, shard_of};
use tips_worker::core::time::EventTime;

use crate::trip::{Trip, trips};

/// 2013-01-01 00:00:00.
pub(crate) const BEGIN: i64 = 1_356_998_400;
const DELAY: i64 = 1800;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    Ride(Ride),
    Fare(Fare<'static>),
    Invalid(Topic),
}

impl Record {
    fn topic(&self) -> Topic {
        match self {
            Record::Ride(_) => Topic::Rides,
            Record::Fare(_) => Topic::Fares,
            Record::Invalid(topic) => *topic,
        }
    }

    fn event_time(&self) -> Option<EventTime> {
        match self {
            Record::Ride(ride) => Some(ride.event_time),
            Record::Fare(fare) => Some(fare.start_time),
            Record::Invalid(_) => None,
        }
    }
}

/// A line on its way into a topic.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) time: i64,
    pub(crate) partition: u8,
    pub(crate) record: Record,
}

/// A partition. Its offsets may have holes.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) partition: Partition,
    pub(crate) begin: i64,
    pub(crate) records: Vec<(i64, Record)>,
    pub(crate) end: i64,
}

impl Log {
    /// How many of its records below `offset` are those of `shard`.
    pub(crate) fn records_of(&self, shard: u16, shards: u16, offset: i64) -> i64 {
        let id = |record: &Record| match record {
            Record::Ride(ride) => ride.id,
            Record::Fare(fare) => fare.id,
            Record::Invalid(_) => i64::from(self.partition.index),
        };
        self.below(offset).filter(|record| shard_of(id(record), shards) == shard).count() as i64
    }

    /// The greatest event time below `offset`.
    pub(crate) fn max_event_time(&self, offset: i64) -> Option<EventTime> {
        self.below(offset).filter_map(Record::event_time).max()
    }

    fn below(&self, offset: i64) -> impl Iterator<Item = &Record> {
        self.records.iter().take_while(move |(at, _)| *at < offset).map(|(_, record)| record)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) counts: PartitionCounts,
    pub(crate) logs: Vec<Log>,
    /// A partition may be called idle before its end, since the rest may come later.
    pub(crate) may_grow: bool,
}

impl Stream {
    fn new(counts: PartitionCounts, mut sent: Vec<Sent>, holes: &[u8]) -> Self {
        sent.sort_by_key(|sent| sent.time);
        let log = |partition: Partition| {
            let is_there = |sent: &&Sent| {
                let topic = sent.record.topic();
                let index = i32::from(sent.partition) % counts.of(topic);
                Partition { topic, index } == partition
            };
            let begin = i64::from(partition.index) * 100;
            let mut end = begin;
            let mut records = Vec::new();
            for (sent, hole) in sent.iter().filter(is_there).zip(holes.iter().cycle()) {
                records.push((end + i64::from(*hole), sent.record));
                end += i64::from(*hole) + 1;
            }
            Log { partition, begin, records, end }
        };
        Stream { counts, logs: counts.partitions().map(log).collect(), may_grow: false }
    }

    pub(crate) fn logs(&self, topic: Topic) -> impl Iterator<Item = &Log> {
        self.logs.iter().filter(move |log| log.partition.topic == topic)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.logs.iter().flat_map(|log| &log.records).map(|(_, record)| record)
    }
}

/// Unique ids, and in no partition a line that is further behind than the delay. A line is sent no earlier than
/// its event time, so one that is sent within the delay has seen none that is more than the delay ahead; and a
/// fare may come until its ride ends.
pub(crate) fn tame() -> impl Strategy<Value = Stream> {
    let unique = |trips: Vec<Trip>| {
        let id = |n: usize| n as i64 * 1_000_003 - 17;
        trips.iter().enumerate().flat_map(|(n, trip)| trip.lines(id(n))).collect()
    };
    streams(vec(trips(0..=DELAY), 0..40).prop_map(unique))
}

/// Ids of a few, and lines that come hours late.
pub(crate) fn wild() -> impl Strategy<Value = Stream> {
    let any_id = |trips: Vec<(i64, Trip)>| trips.iter().flat_map(|(id, trip)| trip.lines(*id)).collect();
    streams(vec((0..12_i64, trips(0..=18_000)), 0..40).prop_map(any_id))
        .prop_map(|stream| Stream { may_grow: true, ..stream })
}

fn streams(lines: impl Strategy<Value = Vec<Sent>>) -> impl Strategy<Value = Stream> {
    let topic = prop_oneof![Just(Topic::Rides), Just(Topic::Fares)];
    let invalid = (topic, 0..14_400_i64, any::<u8>()).prop_map(|(topic, time, partition)| Sent {
        time: BEGIN + time,
        partition,
        record: Record::Invalid(topic),
    });
    let holes = prop_oneof![3 => Just(vec![0]), 1 => vec(0..3_u8, 1..9)];
    (lines, vec(invalid, 0..4), (1..4_i32, 1..4_i32), holes).prop_map(
        |(mut lines, invalid, (rides, fares), holes)| {
            lines.extend(invalid);
            Stream::new(PartitionCounts { rides, fares }, lines, &holes)
        },
    )
}
