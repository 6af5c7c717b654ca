//! Any bytes are a manifest that can be used whole, or one with problems that are told by line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tips_worker::manifest::Manifest;

fuzz_target!(|yaml: &[u8]| {
    match Manifest::parse("fuzz.yaml", yaml) {
        Ok(manifest) => assert!(!manifest.fingerprint(&[0; 32]).id.is_empty()),
        Err(error) => assert!(error.to_string().starts_with("fuzz.yaml")),
    }
});
