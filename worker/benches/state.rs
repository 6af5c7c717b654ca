//! What a record costs Redis: the CPU time of a real server's main thread, in microseconds an input record.
//!
//! Two bounds, of the same million trips, each a start, an end and a fare: nothing joins in its batch, so every end and
//! every fare is a lookup; and every pair joins in its batch, so Redis sees sums alone. A figure above its target fails the run. The cost is the server's,
//! so an unoptimised build measures the same: `cargo bench -p tips-worker --profile dev --bench state`.

#![expect(clippy::unwrap_used, reason = "the built-in polygons parse")]

mod trips;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tips_e2e::Folder;
use tips_e2e::figure::{Figure, Limit, exit_code, print};
use tips_e2e::redis::{Redis, RedisOptions};
use tips_worker::core::batch::{Batcher, Cursor, Job};
use tips_worker::core::join::Joiner;
use tips_worker::core::record::{Ride, RideKind};
use tips_worker::core::shard::{Partition, PartitionCounts, Topic};
use tips_worker::state::redis::{Identity, Login, RedisConfig, RedisMode};
use tips_worker::state::{RedisState, Reply, State};

use self::trips::{fare, job, ride};

const TRIPS: i64 = 1_000_000;
const RECORDS_OF_A_TRIP: i64 = 3;
const SHARDS: u16 = 16;
const BATCH: i64 = 65_536;

struct Case {
    name: &'static str,
    /// Rides that come before their fares do.
    ahead: i64,
    /// Microseconds an input record.
    target: f64,
}

const CASES: [Case; 2] = [
    Case { name: "state_where_nothing_joins_in_a_batch", ahead: BATCH, target: 1.0 },
    Case { name: "state_where_all_joins_in_a_batch", ahead: BATCH / 2, target: 0.2 },
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

    fn rides(&mut self, ids: Range<i64>) {
        for id in ids {
            let end = ride(id, &mut self.rng);
            let (event_time, other_time) = (end.other_time, end.event_time);
            let start = Ride { kind: RideKind::Start, event_time, other_time, ..end };
            self.batcher.ride(&mut self.cursors[0], 2 * id, &start);
            self.batcher.ride(&mut self.cursors[0], 2 * id + 1, &end);
        }
    }

    fn fares(&mut self, ids: Range<i64>) {
        for id in ids {
            self.batcher.fare(&mut self.cursors[1], id, &fare(id));
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

/// Microseconds of the server an input record.
async fn cost(redis: &Redis, case: &Case) -> Result<Figure> {
    redis.flushall()?;
    let mut worker = Worker::new(redis, "default.bench").await?;
    let before = redis.cpu_seconds()?.main_thread;
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
    let value = (redis.cpu_seconds()?.main_thread - before) * 1e6 / (RECORDS_OF_A_TRIP * TRIPS) as f64;
    Ok(Figure { name: case.name.to_owned(), value, unit: "us", limit: Limit::AtMost(case.target) })
}

fn main() -> Result<ExitCode> {
    let folder = Folder::new("bench-state")?;
    let redis = Redis::start(&folder, RedisOptions { appendonly: false, ..RedisOptions::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures: Result<Vec<_>> = CASES.iter().map(|case| runtime.block_on(cost(&redis, case))).collect();
    Ok(exit_code(print(&figures?)?))
}
