//! What the machine gives, to compare figures of different machines and hours by: neighbours on the same host take
//! clock, cache and memory bandwidth, and CPU seconds grow with that.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use tips_e2e::Folder;
use tips_e2e::figure::{Figure, Limit};

const ROUNDS: u32 = 100_000_000;
/// Words of 8 bytes: 64 MiB, more than caches hold.
const WORDS: usize = 8 << 20;
const READS: u32 = 1_000_000;
/// The best counts: the others were disturbed.
const TRIES: u32 = 5;

/// Rounds of a hash (shift, exclusive or, multiplication) of which each needs the one before, and reads from memory
/// likewise.
pub(super) fn speed(_: &Folder) -> Result<Vec<Figure>> {
    let hash = || (0..ROUNDS).fold(1_u64, |x, _| (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let next = one_cycle();
    let read = || (0..READS).fold(0, |at, _| next[at]);
    let figure = |name: &str, value| Figure { name: name.to_owned(), value, unit: "ns", limit: Limit::None };
    Ok(vec![
        figure("machine_hash_round", best(ROUNDS, hash)),
        figure("machine_read_from_memory", best(READS, read)),
    ])
}

/// Each word names the next, in one cycle over all of them (Sattolo's shuffle), in an order that no cache guesses.
fn one_cycle() -> Vec<usize> {
    let mut next: Vec<usize> = (0..WORDS).collect();
    let mut random = fastrand::Rng::with_seed(1);
    for last in (1..WORDS).rev() {
        next.swap(last, random.usize(..last));
    }
    next
}

/// Nanoseconds for one of the `steps` of `work`.
fn best<T>(steps: u32, work: impl Fn() -> T) -> f64 {
    let seconds = (0..TRIES).map(|_| {
        let begun = Instant::now();
        black_box(work());
        begun.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min) / f64::from(steps) * 1e9
}
