//! State in Redis: one call of one script a shard and batch (I1).
//!
//! The keys of a shard share a hash tag, so they live in one slot of a Redis Cluster:
//!
//! ```text
//! tipstream:{<pipeline>/<epoch>/<shard>}:meta       fingerprint with the version of the format, watermark, partitions
//! …:progress          hash: partition → offset, greatest event time, idle
//! …:pending           hash: ride id → ride or fare that waits, or both
//! …:expiry            sorted set of the times at which records leave; …:expiry:<time> their ids
//! …:panes             hash: start of a pane with an open window → its sums
//! …:frozen            hash: start of a closed window → its sums
//! …:books             hash: topic and outcome → records
//! ```
//!
//! An ACL user needs no more than this (a Cluster's also `+cluster|slots`; where the URL names a database,
//! `+select`; for `purge` also `+scan +unlink`):
//!
//! ```text
//! ~tipstream:{<pipeline>/* -@all +info +evalsha +script|load
//! +hget +hmget +hgetall +hkeys +hlen +hset +hdel +hincrby +zadd +zrem +zrangebyscore
//! +append +strlen +getrange +del
//! ```

mod info;
mod link;
pub mod purge;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use redis::{FromRedisValue, RedisError, Script, ScriptInvocation};

use self::link::Link;
pub use self::link::{ClientPem, Login, RedisConfig, RedisMode};
use super::{Frozen, Reply, Results, Room, StateError, View};
use crate::core::delta::Delta;
use crate::core::fold::Refused;
use crate::core::time::EventTime;
use crate::core::window::Rules;

/// Several values of one moment. Not by MULTI, which a full server refuses, even for reads.
const VIEW: &str = "local meta, progress, books, pending = unpack(KEYS) \
    local all = function(key) return redis.call('HGETALL', key) end \
    return {all(meta), all(progress), all(books), redis.call('HLEN', pending)}";
const FROZEN: &str = "local meta, frozen = unpack(KEYS) \
    local get = function(field) return redis.call('HGET', meta, field) end \
    return {get('fingerprint'), get('watermark'), redis.call('HGET', frozen, ARGV[1])}";
const RESULTS: &str = "local meta, panes, frozen = unpack(KEYS) \
    local get = function(field) return redis.call('HGET', meta, field) end \
    return {get('fingerprint'), get('watermark'), redis.call('HGETALL', panes), redis.call('HKEYS', frozen)}";
const CLOSED: &str = "local meta, frozen = unpack(KEYS) \
    return {redis.call('HGET', meta, 'fingerprint'), redis.call('HKEYS', frozen)}";
const FORGET: &str = "local meta, frozen = unpack(KEYS) \
    local held = redis.call('HGET', meta, 'fingerprint') \
    if held == ARGV[1] then redis.call('HDEL', frozen, unpack(ARGV, 2)) end \
    return held";
/// Windows that are forgotten in one call: a script has room for some thousands of arguments.
const FORGOTTEN_AT_ONCE: usize = 1000;

/// Raised with every change of what the keys hold or of the shard of an id.
const FORMAT: u32 = 1;

/// The shards of a pipeline in Redis.
#[derive(Clone)]
pub struct RedisState {
    link: Link,
    servers: Arc<str>,
    scripts: Arc<Scripts>,
    shards: u16,
    fingerprint: String,
    rules: Rules,
    prefix: String,
}

struct Scripts {
    apply: Script,
    view: Script,
    frozen: Script,
    results: Script,
    closed: Script,
    forget: Script,
}

/// Whose state it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `<namespace>.<name>` of the pipeline.
    pub pipeline: String,
    /// Its `spec.epoch`.
    pub epoch: u64,
    /// The fingerprint of the settings that decide results.
    pub fingerprint: String,
}

impl RedisState {
    /// Connects, and refuses a server that may evict keys and a state of other settings.
    ///
    /// # Errors
    /// Where the server cannot be reached or must not be used; the message says what to do.
    pub async fn open(
        config: &RedisConfig,
        identity: &Identity,
        rules: Rules,
        shards: u16,
    ) -> Result<Self, StateError> {
        let link = Link::connect(config).await?;
        let servers = link::servers(config);
        if let Some(policy) = info::evicting_policy(&link.memory(&servers).await?) {
            return Err(StateError::Evicts(policy));
        }
        let Identity { pipeline, epoch, fingerprint } = identity;
        let scripts = Scripts {
            apply: Script::new(include_str!("redis/apply.lua")),
            view: Script::new(VIEW),
            frozen: Script::new(FROZEN),
            results: Script::new(RESULTS),
            closed: Script::new(CLOSED),
            forget: Script::new(FORGET),
        };
        let state = RedisState {
            link,
            servers: servers.into(),
            scripts: Arc::new(scripts),
            shards,
            fingerprint: format!("{FORMAT}:{fingerprint}"),
            rules,
            prefix: format!("{pipeline}/{epoch}"),
        };
        futures::future::try_join_all((0..shards).map(|shard| state.view(shard))).await?;
        Ok(state)
    }

    pub(super) fn shards(&self) -> u16 {
        self.shards
    }

    pub(super) async fn apply(&self, shard: u16, delta: &Delta) -> Result<Reply, StateError> {
        let args = wire::args(&self.rules, delta);
        let mut call = self.scripts.apply.prepare_invoke();
        for part in ["meta", "progress", "pending", "expiry", "panes", "frozen", "books"] {
            call.key(self.key(shard, part));
        }
        call.arg(&self.fingerprint);
        for arg in args {
            call.arg(arg);
        }
        let reply: Vec<String> = self.invoke(&call).await?;
        self.read_reply(delta, &reply)
    }

    fn read_reply(&self, delta: &Delta, reply: &[String]) -> Result<Reply, StateError> {
        let number = |text: &String| -> Result<Option<i64>, StateError> {
            if text.is_empty() {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|_| StateError::Corrupt(format!("{text:?} for a number")))
        };
        match reply {
            [kind, watermark] if kind == "applied" => {
                Ok(Reply::Applied(number(watermark)?.map(EventTime::from_seconds)))
            }
            [kind, offsets @ ..] if kind == "refused" && offsets.len() == delta.moves.len() => {
                let partitions = delta.moves.iter().map(|m| m.partition);
                let offsets = partitions
                    .zip(offsets)
                    .map(|(partition, offset)| Ok((partition, number(offset)?)))
                    .collect::<Result<_, StateError>>()?;
                Ok(Reply::Refused(Refused { offsets }))
            }
            [kind, command] if kind == "denied" => {
                Err(StateError::Denied(format!("its user may not call {command}")))
            }
            [kind, held] if kind == "fingerprint" => Err(self.other(held.clone())),
            other => Err(StateError::Corrupt(format!("{other:?}"))),
        }
    }

    fn failed(&self, error: RedisError) -> StateError {
        link::error(&self.servers, error)
    }

    /// A state may have been removed and begun anew with other settings since it was opened: what is read is read
    /// together with whose it is.
    fn check(&self, held: Option<String>) -> Result<(), StateError> {
        match held {
            Some(held) if held != self.fingerprint => Err(self.other(held)),
            _ => Ok(()),
        }
    }

    fn other(&self, held: String) -> StateError {
        match held.split_once(':') {
            Some((format, _)) if format != FORMAT.to_string() => {
                StateError::Format { held: format.to_owned(), ours: FORMAT }
            }
            _ => StateError::Fingerprint { held, ours: self.fingerprint.clone() },
        }
    }

    pub(super) async fn view(&self, shard: u16) -> Result<View, StateError> {
        let mut call = self.scripts.view.prepare_invoke();
        for part in ["meta", "progress", "books", "pending"] {
            call.key(self.key(shard, part));
        }
        let (meta, progress, books, fields): (_, _, _, u64) = self.invoke(&call).await?;
        let view = wire::Meta::read(meta)?;
        self.check(view.fingerprint)?;
        Ok(View {
            progress: wire::progress(progress)?,
            known: view.known,
            watermark: view.watermark,
            books: wire::books(books)?,
            // One field is not an id: see the script.
            waiting: fields.saturating_sub(1),
        })
    }

    pub(super) async fn room(&self) -> Result<Option<Room>, StateError> {
        Ok(info::fullest(&self.link.memory(&self.servers).await?))
    }

    pub(super) async fn closed(&self, shard: u16) -> Result<Vec<EventTime>, StateError> {
        let mut call = self.scripts.closed.prepare_invoke();
        call.key(self.key(shard, "meta")).key(self.key(shard, "frozen"));
        let (held, starts): (_, Vec<i64>) = self.invoke(&call).await?;
        self.check(held)?;
        Ok(starts.into_iter().map(EventTime::from_seconds).collect())
    }

    pub(super) async fn results(&self, shard: u16) -> Result<Results, StateError> {
        let mut call = self.scripts.results.prepare_invoke();
        for part in ["meta", "panes", "frozen"] {
            call.key(self.key(shard, part));
        }
        let (held, watermark, panes, closed): (_, Option<i64>, HashMap<i64, Vec<u8>>, Vec<i64>) =
            self.invoke(&call).await?;
        self.check(held)?;
        let sums = |(pane, bytes): (i64, Vec<u8>)| Ok((EventTime::from_seconds(pane), wire::sums(&bytes)?));
        Ok(Results {
            watermark: watermark.map(EventTime::from_seconds),
            panes: panes.into_iter().map(sums).collect::<Result<_, StateError>>()?,
            closed: closed.into_iter().map(EventTime::from_seconds).collect(),
        })
    }

    pub(super) async fn frozen(&self, shard: u16, start: EventTime) -> Result<Frozen, StateError> {
        let mut call = self.scripts.frozen.prepare_invoke();
        call.key(self.key(shard, "meta")).key(self.key(shard, "frozen")).arg(start.seconds());
        let (held, watermark, sums): (_, Option<i64>, Option<Vec<u8>>) = self.invoke(&call).await?;
        self.check(held)?;
        Ok(Frozen {
            watermark: watermark.map(EventTime::from_seconds),
            sums: wire::sums(&sums.unwrap_or_default())?,
        })
    }

    pub(super) async fn forget(&self, shard: u16, starts: &[EventTime]) -> Result<(), StateError> {
        for some in starts.chunks(FORGOTTEN_AT_ONCE) {
            let mut call = self.scripts.forget.prepare_invoke();
            call.key(self.key(shard, "meta")).key(self.key(shard, "frozen")).arg(&self.fingerprint);
            some.iter().for_each(|start| _ = call.arg(start.seconds()));
            let held = self.invoke(&call).await?;
            self.check(held)?;
        }
        Ok(())
    }

    async fn invoke<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StateError> {
        call.invoke_async(&mut self.link.clone()).await.map_err(|error| self.failed(error))
    }

    fn key(&self, shard: u16, part: &str) -> String {
        format!("tipstream:{{{}/{shard}}}:{part}", self.prefix)
    }
}
