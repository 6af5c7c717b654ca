//! Batches: what was read since the last one, by shard, with the ranges it came from.

use std::sync::Arc;

use super::books::{Books, Outcome};
use super::clean::{Area, Cleaned, clean};
use super::delta::{Delta, FareStart, Move, RideEnd};
use super::join::Joiner;
use super::locate::{Neighbourhoods, Place};
use super::record::{Fare, Ride};
use super::shard::{Partition, PartitionCounts, shard_of};
use super::time::EventTime;
use super::window::Rules;

/// How far each shard has come in a partition that this worker reads.
///
/// Shards move one by one, so after a fault they differ. Reading begins at the least of them, and a record goes
/// only to a shard that has not applied it yet.
#[derive(Clone, Debug)]
pub struct Cursor {
    partition: Partition,
    position: i64,
    by_shard: Vec<Option<i64>>,
    /// Below this, some shard may have applied a record already.
    settled: i64,
    max_event_time: Option<EventTime>,
    idle: bool,
    touched: bool,
}

impl Cursor {
    /// Starts where the shards stand; one that has not heard of the partition stands at `origin`.
    pub fn new(partition: Partition, by_shard: Vec<Option<i64>>, origin: i64) -> Self {
        let at = |offset: &Option<i64>| offset.unwrap_or(origin);
        let position = by_shard.iter().map(at).min().unwrap_or(origin);
        let settled = by_shard.iter().map(at).max().unwrap_or(origin);
        Cursor { partition, position, by_shard, settled, max_event_time: None, idle: false, touched: false }
    }

    /// Its partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The next offset that some shard needs.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The greatest event time read.
    pub fn max_event_time(&self) -> Option<EventTime> {
        self.max_event_time
    }

    /// Says that the partition has been at its end for the idle timeout. Its next record ends that.
    pub fn set_idle(&mut self) {
        if !self.idle {
            self.idle = true;
            self.touched = true;
        }
    }

    /// Says that the partition has more, though no record of it has come yet: the shards have to hear of it before other
    /// partitions move the watermark.
    pub fn rouse(&mut self) {
        self.idle = false;
        self.touched = true;
    }

    /// Whether it counts as idle.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    fn read(&mut self, offset: i64, event_time: Option<EventTime>) {
        self.position = offset + 1;
        self.max_event_time = self.max_event_time.max(event_time);
        self.idle = false;
        self.touched = true;
    }

    fn has_applied(&self, shard: u16, offset: i64) -> bool {
        offset < self.settled && self.by_shard[usize::from(shard)].is_some_and(|applied| offset < applied)
    }

    /// The move of `shard` to the position. One that is further on stays there, and hears all the same whether the
    /// partition is idle.
    fn move_of(&mut self, shard: u16) -> Move {
        let from = self.by_shard[usize::from(shard)];
        let to = from.map_or(self.position, |from| from.max(self.position));
        self.by_shard[usize::from(shard)] = Some(to);
        Move { partition: self.partition, from, to, max_event_time: self.max_event_time, idle: self.idle }
    }
}

#[derive(Clone, Debug, Default)]
struct Rows {
    rides: Vec<RideEnd>,
    fares: Vec<FareStart>,
    booked: Books,
}

/// What decides the outcome of a record before the join.
pub struct Job {
    /// The rules of time.
    pub rules: Rules,
    /// Where rides count.
    pub area: Area,
    /// The polygons.
    pub neighbourhoods: Neighbourhoods,
}

/// Gathers a batch.
pub struct Batcher {
    job: Arc<Job>,
    rows: Vec<Rows>,
    records: usize,
}

impl Batcher {
    /// An empty batch for `shards` shards.
    pub fn new(job: Arc<Job>, shards: u16) -> Self {
        Batcher { job, rows: vec![Rows::default(); usize::from(shards)], records: 0 }
    }

    /// Records since the last cut.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Takes a ride that was read at `offset`.
    pub fn ride(&mut self, cursor: &mut Cursor, offset: i64, ride: &Ride) {
        cursor.read(offset, Some(ride.event_time));
        let cleaned = clean(&self.job.area, ride);
        let place = match cleaned {
            Cleaned::Counts => self.job.neighbourhoods.locate(ride.end),
            Cleaned::Start | Cleaned::OutOfArea => Place::OTHER,
        };
        let Some(rows) = self.rows_of(cursor, offset, ride.id) else { return };
        rows.booked.rides.consumed += 1;
        match cleaned {
            Cleaned::Start => rows.booked.rides.add(Outcome::Start, 1),
            Cleaned::OutOfArea => rows.booked.rides.add(Outcome::OutOfArea, 1),
            Cleaned::Counts => rows.rides.push(RideEnd { id: ride.id, end: ride.event_time, place }),
        }
    }

    /// Takes a fare that was read at `offset`.
    pub fn fare(&mut self, cursor: &mut Cursor, offset: i64, fare: &Fare<'_>) {
        cursor.read(offset, Some(fare.start_time));
        let Some(rows) = self.rows_of(cursor, offset, fare.id) else { return };
        rows.booked.fares.consumed += 1;
        rows.fares.push(FareStart { id: fare.id, start: fare.start_time, tip: fare.tip });
    }

    /// Takes an invalid line that was read at `offset`. It has no id; its partition decides where it is booked.
    pub fn invalid(&mut self, cursor: &mut Cursor, offset: i64) {
        cursor.read(offset, None);
        let Partition { topic, index } = cursor.partition;
        let Some(rows) = self.rows_of(cursor, offset, i64::from(index)) else { return };
        let account = rows.booked.of_mut(topic);
        account.consumed += 1;
        account.add(Outcome::Invalid, 1);
    }

    fn rows_of(&mut self, cursor: &Cursor, offset: i64, id: i64) -> Option<&mut Rows> {
        self.records += 1;
        let shard = shard_of(id, self.rows.len() as u16);
        if cursor.has_applied(shard, offset) {
            return None;
        }
        Some(&mut self.rows[usize::from(shard)])
    }

    /// Ends the batch: what was taken since the last cut, with the ranges of the cursors that moved.
    pub fn cut<'c>(
        &mut self,
        cursors: impl Iterator<Item = &'c mut Cursor>,
        known: PartitionCounts,
    ) -> Batch {
        let shards = self.rows.len();
        let mut moves = vec![Vec::new(); shards];
        for cursor in cursors.filter(|cursor| cursor.touched) {
            for (shard, moves) in moves.iter_mut().enumerate() {
                moves.push(cursor.move_of(shard as u16));
            }
            cursor.touched = false;
        }
        let records = std::mem::take(&mut self.records);
        let rows = std::mem::replace(&mut self.rows, vec![Rows::default(); shards]);
        Batch { known, records, parts: rows.into_iter().zip(moves).collect() }
    }
}

/// What the shards get, before the join.
#[derive(Debug)]
pub struct Batch {
    known: PartitionCounts,
    records: usize,
    parts: Vec<(Rows, Vec<Move>)>,
}

impl Batch {
    /// Records in it.
    pub fn records(&self) -> usize {
        self.records
    }

    /// The parts of the shards that have to hear of it, joined.
    pub fn deltas(&self, rules: &Rules, joiner: &mut Joiner) -> Vec<(u16, Delta)> {
        let parts = self.parts.iter().enumerate().filter(|(_, (_, moves))| !moves.is_empty());
        parts.map(|(shard, part)| (shard as u16, self.delta(rules, joiner, part))).collect()
    }

    fn delta(&self, rules: &Rules, joiner: &mut Joiner, (rows, moves): &(Rows, Vec<Move>)) -> Delta {
        let joined = joiner.join(rules, &rows.rides, &rows.fares);
        let mut booked = rows.booked;
        booked += joined.booked;
        Delta {
            known: self.known,
            moves: moves.clone(),
            rides: joined.rides,
            fares: joined.fares,
            cells: joined.cells,
            booked,
        }
    }
}
