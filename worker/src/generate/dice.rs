//! Randomness that never changes: the same seed gives the same bytes on every machine and after
//! every upgrade. So only the raw words of ChaCha are used (its stream is fixed by its definition);
//! the distributions of `rand` may change with a release.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A share of events between none (0.0) and all (1.0), ready to be compared with 53 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(u64);

impl Share {
    const ALL: f64 = (1u64 << 53) as f64;

    /// `value` has been checked to lie in 0.0..=1.0 by the command line.
    pub(super) fn new(value: f64) -> Self {
        Self((value * Self::ALL) as u64)
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }
}

pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Each use of a seed has its own stream, so that what one use draws does not shift another.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    pub(super) fn hit(&mut self, share: Share) -> bool {
        self.0.next_u64() >> 11 < share.0
    }

    /// A number in `0..n`, by multiplication: the bias is below 2^-32 for every n used here.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_never_hits_and_the_whole_share_always_does() {
        let mut dice = Dice::new(7, 0);
        for _ in 0..10_000 {
            assert!(!dice.hit(Share::new(0.0)));
            assert!(dice.hit(Share::new(1.0)));
        }
    }

    #[test]
    fn a_share_is_hit_about_as_often_as_it_says() {
        let mut dice = Dice::new(7, 0);
        let hits = (0..100_000).filter(|_| dice.hit(Share::new(0.3))).count();
        assert!((29_000..31_000).contains(&hits), "{hits}");
    }

    #[test]
    fn bounds_of_a_range_are_included() {
        let mut dice = Dice::new(7, 0);
        let drawn: Vec<i64> = (0..1000).map(|_| dice.between(-2, 2)).collect();
        assert_eq!(drawn.iter().min(), Some(&-2));
        assert_eq!(drawn.iter().max(), Some(&2));
    }
}
