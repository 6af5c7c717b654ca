//! The removal of a state: all epochs of the pipeline, and nothing of any other.

use tips_e2e::redis::{RedisCluster, RedisOptions};
use tips_e2e::scenario;
use tips_worker::state::redis::purge::purge;
use tips_worker::state::redis::{Identity, Login, RedisConfig, RedisMode};
use tips_worker::state::{RedisState, State};

use crate::deltas::{FARES, RIDES, delta, ride, to};
use crate::server::{self, RULES, block_on, keys, start};
use crate::twins::Twins;

const SHARDS: u16 = 16;

/// Gives every shard of `pipeline` in `epoch` something to remember.
async fn fill(config: &RedisConfig, pipeline: &str, epoch: u64) {
    let identity = Identity { pipeline: format!("default.{pipeline}"), epoch, fingerprint: "f1".into() };
    let state = RedisState::open(config, &identity, RULES, SHARDS).await.map(State::Redis).unwrap();
    for shard in 0..SHARDS {
        let moves = vec![to(RIDES, None, 1, 700), to(FARES, None, 1, 700)];
        Twins::of(state.clone(), shard, RULES).apply(&delta(moves, vec![ride(1, 700)], vec![], vec![])).await;
    }
}

#[test]
fn all_epochs_go_and_a_pipeline_of_a_longer_name_stays() {
    scenario("purge", |folder| {
        let redis = start(folder)?;
        let config = server::config(&redis);
        block_on(async {
            fill(&config, "taxi-2", 0).await;
            let others = keys(&redis)?;
            fill(&config, "taxi", 0).await;
            fill(&config, "taxi", 3).await;
            let removed = keys(&redis)?.len() - others.len();
            assert!(removed > 100, "{removed}");
            assert_eq!(purge(&config, "default.taxi").await?, removed as u64);
            assert_eq!(keys(&redis)?, others);
            assert_eq!(purge(&config, "default.taxi").await?, 0);
            Ok(())
        })
    });
}

#[test]
fn a_cluster_is_emptied_on_all_its_nodes() {
    scenario("purge-cluster", |folder| {
        let options = RedisOptions { appendonly: false, ..RedisOptions::named("redis") };
        let cluster = RedisCluster::start_with(folder, 3, 0, &options)?;
        let config = RedisConfig {
            mode: RedisMode::Cluster,
            urls: cluster.urls(),
            login: Login::default(),
            ca: None,
            client: None,
        };
        block_on(async {
            fill(&config, "taxi", 0).await;
            assert!(purge(&config, "default.taxi").await? > 50);
            assert_eq!(purge(&config, "default.taxi").await?, 0);
            Ok(())
        })
    });
}
