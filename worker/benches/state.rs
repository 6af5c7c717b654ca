//! What a record costs Redis: the CPU time of a real server's main thread, in microseconds an input record.
//!
//! Two bounds, of the same million trips: nothing joins in its batch, so every record is a lookup; and every pair
//! joins in its batch, so Redis sees sums alone. A figure above its target fails the run. The cost is the server's,
//! so an unoptimised build measures the same: `cargo bench -p tips-worker --profile dev --bench state`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark says its figures")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use futures::future::try_join_all;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tips_e2e::Folder;
use tips_e2e::redis::{Redis, RedisOptions};
use tips_worker::core::amount::Amount;
use tips_worker::core::batch::{Batcher, Cursor, Job};
use tips_worker::core::clean::Area;
use tips_worker::core::join::Joiner;
use tips_worker::core::locate::Neighbourhoods;
use tips_worker::core::record::{Fare, Point, Ride, RideKind};
use tips_worker::core::shard::{Partition, PartitionCounts, Topic};
use tips_worker::core::time::{EventTime, Span};
use tips_worker::core::window::Rules;
use tips_worker::settings::BUILT_IN;
use tips_worker::state::redis::{Identity, Login, RedisConfig, RedisMode};
use tips_worker::state::{RedisState, Reply, State};

const TRIPS: i64 = 1_000_000;
const SHARDS: u16 = 16;
const BATCH: i64 = 65_536;
const BEGIN: i64 = 1_356_998_400;
/// A ride ends six times a second, as in New York.
const ENDS_PER_SECOND: i64 = 6;

struct Case {
    name: &'static str,
    /// Rides that come before their fares do.
    ahead: i64,
    /// Microseconds an input record.
    target: f64,
}

const CASES: [Case; 2] = [
    Case { name: "nothing joins in the batch", ahead: BATCH, target: 1.0 },
    Case { name: "every pair joins in the batch", ahead: BATCH / 2, target: 0.2 },
];

struct Worker {
    job: Arc<Job>,
    state: State,
    batcher: Batcher,
    joiner: Joiner,
    cursors: [Cursor; 2],
    rng: ChaCha8Rng,
}

impl Worker {
    async fn new(redis: &Redis, pipeline: &str) -> Result<Self> {
        let job = job();
        let config = RedisConfig {
            mode: RedisMode::Standalone,
            urls: vec![redis.url()],
            login: Login::default(),
            ca: None,
            client: None,
        };
        let identity = Identity { pipeline: pipeline.into(), epoch: 1, fingerprint: "bench".into() };
        let state = State::Redis(RedisState::open(&config, &identity, job.rules, SHARDS).await?);
        let cursor = |topic| Cursor::new(Partition { topic, index: 0 }, vec![None; usize::from(SHARDS)], 0);
        Ok(Worker {
            batcher: Batcher::new(job.clone(), SHARDS),
            joiner: Joiner::default(),
            cursors: Topic::ALL.map(cursor),
            rng: ChaCha8Rng::seed_from_u64(1),
            job,
            state,
        })
    }

    fn rides(&mut self, ids: std::ops::Range<i64>) {
        for id in ids {
            let mut point = || Point {
                lon: self.rng.random_range(-74.02..-73.93),
                lat: self.rng.random_range(40.70..40.86),
            };
            let (start, end) = (point(), point());
            let event_time = ends(id);
            let other_time = starts(id);
            let kind = RideKind::End;
            let ride = Ride {
                id,
                kind,
                event_time,
                other_time,
                start,
                end,
                passengers: 1,
                taxi_id: id,
                driver_id: id,
            };
            self.batcher.ride(&mut self.cursors[0], id, &ride);
        }
    }

    fn fares(&mut self, ids: std::ops::Range<i64>) {
        for id in ids {
            let tip = Amount::from_micros(id % 1000 * 10_000);
            let (tolls, payment_type) = (Amount::default(), "CRD");
            let start_time = starts(id);
            let fare =
                Fare { id, taxi_id: id, driver_id: id, start_time, payment_type, tip, tolls, total: tip };
            self.batcher.fare(&mut self.cursors[1], id, &fare);
        }
    }

    async fn apply(&mut self) -> Result<()> {
        let known = PartitionCounts { rides: 1, fares: 1 };
        let batch = self.batcher.cut(self.cursors.iter_mut(), known);
        let deltas = batch.deltas(&self.job.rules, &mut self.joiner);
        let replies =
            try_join_all(deltas.iter().map(|(shard, delta)| self.state.apply(*shard, delta))).await?;
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Applied(_))));
        Ok(())
    }
}

fn ends(id: i64) -> EventTime {
    EventTime::from_seconds(BEGIN + id / ENDS_PER_SECOND)
}

fn starts(id: i64) -> EventTime {
    ends(id).minus(Span::from_seconds(300 + id % 1200))
}

fn job() -> Arc<Job> {
    let rules = Rules {
        window: Span::from_seconds(1800),
        slide: Span::from_seconds(600),
        delay: Span::from_seconds(1800),
        join_within: Span::from_seconds(7200),
    };
    let area = Area { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 };
    Arc::new(Job { rules, area, neighbourhoods: Neighbourhoods::parse(BUILT_IN).unwrap() })
}

/// Microseconds of the server an input record.
async fn cost(redis: &Redis, case: &Case) -> Result<f64> {
    redis.flushall()?;
    let mut worker = Worker::new(redis, "default.bench").await?;
    let before = redis.cpu_seconds()?.main_thread;
    let begun = Instant::now();
    let mut first = 0;
    while first < TRIPS {
        let next = (first + case.ahead).min(TRIPS);
        worker.rides(first..next);
        if case.ahead == BATCH {
            worker.apply().await?;
        }
        worker.fares(first..next);
        worker.apply().await?;
        first = next;
    }
    let micros = (redis.cpu_seconds()?.main_thread - before) * 1e6 / (2 * TRIPS) as f64;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{}: {micros:.3} µs of Redis a record (target {}), {seconds:.1} s", case.name, case.target);
    Ok(micros)
}

fn main() -> Result<ExitCode> {
    let folder = Folder::new("bench-state")?;
    let redis = Redis::start(&folder, RedisOptions { appendonly: false, ..RedisOptions::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all = ExitCode::SUCCESS;
    for case in &CASES {
        if runtime.block_on(cost(&redis, case))? > case.target {
            all = ExitCode::FAILURE;
        }
    }
    Ok(all)
}
