//! Any bytes are a ride or an invalid line, and a fare or an invalid line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tips_worker::core::parse;

fn columns(line: &[u8]) -> usize {
    1 + line.iter().filter(|byte| **byte == b',').count()
}

fuzz_target!(|line: &[u8]| {
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
});
