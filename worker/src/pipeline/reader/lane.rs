//! A partition that this worker reads: its cursor in the state, and its rows on the way to the raw writer.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::order::Standing;
use crate::core::batch::{Batcher, Cursor};
use crate::core::parse;
use crate::core::shard::Topic;
use crate::core::time::{EventTime, Span};
use crate::metrics::Metrics;
use crate::pipeline::locate::Located;
use crate::raw::columns::Chunk;
use crate::source::{Assigned, Record};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being found out where to begin.
    Locating,
    /// It is read.
    Reading,
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// The first offset that is needed.
    pub(super) position: i64,
    /// The first that no worker has read before, as far as is known: all below is in raw files, or applied where
    /// there are none. A state that is built anew (raised epoch, Redis lost) does not tell.
    pub(super) unread: Option<i64>,
    /// All that was read of it before, as far as is known, is below: it has been applied, or is in a range.
    pub(super) reached: i64,
    /// It was idle and is not any more, which the shards have to hear of.
    pub(super) roused: bool,
}

pub(super) struct Lane {
    pub(super) assigned: Assigned,
    /// Of its rows at the raw writer.
    pub(super) incarnation: u64,
    /// The range of the raw rows that another worker has begun, and this one finishes.
    begun: Option<Range<i64>>,
    /// Of the question that it waits for.
    pub(super) ticket: u64,
    pub(super) phase: Phase,
    pub(super) cursor: Option<Cursor>,
    pub(super) chunk: Option<Chunk>,
    pub(super) chunk_since: Option<Instant>,
    pub(super) end_since: Option<Instant>,
    /// Since when it has had more, and nothing has come.
    waiting_since: Option<Instant>,
    /// Whether the source has looked, and all that it had then was read.
    is_proven: bool,
    first_event_time: Option<EventTime>,
    /// Kafka's timestamp of the last record read.
    timestamp: Option<i64>,
    /// Where the group stands by what the shards have applied.
    applied: i64,
}

impl Lane {
    pub(super) fn new(assigned: Assigned, incarnation: u64) -> Self {
        Lane {
            assigned,
            incarnation,
            begun: None,
            ticket: 0,
            phase: Phase::Locating,
            cursor: None,
            chunk: None,
            chunk_since: None,
            end_since: None,
            waiting_since: None,
            is_proven: false,
            first_event_time: None,
            timestamp: None,
            applied: 0,
        }
    }

    pub(super) fn lose_state(&mut self) {
        self.phase = Phase::Locating;
        self.cursor = None;
        self.end_since = None;
        self.is_proven = false;
        self.first_event_time = None;
    }

    /// Whether this is the answer it waits for.
    pub(super) fn waits_for(&self, located: &Located) -> bool {
        self.phase == Phase::Locating && self.ticket == located.ticket
    }

    /// Begins to read; returns from where. `end` is where the partition ends, as last heard.
    pub(super) fn begin(&mut self, located: Located, end: Option<i64>) -> Begun {
        let partition = located.assigned.partition;
        let applied = located.by_shard.iter().copied().max().flatten();
        let mut cursor = Cursor::new(partition, located.by_shard, located.origin);
        let roused = located.idle && end.max(Some(self.assigned.high)) > Some(cursor.position());
        if roused {
            cursor.rouse();
        }
        if let Some(raw) = located.raw {
            // A range that was begun is finished before this partition counts as caught up.
            self.assigned.high = self.assigned.high.max(raw.end.unwrap_or(0));
            self.begun = raw.end.map(|end| raw.start..end);
            self.chunk = Some(chunk_from(partition.topic, partition.index, raw.start));
        }
        let raw = self.chunk.as_ref().map(|chunk| chunk.to);
        let position = cursor.position().min(raw.unwrap_or(i64::MAX));
        let ranges = located.raw.map(|raw| raw.end.unwrap_or(raw.start));
        let reached = applied.max(ranges).unwrap_or(position);
        self.cursor = Some(cursor);
        self.phase = Phase::Reading;
        Begun { position, unread: raw.or(applied), reached, roused }
    }

    /// Parses a record once, for the state and for the raw rows, each if it has not had it before.
    pub(super) fn take(&mut self, batcher: &mut Batcher, metrics: &Metrics, record: &Record<'_>) {
        let Record { offset, timestamp, value } = *record;
        self.timestamp = timestamp;
        let cursor = self.cursor.as_mut().filter(|cursor| offset >= cursor.position());
        let chunk = self.chunk.as_mut().filter(|chunk| offset >= chunk.to);
        if chunk.is_some() && self.chunk_since.is_none() {
            self.chunk_since = Some(Instant::now());
        }
        let topic = self.assigned.partition.topic;
        let parsed = match (topic, value) {
            (_, None) => Err(parse::Invalid::NullValue),
            (Topic::Rides, Some(line)) => parse::ride(line).map(|ride| {
                if let Some(cursor) = cursor {
                    batcher.ride(cursor, offset, &ride);
                    self.first_event_time.get_or_insert(ride.event_time);
                }
                if let Some(chunk) = chunk {
                    chunk.ride(offset, timestamp, &ride);
                }
            }),
            (Topic::Fares, Some(line)) => parse::fare(line).map(|fare| {
                if let Some(cursor) = cursor {
                    batcher.fare(cursor, offset, &fare);
                    self.first_event_time.get_or_insert(fare.start_time);
                }
                if let Some(chunk) = chunk {
                    chunk.fare(offset, timestamp, &fare);
                }
            }),
        };
        if let Err(reason) = parsed {
            self.take_invalid(batcher, metrics, record, reason);
        }
    }

    #[cold]
    fn take_invalid(
        &mut self,
        batcher: &mut Batcher,
        metrics: &Metrics,
        record: &Record<'_>,
        reason: parse::Invalid,
    ) {
        let Record { offset, timestamp, value } = *record;
        metrics.invalid_line(self.assigned.partition.topic, reason);
        if let Some(cursor) = self.cursor.as_mut().filter(|cursor| offset >= cursor.position()) {
            batcher.invalid(cursor, offset);
        }
        if let Some(chunk) = self.chunk.as_mut().filter(|chunk| offset >= chunk.to) {
            chunk.invalid(offset, timestamp, value, &reason.to_string());
        }
    }

    pub(super) fn chunk_is_full(&self) -> bool {
        self.chunk.as_ref().is_some_and(Chunk::is_full)
    }

    /// The rows so far; the next chunk begins where they end.
    pub(super) fn cut_chunk(&mut self) -> Option<Chunk> {
        self.chunk_since = None;
        let chunk = self.chunk.as_mut().filter(|chunk| chunk.to > chunk.from)?;
        let partition = self.assigned.partition;
        let next = chunk_from(partition.topic, partition.index, chunk.to);
        Some(std::mem::replace(chunk, next))
    }

    /// Whether it is news that the shards have applied all below `offset`.
    pub(super) fn moves_group_to(&mut self, offset: i64) -> bool {
        offset > std::mem::replace(&mut self.applied, offset)
    }

    pub(super) fn event_time(&self) -> Option<EventTime> {
        self.cursor.as_ref().and_then(Cursor::max_event_time)
    }

    pub(super) fn standing(&self, readable: bool) -> Standing {
        Standing {
            partition: self.assigned.partition,
            event_time: self.event_time(),
            sent: self.timestamp,
            at_end: self.is_at_end(),
            readable,
            within_begun: self.is_within_begun(),
        }
    }

    /// A state that is built anew is read from far below, in the order of all.
    fn is_within_begun(&self) -> bool {
        let (Some(begun), Some(chunk), Some(cursor)) = (&self.begun, &self.chunk, &self.cursor) else {
            return false;
        };
        chunk.to < begun.end && (chunk.to > begun.start || cursor.position() >= begun.start)
    }

    pub(super) fn position(&self) -> Option<i64> {
        self.cursor.as_ref().map(Cursor::position)
    }

    /// Before there is a watermark, a partition may go as far from its own first record.
    pub(super) fn is_ahead(&self, watermark: Option<EventTime>, max_drift: Span) -> bool {
        match (self.event_time(), watermark.or(self.first_event_time)) {
            (Some(time), Some(base)) => time > base.plus(max_drift),
            _ => false,
        }
    }

    /// Whether it seems to have stood at its end for `timeout`, and that is news.
    pub(super) fn is_due_to_be_idle(&self, timeout: Duration) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| !cursor.is_idle())
            && self.end_since.is_some_and(|since| since.elapsed() >= timeout)
    }

    /// It has more, though nothing comes: waits for another timeout.
    pub(super) fn look_again(&mut self) {
        self.end_since = None;
    }

    /// There is no record that was not read.
    pub(super) fn prove_end(&mut self) {
        self.is_proven = true;
    }

    /// A record has come.
    pub(super) fn has_come(&mut self) {
        self.end_since = None;
        self.waiting_since = None;
    }

    /// There is no more for now.
    pub(super) fn stand_at_end(&mut self) {
        self.end_since.get_or_insert_with(Instant::now);
        self.waiting_since = None;
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.end_since.is_some()
    }

    /// There is more, which has not come yet; whether it has been so for less than `patience`.
    pub(super) fn waits_less_than(&mut self, patience: Duration) -> bool {
        self.waiting_since.get_or_insert_with(Instant::now).elapsed() < patience
    }

    pub(super) fn call_idle(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.set_idle();
        }
    }

    /// Whether all is read that was there when the source was opened.
    pub(super) fn is_caught_up(&self) -> bool {
        let read = |cursor: &Cursor| {
            let raw = self.chunk.as_ref().map_or(i64::MAX, |chunk| chunk.to);
            cursor.position().min(raw) >= self.assigned.high
        };
        self.is_proven || self.cursor.as_ref().is_some_and(read)
    }
}

fn chunk_from(topic: Topic, partition: i32, offset: i64) -> Chunk {
    match topic {
        Topic::Rides => Chunk::rides(partition, offset),
        Topic::Fares => Chunk::fares(partition, offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::shard::Partition;
    use crate::pipeline::locate::RawStart;

    /// The state says `by_shard`, the range log `raw`; the pipeline began at 3.
    fn lane(by_shard: &[Option<i64>], raw: Option<RawStart>) -> (Lane, Begun) {
        let partition = Partition { topic: Topic::Fares, index: 0 };
        let assigned = Assigned { partition, low: 50, high: 90, committed: None, start: 0 };
        let mut lane = Lane::new(assigned, 1);
        let located =
            Located { assigned, ticket: 0, origin: 3, by_shard: by_shard.to_vec(), idle: false, raw };
        let begun = lane.begin(located, None);
        (lane, begun)
    }

    fn begun(by_shard: &[Option<i64>], raw: Option<i64>) -> Begun {
        lane(by_shard, raw.map(|start| RawStart { start, end: None })).1
    }

    #[test]
    fn a_partition_that_fell_idle_is_roused_where_it_has_more() {
        let partition = Partition { topic: Topic::Fares, index: 0 };
        let assigned = Assigned { partition, low: 0, high: 90, committed: None, start: 0 };
        let roused = |applied: i64, idle: bool, end: i64| {
            let by_shard = vec![Some(applied); 2];
            let located = Located { assigned, ticket: 0, origin: 3, by_shard, idle, raw: None };
            Lane::new(assigned, 1).begin(located, Some(end)).roused
        };
        assert!(roused(80, true, 90));
        assert!(!roused(80, false, 90));
        assert!(!roused(90, true, 90), "it still stands at its end");
        assert!(roused(90, true, 95), "it has grown since the worker began");
    }

    #[test]
    fn what_raw_files_hold_was_read_though_the_state_is_built_anew() {
        assert_eq!(
            begun(&[None, None], Some(40)),
            Begun { position: 3, unread: Some(40), reached: 40, roused: false }
        );
        assert_eq!(
            begun(&[Some(60), Some(55)], Some(40)),
            Begun { position: 40, unread: Some(40), reached: 60, roused: false }
        );
    }

    #[test]
    fn without_raw_files_the_shards_tell_what_was_read() {
        assert_eq!(
            begun(&[Some(20), Some(30)], None),
            Begun { position: 20, unread: Some(30), reached: 30, roused: false }
        );
        assert_eq!(
            begun(&[None, None], None),
            Begun { position: 3, unread: None, reached: 3, roused: false }
        );
    }

    #[test]
    fn a_begun_range_is_told_while_it_is_read() {
        let is_within = |applied, raw_read_to| {
            let (mut lane, _) = lane(&[Some(applied)], Some(RawStart { start: 40, end: Some(60) }));
            lane.chunk = Some(chunk_from(Topic::Fares, 0, raw_read_to));
            lane.standing(true).within_begun
        };
        assert!(is_within(55, 40) && is_within(55, 59) && is_within(30, 41));
        assert!(!is_within(55, 60), "its end is read");
        assert!(!is_within(30, 40), "what is read is far below");
    }
}
