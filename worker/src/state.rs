//! Where the state of a pipeline lives: shards, each the fold of its deltas (I1).
//!
//! One interface, two places: [`memory`] for `local`, [`redis`] for `stream`. Each is the other's oracle in the
//! property tests.

pub mod memory;
pub mod redis;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use crate::core::books::Books;
use crate::core::delta::Delta;
use crate::core::fold::{Refused, Sums};
use crate::core::shard::{Partition, PartitionCounts};
use crate::core::time::EventTime;
use crate::core::watermark::Progress;
use crate::core::window::Pane;

pub use self::memory::MemoryState;
pub use self::redis::RedisState;

/// What a shard said to a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is applied, and this is the shard's watermark now.
    Applied(Option<EventTime>),
    /// The shard stands elsewhere: nothing was changed.
    Refused(Refused),
}

/// What a shard knows, without its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Of each partition that it has heard of.
    pub progress: BTreeMap<Partition, Progress>,
    /// The partitions that hold its watermark.
    pub known: PartitionCounts,
    /// Its watermark.
    pub watermark: Option<EventTime>,
    /// Its books.
    pub books: Books,
    /// The ride ids under which a ride, a fare or both are pending.
    pub waiting: u64,
}

/// The pipeline's watermark: the least of its shards, if each has one.
pub fn watermark(views: &[View]) -> Option<EventTime> {
    views.iter().map(|view| view.watermark).min().flatten()
}

/// A shard's part of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// The shard's watermark when the sums were read.
    pub watermark: Option<EventTime>,
    /// The sums; none where the shard has none, has not closed the window, or has forgotten it.
    pub sums: Sums,
}

/// A shard's part of the results, all of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// The shard's watermark.
    pub watermark: Option<EventTime>,
    /// The sums of panes that have an open window.
    pub panes: BTreeMap<Pane, Sums>,
    /// The starts of the windows that it has closed and not forgotten.
    pub closed: BTreeSet<EventTime>,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that it may use; 0: no limit is set.
    pub limit: u64,
}

/// Why the state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No answer, or one that says to come again: worth another try.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// The server is full. Records stay in Kafka until there is room.
    #[error(
        "Redis is out of memory: raise `maxmemory` or delete what is not needed; nothing is lost, the worker goes on when there is room ({0})"
    )]
    OutOfMemory(String),
    /// The server may evict keys, which would lose state without a word.
    #[error(
        "Redis has maxmemory-policy {0}: it may evict the state of a pipeline; set `maxmemory-policy noeviction`"
    )]
    Evicts(String),
    /// User, password or permission.
    #[error(
        "Redis refuses access: {0}; check the user, its password and that its ACL allows the keys and commands of the pipeline"
    )]
    Denied(String),
    /// The state was made with other settings (I8).
    #[error(
        "the state in Redis belongs to other settings (its fingerprint is {held}, the manifest's is {ours}); put the settings back, or raise `spec.epoch` to start anew with the new ones"
    )]
    Fingerprint {
        /// Of the state.
        held: String,
        /// Of this worker.
        ours: String,
    },
    /// The state is kept as another version of the worker does it.
    #[error(
        "the state in Redis has format {held}, and this version of tips-worker knows format {ours} alone; run the version that has made it, or raise `spec.epoch` to start anew with this one"
    )]
    Format {
        /// Of the state.
        held: String,
        /// Of this worker.
        ours: u32,
    },
    /// The settings of the connection.
    #[error("spec.redis: {0}")]
    Config(String),
    /// An answer that makes no sense.
    #[error("unexpected answer from Redis: {0}")]
    Corrupt(String),
}

impl StateError {
    /// The kind of error, as metrics label it.
    pub const fn category(&self) -> &'static str {
        match self {
            StateError::Unreachable(_) => "unreachable",
            StateError::OutOfMemory(_) => "out_of_memory",
            StateError::Evicts(_) => "evicts",
            StateError::Denied(_) => "denied",
            StateError::Fingerprint { .. } => "fingerprint",
            StateError::Format { .. } => "format",
            StateError::Config(_) => "config",
            StateError::Corrupt(_) => "corrupt",
        }
    }

    /// Whether the same call may succeed later without anybody changing the manifest.
    pub const fn is_transient(&self) -> bool {
        matches!(self, StateError::Unreachable(_) | StateError::OutOfMemory(_))
    }
}

/// The state of a pipeline.
#[derive(Clone)]
pub enum State {
    /// In this process.
    Memory(MemoryState),
    /// In Redis, shared by the workers.
    Redis(RedisState),
}

impl State {
    /// The number of shards, fixed when the state was made.
    pub fn shards(&self) -> u16 {
        match self {
            State::Memory(state) => state.shards(),
            State::Redis(state) => state.shards(),
        }
    }

    /// Applies `delta` to `shard`, whole or not at all.
    ///
    /// # Errors
    /// Where the state cannot be reached. Whether the delta was applied is then not known, and need not be: the
    /// same call again is refused if it was, and shows the offsets.
    pub async fn apply(&self, shard: u16, delta: &Delta) -> Result<Reply, StateError> {
        match self {
            State::Memory(state) => Ok(state.apply(shard, delta)),
            State::Redis(state) => state.apply(shard, delta).await,
        }
    }

    /// What `shard` knows.
    ///
    /// # Errors
    /// Where the state cannot be reached or is of other settings.
    pub async fn view(&self, shard: u16) -> Result<View, StateError> {
        match self {
            State::Memory(state) => Ok(state.view(shard)),
            State::Redis(state) => state.view(shard).await,
        }
    }

    /// What each shard knows, in their order.
    ///
    /// # Errors
    /// Where the state cannot be reached or is of other settings.
    pub async fn views(&self) -> Result<Vec<View>, StateError> {
        try_join_all((0..self.shards()).map(|shard| self.view(shard))).await
    }

    /// How full Redis is: of several servers the one that is nearest to its limit. `None` in memory.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub async fn room(&self) -> Result<Option<Room>, StateError> {
        match self {
            State::Memory(_) => Ok(None),
            State::Redis(state) => state.room().await,
        }
    }

    /// The starts of the windows that `shard` has closed and not forgotten.
    ///
    /// # Errors
    /// Where the state cannot be reached or is of other settings.
    pub async fn closed(&self, shard: u16) -> Result<Vec<EventTime>, StateError> {
        match self {
            State::Memory(state) => Ok(state.closed(shard)),
            State::Redis(state) => state.closed(shard).await,
        }
    }

    /// What `shard` has of windows that are open, and which it has closed.
    ///
    /// # Errors
    /// Where the state cannot be reached.
    pub async fn results(&self, shard: u16) -> Result<Results, StateError> {
        match self {
            State::Memory(state) => Ok(state.results(shard)),
            State::Redis(state) => state.results(shard).await,
        }
    }

    /// The frozen sums of the window that starts at `start`, with the watermark of the same moment: it tells
    /// whether a window without sums has closed or not.
    ///
    /// # Errors
    /// Where the state cannot be reached.
    pub async fn frozen(&self, shard: u16, start: EventTime) -> Result<Frozen, StateError> {
        match self {
            State::Memory(state) => Ok(state.frozen(shard, start)),
            State::Redis(state) => state.frozen(shard, start).await,
        }
    }

    /// Deletes the frozen sums of these windows.
    ///
    /// # Errors
    /// Where the state cannot be reached or is of other settings.
    pub async fn forget(&self, shard: u16, starts: &[EventTime]) -> Result<(), StateError> {
        match self {
            State::Memory(state) => {
                state.forget(shard, starts);
                Ok(())
            }
            State::Redis(state) => state.forget(shard, starts).await,
        }
    }
}
