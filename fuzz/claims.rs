//! What holds of anything at all that comes from outside and is parsed. The fuzz targets feed these, and so does
//! `worker/tests/anything.rs`, which needs no nightly compiler.

use tips_worker::core::locate::Neighbourhoods;
use tips_worker::core::parse;
use tips_worker::core::record::Point;
use tips_worker::manifest::Manifest;

const POINTS: [Point; 5] = [
    Point { lon: -74.0, lat: 40.7 },
    Point { lon: 0.0, lat: 0.0 },
    Point { lon: -180.0, lat: 90.0 },
    Point { lon: 180.0, lat: -90.0 },
    Point { lon: f64::MAX, lat: f64::MIN },
];

/// Any bytes are a ride or an invalid line, and a fare or an invalid line.
pub(crate) fn line(line: &[u8]) {
    match parse::ride(line) {
        Ok(ride) => {
            assert!(std::str::from_utf8(line).is_ok() && columns(line) == 11);
            for degrees in [ride.start.lon, ride.start.lat, ride.end.lon, ride.end.lat] {
                assert!(degrees.is_finite());
            }
        }
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
    match parse::fare(line) {
        Ok(_) => assert!(std::str::from_utf8(line).is_ok() && columns(line) == 8),
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
}

/// Any bytes are a manifest that can be used whole, or one with problems that are told by file.
pub(crate) fn manifest(yaml: &[u8]) {
    match Manifest::parse("any.yaml", yaml) {
        Ok(manifest) => assert!(!manifest.fingerprint(&[0; 32]).id.is_empty()),
        Err(error) => assert!(error.to_string().starts_with("any.yaml")),
    }
}

/// Any bytes are polygons in which every point can be looked up, or are refused.
pub(crate) fn geojson(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(neighbourhoods) = Neighbourhoods::parse(text) else { return };
    assert!(neighbourhoods.names().all(|name| !name.is_empty()));
    for point in POINTS {
        assert!(!neighbourhoods.name(neighbourhoods.locate(point)).is_empty());
    }
}

fn columns(line: &[u8]) -> usize {
    1 + line.iter().filter(|byte| **byte == b',').count()
}
