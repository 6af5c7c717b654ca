//! What a record costs a worker in each stage, fetch and the calls to Redis and the sink left out: to read a line, to find
//! the neighbourhood of a point, to gather a batch by shard, to join it, and to encode raw rows. The best of some
//! rounds, since this is wall time and the machine may have other work.

#![expect(clippy::unwrap_used, reason = "what is made here is well made")]

mod trips;

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tips_e2e::figure::{Figure, Limit, exit_code, print};
use tips_worker::core::batch::{Batch, Batcher, Cursor, Job};
use tips_worker::core::join::Joiner;
use tips_worker::core::parse;
use tips_worker::core::record::{Fare, Ride};
use tips_worker::core::shard::{Partition, PartitionCounts, Topic};
use tips_worker::raw::columns::Chunk;
use tips_worker::raw::lane::{Lane, Origin};

use self::trips::{job, point};

const RECORDS: usize = 100_000;
const ROUNDS: usize = 20;
const SHARDS: u16 = 16;

fn main() -> Result<ExitCode> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let job = job();
    let points = some(|| point(&mut rng));
    let rides = some(|| ride(&mut rng));
    let fares = some(|| fare(&mut rng));
    let figures = [
        figure("parse_ride", 0.2, each(&rides, |line| _ = black_box(parse::ride(line.as_bytes())))),
        figure("parse_fare", 0.2, each(&fares, |line| _ = black_box(parse::fare(line.as_bytes())))),
        figure(
            "neighbourhood_lookup",
            0.3,
            each(&points, |point| _ = black_box(job.neighbourhoods.locate(*point))),
        ),
    ];
    let trips = Trips::new(job.clone(), &mut rng);
    let joiner = RefCell::new(Joiner::default());
    let batch = trips.gathered();
    let stages = [
        figure("gather_by_shard", 0.2, || _ = black_box(trips.gathered())),
        figure("join_and_fold", 0.3, || _ = black_box(batch.deltas(&job.rules, &mut joiner.borrow_mut()))),
        figure("encode_raw", 0.6, || _ = black_box(trips.encoded())),
    ];
    Ok(exit_code(print(&figures)? & print(&stages)?))
}

/// Ends of trips and their fares.
struct Trips {
    job: Arc<Job>,
    rides: Vec<Ride>,
    fares: Vec<Fare<'static>>,
}

impl Trips {
    fn new(job: Arc<Job>, rng: &mut ChaCha8Rng) -> Self {
        let ids = 0..RECORDS as i64 / 2;
        let rides = ids.clone().map(|id| trips::ride(id, rng)).collect();
        Trips { job, rides, fares: ids.map(trips::fare).collect() }
    }

    /// All of them in one batch, cleaned, located and by shard.
    fn gathered(&self) -> Batch {
        let mut batcher = Batcher::new(self.job.clone(), SHARDS);
        let cursor = |topic| Cursor::new(Partition { topic, index: 0 }, vec![None; usize::from(SHARDS)], 0);
        let [mut rides, mut fares] = Topic::ALL.map(cursor);
        for (offset, (ride, fare)) in self.rides.iter().zip(&self.fares).enumerate() {
            batcher.ride(&mut rides, offset as i64, ride);
            batcher.fare(&mut fares, offset as i64, fare);
        }
        batcher.cut([&mut rides, &mut fares].into_iter(), PartitionCounts { rides: 1, fares: 1 })
    }

    /// The files of a range of each topic; their bytes.
    fn encoded(&self) -> usize {
        let lane = |topic| {
            let partition = Partition { topic, index: 0 };
            Lane::new(Origin { partition, topic: topic.name().into(), fingerprint: "bench".into() }, 0)
        };
        let [mut rides, mut fares] = Topic::ALL.map(lane);
        let (mut ride_chunk, mut fare_chunk) = (Chunk::rides(0, 0), Chunk::fares(0, 0));
        for (offset, (ride, fare)) in self.rides.iter().zip(&self.fares).enumerate() {
            let offset = offset as i64;
            ride_chunk.ride(offset, Some(offset), ride);
            fare_chunk.fare(offset, Some(offset), fare);
            if ride_chunk.is_full() {
                let full = std::mem::replace(&mut ride_chunk, Chunk::rides(0, offset + 1));
                rides.take(full, None).unwrap();
                let full = std::mem::replace(&mut fare_chunk, Chunk::fares(0, offset + 1));
                fares.take(full, None).unwrap();
            }
        }
        rides.take(ride_chunk, None).unwrap();
        fares.take(fare_chunk, None).unwrap();
        rides.finish().unwrap().bytes() + fares.finish().unwrap().bytes()
    }
}

fn some<T>(one: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(one).take(RECORDS).collect()
}

fn each<T>(all: &[T], one: impl Fn(&T)) -> impl Fn() {
    move || all.iter().for_each(&one)
}

/// Microseconds a record, of all that `round` works on.
fn figure(name: &str, limit: f64, round: impl Fn()) -> Figure {
    let time = || -> Duration {
        let begun = Instant::now();
        round();
        begun.elapsed()
    };
    let best = std::iter::repeat_with(time).take(ROUNDS).min().unwrap_or_default();
    Figure {
        name: name.to_owned(),
        value: best.as_secs_f64() * 1e6 / RECORDS as f64,
        unit: "us",
        limit: Limit::AtMost(limit),
    }
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
