//! The answer, found in the plainest way: all records in a map, no batch, no watermark.

use std::collections::{BTreeMap, HashMap};

use tips_worker::core::amount::TipSum;
use tips_worker::core::books::{Books, Outcome};
use tips_worker::core::locate::Place;
use tips_worker::core::record::{Fare, Ride, RideKind};

use crate::place::Spot;
use crate::stream::{Record, Stream};

/// A window's start, in seconds, and a neighbourhood.
pub(crate) type Window = (i64, Place);

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) books: Books,
    pub(crate) windows: BTreeMap<Window, TipSum>,
}

impl Answer {
    /// Of a stream with unique ids of which nothing is late.
    pub(crate) fn plain(stream: &Stream) -> Self {
        let mut answer = Answer::default();
        let mut rides = HashMap::new();
        let mut fares = HashMap::new();
        for record in stream.records() {
            match record {
                Record::Ride(ride) => answer.take_ride(ride, &mut rides),
                Record::Fare(fare) => {
                    answer.books.fares.consumed += 1;
                    assert!(fares.insert(fare.id, *fare).is_none());
                }
                Record::Invalid(topic) => {
                    answer.books.of_mut(*topic).consumed += 1;
                    answer.books.of_mut(*topic).add(Outcome::Invalid, 1);
                }
            }
        }
        for (id, fare) in &fares {
            match rides.get(id).filter(|(ride, _)| matches(ride, fare)) {
                Some((ride, place)) => answer.count(ride, *place, fare),
                None => answer.books.fares.add(Outcome::Unmatched, 1),
            }
        }
        let unmatched = rides.len() as i64 - answer.books.fares.get(Outcome::Joined);
        answer.books.rides.add(Outcome::Joined, answer.books.fares.get(Outcome::Joined));
        answer.books.rides.add(Outcome::Unmatched, unmatched);
        answer
    }

    fn take_ride(&mut self, ride: &Ride, rides: &mut HashMap<i64, (Ride, Place)>) {
        self.books.rides.consumed += 1;
        match (ride.kind, Spot::of(ride.start), Spot::of(ride.end)) {
            (RideKind::Start, ..) => self.books.rides.add(Outcome::Start, 1),
            (RideKind::End, Some(_), Some(place)) => {
                assert!(rides.insert(ride.id, (*ride, place)).is_none());
            }
            (RideKind::End, ..) => self.books.rides.add(Outcome::OutOfArea, 1),
        }
    }

    fn count(&mut self, ride: &Ride, place: Place, fare: &Fare<'_>) {
        self.books.fares.add(Outcome::Joined, 1);
        for start in windows_of(ride) {
            let sum = self.windows.entry((start, place)).or_default();
            sum.micros += i128::from(fare.tip.micros());
            sum.trips += 1;
        }
    }

    /// By window the rides that end in it, every copy: more can never count.
    pub(crate) fn all_copies(stream: &Stream) -> BTreeMap<Window, u64> {
        let mut windows = BTreeMap::new();
        for ride in ends(stream) {
            if let (Some(_), Some(place)) = (Spot::of(ride.start), Spot::of(ride.end)) {
                windows_of(ride).for_each(|start| *windows.entry((start, place)).or_default() += 1);
            }
        }
        windows
    }
}

/// A ride joins one fare and a fare one ride, so by id no more than there are of either.
pub(crate) fn most_pairs(stream: &Stream) -> i64 {
    let mut copies: HashMap<i64, (i64, i64)> = HashMap::new();
    ends(stream).for_each(|ride| copies.entry(ride.id).or_default().0 += 1);
    for record in stream.records() {
        if let Record::Fare(fare) = record {
            copies.entry(fare.id).or_default().1 += 1;
        }
    }
    copies.values().map(|(rides, fares)| rides.min(fares)).sum()
}

fn ends(stream: &Stream) -> impl Iterator<Item = &Ride> {
    stream.records().filter_map(|record| match record {
        Record::Ride(ride) if ride.kind == RideKind::End => Some(ride),
        _ => None,
    })
}

fn matches(ride: &Ride, fare: &Fare<'_>) -> bool {
    let (start, end) = (fare.start_time.seconds(), ride.event_time.seconds());
    start < end && end <= start + 2 * 3600
}

fn windows_of(ride: &Ride) -> impl Iterator<Item = i64> {
    let end = ride.event_time.seconds();
    let last = end - end % 600;
    [last - 1200, last - 600, last].into_iter()
}
