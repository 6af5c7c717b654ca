//! All that a shard of the state has to know of a batch.

use super::amount::{Amount, TipSum};
use super::books::Books;
use super::locate::Place;
use super::shard::{Partition, PartitionCounts};
use super::time::EventTime;
use super::window::Pane;

/// A ride that counts, on its way to its fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RideEnd {
    /// Ride id.
    pub id: i64,
    /// When it ended.
    pub end: EventTime,
    /// Where it ended.
    pub place: Place,
}

/// A fare on its way to its ride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FareStart {
    /// Ride id.
    pub id: i64,
    /// When the ride started.
    pub start: EventTime,
    /// The tip.
    pub tip: Amount,
}

/// Tips of pairs that met within the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The pane in which the rides ended.
    pub pane: Pane,
    /// Where they ended.
    pub place: Place,
    /// Their tips.
    pub sum: TipSum,
}

/// How far a batch takes a partition, as one shard sees it. The offsets are the claim that [`super::fold`]
/// checks (I1): the shard takes the batch only where it stands at `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which partition.
    pub partition: Partition,
    /// The offset up to which the shard is expected to have applied records; `None`: it has not heard of the
    /// partition.
    pub from: Option<i64>,
    /// The offset up to which it will have.
    pub to: i64,
    /// The greatest event time of the valid records in the range, whatever their shard.
    pub max_event_time: Option<EventTime>,
    /// The owner has stood at the end of the partition, which is `to`, for the idle timeout.
    pub idle: bool,
}

/// What a shard gets of a batch. Ids are unique within `rides` and within `fares`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The partitions that the topics have.
    pub known: PartitionCounts,
    /// The ranges that the batch covers.
    pub moves: Vec<Move>,
    /// Rides whose fare was not in the batch.
    pub rides: Vec<RideEnd>,
    /// Fares whose ride was not in the batch.
    pub fares: Vec<FareStart>,
    /// Tips of the pairs that were, ordered by pane and place.
    pub cells: Vec<Cell>,
    /// What is booked already: records consumed, and the outcomes that the batch decides by itself.
    pub booked: Books,
}
