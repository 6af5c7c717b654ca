//! Trips of a steady city, and the job that they are for.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tips_worker::core::amount::Amount;
use tips_worker::core::batch::Job;
use tips_worker::core::clean::Area;
use tips_worker::core::locate::Neighbourhoods;
use tips_worker::core::record::{Fare, Point, Ride, RideKind};
use tips_worker::core::time::{EventTime, Span};
use tips_worker::core::window::Rules;
use tips_worker::settings::BUILT_IN;

const BEGIN: i64 = 1_356_998_400;
/// A ride ends six times a second, as in New York.
const ENDS_PER_SECOND: i64 = 6;

/// The defaults, over the built-in polygons.
pub(crate) fn job() -> Arc<Job> {
    let rules = Rules {
        window: Span::from_seconds(1800),
        slide: Span::from_seconds(600),
        delay: Span::from_seconds(1800),
        join_within: Span::from_seconds(7200),
    };
    let area = Area { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 };
    Arc::new(Job { rules, area, neighbourhoods: Neighbourhoods::parse(BUILT_IN).unwrap() })
}

/// Two thirds of them in Manhattan, the rest around it.
pub(crate) fn point(rng: &mut ChaCha8Rng) -> Point {
    Point { lon: rng.random_range(-74.02..-73.93), lat: rng.random_range(40.70..40.86) }
}

/// The end of the trip `id`.
pub(crate) fn ride(id: i64, rng: &mut ChaCha8Rng) -> Ride {
    Ride {
        id,
        kind: RideKind::End,
        event_time: ends(id),
        other_time: starts(id),
        start: point(rng),
        end: point(rng),
        passengers: 1,
        taxi_id: id,
        driver_id: id,
    }
}

/// What was paid for the trip `id`.
pub(crate) fn fare(id: i64) -> Fare<'static> {
    let tip = Amount::from_micros(id % 1000 * 10_000);
    Fare {
        id,
        taxi_id: id,
        driver_id: id,
        start_time: starts(id),
        payment_type: "CRD",
        tip,
        tolls: Amount::default(),
        total: tip,
    }
}

fn ends(id: i64) -> EventTime {
    EventTime::from_seconds(BEGIN + id / ENDS_PER_SECOND)
}

fn starts(id: i64) -> EventTime {
    ends(id).minus(Span::from_seconds(300 + id % 1200))
}
