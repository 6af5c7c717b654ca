//! What happens to a server.

use anyhow::Result;
use tips_e2e::redis::{Redis, RedisOptions};
use tips_e2e::scenario;
use tips_worker::core::delta::{Delta, Move};
use tips_worker::core::time::EventTime;
use tips_worker::state::redis::Identity;
use tips_worker::state::{Reply, StateError};

use crate::deltas::{FARES, RIDES, delta, fare, ride, to};
use crate::server::{self, RULES, block_on, identity, keys, open, open_with, refusal};
use crate::twins::Twins;

fn moves(from: Option<i64>, to_: i64, time: i64) -> Vec<Move> {
    vec![to(RIDES, from, to_, time), to(FARES, from, to_, time)]
}

fn first() -> Delta {
    delta(moves(None, 1, 700), vec![ride(1, 700), ride(2, 700)], vec![fare(3, 600, 1)], vec![])
}

fn second() -> Delta {
    delta(moves(Some(1), 2, 90_000), vec![ride(4, 89_990)], vec![fare(1, 600, 5)], vec![])
}

fn set(redis: &Redis, name: &str, value: &str) -> Result<()> {
    Ok(redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut redis.connection()?)?)
}

#[test]
fn a_full_server_changes_nothing_and_goes_on_when_there_is_room() {
    scenario("full", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "full", RULES).await?;
            twins.apply(&first()).await;
            set(&redis, "maxmemory", "1mb")?;
            let error = refusal(twins.redis.apply(0, &second()).await);
            assert!(matches!(error, StateError::OutOfMemory(_)), "{error:?}");
            assert!(error.is_transient());
            twins.compare().await;
            set(&redis, "maxmemory", "100mb")?;
            assert!(matches!(twins.apply(&second()).await, Reply::Applied(Some(_))));
            Ok(())
        })
    });
}

/// Where all that comes joins, the first write takes memory from nobody, and Redis does not stop the others.
#[test]
fn a_full_server_applies_whole_what_it_does_not_refuse() {
    scenario("full-joins", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "full", RULES).await?;
            twins.apply(&first()).await;
            let joins = delta(moves(Some(1), 2, 90_000), vec![], vec![fare(1, 600, 5)], vec![]);
            set(&redis, "maxmemory", "1mb")?;
            match twins.redis.apply(0, &joins).await {
                Ok(reply) => assert_eq!(reply, twins.memory.apply(0, &joins).await?),
                Err(error) => assert!(matches!(error, StateError::OutOfMemory(_)), "{error:?}"),
            }
            twins.compare().await;
            Ok(())
        })
    });
}

#[test]
fn a_server_that_may_evict_is_refused() {
    scenario("evicts", |folder| {
        let options = RedisOptions {
            maxmemory: Some("100mb".into()),
            maxmemory_policy: Some("volatile-lru".into()),
            ..RedisOptions::default()
        };
        let redis = Redis::start(folder, options)?;
        block_on(async {
            let error = refusal(open(&redis, "evicts").await);
            assert!(matches!(&error, StateError::Evicts(policy) if policy == "volatile-lru"), "{error:?}");
            Ok(())
        })
    });
}

#[test]
fn state_of_other_settings_is_not_touched() {
    scenario("fingerprint", |folder| {
        let redis = server::start(folder)?;
        let other = Identity { fingerprint: "f2".into(), ..identity("p") };
        block_on(async {
            let both_find_nothing = open_with(&server::config(&redis), &other, RULES).await?;
            let twins = Twins::new(&server::config(&redis), "p", RULES).await?;
            twins.apply(&first()).await;
            for error in [
                refusal(both_find_nothing.apply(0, &second()).await),
                refusal(open_with(&server::config(&redis), &other, RULES).await),
                refusal(both_find_nothing.view(0).await),
                refusal(both_find_nothing.results(0).await),
                refusal(both_find_nothing.frozen(0, EventTime::from_seconds(0)).await),
                refusal(both_find_nothing.closed(0).await),
                refusal(both_find_nothing.forget(0, &[EventTime::from_seconds(0)]).await),
            ] {
                let StateError::Fingerprint { held, ours } = &error else { anyhow::bail!("{error:?}") };
                assert_eq!((held.as_str(), ours.as_str()), ("1:f1", "1:f2"));
            }
            twins.compare().await;
            let next_epoch = Identity { epoch: 2, ..other };
            open_with(&server::config(&redis), &next_epoch, RULES).await?;
            Ok(())
        })
    });
}

/// A window that is closed stays, whoever wants it forgotten.
#[test]
fn state_of_another_format_is_refused_with_what_to_do() {
    scenario("format", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let state = open(&redis, "p").await?;
            state.apply(0, &first()).await?;
            state.apply(0, &second()).await?;
            let closed = state.closed(0).await?;
            assert!(!closed.is_empty());
            let meta = "tipstream:{default.p/1/0}:meta";
            redis::cmd("HSET").arg(meta).arg("fingerprint").arg("2:f1").exec(&mut redis.connection()?)?;
            for error in [
                refusal(state.apply(0, &second()).await),
                refusal(open(&redis, "p").await),
                refusal(state.forget(0, &closed).await),
            ] {
                assert!(matches!(&error, StateError::Format { held, ours: 1 } if held == "2"), "{error:?}");
                assert!(error.to_string().contains("raise `spec.epoch`"), "{error}");
            }
            redis::cmd("HSET").arg(meta).arg("fingerprint").arg("1:f1").exec(&mut redis.connection()?)?;
            assert_eq!(state.closed(0).await?, closed);
            state.forget(0, &closed).await?;
            assert_eq!(state.closed(0).await?, []);
            Ok(())
        })
    });
}

#[test]
fn after_all_is_lost_the_shard_says_that_it_has_heard_of_nothing() {
    scenario("lost", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let state = open(&redis, "lost").await?;
            state.apply(0, &first()).await?;
            redis.flushall()?;
            let Reply::Refused(refused) = state.apply(0, &second()).await? else {
                anyhow::bail!("applied");
            };
            assert_eq!(refused.offsets, [(RIDES, None), (FARES, None)]);
            assert_eq!(keys(&redis)?, Vec::<String>::new());
            assert_eq!(state.apply(0, &first()).await?, Reply::Applied(Some(crate::deltas::at(-1100))));
            Ok(())
        })
    });
}

#[test]
fn a_script_that_the_server_has_forgotten_is_sent_again() {
    scenario("script", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "script", RULES).await?;
            twins.apply(&first()).await;
            redis::cmd("SCRIPT").arg("FLUSH").exec(&mut redis.connection()?)?;
            twins.apply(&second()).await;
            Ok(())
        })
    });
}

#[test]
fn a_restart_costs_an_error_at_most_and_no_state() {
    scenario("restart", |folder| {
        let mut redis = Redis::start(folder, RedisOptions::default())?;
        block_on(async {
            let twins = Twins::new(&server::config(&redis), "restart", RULES).await?;
            twins.apply(&first()).await;
            redis.restart()?;
            while let Err(error) = twins.redis.view(0).await {
                assert!(error.is_transient(), "{error:?}");
            }
            twins.apply(&second()).await;
            Ok(())
        })
    });
}

#[test]
fn keys_are_the_pipelines_and_those_of_a_shard_share_a_slot() {
    scenario("keys", |folder| {
        let redis = server::start(folder)?;
        block_on(async {
            let state = open(&redis, "keys").await?;
            state.apply(0, &first()).await?;
            state.apply(0, &second()).await?;
            let keys = keys(&redis)?;
            let parts = |key: &String| key.strip_prefix("tipstream:{default.keys/1/0}:").map(str::to_owned);
            let parts: Vec<String> = keys.iter().map(parts).collect::<Option<_>>().unwrap();
            for part in ["meta", "progress", "pending", "expiry", "frozen", "books"] {
                assert!(parts.iter().any(|p| p == part), "{part} in {parts:?}");
            }
            Ok(())
        })
    });
}
