//! Lines of any content: what was written is read back, and nothing that may come panics.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use proptest::collection::vec;
use proptest::prelude::*;
use tips_worker::core::amount::Amount;
use tips_worker::core::parse;
use tips_worker::core::record::{Fare, Point, Ride, RideKind};
use tips_worker::core::time::EventTime;

const LAST_SECOND: i64 = 253_402_300_799;
const GREATEST_AMOUNT: i64 = 999_999_999_999_999;

fn times() -> impl Strategy<Value = EventTime> {
    (0..=LAST_SECOND).prop_map(EventTime::from_seconds)
}

/// Any finite number, far beyond degrees.
fn points() -> impl Strategy<Value = Point> {
    let number = || any::<f64>().prop_filter("finite", |n| n.is_finite());
    prop_oneof![
        (-180.0..180.0_f64, -90.0..90.0_f64).prop_map(|(lon, lat)| Point { lon, lat }),
        (number(), number()).prop_map(|(lon, lat)| Point { lon, lat }),
    ]
}

fn rides() -> impl Strategy<Value = Ride> {
    let kind = prop_oneof![Just(RideKind::Start), Just(RideKind::End)];
    let ids = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i32>());
    (kind, times(), times(), points(), points(), ids).prop_map(
        |(kind, event_time, other_time, start, end, (id, taxi_id, driver_id, passengers))| Ride {
            id,
            kind,
            event_time,
            other_time,
            start,
            end,
            passengers,
            taxi_id,
            driver_id,
        },
    )
}

fn amounts() -> impl Strategy<Value = Amount> {
    (-GREATEST_AMOUNT..=GREATEST_AMOUNT).prop_map(Amount::from_micros)
}

/// A fare whose payment type is lent to it.
fn fares() -> impl Strategy<Value = (Fare<'static>, String)> {
    let ids = (any::<i64>(), any::<i64>(), any::<i64>());
    (ids, times(), "[^,]{1,12}", amounts(), amounts(), amounts()).prop_map(
        |((id, taxi_id, driver_id), start_time, payment_type, tip, tolls, total)| {
            (Fare { id, taxi_id, driver_id, start_time, payment_type: "", tip, tolls, total }, payment_type)
        },
    )
}

fn ride_line(ride: &Ride) -> String {
    let kind = match ride.kind {
        RideKind::Start => "START",
        RideKind::End => "END",
    };
    let Ride { id, event_time, other_time, start, end, passengers, taxi_id, driver_id, .. } = ride;
    format!(
        "{id},{kind},{event_time},{other_time},{},{},{},{},{passengers},{taxi_id},{driver_id}",
        start.lon, start.lat, end.lon, end.lat
    )
}

fn fare_line(fare: &Fare<'_>) -> String {
    let Fare { id, taxi_id, driver_id, start_time, payment_type, tip, tolls, total } = fare;
    let [tip, tolls, total] = [tip, tolls, total].map(|amount| decimal(*amount));
    format!("{id},{taxi_id},{driver_id},{start_time},{payment_type},{tip},{tolls},{total}")
}

fn decimal(amount: Amount) -> String {
    let (sign, micros) = (if amount.micros() < 0 { "-" } else { "" }, amount.micros().abs());
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn read_both(line: &[u8]) {
    let ride = parse::ride(line);
    let fare = parse::fare(line);
    assert!(ride.is_err() || fare.is_err(), "the topics have different columns");
}

/// Replaces, inserts or cuts a few bytes.
fn mutate(line: &str, mutations: &[(u8, usize, u8)]) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    for (kind, at, byte) in mutations {
        let at = at % (bytes.len() + 1);
        match kind % 4 {
            0 => bytes.insert(at, *byte),
            1 if at < bytes.len() => bytes[at] = *byte,
            2 if at < bytes.len() => _ = bytes.remove(at),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

fn mutations() -> impl Strategy<Value = Vec<(u8, usize, u8)>> {
    let byte =
        prop_oneof![2 => any::<u8>(), 3 => proptest::sample::select(b",.-+:0123456789eE \xff".to_vec())];
    vec((any::<u8>(), any::<usize>(), byte), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ride_that_is_written_is_read_back(ride in rides()) {
        prop_assert_eq!(parse::ride(ride_line(&ride).as_bytes()).unwrap(), ride);
    }

    #[test]
    fn a_fare_that_is_written_is_read_back((fare, payment_type) in fares()) {
        let fare = Fare { payment_type: &payment_type, ..fare };
        let line = fare_line(&fare);
        prop_assert_eq!(parse::fare(line.as_bytes()).unwrap(), fare);
    }

    #[test]
    fn a_line_that_was_damaged_is_read_or_refused(
        ride in rides(),
        (fare, _) in fares(),
        mutations in mutations(),
    ) {
        read_both(&mutate(&ride_line(&ride), &mutations));
        read_both(&mutate(&fare_line(&Fare { payment_type: "CRD", ..fare }), &mutations));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), commas in vec(any::<u8>(), 7..12)) {
        read_both(&bytes);
        let fields: Vec<&[u8]> = commas.iter().map(|n| &bytes[..bytes.len().min(usize::from(*n) % 24)]).collect();
        read_both(&fields.join(&b','));
        _ = (Amount::parse(&bytes), EventTime::parse(&bytes[..bytes.len().min(19)]));
    }
}
