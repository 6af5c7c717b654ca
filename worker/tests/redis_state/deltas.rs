//! Deltas written by hand.

use tips_worker::core::amount::Amount;
use tips_worker::core::books::{Books, Outcome};
use tips_worker::core::delta::{Cell, Delta, FareStart, Move, RideEnd};
use tips_worker::core::locate::Place;
use tips_worker::core::shard::{Partition, PartitionCounts, Topic};
use tips_worker::core::time::EventTime;

pub(crate) const RIDES: Partition = Partition { topic: Topic::Rides, index: 0 };
pub(crate) const FARES: Partition = Partition { topic: Topic::Fares, index: 0 };

pub(crate) fn at(seconds: i64) -> EventTime {
    EventTime::from_seconds(seconds)
}

pub(crate) fn ride(id: i64, end: i64) -> RideEnd {
    RideEnd { id, end: at(end), place: Place::new((id.rem_euclid(5)) as u16) }
}

pub(crate) fn fare(id: i64, start: i64, micros: i64) -> FareStart {
    FareStart { id, start: at(start), tip: Amount::from_micros(micros) }
}

pub(crate) fn to(partition: Partition, from: Option<i64>, to: i64, seconds: i64) -> Move {
    Move { partition, from, to, max_event_time: Some(at(seconds)), idle: false }
}

/// A delta of one partition a topic; its records are booked as consumed.
pub(crate) fn delta(moves: Vec<Move>, rides: Vec<RideEnd>, fares: Vec<FareStart>, cells: Vec<Cell>) -> Delta {
    let known = PartitionCounts { rides: 1, fares: 1 };
    let booked = consumed(&rides, &fares, &cells);
    Delta { known, moves, rides, fares, cells, booked }
}

/// The books of a batch that left these, and a START ride and an invalid line besides.
pub(crate) fn consumed(rides: &[RideEnd], fares: &[FareStart], cells: &[Cell]) -> Books {
    let mut booked = Books::default();
    let joined: i64 = cells.iter().map(|cell| cell.sum.trips as i64).sum();
    booked.rides.consumed = rides.len() as i64 + joined + 1;
    booked.rides.add(Outcome::Start, 1);
    booked.fares.consumed = fares.len() as i64 + joined + 1;
    booked.fares.add(Outcome::Invalid, 1);
    booked
}
