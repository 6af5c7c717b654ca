#![no_main]

#[path = "../claims.rs"]
#[expect(dead_code, reason = "each target feeds one of them")]
mod claims;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| claims::geojson(bytes));
