//! Redis Cluster and Sentinel: more than one server, and one of them may go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tips_e2e::redis::{Redis, RedisCluster, RedisOptions, Sentinel, User};
use tips_e2e::scenario;
use tips_e2e::tls::Certificates;
use tips_e2e::wait::until;
use tips_worker::core::delta::Delta;
use tips_worker::state::redis::{Login, RedisConfig, RedisMode};
use tips_worker::state::{RedisState, Reply, State, StateError};

use crate::access::LEAST_RULES;
use crate::deltas::{FARES, RIDES, delta, fare, ride, to};
use crate::server::{RULES, block_on, certificates, identity, keys, refusal};
use crate::twins::Twins;

const SHARDS: u16 = 16;
const PATIENCE: Duration = Duration::from_secs(30);

fn config(mode: RedisMode, urls: Vec<String>) -> RedisConfig {
    RedisConfig { mode, urls, login: Login::default(), ca: None, client: None }
}

/// That of the sentinel's master, where the sentinel wants `password`.
fn of_sentinel(sentinel: &Sentinel, password: Option<&str>) -> RedisConfig {
    let login = Login { username: None, password: password.map(str::to_owned) };
    config(RedisMode::Sentinel { master: sentinel.master_name().to_owned(), login }, vec![sentinel.url()])
}

/// A scenario with a sentinel and the shards of a state at its master, which have had their first delta.
fn with_sentinel(name: &str, run: impl AsyncFnOnce(&mut Sentinel, Vec<Twins>) -> Result<()>) {
    scenario(name, |folder| {
        let mut sentinel = Sentinel::start(folder, None)?;
        block_on(async {
            let shards = shards(&of_sentinel(&sentinel, None), "sentinel").await?;
            apply_all(&shards, 0).await;
            run(&mut sentinel, shards).await
        })
    });
}

fn memory_only(name: &str) -> RedisOptions {
    RedisOptions { appendonly: false, ..RedisOptions::named(name) }
}

/// Every shard of a state, with its twin.
async fn shards(config: &RedisConfig, pipeline: &str) -> Result<Vec<Twins>, StateError> {
    let state = RedisState::open(config, &identity(pipeline), RULES, SHARDS).await.map(State::Redis)?;
    Ok((0..SHARDS).map(|shard| Twins::of(state.clone(), shard, RULES)).collect())
}

/// The `n`-th of a life in which records wait, join, leave, and windows close.
fn nth(n: i64) -> Delta {
    let from = (n > 0).then_some(n);
    let moves = vec![to(RIDES, from, n + 1, n * 900), to(FARES, from, n + 1, n * 900)];
    let rides = vec![ride(n, n * 900), ride(n + 1000, n * 900)];
    delta(moves, rides, vec![fare(n - 1, n * 900 - 1000, 7)], vec![])
}

async fn apply_all(shards: &[Twins], n: i64) {
    for twins in shards {
        assert!(matches!(twins.apply(&nth(n)).await, Reply::Applied(_)));
    }
}

/// Until the state answers again; what it says meanwhile is worth another try.
async fn back(shards: &[Twins]) -> Result<()> {
    let begun = Instant::now();
    for (shard, twins) in (0..).zip(shards) {
        while let Err(error) = twins.redis.view(shard).await {
            ensure!(error.is_transient(), "{error:?}");
            ensure!(begun.elapsed() < PATIENCE, "it has not come back: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Until the replica of `master` has what was written. `WAIT` would ask for what its own connection has written.
fn replicated(master: &Redis) -> Result<()> {
    until("replicated", PATIENCE, || {
        let info = master.info("replication")?;
        let written: String = info.get("master_repl_offset").context("no offset")?;
        // `ip=…,port=…,state=online,offset=…,lag=…`
        let replica: String = info.get("slave0").context("no replica")?;
        Ok(replica.split(',').any(|part| part.strip_prefix("offset=") == Some(&written)))
    })
}

#[test]
fn a_cluster_holds_the_shards_on_all_its_nodes() {
    scenario("cluster", |folder| {
        let mut cluster = RedisCluster::start_with(folder, 3, 0, &memory_only("redis"))?;
        let config = config(RedisMode::Cluster, cluster.urls());
        block_on(async {
            let shards = shards(&config, "cluster").await?;
            for n in 0..8 {
                apply_all(&shards, n).await;
            }
            let mut seen = BTreeSet::new();
            for node in cluster.nodes() {
                let tags: BTreeSet<String> = keys(node)?
                    .iter()
                    .map(|key| key.split("}:").next().unwrap_or_default().to_owned())
                    .collect();
                ensure!(!tags.is_empty() && tags.is_disjoint(&seen), "{tags:?} of {seen:?}");
                seen.extend(tags);
                redis::cmd("SCRIPT").arg("FLUSH").exec(&mut node.connection()?)?;
            }
            ensure!(seen.len() == usize::from(SHARDS), "{seen:?}");
            apply_all(&shards, 8).await;
            Ok(())
        })
    });
}

#[test]
fn a_cluster_is_spoken_to_over_tls() {
    scenario("cluster-tls", |folder| {
        let certificates = certificates(folder)?;
        let options = RedisOptions { certificates: Some(certificates.clone()), ..memory_only("redis") };
        let mut cluster = RedisCluster::start_with(folder, 3, 0, &options)?;
        let plain = config(RedisMode::Cluster, cluster.urls());
        block_on(async {
            let error = refusal(shards(&plain, "cluster").await);
            ensure!(error.to_string().contains("certificate"), "{error:?}");
            let shards = shards(&trusting(&certificates, plain)?, "cluster").await?;
            apply_all(&shards, 0).await;
            // Not only the one that was named first.
            for node in cluster.nodes() {
                ensure!(!keys(node)?.is_empty(), "a node has no shard");
            }
            Ok(())
        })
    });
}

#[test]
fn a_sentinel_and_its_masters_are_spoken_to_over_tls() {
    scenario("sentinel-tls", |folder| {
        let certificates = certificates(folder)?;
        let mut sentinel = Sentinel::start_with(folder, None, Some(&certificates))?;
        let plain = of_sentinel(&sentinel, None);
        block_on(async {
            let error = refusal(shards(&plain, "sentinel").await);
            ensure!(error.to_string().contains("certificate"), "{error:?}");
            let shards = shards(&trusting(&certificates, plain)?, "sentinel").await?;
            apply_all(&shards, 0).await;
            replicated(sentinel.master()?)?;
            sentinel.fail_over()?;
            back(&shards).await?;
            apply_all(&shards, 1).await;
            Ok(())
        })
    });
}

fn trusting(certificates: &Certificates, config: RedisConfig) -> Result<RedisConfig> {
    Ok(RedisConfig { ca: Some(std::fs::read(certificates.ca())?), ..config })
}

#[test]
fn a_cluster_goes_on_with_the_replica_of_a_master_that_died() {
    scenario("cluster-failover", |folder| {
        let mut cluster = RedisCluster::start_with(folder, 3, 1, &memory_only("redis"))?;
        let config = config(RedisMode::Cluster, cluster.urls());
        block_on(async {
            let shards = shards(&config, "cluster").await?;
            apply_all(&shards, 0).await;
            apply_all(&shards, 1).await;
            replicated(&cluster.nodes()[0])?;
            cluster.nodes()[0].kill9()?;
            cluster.await_failover(0)?;
            back(&shards).await?;
            apply_all(&shards, 2).await;
            Ok(())
        })
    });
}

#[test]
fn a_cluster_of_which_one_node_may_evict_is_refused() {
    scenario("cluster-evicts", |folder| {
        let mut cluster = RedisCluster::start_with(folder, 3, 0, &memory_only("redis"))?;
        let last = &cluster.nodes()[2];
        let set = ("SET", "maxmemory-policy", "allkeys-lfu");
        redis::cmd("CONFIG").arg(set).exec(&mut last.connection()?)?;
        let config = config(RedisMode::Cluster, cluster.urls());
        let error = refusal(block_on(shards(&config, "evicts")));
        assert!(matches!(&error, StateError::Evicts(policy) if policy == "allkeys-lfu"), "{error:?}");
        Ok(())
    });
}

#[test]
fn a_cluster_needs_one_command_more_of_its_user() {
    scenario("cluster-acl", |folder| {
        let rules = format!("{LEAST_RULES} +cluster|slots");
        let user = User { name: "tips".into(), password: "secret".into(), rules };
        let options = RedisOptions { user: Some(user), ..memory_only("redis") };
        let cluster = RedisCluster::start_with(folder, 3, 0, &options)?;
        block_on(async {
            let shards = shards(&config(RedisMode::Cluster, cluster.urls()), "access").await?;
            apply_all(&shards, 0).await;
            Ok(())
        })
    });
}

#[test]
fn sentinel_leads_to_the_master_and_to_the_next_one() {
    with_sentinel("sentinel", async |sentinel, shards| {
        apply_all(&shards, 1).await;
        replicated(sentinel.master()?)?;
        sentinel.fail_over()?;
        back(&shards).await?;
        apply_all(&shards, 2).await;
        Ok(())
    });
}

/// A switch without a death: the old master lives, refuses writes, and the connection to it stands.
#[test]
fn a_master_that_has_become_a_replica_is_left() {
    with_sentinel("sentinel-switch", async |sentinel, shards| {
        replicated(sentinel.master()?)?;
        let client = redis::Client::open(sentinel.url())?;
        let failover = ("FAILOVER", sentinel.master_name());
        let old = sentinel.master_address()?;
        let begun = Instant::now();
        // Sentinel takes its time to see that the replica is fit.
        while redis::cmd("SENTINEL").arg(failover).exec(&mut client.get_connection()?).is_err()
            || sentinel.master_address()? == old
        {
            ensure!(begun.elapsed() < PATIENCE, "no other master");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for (shard, twins) in (0..).zip(&shards) {
            while let Err(error) = twins.redis.apply(shard, &nth(1)).await {
                ensure!(error.is_transient(), "{error:?}");
                ensure!(begun.elapsed() < PATIENCE, "it has not come back: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            twins.memory.apply(shard, &nth(1)).await?;
            twins.compare().await;
        }
        Ok(())
    });
}

#[test]
fn a_sentinel_may_want_a_password() {
    scenario("sentinel-password", |folder| {
        let sentinel = Sentinel::start(folder, Some("watchword"))?;
        block_on(async {
            let refused = refusal(shards(&of_sentinel(&sentinel, None), "sentinel").await.map(drop));
            let text = refused.to_string();
            ensure!(
                text.contains(&format!("tips of {}", sentinel.url())),
                "it does not tell of whom: {text}"
            );
            let shards = shards(&of_sentinel(&sentinel, Some("watchword")), "sentinel").await?;
            apply_all(&shards, 0).await;
            Ok(())
        })
    });
}
