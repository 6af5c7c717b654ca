//! The map of the tests: two neighbourhoods, the area around them, and beyond.

use std::sync::{Arc, LazyLock};

use tips_worker::core::batch::Job;
use tips_worker::core::clean::Area;
use tips_worker::core::locate::{Neighbourhoods, Place};
use tips_worker::core::record::Point;
use tips_worker::core::time::Span;
use tips_worker::core::window::Rules;

/// The defaults of the manifest.
pub(crate) const RULES: Rules = Rules {
    window: Span::from_seconds(1800),
    slide: Span::from_seconds(600),
    delay: Span::from_seconds(1800),
    join_within: Span::from_seconds(7200),
};

const NEIGHBOURHOODS: &str = r#"{"type": "FeatureCollection", "features": [
    {"type": "Feature", "properties": {"name": "West"}, "geometry": {"type": "Polygon", "coordinates":
        [[[-74.0, 40.7], [-73.9, 40.7], [-73.9, 40.8], [-74.0, 40.8], [-74.0, 40.7]]]}},
    {"type": "Feature", "properties": {"name": "East"}, "geometry": {"type": "Polygon", "coordinates":
        [[[-73.9, 40.7], [-73.8, 40.7], [-73.8, 40.8], [-73.9, 40.8], [-73.9, 40.7]]]}}
]}"#;

pub(crate) static JOB: LazyLock<Arc<Job>> = LazyLock::new(|| {
    Arc::new(Job {
        rules: RULES,
        area: Area { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 },
        neighbourhoods: Neighbourhoods::parse(NEIGHBOURHOODS).unwrap(),
    })
});

/// Where a ride begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    West,
    East,
    /// In the area, in no neighbourhood.
    Other,
    OutOfArea,
}

impl Spot {
    pub(crate) fn point(self) -> Point {
        let (lon, lat) = match self {
            Spot::West => (-73.95, 40.75),
            Spot::East => (-73.85, 40.75),
            Spot::Other => (-73.95, 40.6),
            Spot::OutOfArea => (-73.95, 41.1),
        };
        Point { lon, lat }
    }

    /// Its place; `None` out of the area.
    pub(crate) fn of(point: Point) -> Option<Place> {
        let spots = [Spot::West, Spot::East, Spot::Other].into_iter();
        let places = [Place::new(0), Place::new(1), Place::OTHER];
        spots.zip(places).find(|(spot, _)| spot.point() == point).map(|(_, place)| place)
    }
}
