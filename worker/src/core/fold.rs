//! The fold (I1): the state of a shard is what its deltas make of nothing, in the order in which they apply.
//!
//! This is the meaning of the state. The memory state is this; the Redis state says the same in a script, and
//! the property tests hold one against the other.
//!
//! A delta is checked first and then applied whole: its pairs and records are judged by the watermark that
//! stood before it, then the watermark moves, then what has no open window left leaves. So a batch never makes
//! its own records late, and how partitions interleave in it makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::amount::TipSum;
use super::books::{Books, Outcome};
use super::delta::{Cell, Delta, FareStart, Move, RideEnd};
use super::locate::Place;
use super::shard::{Partition, PartitionCounts};
use super::time::EventTime;
use super::watermark::{Progress, watermark};
use super::window::{Pane, Rules};

/// Sums of the neighbourhoods that have any.
pub type Sums = BTreeMap<Place, TipSum>;

/// Adds the sums of `part` to `sums`.
pub fn add(sums: &mut Sums, part: &Sums) {
    for (place, sum) in part {
        *sums.entry(*place).or_default() += *sum;
    }
}

/// A shard of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    known: PartitionCounts,
    progress: BTreeMap<Partition, Progress>,
    watermark: Option<EventTime>,
    pending: HashMap<i64, Pending, FixedState>,
    /// Ids by the watermark at which they leave, joined ones too: what is still pending then is unmatched.
    expiry: BTreeMap<EventTime, Vec<i64>>,
    panes: BTreeMap<Pane, Sums>,
    frozen: BTreeMap<EventTime, Sums>,
    books: Books,
}

/// What waits under one id. Both where a ride and a fare of one id do not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending {
    ride: Option<RideEnd>,
    fare: Option<FareStart>,
}

/// Why a delta was not applied: the shard stands elsewhere than the delta expected. Holds all offsets of the
/// partitions that the delta names, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Offset by partition; `None`: not heard of.
    pub offsets: Vec<(Partition, Option<i64>)>,
}

impl Shard {
    /// The watermark; `None` until every known partition has been heard of.
    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark
    }

    /// What is known of each partition.
    pub fn progress(&self) -> &BTreeMap<Partition, Progress> {
        &self.progress
    }

    /// The partitions that hold the watermark.
    pub fn known(&self) -> PartitionCounts {
        self.known
    }

    /// The books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// How many ids have a ride, a fare or both pending.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Closed windows by their start.
    pub fn frozen(&self) -> &BTreeMap<EventTime, Sums> {
        &self.frozen
    }

    /// The sums of panes that have an open window, late additions to closed ones included.
    pub fn panes(&self) -> &BTreeMap<Pane, Sums> {
        &self.panes
    }

    /// The starts of the windows that hold a trip: the open ones, and the closed ones that are not forgotten.
    pub fn windows(&self, rules: &Rules) -> BTreeSet<EventTime> {
        let ends = self.panes.keys().flat_map(|pane| rules.window_ends_of_pane(*pane));
        let open = ends.filter(|end| self.open(*end)).map(|end| end.minus(rules.window));
        self.frozen.keys().copied().chain(open).collect()
    }

    /// Whether the window that starts at `start` has closed, and its sums: what it came to, or so far.
    pub fn window(&self, rules: &Rules, start: EventTime) -> (bool, Sums) {
        let end = start.plus(rules.window);
        if self.open(end) {
            return (false, self.sums_up_to(rules, end));
        }
        (true, self.frozen.get(&start).cloned().unwrap_or_default())
    }

    /// Deletes the frozen sums of the window that starts at `start`.
    pub fn forget(&mut self, start: EventTime) {
        self.frozen.remove(&start);
    }

    /// Applies `delta`, or changes nothing where the shard does not stand where it expects.
    ///
    /// # Errors
    /// [`Refused`] where an offset differs from the one that `delta` names.
    pub fn apply(&mut self, rules: &Rules, delta: &Delta) -> Result<(), Refused> {
        self.check(&delta.moves)?;
        self.books += delta.booked;
        for cell in &delta.cells {
            self.count(rules, cell);
        }
        for ride in &delta.rides {
            self.meet_ride(rules, ride);
        }
        for fare in &delta.fares {
            self.meet_fare(rules, fare);
        }
        self.advance(delta);
        self.close(rules, watermark(self.known, &self.progress, rules.delay));
        Ok(())
    }

    /// Closes every window: a bounded input has ended.
    pub fn finish(&mut self, rules: &Rules) {
        self.close(rules, Some(EventTime::END));
    }

    fn check(&self, moves: &[Move]) -> Result<(), Refused> {
        let stands = |partition| self.progress.get(partition).map(|progress| progress.offset);
        if moves.iter().all(|m| m.from == stands(&m.partition)) {
            return Ok(());
        }
        Err(Refused { offsets: moves.iter().map(|m| (m.partition, stands(&m.partition))).collect() })
    }

    fn open(&self, closes: EventTime) -> bool {
        self.watermark.is_none_or(|watermark| watermark < closes)
    }

    fn count(&mut self, rules: &Rules, cell: &Cell) {
        let trips = cell.sum.trips as i64;
        let outcome = if self.open(rules.pane_closes(cell.pane)) {
            *self.panes.entry(cell.pane).or_default().entry(cell.place).or_default() += cell.sum;
            Outcome::Joined
        } else {
            Outcome::Late
        };
        self.books.rides.add(outcome, trips);
        self.books.fares.add(outcome, trips);
    }

    fn meet_ride(&mut self, rules: &Rules, ride: &RideEnd) {
        let waiting = self.pending.get(&ride.id).copied().unwrap_or_default();
        if let Some(fare) = waiting.fare
            && rules.joins(fare.start, ride.end)
        {
            self.wait(ride.id, Pending { fare: None, ..waiting });
            self.books.fares.add(Outcome::Pending, -1);
            self.count(rules, &pair(rules, ride, &fare));
            return;
        }
        let expires = rules.ride_expires(ride.end);
        let outcome = if waiting.ride.is_some() {
            Outcome::Duplicate
        } else if self.open(expires) {
            self.wait(ride.id, Pending { ride: Some(*ride), ..waiting });
            self.expiry.entry(expires).or_default().push(ride.id);
            Outcome::Pending
        } else {
            Outcome::Late
        };
        self.books.rides.add(outcome, 1);
    }

    fn meet_fare(&mut self, rules: &Rules, fare: &FareStart) {
        let waiting = self.pending.get(&fare.id).copied().unwrap_or_default();
        if let Some(ride) = waiting.ride
            && rules.joins(fare.start, ride.end)
        {
            self.wait(fare.id, Pending { ride: None, ..waiting });
            self.books.rides.add(Outcome::Pending, -1);
            self.count(rules, &pair(rules, &ride, fare));
            return;
        }
        let expires = rules.fare_expires(fare.start);
        let outcome = if waiting.fare.is_some() {
            Outcome::Duplicate
        } else if self.open(expires) {
            self.wait(fare.id, Pending { fare: Some(*fare), ..waiting });
            self.expiry.entry(expires).or_default().push(fare.id);
            Outcome::Pending
        } else {
            Outcome::Late
        };
        self.books.fares.add(outcome, 1);
    }

    fn wait(&mut self, id: i64, pending: Pending) {
        if pending == Pending::default() {
            self.pending.remove(&id);
        } else {
            self.pending.insert(id, pending);
        }
    }

    fn advance(&mut self, delta: &Delta) {
        self.known = self.known.grown_to(delta.known);
        for m in &delta.moves {
            let before = self.progress.get(&m.partition).and_then(|progress| progress.max_event_time);
            let max_event_time = before.max(m.max_event_time);
            self.progress.insert(m.partition, Progress { offset: m.to, max_event_time, idle: m.idle });
        }
    }

    fn close(&mut self, rules: &Rules, reached: Option<EventTime>) {
        let Some(watermark) = reached.filter(|reached| self.watermark.is_none_or(|w| w < *reached)) else {
            return;
        };
        self.freeze(rules, watermark);
        self.panes.retain(|pane, _| watermark < rules.pane_closes(*pane));
        self.expire(rules, watermark);
        self.watermark = Some(watermark);
    }

    fn freeze(&mut self, rules: &Rules, watermark: EventTime) {
        let closing = |end: &EventTime| *end <= watermark && self.open(*end);
        let ends: Vec<EventTime> =
            self.panes.keys().flat_map(|pane| rules.window_ends_of_pane(*pane)).filter(closing).collect();
        for end in ends {
            self.frozen.insert(end.minus(rules.window), self.sums_up_to(rules, end));
        }
    }

    /// The sums of the panes of the window that ends at `end`.
    fn sums_up_to(&self, rules: &Rules, end: EventTime) -> Sums {
        let mut sums = Sums::new();
        for part in rules.panes_of_window_ending(end).filter_map(|pane| self.panes.get(&pane)) {
            add(&mut sums, part);
        }
        sums
    }

    fn expire(&mut self, rules: &Rules, watermark: EventTime) {
        let after = EventTime::from_seconds(watermark.seconds() + 1);
        let open = self.expiry.split_off(&after);
        for id in std::mem::replace(&mut self.expiry, open).into_values().flatten() {
            let Some(waiting) = self.pending.get(&id).copied() else { continue };
            let ride = waiting.ride.filter(|ride| watermark < rules.ride_expires(ride.end));
            let fare = waiting.fare.filter(|fare| watermark < rules.fare_expires(fare.start));
            let gone = |before: bool, now: bool| i64::from(before && !now);
            self.books.rides.settle(Outcome::Unmatched, gone(waiting.ride.is_some(), ride.is_some()));
            self.books.fares.settle(Outcome::Unmatched, gone(waiting.fare.is_some(), fare.is_some()));
            self.wait(id, Pending { ride, fare });
        }
    }
}

fn pair(rules: &Rules, ride: &RideEnd, fare: &FareStart) -> Cell {
    Cell { pane: rules.pane(ride.end), place: ride.place, sum: TipSum::of(fare.tip) }
}

#[cfg(test)]
mod tests;
