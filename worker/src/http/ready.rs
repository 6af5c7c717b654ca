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

use prometheus::IntGauge;

use crate::clock::unix_millis;
use crate::metrics::Metrics;
use crate::sink::{Sink, owner};
use crate::state::{State, StateError};

const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// Longer than a failover takes, or the sink's own tries.
const LATELY: Duration = Duration::from_secs(30);

pub(super) struct Readiness {
    draining: AtomicBool,
    group: Server,
    redis: Server,
    sink: Server,
    metrics: Metrics,
}

/// What a worker needs, and when it has answered last.
struct Server {
    name: &'static str,
    /// In metrics and in `/status`.
    label: &'static str,
    awaited_since: Instant,
    answered: Mutex<Option<Instant>>,
    shown: IntGauge,
}

impl Readiness {
    pub(super) fn new(metrics: Metrics) -> Self {
        let server = |name, label| Server {
            name,
            label,
            awaited_since: Instant::now(),
            answered: Mutex::default(),
            shown: metrics.answer_seconds.with_label_values(&[label]),
        };
        Readiness {
            draining: AtomicBool::default(),
            group: server("Kafka's group coordinator", "kafka"),
            redis: server("Redis", "redis"),
            sink: server("the sink", "sink"),
            metrics,
        }
    }

    pub(super) fn reaches_group(&self) {
        self.group.answers();
    }

    pub(super) fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the worker is not ready; empty where it is.
    pub(super) fn missing(&self) -> Vec<String> {
        if self.draining.load(Ordering::Relaxed) {
            return vec!["it is about to end".to_owned()];
        }
        let missing = [&self.group, &self.redis, &self.sink].into_iter().filter_map(Server::silence);
        missing.collect()
    }

    /// Who has not answered for longer than a failover takes, since the start too.
    pub(super) fn silent(&self) -> Vec<&'static str> {
        let servers = [&self.group, &self.redis, &self.sink].into_iter();
        servers.filter(|server| server.is_silent()).map(|server| server.label).collect()
    }

    /// Asks Redis and the sink now and then, for ever.
    pub(super) async fn watch(&self, state: &State, sink: &Sink) {
        tokio::join!(
            self.redis.follow(|| self.ask_redis(state)),
            self.sink.follow(|| sink.stat(owner::PATH)),
        );
    }

    async fn ask_redis(&self, state: &State) -> Result<(), StateError> {
        state.views().await?;
        if let Some(room) = state.room().await? {
            self.metrics.set_room(room);
        }
        Ok(())
    }
}

impl Server {
    fn answers(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.shown.set(unix_millis() / 1000);
    }

    fn is_silent(&self) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.unwrap_or(self.awaited_since).elapsed() > LATELY
    }

    /// What to say of it where it has not answered lately.
    fn silence(&self) -> Option<String> {
        let name = self.name;
        match *self.answered.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Some(format!("{name} has not answered yet")),
            Some(since) if since.elapsed() > LATELY => {
                Some(format!("{name} has not answered for {} s", since.elapsed().as_secs()))
            }
            Some(_) => None,
        }
    }

    async fn follow<T, E: Display, F>(&self, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<T, E>>,
    {
        loop {
            match ask().await {
                Ok(_) => self.answers(),
                Err(error) => tracing::debug!(%error, "{} does not answer", self.name),
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }
}
