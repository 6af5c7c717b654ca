//! Who gets in, and how.

use anyhow::{Context, Result};
use tips_e2e::redis::{Redis, RedisOptions, User};
use tips_e2e::{Folder, scenario};
use tips_worker::state::redis::{Login, RedisConfig};
use tips_worker::state::{Reply, StateError};

use crate::deltas::{FARES, RIDES, at, delta, fare, ride, to};
use crate::server::{self, RULES, block_on, certificates, identity, open_with, refusal};
use crate::twins::Twins;

/// The rules of state/redis.rs.
pub(crate) const LEAST_RULES: &str = "~tipstream:{default.access/* -@all +info +evalsha +script|load \
    +hget +hmget +hgetall +hkeys +hlen +hset +hdel +hincrby +zadd +zrem +zrangebyscore \
    +append +strlen +getrange +del";

fn with_password(folder: &Folder) -> Result<Redis> {
    let options = RedisOptions { password: Some("secret".into()), appendonly: false, ..Default::default() };
    Redis::start(folder, options)
}

fn login(redis: &Redis, username: Option<&str>, password: Option<&str>) -> RedisConfig {
    RedisConfig {
        urls: vec![format!("redis://{}/", redis.address())],
        login: Login { username: username.map(str::to_owned), password: password.map(str::to_owned) },
        ..server::config(redis)
    }
}

async fn try_open(config: &RedisConfig) -> Result<(), StateError> {
    open_with(config, &identity("access"), RULES).await.map(drop)
}

/// Every command of the script: records wait, meet, leave, and windows close.
async fn live(config: &RedisConfig) -> Result<()> {
    let twins = Twins::new(config, "access", RULES).await?;
    let moves = |from, to_, time| vec![to(RIDES, from, to_, time), to(FARES, from, to_, time)];
    twins.apply(&delta(moves(None, 1, 700), vec![ride(1, 700), ride(2, 700)], vec![], vec![])).await;
    twins.apply(&delta(moves(Some(1), 2, 700), vec![], vec![fare(1, 600, 5), fare(3, 600, 5)], vec![])).await;
    twins.apply(&delta(moves(Some(2), 3, 90_000), vec![], vec![], vec![])).await;
    let windows = twins.redis.closed(0).await?;
    twins.redis.forget(0, &windows).await?;
    Ok(())
}

#[test]
fn the_password_opens_and_a_wrong_or_missing_one_is_denied() {
    scenario("password", |folder| {
        let redis = with_password(folder)?;
        block_on(async {
            live(&login(&redis, None, Some("secret"))).await?;
            for wrong in [login(&redis, None, Some("wrong")), login(&redis, None, None)] {
                let error = refusal(try_open(&wrong).await);
                assert!(matches!(error, StateError::Denied(_)), "{error:?}");
            }
            let nobody = login(&redis, Some("nobody"), Some("secret"));
            let error = refusal(try_open(&nobody).await);
            assert!(matches!(error, StateError::Denied(_)), "{error:?}");
            Ok(())
        })
    });
}

fn with_user(folder: &Folder, rules: &str) -> Result<Redis> {
    let user = User { name: "tips".into(), password: "secret".into(), rules: rules.to_owned() };
    Redis::start(folder, RedisOptions { user: Some(user), appendonly: false, ..Default::default() })
}

#[test]
fn a_user_needs_the_documented_rules_and_no_more() {
    scenario("acl", |folder| {
        let redis = with_user(folder, LEAST_RULES)?;
        block_on(live(&login(&redis, Some("tips"), Some("secret"))))
    });
}

/// The rules of docs/query.md.
const READING: &str =
    "~tipstream:{default.access/* -@all +info +evalsha +script|load +hget +hgetall +hkeys +hlen";

#[test]
fn a_user_who_only_reads_needs_the_documented_rules_and_no_more() {
    scenario("acl-reads", |folder| {
        let redis = with_user(folder, LEAST_RULES)?;
        let config = login(&redis, Some("tips"), Some("secret"));
        block_on(async {
            live(&config).await?;
            acl(&redis, "reset")?;
            for rule in READING.split(' ').chain(["on", ">secret"]) {
                acl(&redis, rule)?;
            }
            let state = open_with(&config, &identity("access"), RULES).await?;
            state.views().await?;
            let results = state.results(0).await?;
            assert!(results.watermark.is_some());
            state.frozen(0, at(0)).await?;
            let error = refusal(state.apply(0, &delta(vec![], vec![], vec![], vec![])).await);
            assert!(matches!(error, StateError::Denied(_)), "{error:?}");
            Ok(())
        })
    });
}

/// Redis does not roll back: a command that is denied in the middle would leave half of a delta.
#[test]
fn a_user_who_lacks_one_command_changes_nothing() {
    scenario("acl-less", |folder| {
        let redis = with_user(folder, LEAST_RULES)?;
        let config = login(&redis, Some("tips"), Some("secret"));
        block_on(async {
            let twins = Twins::new(&config, "access", RULES).await?;
            let moves = |from, to_, time| vec![to(RIDES, from, to_, time), to(FARES, from, to_, time)];
            twins.apply(&delta(moves(None, 1, 700), vec![ride(1, 700), ride(2, 700)], vec![], vec![])).await;
            let all = delta(
                moves(Some(1), 2, 90_000),
                vec![ride(4, 89_990)],
                vec![fare(1, 600, 5), fare(3, 600, 5)],
                vec![],
            );
            for command in ["hset", "hdel", "hincrby", "zadd", "zrem", "append", "del", "hkeys", "getrange"] {
                acl(&redis, &format!("-{command}"))?;
                let error = refusal(twins.redis.apply(0, &all).await);
                let told = error.to_string().to_lowercase().contains(command);
                assert!(told && matches!(error, StateError::Denied(_)), "{command}: {error:?}");
                acl(&redis, &format!("+{command}"))?;
                twins.compare().await;
            }
            assert!(matches!(twins.apply(&all).await, Reply::Applied(Some(_))));
            Ok(())
        })
    });
}

/// Whether keys may be evicted must be known.
#[test]
fn a_user_who_may_not_ask_for_the_policy_is_denied() {
    scenario("acl-info", |folder| {
        let redis = with_user(folder, LEAST_RULES)?;
        acl(&redis, "-info")?;
        let error = refusal(block_on(try_open(&login(&redis, Some("tips"), Some("secret")))));
        assert!(matches!(error, StateError::Denied(_)), "{error:?}");
        Ok(())
    });
}

fn acl(redis: &Redis, rule: &str) -> Result<()> {
    Ok(redis::cmd("ACL").arg("SETUSER").arg("tips").arg(rule).exec(&mut redis.connection()?)?)
}

#[test]
fn keys_of_another_pipeline_are_out_of_reach() {
    scenario("acl-keys", |folder| {
        let redis = with_user(folder, LEAST_RULES)?;
        let config = login(&redis, Some("tips"), Some("secret"));
        block_on(async {
            let error = refusal(open_with(&config, &identity("other"), RULES).await);
            assert!(matches!(error, StateError::Denied(_)), "{error:?}");
            Ok(())
        })
    });
}

#[test]
fn tls_with_an_own_authority_and_a_stranger_is_not_trusted() {
    scenario("tls", |folder| {
        let certificates = Some(certificates(folder)?);
        let options = RedisOptions { certificates, appendonly: false, ..RedisOptions::default() };
        let redis = Redis::start(folder, options)?;
        let config = server::config(&redis);
        config.urls[0].strip_prefix("rediss://").context("no TLS")?;
        block_on(async {
            live(&config).await?;
            let error = refusal(try_open(&RedisConfig { ca: None, ..config }).await);
            assert!(error.to_string().contains("certificate"), "{error:?}");
            Ok(())
        })
    });
}
