//! What the lookup of a point's neighbourhood costs, over points as they come: two thirds in Manhattan, the rest
//! around it. The best of some rounds, since this is wall time and the machine may have other work.

#![expect(clippy::unwrap_used, reason = "the built-in polygons parse")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tips_e2e::figure::{Figure, Limit, exit_code, print};
use tips_worker::core::locate::Neighbourhoods;
use tips_worker::core::record::Point;
use tips_worker::settings::BUILT_IN;

const POINTS: usize = 100_000;
const ROUNDS: usize = 20;

fn main() -> Result<ExitCode> {
    let neighbourhoods = Neighbourhoods::parse(BUILT_IN).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut point = || Point { lon: rng.random_range(-74.02..-73.93), lat: rng.random_range(40.70..40.86) };
    let points: Vec<Point> = std::iter::repeat_with(&mut point).take(POINTS).collect();
    let round = || -> Duration {
        let begun = Instant::now();
        for point in &points {
            black_box(neighbourhoods.locate(*point));
        }
        begun.elapsed()
    };
    let best = std::iter::repeat_with(round).take(ROUNDS).min().unwrap_or_default();
    let figure = Figure {
        name: "neighbourhood_lookup".to_owned(),
        value: best.as_secs_f64() * 1e6 / POINTS as f64,
        unit: "us",
        limit: Limit::AtMost(0.3),
    };
    Ok(exit_code(print(&[figure])?))
}
