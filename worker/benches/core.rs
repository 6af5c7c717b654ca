//! What a record costs before it is anywhere: to read a line, and to find the neighbourhood of a point, over points as
//! they come: two thirds in Manhattan, the rest around it. The best of some rounds, since this is wall time and the
//! machine may have other work.

#![expect(clippy::unwrap_used, reason = "the built-in polygons parse")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tips_e2e::figure::{Figure, Limit, exit_code, print};
use tips_worker::core::locate::Neighbourhoods;
use tips_worker::core::parse;
use tips_worker::core::record::Point;
use tips_worker::settings::BUILT_IN;

const RECORDS: usize = 100_000;
const ROUNDS: usize = 20;

fn main() -> Result<ExitCode> {
    let neighbourhoods = Neighbourhoods::parse(BUILT_IN).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let points = some(|| point(&mut rng));
    let rides = some(|| ride(&mut rng));
    let fares = some(|| fare(&mut rng));
    let figures = [
        figure("parse_ride", 0.2, &rides, |line| _ = black_box(parse::ride(line.as_bytes()))),
        figure("parse_fare", 0.2, &fares, |line| _ = black_box(parse::fare(line.as_bytes()))),
        figure("neighbourhood_lookup", 0.3, &points, |point| _ = black_box(neighbourhoods.locate(*point))),
    ];
    Ok(exit_code(print(&figures)?))
}

fn some<T>(one: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(one).take(RECORDS).collect()
}

/// Microseconds that `one` takes.
fn figure<T>(name: &str, limit: f64, all: &[T], one: impl Fn(&T)) -> Figure {
    let round = || -> Duration {
        let begun = Instant::now();
        all.iter().for_each(&one);
        begun.elapsed()
    };
    let best = std::iter::repeat_with(round).take(ROUNDS).min().unwrap_or_default();
    Figure {
        name: name.to_owned(),
        value: best.as_secs_f64() * 1e6 / all.len() as f64,
        unit: "us",
        limit: Limit::AtMost(limit),
    }
}

fn point(rng: &mut ChaCha8Rng) -> Point {
    Point { lon: rng.random_range(-74.02..-73.93), lat: rng.random_range(40.70..40.86) }
}

fn time(rng: &mut ChaCha8Rng) -> String {
    let mut below = |end: u32| rng.random_range(0..end);
    format!("2013-01-{:02} {:02}:{:02}:{:02}", 1 + below(31), below(24), below(60), below(60))
}

/// Coordinates without the zeros at their end, as the city writes them.
fn ride(rng: &mut ChaCha8Rng) -> String {
    let (start, end) = (point(rng), point(rng));
    let micros = |degrees: f64| (degrees * 1e6).round() / 1e6;
    format!(
        "{},END,{},{},{},{},{},{},{},20130{:05},20130{:05}",
        rng.random_range(1..10_000_000),
        time(rng),
        time(rng),
        micros(start.lon),
        micros(start.lat),
        micros(end.lon),
        micros(end.lat),
        rng.random_range(1..7),
        rng.random_range(0..100_000),
        rng.random_range(0..100_000),
    )
}

fn fare(rng: &mut ChaCha8Rng) -> String {
    format!(
        "{},20130{:05},20130{:05},{},CRD,{:.2},{},{:.1}",
        rng.random_range(1..10_000_000),
        rng.random_range(0..100_000),
        rng.random_range(0..100_000),
        time(rng),
        rng.random_range(0.0..10.0),
        rng.random_range(0..6),
        rng.random_range(3.0..60.0),
    )
}
