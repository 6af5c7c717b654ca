//! A server of the harness and the states in it.

use std::future::Future;

use anyhow::Result;
use tips_e2e::Folder;
use tips_e2e::redis::{Redis, RedisOptions};
use tips_e2e::tls::Certificates;
use tips_worker::core::time::Span;
use tips_worker::core::window::Rules;
use tips_worker::state::redis::{Identity, Login, RedisConfig, RedisMode};
use tips_worker::state::{RedisState, State, StateError};

/// The defaults of the manifest.
pub(crate) const RULES: Rules = Rules {
    window: Span::from_seconds(1800),
    slide: Span::from_seconds(600),
    delay: Span::from_seconds(1800),
    join_within: Span::from_seconds(7200),
};

pub(crate) fn start(folder: &Folder) -> Result<Redis> {
    Redis::start(folder, RedisOptions { appendonly: false, ..RedisOptions::default() })
}

pub(crate) fn config(redis: &Redis) -> RedisConfig {
    let ca = redis.certificates().map(|certificates| std::fs::read(certificates.ca()).unwrap());
    RedisConfig {
        mode: RedisMode::Standalone,
        urls: vec![redis.url()],
        login: Login::default(),
        ca,
        client: None,
    }
}

/// For servers of the harness. Both providers of TLS are compiled in, so none is the default; main installs one, too.
pub(crate) fn certificates(folder: &Folder) -> Result<Certificates> {
    _ = rustls::crypto::ring::default_provider().install_default();
    Certificates::create(folder, "certificates")
}

pub(crate) fn identity(pipeline: &str) -> Identity {
    Identity { pipeline: format!("default.{pipeline}"), epoch: 1, fingerprint: "f1".into() }
}

pub(crate) async fn open(redis: &Redis, pipeline: &str) -> Result<State, StateError> {
    open_with(&config(redis), &identity(pipeline), RULES).await
}

pub(crate) async fn open_with(
    config: &RedisConfig,
    identity: &Identity,
    rules: Rules,
) -> Result<State, StateError> {
    RedisState::open(config, identity, rules, 1).await.map(State::Redis)
}

/// The error of what must not succeed.
pub(crate) fn refusal<T>(result: Result<T, StateError>) -> StateError {
    result.err().unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// All keys of the server, sorted.
pub(crate) fn keys(redis: &Redis) -> Result<Vec<String>> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis.connection()?)?;
    keys.sort();
    Ok(keys)
}
