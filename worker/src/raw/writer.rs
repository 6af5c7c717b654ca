//! The raw writer: one task that owns the lanes of all partitions of this worker, encodes what comes, and
//! decides when a file is due.
//!
//! A file is due when it is big enough, when its first row has waited long enough, or when all lanes together
//! hold more than their budget (I7): then the largest goes. What is being published counts too; over the budget
//! the writer takes no more rows, its queue fills, and the reader pauses.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parquet::errors::ParquetError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::columns::Chunk;
use super::lane::{Lane, Origin, Plan};
use super::publish::{Published, pause, publish};
use super::range_log::{LogError, RangeLog};
use crate::core::mark::Mark;
use crate::core::shard::Partition;
use crate::metrics::Metrics;
use crate::sink::Sink;

/// When files are due.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a file.
    pub file_bytes: usize,
    /// How long a row waits; `None`: until the file is big enough or the input ends.
    pub flush_interval: Option<Duration>,
    /// Bytes of all lanes, open and being published; `None`: no bound but that of each file. A lane that is full then
    /// takes no more rows until the file before is published, so that where files end depends on the rows alone.
    pub budget: Option<usize>,
    /// How often a failing sink is tried before the writer gives up; `None`: for ever, with a line in the log
    /// each time.
    pub tries: Option<u32>,
}

/// What the reader tells the writer.
pub enum ToWriter {
    /// A partition begins here. A lane of an earlier incarnation ends, and what it holds is dropped: its rows
    /// are still in Kafka.
    Open {
        /// The partition, and its names.
        origin: Origin,
        /// Told apart from others of the same partition.
        incarnation: u64,
        /// The first offset.
        start: i64,
        /// The end of the range, where it is fixed already.
        end: Option<i64>,
    },
    /// Rows of an open partition.
    Rows {
        /// Whose.
        partition: Partition,
        /// Rows of another incarnation are dropped.
        incarnation: u64,
        /// The rows.
        chunk: Box<Chunk>,
    },
    /// The partition has gone to another worker.
    Close(Partition),
    /// Publish all there is, and answer when it is there.
    Drain(oneshot::Sender<Rest>),
}

/// What is left when all is published that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    None,
    /// Rows of a range that another worker has begun, and whose end was not read. They stay for whoever comes next.
    OfBegun,
}

/// What the writer tells the reader.
#[derive(Clone, Copy, Debug)]
pub enum FromWriter {
    /// All below this offset is published.
    Published {
        /// The partition.
        partition: Partition,
        /// The offset.
        end: i64,
        /// Of the range that ends there.
        mark: Mark,
    },
    /// Another worker has begun the range: the partition has to be started again where the log says.
    Restart {
        /// The partition.
        partition: Partition,
        /// Of the lane that met it.
        incarnation: u64,
    },
}

/// Why the writer ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The encoder.
    #[error("cannot encode Parquet: {0}")]
    Encode(#[from] ParquetError),
    /// The sink, after all tries.
    #[error(transparent)]
    Publish(#[from] LogError),
}

struct Open {
    lane: Lane,
    incarnation: u64,
    end: Option<i64>,
    log: RangeLog,
    /// Whether a plan is on its way to the sink. The next range of the partition is begun only after it.
    is_publishing: bool,
}

struct Done {
    partition: Partition,
    incarnation: u64,
    end: i64,
    /// Of the plan.
    bytes: usize,
    result: Result<Published, LogError>,
}

/// The writer of this worker's raw files.
pub struct Writer {
    sink: Sink,
    limits: Limits,
    metrics: Metrics,
    to_reader: std::sync::mpsc::Sender<FromWriter>,
    lanes: HashMap<Partition, Open>,
    publishing: JoinSet<Done>,
    /// Bytes of all plans on their way to the sink, also of partitions that have gone meanwhile.
    in_flight: usize,
    draining: Option<oneshot::Sender<Rest>>,
}

impl Writer {
    /// A writer into `sink`.
    pub fn new(
        sink: Sink,
        limits: Limits,
        metrics: Metrics,
        to_reader: std::sync::mpsc::Sender<FromWriter>,
    ) -> Self {
        Writer {
            sink,
            limits,
            metrics,
            to_reader,
            lanes: HashMap::new(),
            publishing: JoinSet::new(),
            in_flight: 0,
            draining: None,
        }
    }

    /// Works until the queue is closed. What is not published then is dropped: drain first to keep it.
    ///
    /// # Errors
    /// Where rows cannot be encoded, or the sink has failed as often as the limits allow.
    pub async fn run(mut self, mut queue: mpsc::Receiver<ToWriter>) -> Result<(), WriterError> {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            let has_room = self.has_room();
            tokio::select! {
                biased;
                Some(done) = self.publishing.join_next() => match done {
                    Ok(done) => self.settle(done)?,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                message = queue.recv(), if has_room => match message {
                    Some(message) => self.handle(message)?,
                    None => return Ok(()),
                },
                _ = tick.tick() => {}
            }
            self.flush_what_is_due()?;
            self.end_drain();
        }
    }

    fn handle(&mut self, message: ToWriter) -> Result<(), WriterError> {
        match message {
            ToWriter::Open { origin, incarnation, start, end } => {
                let log = RangeLog::new(self.sink.clone(), &origin.topic, origin.partition.index);
                let partition = origin.partition;
                let lane = Lane::new(origin, start);
                self.lanes.insert(partition, Open { lane, incarnation, end, log, is_publishing: false });
            }
            ToWriter::Rows { partition, incarnation, chunk } => {
                let Some(open) = self.lanes.get_mut(&partition) else { return Ok(()) };
                if open.incarnation == incarnation
                    && let Some(plan) = open.lane.take(*chunk, open.end)?
                {
                    open.end = None;
                    self.publish(partition, plan);
                }
            }
            ToWriter::Close(partition) => _ = self.lanes.remove(&partition),
            ToWriter::Drain(done) => self.draining = Some(done),
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.lanes.values().map(|open| open.lane.bytes()).sum::<usize>() + self.in_flight
    }

    fn has_room(&self) -> bool {
        let held = self.held();
        self.metrics.raw_buffered_bytes.set(held as i64);
        match self.limits.budget {
            Some(budget) => held < budget || self.publishing.is_empty(),
            None => !self.lanes.values().any(|open| open.is_publishing && self.is_full(open)),
        }
    }

    fn flush_what_is_due(&mut self) -> Result<(), WriterError> {
        let due: Vec<Partition> = self
            .lanes
            .iter()
            .filter(|(_, open)| self.is_due(open))
            .map(|(partition, _)| *partition)
            .collect();
        for partition in due {
            self.flush(partition)?;
        }
        while let Some(largest) = self.over_budget() {
            self.flush(largest)?;
        }
        Ok(())
    }

    /// A range with a fixed end is never due: it ends there.
    fn is_due(&self, open: &Open) -> bool {
        if open.is_publishing || open.end.is_some() || open.lane.is_empty() {
            return false;
        }
        let waited = open.lane.since().map_or(Duration::ZERO, |since: Instant| since.elapsed());
        self.draining.is_some()
            || self.is_full(open)
            || self.limits.flush_interval.is_some_and(|interval| waited >= interval)
    }

    fn is_full(&self, open: &Open) -> bool {
        open.end.is_none() && open.lane.encoded_bytes() >= self.limits.file_bytes
    }

    /// The largest lane that can go, where open lanes hold more than half of the budget: the other half is for
    /// what is being published.
    fn over_budget(&self) -> Option<Partition> {
        let budget = self.limits.budget?;
        let open: usize = self.lanes.values().map(|open| open.lane.bytes()).sum();
        let free = |open: &&Open| !open.is_publishing && open.end.is_none() && !open.lane.is_empty();
        let candidates = self.lanes.iter().filter(|(_, open)| free(open));
        let largest = candidates.max_by_key(|(_, open)| open.lane.bytes()).map(|(partition, _)| *partition);
        largest.filter(|_| open > budget / 2)
    }

    fn flush(&mut self, partition: Partition) -> Result<(), WriterError> {
        if let Some(open) = self.lanes.get_mut(&partition) {
            let plan = open.lane.finish()?;
            self.publish(partition, plan);
        }
        Ok(())
    }

    fn publish(&mut self, partition: Partition, plan: Plan) {
        let Some(open) = self.lanes.get_mut(&partition) else { return };
        open.is_publishing = true;
        let bytes = plan.bytes();
        self.in_flight += bytes;
        let (sink, log, metrics) = (self.sink.clone(), open.log.clone(), self.metrics.clone());
        let (tries, incarnation) = (self.limits.tries, open.incarnation);
        self.publishing.spawn(async move {
            let result = publish_with_patience(&sink, &log, &plan, tries, &metrics, partition).await;
            Done { partition, incarnation, end: plan.range.end, bytes, result }
        });
    }

    fn settle(&mut self, done: Done) -> Result<(), WriterError> {
        let Done { partition, incarnation, end, bytes, result } = done;
        self.in_flight -= bytes;
        let published = result?;
        if let Published::Whole(mark) = published {
            self.tell(FromWriter::Published { partition, end, mark });
        }
        let Some(open) = self.lanes.get_mut(&partition).filter(|open| open.incarnation == incarnation) else {
            return Ok(());
        };
        open.is_publishing = false;
        if !matches!(published, Published::Whole(_)) {
            tracing::warn!(%partition, ?published, "another worker has begun this range: starting the partition again");
            self.lanes.remove(&partition);
            self.tell(FromWriter::Restart { partition, incarnation });
        }
        Ok(())
    }

    /// A reader that has gone does not need to know.
    fn tell(&self, message: FromWriter) {
        if self.to_reader.send(message).is_err() {
            tracing::debug!(?message, "the reader has ended");
        }
    }

    fn end_drain(&mut self) {
        let (of_begun, own): (Vec<_>, Vec<_>) =
            self.lanes.values().filter(|open| !open.lane.is_empty()).partition(|open| open.end.is_some());
        if own.is_empty()
            && self.publishing.is_empty()
            && let Some(done) = self.draining.take()
        {
            // Whoever asked may have given up waiting.
            _ = done.send(if of_begun.is_empty() { Rest::None } else { Rest::OfBegun });
        }
    }
}

async fn publish_with_patience(
    sink: &Sink,
    log: &RangeLog,
    plan: &Plan,
    tries: Option<u32>,
    metrics: &Metrics,
    partition: Partition,
) -> Result<Published, LogError> {
    let begun = Instant::now();
    let mut attempt = 0;
    loop {
        match publish(sink, log, plan, |file| metrics.raw_file(partition.topic, file)).await {
            Ok(published) => {
                if matches!(published, Published::Whole(_)) {
                    metrics.flush_seconds.observe(begun.elapsed().as_secs_f64());
                }
                return Ok(published);
            }
            Err(error) if tries.is_some_and(|tries| attempt + 1 >= tries) => return Err(error),
            Err(error) => {
                metrics.sink_errors.inc();
                let wait = pause(attempt);
                tracing::warn!(%partition, %error, attempt, ?wait, "cannot publish; the rows wait until it can be done");
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::shard::Topic;
    use crate::sink::SinkConfig;

    const PARTITION: Partition = Partition { topic: Topic::Rides, index: 0 };

    /// What a drain answers of a range that another worker has begun, up to 10, and is read up to `read`.
    async fn drained(read: i64) -> Rest {
        let dir = tempfile::tempdir().expect("a directory");
        let sink = Sink::open(&SinkConfig::Fs { root: dir.path().to_owned() }).await.expect("a sink");
        let limits = Limits { file_bytes: 1 << 20, flush_interval: None, budget: None, tries: Some(1) };
        let (to_reader, _from_writer) = std::sync::mpsc::channel();
        let writer = Writer::new(sink, limits, Metrics::new().expect("metrics"), to_reader);
        let (queue, messages) = mpsc::channel(8);
        let writer = tokio::spawn(writer.run(messages));
        let origin = Origin { partition: PARTITION, topic: "rides".to_owned(), fingerprint: String::new() };
        let mut chunk = Chunk::rides(PARTITION.index, 0);
        (0..read).for_each(|offset| chunk.invalid(offset, None, None, "null value"));
        let (done, answer) = oneshot::channel();
        for message in [
            ToWriter::Open { origin, incarnation: 1, start: 0, end: Some(10) },
            ToWriter::Rows { partition: PARTITION, incarnation: 1, chunk: Box::new(chunk) },
            ToWriter::Drain(done),
        ] {
            assert!(queue.send(message).await.is_ok(), "the writer has ended");
        }
        let rest = answer.await.expect("an answer");
        drop(queue);
        writer.await.expect("no panic").expect("no error");
        rest
    }

    #[tokio::test]
    async fn what_is_left_of_another_s_range_is_told() {
        assert_eq!(drained(4).await, Rest::OfBegun);
        assert_eq!(drained(10).await, Rest::None);
    }
}
