//! Kafka as the source.
//!
//! The group uses the consumer protocol of KIP-848 with the broker's `range` assignor: partition *i* of both
//! topics comes to one worker, so that both sides of a ride meet in its batches where the topics are keyed
//! alike, and a change of the group moves only what has to move. Of the two alternatives, `cooperative-sticky`
//! moves as little but does not keep partitions of two topics together, and the classic `range` stops every
//! worker at every change. For brokers before 4.0 write `group.protocol: classic` in `spec.kafka.properties`.
//!
//! Offsets that are committed fence nothing, and nothing here relies on it: a worker that has lost its
//! partitions and does not know can neither apply (I1) nor write another range (I4). What is committed is a hint.
//!
//! Each partition has a queue of its own, so the reader chooses what to read next, and what it does not read
//! waits in librdkafka, which stops fetching when the queue is full (I7).

mod commit;
mod config;
mod context;
mod gaps;
mod group;
mod lane;
mod place;
mod queue;
mod topics;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

pub use self::config::client_config;
use self::context::{Context, Rebalance};
use self::group::published;
pub use self::group::{GroupOffsets, Offsets, Whole, group_offsets};
use self::lane::Lane;
use self::queue::Queue;
use self::topics::{counts, known};
use super::{Assigned, BURST_BYTES, Change, Done, Due, Read, Record, Source, SourceError};
use crate::core::shard::{Partition, PartitionCounts, Topic};
use crate::manifest::Manifest;
use crate::settings::SettingsError;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker may take to tell whether a partition is idle: meanwhile nothing is read.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the number of partitions is asked for.
const METADATA_INTERVAL: Duration = Duration::from_secs(30);
/// How long after a commit that failed the next is made.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
/// Why there is no consumer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The environment.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The brokers.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// The partitions of the two topics that the group gives to this worker.
pub struct KafkaSource {
    // Before the consumer, so that its queues are closed before it.
    lanes: HashMap<Partition, Lane>,
    consumer: Arc<BaseConsumer<Context>>,
    brokers: String,
    names: [String; 2],
    /// Where partitions begin that the pipeline has never read; the others at their first record.
    starts: BTreeMap<Partition, i64>,
    known: PartitionCounts,
    targets: HashMap<Partition, i64>,
    /// First offsets of the partitions when the source was opened.
    lows: HashMap<Partition, i64>,
    /// Partitions that were assigned, and are not told yet.
    given: Vec<Partition>,
    /// Offsets that were deleted before they were read, and are not told yet.
    lost: Vec<(Partition, i64)>,
    asked: Instant,
    /// When commits that had failed were made again.
    committed_again: Instant,
    /// For consumers beside that of the group.
    config: ClientConfig,
}

impl KafkaSource {
    /// Connects, finds the topics, and joins the group.
    ///
    /// # Errors
    /// Where the brokers cannot be reached or refuse, or a topic is not there; the message says what to do.
    pub fn open(manifest: &Manifest) -> Result<Self, OpenError> {
        let kafka = &manifest.kafka;
        let names = [kafka.rides_topic.clone(), kafka.fares_topic.clone()];
        let config = client_config(manifest)?;
        let known = known(&config, &kafka.bootstrap_servers, &names)?;
        let config = config::consumer(config, known);
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context::default()).map_err(|error| unusable(&error))?;
        let topics: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| unusable(&error))?;
        let mut source = KafkaSource {
            lanes: HashMap::new(),
            consumer: Arc::new(consumer),
            brokers: kafka.bootstrap_servers.clone(),
            names,
            starts: BTreeMap::new(),
            known,
            targets: HashMap::new(),
            lows: HashMap::new(),
            given: Vec::new(),
            lost: Vec::new(),
            asked: Instant::now(),
            committed_again: Instant::now(),
            config,
        };
        for partition in known.partitions() {
            let (low, high) = source.ends(partition, REQUEST_TIMEOUT)?;
            source.targets.insert(partition, high);
            source.lows.insert(partition, low);
        }
        Ok(source)
    }

    /// The offset after the last record of each partition of `topic` when the source was opened.
    pub fn ends_of(&self, topic: Topic) -> BTreeMap<i32, i64> {
        let of_topic = self.targets.iter().filter(|(partition, _)| partition.topic == topic);
        of_topic.map(|(partition, end)| (partition.index, *end)).collect()
    }

    /// Has partitions of `topic` that the pipeline has never read begin at these offsets, all others at their first
    /// record.
    pub fn begin_at(&mut self, topic: Topic, starts: BTreeMap<i32, i64>) {
        let starts = starts.into_iter().map(|(index, start)| (Partition { topic, index }, start));
        self.starts.extend(starts);
    }

    /// What the group has committed of each as published.
    fn committed(&self, partitions: &[Partition]) -> Result<HashMap<Partition, Whole>, SourceError> {
        let list = self.consumer.committed_offsets(self.list(partitions), REQUEST_TIMEOUT);
        let list = list.map_err(|error| self.failed("look up the group's offsets", &error))?;
        let elements = list.elements();
        let named = elements.iter().filter_map(|element| {
            let whole = published(element)?;
            let partition = Partition { topic: self.topic_of(element.topic())?, index: element.partition() };
            Some((partition, whole))
        });
        Ok(named.collect())
    }

    fn topic_of(&self, name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.topic(*topic) == name)
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let elements = list.elements();
        let named = elements.iter().filter_map(|e| Some((self.topic_of(e.topic())?, e.partition())));
        named.map(|(topic, index)| Partition { topic, index }).collect()
    }

    fn list(&self, partitions: &[Partition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for Partition { topic, index } in partitions {
            list.add_partition(self.topic(*topic), *index);
        }
        list
    }

    fn assigned(&mut self, partitions: &[Partition]) -> Result<Vec<Assigned>, SourceError> {
        let committed = self.committed(partitions)?;
        let mut all = Vec::with_capacity(partitions.len());
        for partition in partitions.iter().copied() {
            let (low, high) = self.ends(partition, REQUEST_TIMEOUT)?;
            let start = self.starts.get(&partition).copied().unwrap_or(low);
            let committed = committed.get(&partition).map(|whole| whole.mark);
            self.targets.entry(partition).or_insert(high);
            let high = self.target(partition);
            self.split(partition)?;
            all.push(Assigned { partition, low, high, committed, start });
        }
        Ok(all)
    }

    fn split(&mut self, partition: Partition) -> Result<(), SourceError> {
        let name = self.topic(partition.topic);
        let queue = Queue::of(&self.consumer, name, partition.index)
            .ok_or_else(|| SourceError::Kafka(format!("librdkafka has no queue for {partition}")))?;
        self.lanes.insert(partition, Lane::new(queue));
        let Partition { topic, index } = partition;
        let known = &mut self.known;
        match topic {
            Topic::Rides => known.rides = known.rides.max(index + 1),
            Topic::Fares => known.fares = known.fares.max(index + 1),
        }
        Ok(())
    }

    /// Partitions may be added while we run. A broker that does not answer now is asked again later.
    fn refresh_known(&mut self) {
        if self.asked.elapsed() < METADATA_INTERVAL {
            return;
        }
        self.asked = Instant::now();
        match counts(&self.consumer, &self.names, Duration::from_secs(1)) {
            Ok(counts) => self.known = self.known.grown_to(counts),
            Err(error) => tracing::warn!(%error, "cannot look up the partitions of the topics"),
        }
    }

    /// What the group has not taken is committed once more: others may wait for it.
    fn commit_again(&mut self) {
        let is_due = self.committed_again.elapsed() >= COMMIT_PAUSE;
        if !is_due || !self.consumer.client().context().take_failed_commit() {
            return;
        }
        self.committed_again = Instant::now();
        let of_lanes = self.lanes.iter().filter_map(|(partition, lane)| Some((*partition, lane.committed?)));
        for (partition, (offset, done)) in of_lanes.collect::<Vec<_>>() {
            self.commit(partition, offset, done);
        }
    }

    fn failed(&self, action: &str, error: &KafkaError) -> SourceError {
        let reason = self.consumer.client().context().reason(error);
        SourceError::Kafka(format!("Kafka at {}: cannot {action}: {reason}", self.brokers))
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Change>, SourceError> {
        // All other errors the context has told.
        if let Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) = self.consumer.poll(wait) {
            return Err(self.failed("consume", &error));
        }
        self.refresh_known();
        self.commit_again();
        let rebalances = self.consumer.client().context().take_rebalances();
        let is_rebalanced = !rebalances.is_empty();
        let mut changes: Vec<Change> =
            self.lost.drain(..).map(|(partition, offsets)| Change::Lost(partition, offsets)).collect();
        for rebalance in rebalances {
            match rebalance {
                Rebalance::Assigned(list) => self.given.extend(self.partitions(&list)),
                Rebalance::Revoked(list) => {
                    let partitions = self.partitions(&list);
                    partitions.iter().for_each(|partition| _ = self.lanes.remove(partition));
                    self.given.retain(|given| !partitions.contains(given));
                    changes.push(Change::Revoked(partitions));
                }
            }
        }
        if is_rebalanced {
            self.stay()?;
        }
        if !self.given.is_empty() {
            let given = std::mem::take(&mut self.given);
            match self.assigned(&given) {
                Ok(assigned) => changes.push(Change::Assigned(assigned)),
                // The brokers may be away for a moment; what is assigned stays so, and is not read yet.
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    self.given = given;
                }
            }
        }
        Ok(changes)
    }

    fn start(&mut self, partition: Partition, offset: i64, reached: i64) -> Result<(), SourceError> {
        if let Some(end) = self.end_before(partition, reached)? {
            return Err(self.made_again(partition, &format!("ends at offset {end}"), reached));
        }
        self.go_to(partition, offset)?;
        let list = self.list(&[partition]);
        self.consumer.resume(&list).map_err(|error| self.failed("resume a partition", &error))
    }

    fn read(
        &mut self,
        partition: Partition,
        max: usize,
        take: impl FnMut(Record<'_>),
    ) -> Result<Read, SourceError> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(Read::Nothing) };
        let (read, failed) = match lane.read(max, take) {
            Ok(read) => read,
            Err(went_back) => {
                self.return_from(partition, &went_back)?;
                return Ok(Read::Nothing);
            }
        };
        if let Some(error) = failed {
            tracing::warn!(%partition, reason = self.consumer.client().context().reason(&error), "Kafka");
        }
        if let Some(gap) = lane.gaps.take() {
            self.look_into(partition, &gap);
        }
        Ok(read)
    }

    fn commit(&mut self, partition: Partition, offset: i64, done: Done) {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(self.topic(partition.topic), partition.index);
        if let Done::Published(mark) = done {
            element.set_metadata(mark.to_string());
        }
        let set = element.set_offset(Offset::Offset(offset));
        if let Err(error) = set.and_then(|()| commit::commit(&self.consumer, &list)) {
            tracing::warn!(%partition, offset, %error, "cannot commit; the range log tells as much");
        }
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.committed = Some((offset, done));
        }
    }

    fn reaches_group(&self) -> bool {
        self.consumer.client().context().reaches_group()
    }

    fn known(&self) -> PartitionCounts {
        self.known
    }

    fn is_at_end(&mut self, partition: Partition) -> Result<Option<bool>, SourceError> {
        let Some(next) = self.lanes.get(&partition).and_then(Lane::next) else { return Ok(Some(false)) };
        let end = match self.ends(partition, END_TIMEOUT) {
            Ok((_, end)) => end,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether a partition is idle");
                return Ok(None);
            }
        };
        if end < next {
            return Err(self.made_again(partition, &format!("ends at offset {end}"), next));
        }
        // A log may end with what is no record: markers of transactions, records of aborted ones.
        let is_at_end = match end == next {
            true => Ok(true),
            false => self.has_none_between(partition, next, end),
        };
        match is_at_end {
            Ok(true) => Ok(Some(true)),
            Ok(false) => self.go_to(partition, next).map(|()| Some(false)),
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether a partition is idle");
                Ok(None)
            }
        }
    }

    fn high(&self, partition: Partition) -> Option<i64> {
        let next = self.lanes.get(&partition).and_then(Lane::next);
        let heard = self.consumer.client().context().high(self.topic(partition.topic), partition.index);
        heard.max(next)
    }

    fn has_none_between(&self, partition: Partition, from: i64, end: i64) -> Result<bool, SourceError> {
        let failed = |error| self.failed("read a partition", &error);
        let beside: BaseConsumer<Context> =
            self.config.create_with_context(Context::default()).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic(partition.topic), partition.index, Offset::Offset(from))
            .map_err(failed)?;
        // To assign is not to join the group.
        beside.assign(&list).map_err(failed)?;
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match beside.poll(left) {
                Some(Ok(record)) => return Ok(record.offset() >= end),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
                // One of several brokers may be away.
                Some(Err(_)) | None => {}
            }
        }
        Ok(false)
    }

    fn hear_ends(&mut self) -> bool {
        self.hear_all_ends()
            .inspect_err(|error| tracing::debug!(%error, "where partitions end is not told"))
            .is_ok()
    }

    fn is_published(&mut self, due: &BTreeMap<Partition, Due>) -> Result<bool, SourceError> {
        let partitions: Vec<Partition> = due.keys().copied().collect();
        let committed = self.committed(&partitions)?;
        // Of what Kafka did not hold any more, or was there before the pipeline began, nothing has to be published.
        let begins =
            |partition: &Partition, due: &Due| self.lows.get(partition).copied().max(due.origin).unwrap_or(0);
        let is_reached = |(partition, due): (&Partition, &Due)| match due.newest {
            Some(newest) => {
                committed.get(partition).is_some_and(|whole| whole.mark == newest && whole.end >= due.offset)
            }
            None => begins(partition, due) >= due.offset,
        };
        Ok(due.iter().all(is_reached))
    }

    fn target(&self, partition: Partition) -> i64 {
        self.targets.get(&partition).copied().unwrap_or(0)
    }

    fn topic(&self, topic: Topic) -> &str {
        &self.names[topic as usize]
    }
}

fn unusable(error: &KafkaError) -> SourceError {
    SourceError::Kafka(format!(
        "Kafka's client refuses its settings: {error}; check spec.kafka.properties, and the files that TIPS_KAFKA_CA, \
         TIPS_KAFKA_CLIENT_CERT and TIPS_KAFKA_CLIENT_KEY name"
    ))
}
