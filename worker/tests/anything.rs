//! The claims of the fuzz targets, held by their seeds and by what a few slips of the hand make of these.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

#[path = "../../fuzz/claims.rs"]
mod claims;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Something done to a text: where, what is put there, and how many bytes are taken away for it.
#[derive(Debug, Clone)]
struct Slip {
    at: Index,
    put: Vec<u8>,
    taken: usize,
}

impl Slip {
    fn make(&self, text: &mut Vec<u8>) {
        let from = self.at.index(text.len() + 1);
        let to = text.len().min(from + self.taken);
        text.splice(from..to, self.put.iter().copied());
    }
}

fn slips() -> impl Strategy<Value = Vec<Slip>> {
    // What means something to one of the parsers, and anything else.
    let sign = prop::sample::select(&b",:-+.eE0912 \n\"'[]{}#&*|>!%@`\\\t\r\0"[..]);
    let put = prop_oneof![vec(sign, 0..4), vec(any::<u8>(), 0..8)];
    let slip = (any::<Index>(), put, prop_oneof![0..4_usize, 0..200_usize]);
    vec(slip.prop_map(|(at, put, taken)| Slip { at, put, taken }), 0..6)
}

fn holds_for_seeds(folder: &str, cases: u32, claim: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(folder);
    let seeds: Vec<Vec<u8>> =
        folder.read_dir().unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    for seed in &seeds {
        claim(seed);
    }
    let near = (prop::sample::select(seeds), slips()).prop_map(|(mut text, slips)| {
        slips.iter().for_each(|slip| slip.make(&mut text));
        text
    });
    let any = prop_oneof![8 => near, 1 => vec(any::<u8>(), 0..300)];
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&any, |text| {
            claim(&text);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_line() {
    holds_for_seeds("parse", 20_000, claims::line);
}

#[test]
fn a_manifest() {
    holds_for_seeds("manifest", 2_000, claims::manifest);
}

#[test]
fn a_geojson() {
    holds_for_seeds("geojson", 5_000, claims::geojson);
}
