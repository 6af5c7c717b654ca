//! The join within a batch: pairs that meet here never cost the state a lookup.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::amount::TipSum;
use super::books::{Books, Outcome};
use super::delta::{Cell, FareStart, RideEnd};
use super::locate::Place;
use super::window::{Pane, Rules};

/// What a batch leaves for the state.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Rides that met no fare.
    pub rides: Vec<RideEnd>,
    /// Fares that met no ride.
    pub fares: Vec<FareStart>,
    /// Tips of the pairs, ordered by pane and place. Whether they count or are late is for the state to say.
    pub cells: Vec<Cell>,
    /// The duplicates.
    pub booked: Books,
}

/// Joins batches; keeps its tables from one to the next.
#[derive(Debug, Default)]
pub struct Joiner {
    rides: HashMap<i64, RideEnd, FixedState>,
    fares: HashMap<i64, FareStart, FixedState>,
    cells: HashMap<(Pane, Place), TipSum, FixedState>,
}

impl Joiner {
    /// Joins the rides and fares of one shard in one batch. Of copies the first stays, the others are
    /// duplicates while it waits.
    pub fn join(&mut self, rules: &Rules, rides: &[RideEnd], fares: &[FareStart]) -> Joined {
        let mut booked = Books::default();
        for ride in rides {
            match self.rides.entry(ride.id) {
                Entry::Vacant(free) => _ = free.insert(*ride),
                Entry::Occupied(_) => booked.rides.add(Outcome::Duplicate, 1),
            }
        }
        for fare in fares {
            if let Entry::Occupied(ride) = self.rides.entry(fare.id)
                && rules.joins(fare.start, ride.get().end)
            {
                let RideEnd { end, place, .. } = ride.remove();
                *self.cells.entry((rules.pane(end), place)).or_default() += TipSum::of(fare.tip);
                continue;
            }
            match self.fares.entry(fare.id) {
                Entry::Vacant(free) => _ = free.insert(*fare),
                Entry::Occupied(_) => booked.fares.add(Outcome::Duplicate, 1),
            }
        }
        self.drain(booked)
    }

    /// In the order of ids and cells, so that equal batches leave equal deltas.
    fn drain(&mut self, booked: Books) -> Joined {
        let mut rides: Vec<RideEnd> = self.rides.drain().map(|(_, ride)| ride).collect();
        let mut fares: Vec<FareStart> = self.fares.drain().map(|(_, fare)| fare).collect();
        let mut cells: Vec<Cell> =
            self.cells.drain().map(|((pane, place), sum)| Cell { pane, place, sum }).collect();
        rides.sort_unstable_by_key(|ride| ride.id);
        fares.sort_unstable_by_key(|fare| fare.id);
        cells.sort_unstable_by_key(|cell| (cell.pane, cell.place));
        Joined { rides, fares, cells, booked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::amount::Amount;
    use crate::core::time::EventTime;
    use crate::core::window::tests::RULES;

    fn ride(id: i64, end: i64) -> RideEnd {
        RideEnd { id, end: EventTime::from_seconds(end), place: Place::new(3) }
    }

    fn fare(id: i64, start: i64, cents: i64) -> FareStart {
        FareStart { id, start: EventTime::from_seconds(start), tip: Amount::from_micros(cents * 10_000) }
    }

    #[test]
    fn pairs_become_sums_and_the_rest_stays() {
        let joined = Joiner::default().join(
            &RULES,
            &[ride(1, 700), ride(2, 800), ride(3, 900)],
            &[fare(2, 100, 50), fare(1, 100, 25), fare(4, 100, 1)],
        );
        let sum = TipSum { micros: 750_000, trips: 2 };
        assert_eq!(joined.cells, [Cell { pane: EventTime::from_seconds(600), place: Place::new(3), sum }]);
        assert_eq!((joined.rides, joined.fares), (vec![ride(3, 900)], vec![fare(4, 100, 1)]));
        assert_eq!(joined.booked, Books::default());
    }

    #[test]
    fn a_ride_and_a_fare_of_one_id_that_do_not_match_both_stay() {
        let joined = Joiner::default().join(&RULES, &[ride(1, 100)], &[fare(1, 100, 1)]);
        assert_eq!((joined.rides, joined.fares), (vec![ride(1, 100)], vec![fare(1, 100, 1)]));
    }

    #[test]
    fn copies_are_duplicates_while_the_first_waits() {
        let joined = Joiner::default().join(
            &RULES,
            &[ride(1, 700), ride(1, 700)],
            &[fare(1, 100, 5), fare(1, 100, 5), fare(1, 100, 5)],
        );
        assert_eq!(joined.cells[0].sum.trips, 1);
        assert_eq!(joined.booked.rides.get(Outcome::Duplicate), 1);
        assert_eq!(joined.booked.fares.get(Outcome::Duplicate), 1);
        assert_eq!((joined.rides, joined.fares), (vec![], vec![fare(1, 100, 5)]));
    }

    #[test]
    fn a_joiner_forgets_the_batch_before() {
        let mut joiner = Joiner::default();
        joiner.join(&RULES, &[ride(1, 700)], &[fare(2, 100, 5)]);
        assert_eq!(joiner.join(&RULES, &[], &[]), Joined::default());
    }
}
