//! Which rides count: those that ended, and began and ended in the area.

use super::record::{Point, Ride, RideKind};

/// A box in degrees, bounds included, compared as float64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// West.
    pub min_lon: f64,
    /// East.
    pub max_lon: f64,
    /// South.
    pub min_lat: f64,
    /// North.
    pub max_lat: f64,
}

impl Area {
    fn contains(&self, point: Point) -> bool {
        (self.min_lon..=self.max_lon).contains(&point.lon)
            && (self.min_lat..=self.max_lat).contains(&point.lat)
    }
}

/// What becomes of a valid ride before the join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// An END ride in the area: goes to the join.
    Counts,
    /// A START ride.
    Start,
    /// An END ride that began or ended out of the area.
    OutOfArea,
}

/// Decides whether `ride` counts.
pub fn clean(area: &Area, ride: &Ride) -> Cleaned {
    match ride.kind {
        RideKind::Start => Cleaned::Start,
        RideKind::End if area.contains(ride.start) && area.contains(ride.end) => Cleaned::Counts,
        RideKind::End => Cleaned::OutOfArea,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::EventTime;

    const AREA: Area = Area { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 };

    fn ride(kind: RideKind, start: (f64, f64), end: (f64, f64)) -> Ride {
        let point = |(lon, lat)| Point { lon, lat };
        let time = EventTime::from_seconds(0);
        Ride {
            id: 1,
            kind,
            event_time: time,
            other_time: time,
            start: point(start),
            end: point(end),
            passengers: 1,
            taxi_id: 1,
            driver_id: 1,
        }
    }

    #[test]
    fn bounds_belong_to_the_area_and_nothing_beyond_does() {
        let inside = (-73.9, 40.7);
        for (corner, expected) in [
            ((-74.05, 40.5), Cleaned::Counts),
            ((-73.7, 41.0), Cleaned::Counts),
            ((-74.050001, 40.7), Cleaned::OutOfArea),
            ((-73.9, 41.000001), Cleaned::OutOfArea),
        ] {
            assert_eq!(clean(&AREA, &ride(RideKind::End, inside, corner)), expected);
            assert_eq!(clean(&AREA, &ride(RideKind::End, corner, inside)), expected);
        }
    }

    #[test]
    fn a_start_is_a_start_wherever_it_is() {
        assert_eq!(clean(&AREA, &ride(RideKind::Start, (0.0, 0.0), (0.0, 0.0))), Cleaned::Start);
    }
}
