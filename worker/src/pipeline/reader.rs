//! The reader: the thread that reads partitions, parses lines, and hands batches to the applier and rows to the
//! raw writer.
//!
//! It reads records in the order in which they were sent, so both sides of a ride tend to be in one batch, and no
//! partition runs ahead of the watermark by more than `maxDrift` (I7). What cannot be handed on at once
//! waits here, and meanwhile nothing is read.

mod assignment;
mod catch_up;
mod ends;
mod lane;
mod order;
mod show;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::catch_up::Elsewhere;
use self::ends::Ends;
use self::lane::{Lane, Phase};
use self::order::{Standing, reading_order};
use super::applier::{FromApplier, SharedWatermark, ToApplier};
use super::locate::Reached;
use crate::clock::unix_millis;
use crate::core::batch::{Batcher, Job};
use crate::core::shard::Partition;
use crate::core::time::Span;
use crate::crash;
use crate::http::Board;
use crate::metrics::Metrics;
use crate::raw::writer::{FromWriter, Rest, ToWriter};
use crate::source::{Change, Done, Read, Source, SourceError};

/// Records read of one partition before the next is looked at.
const BURST: usize = 1024;
/// How long the source may take its time when there is nothing to read.
const REST: Duration = Duration::from_millis(20);
/// The same while a partition's records are on their way, or those that are read cannot be handed on.
const SHORT_REST: Duration = Duration::from_millis(2);
/// How long the others wait for a partition that is first in order and has more, but not here yet.
const PATIENCE: Duration = Duration::from_secs(1);
/// A batch of records that are older than this, in milliseconds, is part of a backlog,
const BACKLOG_AGE: i64 = 1000;
/// and waits so many times longer than its linger time to fill, while there is something to read.
const BACKLOG_LINGER: u32 = 10;
/// How often the group is moved on where no raw file does it.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// How often the shards are looked at while nothing is applied to them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How the reader works.
#[derive(Clone, Debug)]
pub struct ReaderSettings {
    /// Records of a batch.
    pub batch_records: usize,
    /// How long a record waits for its batch to fill.
    pub linger: Duration,
    /// How long a raw row waits for its chunk to fill; `None`: until it is full or the input ends.
    pub chunk_linger: Option<Duration>,
    /// How long a partition stands at its end before it is idle.
    pub idle_timeout: Duration,
    /// How far ahead of the watermark a partition may be; `None` where others are never waited for.
    pub max_drift: Option<Span>,
    /// Whether raw rows are kept.
    pub raw: bool,
    /// Ends once all that was there when the source was opened has been read.
    pub until_caught_up: bool,
    /// Of the settings, for the footers of the files.
    pub fingerprint: String,
}

/// Queues to and from the tasks.
pub struct Links {
    /// To the applier.
    pub applier: Sender<ToApplier>,
    /// From it.
    pub from_applier: Receiver<FromApplier>,
    /// To the raw writer.
    pub writer: Sender<ToWriter>,
    /// From it.
    pub from_writer: Receiver<FromWriter>,
    /// How far the shards are.
    pub watermark: SharedWatermark,
    /// Told whether this worker has the first partition.
    pub owns_first: watch::Sender<bool>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where to show how it is going.
    pub board: Option<Board>,
}

/// Why the reader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It has read what there was.
    CaughtUp,
}

/// What became of what was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All of it is applied and published.
    All,
    /// Some of it was not in time.
    TooLate,
    /// All but rows of a range that another worker has begun, and whose end was not read.
    InPart,
    /// Some of it was refused: the state or the range log was not where it was thought to be.
    ToReadAgain,
}

/// What a look at the partitions gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Records,
    /// There is more, which is not here yet, or cannot be handed on yet.
    Later,
    Nothing,
}

enum Out {
    Applier(ToApplier),
    Writer(ToWriter),
}

/// Reads a source.
pub struct Reader<S> {
    source: S,
    settings: ReaderSettings,
    links: Links,
    job: Arc<Job>,
    shards: u16,
    lanes: BTreeMap<Partition, Lane>,
    batcher: Batcher,
    batch_since: Option<Instant>,
    /// Kafka's timestamps of the oldest record of each burst in the batch, in milliseconds.
    oldest: Vec<i64>,
    out: VecDeque<Out>,
    /// Since when something waits in `out` that is not counted yet.
    held_up_since: Option<Instant>,
    generation: u64,
    incarnations: u64,
    tickets: u64,
    /// How often something had to be read again.
    returns: u64,
    elsewhere: Elsewhere,
    committed: Instant,
    /// When the applier has last been given something that the shards answer to.
    looked: Instant,
    ends: Ends,
    shown: Option<Instant>,
}

impl<S: Source> Reader<S> {
    /// A reader of `source` for a state of `shards` shards.
    pub fn new(source: S, settings: ReaderSettings, links: Links, job: Arc<Job>, shards: u16) -> Self {
        let batcher = Batcher::new(job.clone(), shards);
        Reader {
            source,
            settings,
            links,
            job,
            shards,
            lanes: BTreeMap::new(),
            batcher,
            batch_since: None,
            oldest: Vec::new(),
            out: VecDeque::new(),
            held_up_since: None,
            generation: 0,
            incarnations: 0,
            tickets: 0,
            returns: 0,
            elsewhere: Elsewhere::default(),
            committed: Instant::now(),
            looked: Instant::now(),
            ends: Ends::new(),
            shown: None,
        }
    }

    /// Reads until `stop`, or until all is read where the settings say so. The last batch and the last rows
    /// are handed on by [`Reader::drain`].
    ///
    /// # Errors
    /// Where the source cannot be read any more.
    pub fn run(&mut self, stop: &CancellationToken) -> Result<Ended, SourceError> {
        let mut rest = Duration::ZERO;
        let ended = loop {
            self.serve(rest)?;
            if stop.is_cancelled() || self.is_cut_off() {
                break Ended::Stopped;
            }
            let found = if self.may_read() { self.read_some()? } else { Found::Later };
            self.call_idle()?;
            self.ends.hear(&mut self.source);
            self.cut_what_is_due(found != Found::Nothing);
            if self.settings.until_caught_up && self.is_caught_up()? {
                break Ended::CaughtUp;
            }
            rest = match found {
                Found::Records => Duration::ZERO,
                Found::Later => SHORT_REST,
                Found::Nothing => REST,
            };
        };
        self.cut_batch();
        self.cut_chunks(|_| true);
        Ok(ended)
    }

    /// Has all that was handed on applied and published, or gives up at the deadline: what is not published
    /// then is read again by whoever comes next.
    ///
    /// # Errors
    /// Where the source cannot be read any more.
    pub fn drain(&mut self, deadline: Option<Instant>) -> Result<Drained, SourceError> {
        if let Some(board) = &self.links.board {
            board.drains();
        }
        let (applied, mut is_applied) = oneshot::channel();
        let (published, mut is_published) = oneshot::channel();
        if !self.settings.raw {
            self.out.push_back(Out::Applier(ToApplier::AskApplied { logs: None }));
        }
        self.out.push_back(Out::Applier(ToApplier::Drain(applied)));
        self.out.push_back(Out::Writer(ToWriter::Drain(published)));
        let returns = self.returns;
        let (mut waits_applied, mut rest) = (true, None);
        while waits_applied || rest.is_none() {
            if self.is_cut_off() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Drained::TooLate);
            }
            self.hand_on();
            self.serve(REST)?;
            waits_applied = waits_applied && is_applied.try_recv().is_err();
            rest = rest.or_else(|| is_published.try_recv().ok());
        }
        // The last publications were told before the answer.
        self.serve(Duration::ZERO)?;
        Ok(match rest {
            _ if self.returns != returns => Drained::ToReadAgain,
            Some(Rest::OfBegun) => Drained::InPart,
            _ => Drained::All,
        })
    }

    /// Ends the queues. What is left is to leave the source, by dropping it.
    pub fn close(self) -> S {
        self.source
    }

    /// Serves the source and the other tasks for a moment, reading nothing.
    fn serve(&mut self, wait: Duration) -> Result<(), SourceError> {
        if let Some(board) = &self.links.board {
            board.beat();
        }
        self.show_now_and_then();
        for change in self.source.poll(wait)? {
            match change {
                Change::Assigned(assigned) => self.assigned(assigned),
                Change::Revoked(partitions) => self.revoked(&partitions),
                Change::Lost(partition, offsets) => self.lost(partition, offsets),
            }
        }
        while let Ok(message) = self.links.from_applier.try_recv() {
            match message {
                FromApplier::Located(located) => self.located(located)?,
                FromApplier::Rewind { generation } => self.rewind(generation),
                FromApplier::Applied(reached) => self.applied(reached),
            }
        }
        while let Ok(message) = self.links.from_writer.try_recv() {
            match message {
                FromWriter::Published { partition, end, mark } => {
                    crash::point("raw::before-commit");
                    self.source.commit(partition, end, Done::Published(mark));
                    crash::point("raw::after-commit");
                }
                FromWriter::Restart { partition, incarnation } => self.restart(partition, incarnation),
            }
        }
        Ok(())
    }

    /// Without raw rows the group stands where the shards stand.
    fn applied(&mut self, reached: BTreeMap<Partition, Reached>) {
        if !self.settings.raw {
            for (partition, Reached { offset, .. }) in &reached {
                if self.lanes.get_mut(partition).is_some_and(|lane| lane.moves_group_to(*offset)) {
                    self.source.commit(*partition, *offset, Done::Applied);
                }
            }
        }
        self.elsewhere.applied = reached;
    }

    /// Whether this worker publishes the windows.
    pub fn is_publisher(&self) -> bool {
        *self.links.owns_first.borrow()
    }

    /// A task that is gone has failed, and the run ends with its error.
    fn is_cut_off(&self) -> bool {
        self.links.applier.is_closed() || self.links.writer.is_closed()
    }

    /// Whether all that waits is handed on. Until then nothing is read, which counts.
    fn may_read(&mut self) -> bool {
        let is_free = self.hand_on();
        let now = Instant::now();
        if let Some(since) = self.held_up_since.take() {
            self.links.metrics.backpressured_seconds.inc_by((now - since).as_secs_f64());
        }
        self.held_up_since = (!is_free).then_some(now);
        is_free
    }

    /// Hands on what waits. Returns whether nothing waits any more.
    fn hand_on(&mut self) -> bool {
        while let Some(out) = self.out.pop_front() {
            let refused = match out {
                Out::Applier(message) => self.links.applier.try_send(message).map_err(|e| match e {
                    TrySendError::Full(m) | TrySendError::Closed(m) => Out::Applier(m),
                }),
                Out::Writer(message) => self.links.writer.try_send(message).map_err(|e| match e {
                    TrySendError::Full(m) | TrySendError::Closed(m) => Out::Writer(m),
                }),
            };
            if let Err(out) = refused {
                self.out.push_front(out);
                return false;
            }
        }
        true
    }

    /// Reads a burst of the first partition in order that has something. One that has more waits for it to come, and
    /// so do those after it: read in its place they would run ahead, and their halves of the pairs wait in Redis.
    fn read_some(&mut self) -> Result<Found, SourceError> {
        for partition in reading_order(&self.standings()) {
            match self.read_burst(partition)? {
                Found::Nothing => {}
                found => return Ok(found),
            }
        }
        Ok(Found::Nothing)
    }

    /// How far the partitions are. One that is further ahead of the watermark than it may be is paused (I7).
    fn standings(&self) -> Vec<Standing> {
        let (watermark, max_drift) = (self.links.watermark.get(), self.settings.max_drift);
        let mut paused = 0;
        let standings = self.lanes.values().map(|lane| {
            let reading = lane.phase == Phase::Reading;
            let readable = reading && max_drift.is_none_or(|max_drift| !lane.is_ahead(watermark, max_drift));
            paused += i64::from(reading && !readable);
            lane.standing(readable)
        });
        let standings = standings.collect();
        self.links.metrics.paused_partitions.set(paused);
        standings
    }

    fn read_burst(&mut self, partition: Partition) -> Result<Found, SourceError> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(Found::Nothing) };
        let (batcher, metrics) = (&mut self.batcher, &self.links.metrics);
        let mut oldest: Option<i64> = None;
        let read = self.source.read(partition, BURST, |record| {
            lane.take(batcher, metrics, &record);
            oldest = match (oldest, record.timestamp) {
                (Some(before), Some(now)) => Some(before.min(now)),
                (before, now) => before.or(now),
            };
        })?;
        self.oldest.extend(oldest);
        match read {
            Read::Records(records) => {
                self.links
                    .metrics
                    .consumed
                    .with_label_values(&[partition.topic.name()])
                    .inc_by(records as u64);
                self.batch_since.get_or_insert_with(Instant::now);
                lane.has_come();
                if lane.chunk_is_full() {
                    self.cut_chunks(|lane| lane.chunk_is_full());
                }
                Ok(Found::Records)
            }
            Read::End => {
                if !lane.is_at_end() {
                    tracing::debug!(%partition, position = lane.position(), "at the end");
                }
                lane.stand_at_end();
                Ok(Found::Nothing)
            }
            Read::Nothing => {
                let has_more = self.source.high(partition) > lane.position();
                Ok(if has_more && lane.waits_less_than(PATIENCE) { Found::Later } else { Found::Nothing })
            }
        }
    }

    fn cut_what_is_due(&mut self, has_more: bool) {
        if !self.settings.raw && self.committed.elapsed() >= COMMIT_INTERVAL && self.out.is_empty() {
            self.committed = Instant::now();
            self.out.push_back(Out::Applier(ToApplier::AskApplied { logs: None }));
        }
        if self.looked.elapsed() >= LOOK_INTERVAL && self.out.is_empty() {
            self.looked = Instant::now();
            self.out.push_back(Out::Applier(ToApplier::Look { generation: self.generation }));
        }
        let waited = self.batch_since.map_or(Duration::ZERO, |since| since.elapsed());
        let full = self.batcher.records() >= self.settings.batch_records;
        let in_backlog = has_more && self.is_in_backlog();
        let linger = self.settings.linger.saturating_mul(if in_backlog { BACKLOG_LINGER } else { 1 });
        // A batch that cannot be handed on yet keeps filling instead.
        if full || (waited >= linger && self.batch_since.is_some() && self.out.is_empty()) {
            self.cut_batch();
        }
        if let Some(linger) = self.settings.chunk_linger {
            self.cut_chunks(|lane| lane.chunk_since.is_some_and(|since| since.elapsed() >= linger));
        }
    }

    /// Says which partitions have fallen idle. Whoever was stopped or cut off for a while has not stood at an end
    /// all that time, though it looks so: the source is asked again first (I2).
    fn call_idle(&mut self) -> Result<(), SourceError> {
        let begun = Instant::now();
        for (partition, lane) in &mut self.lanes {
            if !lane.is_due_to_be_idle(self.settings.idle_timeout) {
                continue;
            }
            let Some(is_at_end) = self.ends.is_at_end(&mut self.source, *partition, begun)? else {
                return Ok(());
            };
            tracing::debug!(%partition, position = lane.position(), is_at_end, "no record for the idle timeout");
            if is_at_end {
                lane.call_idle();
                self.batch_since.get_or_insert_with(Instant::now);
            } else {
                lane.look_again();
            }
        }
        Ok(())
    }

    /// Whether the batch has records that have waited for long, or that do not say for how long.
    fn is_in_backlog(&self) -> bool {
        let now = unix_millis();
        self.oldest.is_empty() || self.oldest.iter().any(|oldest| now - oldest > BACKLOG_AGE)
    }

    fn cut_batch(&mut self) {
        if self.batch_since.take().is_none() {
            return;
        }
        let cursors = self.lanes.values_mut().filter_map(|lane| lane.cursor.as_mut());
        let batch = self.batcher.cut(cursors, self.source.known());
        let (generation, oldest) = (self.generation, std::mem::take(&mut self.oldest));
        self.looked = Instant::now();
        self.out.push_back(Out::Applier(ToApplier::Batch { generation, batch, oldest }));
    }

    fn cut_chunks(&mut self, due: impl Fn(&Lane) -> bool) {
        for (partition, lane) in &mut self.lanes {
            if due(lane)
                && let Some(chunk) = lane.cut_chunk()
            {
                let (partition, incarnation, chunk) = (*partition, lane.incarnation, Box::new(chunk));
                self.out.push_back(Out::Writer(ToWriter::Rows { partition, incarnation, chunk }));
            }
        }
    }
}
