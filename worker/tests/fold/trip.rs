//! Trips, and the lines that tell of them.

use std::ops::RangeInclusive;

use proptest::prelude::*;
use tips_worker::core::amount::Amount;
use tips_worker::core::record::{Fare, Point, Ride, RideKind};
use tips_worker::core::time::EventTime;

use crate::place::Spot;
use crate::stream::{BEGIN, Record, Sent};

const JOIN_WITHIN: i64 = 7200;

#[derive(Clone, Debug)]
pub(crate) struct Trip {
    start: i64,
    duration: i64,
    tip: i64,
    spots: (Spot, Spot),
    start_line: Option<Way>,
    end_line: Option<Way>,
    fare_line: Option<Way>,
}

/// How a line comes.
#[derive(Clone, Debug)]
struct Way {
    partition: u8,
    /// Seconds after it could be sent.
    delay: i64,
    /// A fare may be sent at any time between the start and the end of its ride: how far along, of 256.
    along: u8,
}

pub(crate) fn trips(delay: RangeInclusive<i64>) -> impl Strategy<Value = Trip> {
    let start = prop_oneof![4 => 0..14_400_i64, 1 => 0..100_000_i64, 1 => (0..100_i64).prop_map(|n| n * 600)];
    let duration = prop_oneof![
        12 => 1..7200_i64,
        2 => Just(600),
        1 => Just(0),
        1 => Just(JOIN_WITHIN),
        1 => JOIN_WITHIN + 1..10_000_i64,
    ];
    let tip = prop_oneof![8 => 0..20_000_000_i64, 1 => -999_999_999_999_999..=999_999_999_999_999_i64];
    let spot = || {
        prop_oneof![
            4 => Just(Spot::West),
            4 => Just(Spot::East),
            1 => Just(Spot::Other),
            1 => Just(Spot::OutOfArea),
        ]
    };
    let way = move |weight| {
        let way = (any::<u8>(), delay.clone(), any::<u8>());
        let way = way.prop_map(|(partition, delay, along)| Way { partition, delay, along });
        proptest::option::weighted(weight, way)
    };
    let lines = (way(0.3), way(0.9), way(0.9));
    (start, duration, tip, (spot(), spot()), lines).prop_map(
        |(start, duration, tip, spots, (start_line, end_line, fare_line))| Trip {
            start: BEGIN + start,
            duration,
            tip,
            spots,
            start_line,
            end_line,
            fare_line,
        },
    )
}

impl Trip {
    /// Its lines, as those of ride `id`.
    pub(crate) fn lines(&self, id: i64) -> impl Iterator<Item = Sent> {
        let end = self.start + self.duration;
        let start_line = self
            .start_line
            .as_ref()
            .map(|way| way.sent(self.start, Record::Ride(self.ride(id, RideKind::Start, self.start, 0))));
        let end_line = self
            .end_line
            .as_ref()
            .map(|way| way.sent(end, Record::Ride(self.ride(id, RideKind::End, end, self.start))));
        let fare_line = self.fare_line.as_ref().map(|way| {
            let along = self.duration.min(JOIN_WITHIN) * i64::from(way.along) / 255;
            way.sent(self.start + along, Record::Fare(self.fare(id)))
        });
        [start_line, end_line, fare_line].into_iter().flatten()
    }

    fn ride(&self, id: i64, kind: RideKind, event: i64, other: i64) -> Ride {
        let [start, end]: [Point; 2] = [self.spots.0.point(), self.spots.1.point()];
        let (event_time, other_time) = (EventTime::from_seconds(event), EventTime::from_seconds(other));
        Ride { id, kind, event_time, other_time, start, end, passengers: 1, taxi_id: 1, driver_id: 1 }
    }

    fn fare(&self, id: i64) -> Fare<'static> {
        let tip = Amount::from_micros(self.tip);
        let start_time = EventTime::from_seconds(self.start);
        let zero = Amount::default();
        let payment_type = "CSH";
        Fare { id, taxi_id: 1, driver_id: 1, start_time, payment_type, tip, tolls: zero, total: zero }
    }
}

impl Way {
    fn sent(&self, time: i64, record: Record) -> Sent {
        Sent { time: time + self.delay, partition: self.partition, record }
    }
}
