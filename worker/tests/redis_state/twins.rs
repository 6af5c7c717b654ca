//! The memory state and the Redis state, side by side.

use std::collections::BTreeSet;

use anyhow::Result;
use proptest::test_runner::{Config, TestRunner};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tips_e2e::redis::Redis;
use tips_e2e::scenario;
use tips_worker::core::amount::TipSum;
use tips_worker::core::delta::{Cell, Delta};
use tips_worker::core::locate::Place;
use tips_worker::core::time::EventTime;
use tips_worker::core::window::Rules;
use tips_worker::state::redis::RedisConfig;
use tips_worker::state::{MemoryState, Reply, State};

use crate::deltas::{FARES, RIDES, at, delta, fare, ride, to};
use crate::history::{History, histories};
use crate::server::{self, RULES, block_on, identity, keys, open_with};

/// Of one record, in millionths.
const GREATEST_TIP: i64 = 999_999_999_999_999;

/// One shard, twice.
pub(crate) struct Twins {
    pub(crate) memory: State,
    pub(crate) redis: State,
    shard: u16,
}

impl Twins {
    pub(crate) async fn new(config: &RedisConfig, pipeline: &str, rules: Rules) -> Result<Self> {
        let redis = open_with(config, &identity(pipeline), rules).await?;
        Ok(Twins::of(redis, 0, rules))
    }

    /// A shard of a state in Redis, and its twin.
    pub(crate) fn of(redis: State, shard: u16, rules: Rules) -> Self {
        Twins { memory: State::Memory(MemoryState::new(rules, redis.shards())), redis, shard }
    }

    /// Applies to both, and compares all that can be seen of them.
    pub(crate) async fn apply(&self, delta: &Delta) -> Reply {
        let expected = self.memory.apply(self.shard, delta).await.unwrap();
        assert_eq!(self.redis.apply(self.shard, delta).await.unwrap(), expected);
        self.compare().await;
        expected
    }

    pub(crate) async fn compare(&self) {
        let view = self.memory.view(self.shard).await.unwrap();
        assert!(view.books.balance(), "{:?}", view.books);
        assert_eq!(self.redis.view(self.shard).await.unwrap(), view);
        let closed = self.closed().await;
        let of_redis = self.redis.closed(self.shard).await.unwrap();
        assert_eq!(BTreeSet::from_iter(of_redis), closed);
        let unknown = [EventTime::from_seconds(0), EventTime::END];
        for start in closed.into_iter().chain(unknown) {
            let expected = self.memory.frozen(self.shard, start).await.unwrap();
            assert_eq!(self.redis.frozen(self.shard, start).await.unwrap(), expected, "{start}");
        }
    }

    async fn forget(&self, starts: &[EventTime]) {
        self.memory.forget(self.shard, starts).await.unwrap();
        self.redis.forget(self.shard, starts).await.unwrap();
        self.compare().await;
    }

    async fn closed(&self) -> BTreeSet<EventTime> {
        self.memory.closed(self.shard).await.unwrap().into_iter().collect()
    }

    async fn live(&self, history: &History) {
        for (step, clock) in history.steps() {
            let view = self.memory.view(self.shard).await.unwrap();
            self.apply(&step.delta(&clock, &view)).await;
            if let Some(nth) = step.forget {
                let starts: Vec<EventTime> = self.closed().await.into_iter().skip(nth).take(1).collect();
                self.forget(&starts).await;
            }
        }
        let view = self.memory.view(self.shard).await.unwrap();
        let reply = self.apply(&history.last(&view)).await;
        assert!(matches!(reply, Reply::Applied(Some(_))), "{reply:?}");
    }
}

/// Of a shard that has let go of all records nothing is left that grows with them.
fn assert_nothing_lingers(redis: &Redis) {
    let key = |part| format!("tipstream:{{default.twins/1/0}}:{part}");
    let expected = ["books", "frozen", "meta", "pending", "progress"].map(key);
    let left = keys(redis).unwrap();
    assert!(left.iter().all(|key| expected.contains(key)), "{left:?}");
    // One field makes it a table.
    let fields: Vec<String> =
        redis::cmd("HKEYS").arg(key("pending")).query(&mut redis.connection().unwrap()).unwrap();
    assert_eq!(fields, [""]);
}

#[test]
fn redis_says_what_memory_says() {
    scenario("twins", |folder| {
        let redis = server::start(folder)?;
        let config = server::config(&redis);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = TestRunner::new(Config::with_cases(200)).run(&histories(), |history| {
            runtime.block_on(async {
                redis.flushall().unwrap();
                Twins::new(&config, "twins", history.rules).await.unwrap().live(&history).await;
            });
            assert_nothing_lingers(&redis);
            Ok(())
        });
        outcome.map_err(|failure| anyhow::anyhow!("{failure}"))
    });
}

/// As many as one call of one shard can have, so that no command of the script may take all at once.
#[test]
fn a_delta_of_tens_of_thousands_is_applied_whole() {
    scenario("large", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "large", RULES).await?;
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            for (n, now) in [10_000, 10_700, 13_000, 20_000, 21_000, 90_000].into_iter().enumerate() {
                twins.apply(&large(&mut rng, n as i64, now)).await;
            }
            Ok(())
        })
    });
}

/// About 40,000 ids of which many come again: pairs, copies, pairs that do not match, and late ones.
fn large(rng: &mut ChaCha8Rng, n: i64, now: i64) -> Delta {
    let from = (n > 0).then_some(n);
    let moves = vec![to(RIDES, from, n + 1, now), to(FARES, from, n + 1, now)];
    let ids: Vec<i64> = (0..40_000).filter(|_| rng.random_bool(0.6)).collect();
    let rides = ids.iter().map(|id| ride(*id, now - rng.random_range(0..4000))).collect();
    let ids: Vec<i64> = (0..40_000).filter(|_| rng.random_bool(0.6)).collect();
    let fares = ids
        .iter()
        .map(|id| fare(*id, now - rng.random_range(0..8000), rng.random_range(-1_000_000_000..1_000_000_000)))
        .collect();
    delta(moves, rides, fares, places_of_a_pane(now - now % 600))
}

/// More neighbourhoods than a command of the script takes at once.
fn places_of_a_pane(pane: i64) -> Vec<Cell> {
    let cell = |place| Cell {
        pane: at(pane),
        place: Place::new(place),
        sum: TipSum { micros: i128::from(place) << 60, trips: 1 },
    };
    (0..9000).map(cell).collect()
}

/// Event times that are far apart, as of a source gone wrong: each has a pane and three windows of its own.
#[test]
fn a_delta_over_thousands_of_panes_is_applied_whole() {
    scenario("panes", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "panes", RULES).await?;
            let times = (0..8000).map(|n| n * 6000);
            let rides = times.clone().map(|time| ride(time, time)).collect();
            let fares =
                times.clone().filter(|time| time % 7 < 3).map(|time| fare(time, time - 60, 5)).collect();
            let cell = |time| Cell { pane: at(time), ..places_of_a_pane(0)[1] };
            let moves = vec![to(RIDES, None, 1, 0), to(FARES, None, 1, 0)];
            twins.apply(&delta(moves, rides, fares, times.map(cell).collect())).await;
            let end = 48_000_000;
            let moves = vec![to(RIDES, Some(1), 2, end), to(FARES, Some(1), 2, end)];
            twins.apply(&delta(moves, vec![], vec![], vec![])).await;
            assert!(twins.closed().await.len() > 20_000);
            Ok(())
        })
    });
}

/// Sums of one call, and sums over calls, beyond what a double holds exactly.
#[test]
fn sums_of_the_greatest_tips_are_exact() {
    scenario("sums", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "sums", RULES).await?;
            let tips = [GREATEST_TIP, -GREATEST_TIP, -GREATEST_TIP, GREATEST_TIP, GREATEST_TIP];
            for (n, tip) in (0..).zip(tips) {
                let ids = n * 5000..(n + 1) * 5000;
                let rides = ids.clone().map(|id| ride(id, 700)).collect();
                let fares = ids.map(|id| fare(id, 600, tip)).collect();
                let moves = |from, to_| vec![to(RIDES, from, to_, 700), to(FARES, from, to_, 700)];
                let from = (n > 0).then_some(2 * n);
                twins.apply(&delta(moves(from, 2 * n + 1), rides, vec![], vec![])).await;
                twins.apply(&delta(moves(Some(2 * n + 1), 2 * n + 2), vec![], fares, vec![])).await;
            }
            let end = vec![to(RIDES, Some(10), 11, 10_000), to(FARES, Some(10), 11, 10_000)];
            twins.apply(&delta(end, vec![], vec![], vec![])).await;
            assert_eq!(twins.closed().await.len(), 3);
            Ok(())
        })
    });
}
