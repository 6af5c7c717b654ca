//! Whether a worker can do its work, as `/readyz` says.
//!
//! Ready is who has heard lately from the coordinator of its Kafka group, from Redis and from the sink, and is not
//! about to end; whether it has partitions or stands by for them is the group's business. Nobody sends records to a
//! worker, so this steers no traffic: a rolling update waits for it, and so goes no further with settings that cannot
//! work; and people see it. An outage makes all workers unready together and restarts none, which would not mend it:
//! that is what `/healthz` is for.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sink::{Sink, owner};
use crate::state::State;

const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// Longer than a failover takes, or the sink's own tries.
const LATELY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Readiness {
    draining: AtomicBool,
    group: Answered,
    redis: Answered,
    sink: Answered,
}

/// When a server has answered last.
#[derive(Default)]
struct Answered(Mutex<Option<Instant>>);

impl Readiness {
    pub(super) fn reaches_group(&self) {
        self.group.now();
    }

    pub(super) fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the worker is not ready; empty where it is.
    pub(super) fn missing(&self) -> Vec<String> {
        if self.draining.load(Ordering::Relaxed) {
            return vec!["it is about to end".to_owned()];
        }
        let servers =
            [("Kafka's group coordinator", &self.group), ("Redis", &self.redis), ("the sink", &self.sink)];
        let missing = servers.iter().filter_map(|(name, answered)| match answered.since() {
            None => Some(format!("{name} has not answered yet")),
            Some(since) if since.elapsed() > LATELY => {
                Some(format!("{name} has not answered for {} s", since.elapsed().as_secs()))
            }
            Some(_) => None,
        });
        missing.collect()
    }

    /// Asks Redis and the sink now and then, for ever.
    pub(super) async fn watch(&self, state: &State, sink: &Sink) {
        tokio::join!(
            self.redis.follow("Redis", || state.views()),
            self.sink.follow("the sink", || sink.stat(owner::PATH)),
        );
    }
}

impl Answered {
    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    async fn follow<T, E: Display, F>(&self, name: &str, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<T, E>>,
    {
        loop {
            match ask().await {
                Ok(_) => self.now(),
                Err(error) => tracing::debug!(%error, "{name} does not answer"),
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }
}
