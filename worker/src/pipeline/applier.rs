//! The applier: one task that joins batches and applies them to the shards, in order.
//!
//! A shard that refuses stands elsewhere than this worker thought: another worker has applied records, or the
//! state has lost its last writes. The applier then asks the reader to go back to where the shards are
//! ([`FromApplier::Rewind`]) and drops the batches that were read before that. A call whose answer was lost is
//! made again; if it had been applied, the refusal shows the very offsets it was to reach, and all is well.
//!
//! While there is nothing to apply, nobody refuses, and a state that has lost its last writes would not be noticed. So
//! the applier then looks now and then ([`ToApplier::Look`]) whether the shards are where it left them, and takes the
//! watermark from them, which other workers have moved meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::sync::{mpsc, oneshot};

use super::left::Left;
use super::locate::{LocateError, Located, Question, Reached, applied, locate};
use crate::clock::unix_millis;
use crate::core::batch::{Batch, Job};
use crate::core::delta::Delta;
use crate::core::join::Joiner;
use crate::core::shard::Partition;
use crate::core::time::EventTime;
use crate::crash;
use crate::metrics::Metrics;
use crate::sink::Sink;
use crate::state::{Reply, State, StateError, watermark};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the reader tells the applier.
pub enum ToApplier {
    /// Apply this.
    Batch {
        /// Batches of an earlier generation are dropped.
        generation: u64,
        /// The batch.
        batch: Batch,
        /// Kafka's timestamps of the oldest record of each read of a partition, in milliseconds.
        oldest: Vec<i64>,
    },
    /// Find where to read; all batches before it have been applied or dropped.
    Locate(Vec<Question>),
    /// See whether the shards are where they were left.
    Look {
        /// Of a generation that is void already there is nothing to see.
        generation: u64,
    },
    /// These partitions have gone to other workers.
    Forget(Vec<Partition>),
    /// Tell how far all shards are.
    AskApplied {
        /// The topics, where their range logs are to be asked too.
        logs: Option<[String; 2]>,
    },
    /// Answer when all before it is done.
    Drain(oneshot::Sender<()>),
}

/// What the applier tells the reader.
pub enum FromApplier {
    /// The answer to a question.
    Located(Vec<Located>),
    /// How far all shards are.
    Applied(BTreeMap<Partition, Reached>),
    /// All batches of this generation are void.
    Rewind {
        /// The generation.
        generation: u64,
    },
}

/// Why the applier ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ApplierError {
    /// The state, in a way that waiting does not mend.
    #[error(transparent)]
    State(#[from] StateError),
    /// The same, while looking for a place.
    #[error(transparent)]
    Locate(#[from] LocateError),
}

/// The least watermark of all shards, for whoever has to keep near it.
#[derive(Clone, Debug)]
pub struct SharedWatermark(Arc<AtomicI64>);

impl Default for SharedWatermark {
    fn default() -> Self {
        SharedWatermark(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl SharedWatermark {
    /// The watermark, if there is one yet.
    pub fn get(&self) -> Option<EventTime> {
        let seconds = self.0.load(Ordering::Relaxed);
        (seconds != i64::MIN).then(|| EventTime::from_seconds(seconds))
    }

    /// Sets it; `None` where the state has lost it.
    pub fn set(&self, watermark: Option<EventTime>) {
        self.0.store(watermark.map_or(i64::MIN, EventTime::seconds), Ordering::Relaxed);
    }
}

/// Applies the batches of this worker.
pub struct Applier {
    job: Arc<Job>,
    state: State,
    sink: Sink,
    metrics: Metrics,
    watermark: SharedWatermark,
    to_reader: std::sync::mpsc::Sender<FromApplier>,
    joiner: Joiner,
    left: Left,
    void_up_to: Option<u64>,
}

enum Applied {
    All { watermark: Option<EventTime> },
    Refused,
}

impl Applier {
    /// An applier to `state`.
    pub fn new(
        job: Arc<Job>,
        state: State,
        sink: Sink,
        metrics: Metrics,
        watermark: SharedWatermark,
        to_reader: std::sync::mpsc::Sender<FromApplier>,
    ) -> Self {
        Applier {
            job,
            state,
            sink,
            metrics,
            watermark,
            to_reader,
            joiner: Joiner::default(),
            left: Left::default(),
            void_up_to: None,
        }
    }

    /// Works until the queue is closed.
    ///
    /// # Errors
    /// Where the state says something that waiting does not mend.
    pub async fn run(mut self, mut queue: mpsc::Receiver<ToApplier>) -> Result<(), ApplierError> {
        while let Some(message) = queue.recv().await {
            match message {
                ToApplier::Batch { generation, .. } if self.is_void(generation) => {}
                ToApplier::Batch { generation, batch, oldest } => {
                    self.apply(generation, &batch, &oldest).await?;
                }
                ToApplier::Look { generation } if self.is_void(generation) => {}
                ToApplier::Look { generation } => self.look(generation).await?,
                ToApplier::Locate(questions) => {
                    let (located, watermark) =
                        self.patiently(|| locate(&self.state, &self.sink, &questions)).await?;
                    self.see(watermark);
                    self.tell(FromApplier::Located(located));
                }
                ToApplier::AskApplied { logs } => {
                    let applied = self.patiently(|| applied(&self.state, &self.sink, logs.as_ref())).await?;
                    self.tell(FromApplier::Applied(applied));
                }
                ToApplier::Forget(partitions) => self.left.forget(&partitions),
                // Whoever asked may have given up waiting.
                ToApplier::Drain(done) => _ = done.send(()),
            }
        }
        Ok(())
    }

    fn is_void(&self, generation: u64) -> bool {
        self.void_up_to.is_some_and(|void| generation <= void)
    }

    async fn apply(&mut self, generation: u64, batch: &Batch, oldest: &[i64]) -> Result<(), ApplierError> {
        let begun = Instant::now();
        let deltas = batch.deltas(&self.job.rules, &mut self.joiner);
        crash::point("state::before-apply");
        match self.apply_all(&deltas).await? {
            Applied::All { watermark } => {
                crash::point("state::after-apply");
                self.left.note(&deltas);
                // Where a batch has touched no shard it tells nothing.
                if watermark.is_some() {
                    self.see(watermark);
                }
                self.observe(begun, oldest);
            }
            Applied::Refused => self.rewind(generation),
        }
        Ok(())
    }

    async fn look(&mut self, generation: u64) -> Result<(), ApplierError> {
        let views = self.patiently(|| async { Ok(self.state.views().await?) }).await?;
        self.see(watermark(&views));
        if !self.left.is_there(&views) {
            self.rewind(generation);
        }
        Ok(())
    }

    /// The watermark of the whole state; `None` where it has lost it, and drift is measured anew.
    fn see(&self, watermark: Option<EventTime>) {
        self.watermark.set(watermark);
        if let Some(watermark) = watermark {
            self.metrics.watermark_seconds.set(watermark.seconds());
        }
    }

    fn rewind(&mut self, generation: u64) {
        self.void_up_to = Some(generation);
        self.left = Left::default();
        tracing::warn!("the state stands elsewhere than expected: reading again from where it is");
        self.tell(FromApplier::Rewind { generation });
    }

    /// Every shard gets its delta, whatever the others say.
    async fn apply_all(&self, deltas: &[(u16, Delta)]) -> Result<Applied, StateError> {
        let told = AtomicU32::new(0);
        let calls = deltas.iter().map(|(shard, delta)| self.apply_one(*shard, delta, &told));
        let replies = try_join_all(calls).await?;
        let mut least = None;
        for ((_, delta), reply) in deltas.iter().zip(replies) {
            match reply {
                Reply::Applied(watermark) => {
                    least = Some(least.map_or(watermark, |w: Option<_>| w.min(watermark)))
                }
                Reply::Refused(refused) if is_reached(delta, &refused.offsets) => {}
                Reply::Refused(refused) => {
                    self.metrics.state_refusals.inc();
                    tracing::debug!(?refused, "refused");
                    return Ok(Applied::Refused);
                }
            }
        }
        Ok(Applied::All { watermark: least.flatten() })
    }

    /// `told` is up to which try it was told that a shard cannot be reached: of all that try as often, one does.
    async fn apply_one(&self, shard: u16, delta: &Delta, told: &AtomicU32) -> Result<Reply, StateError> {
        let (mut pause, mut attempt) = (FIRST_PAUSE, 0);
        crash::point_between("state::between-shards").await;
        loop {
            attempt += 1;
            self.metrics.state_calls.inc();
            match self.state.apply(shard, delta).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    let is_news = told.fetch_max(attempt, Ordering::Relaxed) < attempt;
                    self.wait_after(error, &mut pause, is_news).await?;
                }
            }
        }
    }

    /// Asks again while waiting helps.
    async fn patiently<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, ApplierError>
    where
        F: Future<Output = Result<T, LocateError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(LocateError::State(error)) => self.wait_after(error, &mut pause, true).await?,
                Err(error) if error.is_transient() => {
                    self.metrics.sink_errors.inc();
                    tracing::warn!(%error, "cannot read the range log; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says what is wrong, if that is news, and waits; or gives up where waiting does not help.
    async fn wait_after(
        &self,
        error: StateError,
        pause: &mut Duration,
        is_news: bool,
    ) -> Result<(), StateError> {
        self.metrics.state_errors.with_label_values(&[error.category()]).inc();
        if !error.is_transient() {
            return Err(error);
        }
        if is_news {
            tracing::warn!(%error, wait = ?*pause, "trying again");
        }
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    fn observe(&self, begun: Instant, oldest: &[i64]) {
        self.metrics.apply_seconds.observe(begun.elapsed().as_secs_f64());
        let now = unix_millis();
        for oldest in oldest {
            self.metrics.latency_seconds.observe((now - oldest).max(0) as f64 / 1000.0);
        }
    }

    /// A reader that has gone does not need to know.
    fn tell(&self, message: FromApplier) {
        if self.to_reader.send(message).is_err() {
            tracing::debug!("the reader has ended");
        }
    }
}

/// Whether the shard stands where the delta was to take it: this very call was applied, and its answer lost; or
/// another worker has applied the same records.
fn is_reached(delta: &Delta, offsets: &[(Partition, Option<i64>)]) -> bool {
    delta.moves.iter().zip(offsets).all(|(m, (_, offset))| *offset == Some(m.to))
}
