//! Any text is polygons in which every point can be looked up, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tips_worker::core::locate::Neighbourhoods;
use tips_worker::core::record::Point;

const POINTS: [Point; 5] = [
    Point { lon: -74.0, lat: 40.7 },
    Point { lon: 0.0, lat: 0.0 },
    Point { lon: -180.0, lat: 90.0 },
    Point { lon: 180.0, lat: -90.0 },
    Point { lon: f64::MAX, lat: f64::MIN },
];

fuzz_target!(|text: &str| {
    let Ok(neighbourhoods) = Neighbourhoods::parse(text) else { return };
    assert!(neighbourhoods.names().all(|name| !name.is_empty()));
    for point in POINTS {
        assert!(!neighbourhoods.name(neighbourhoods.locate(point)).is_empty());
    }
});
