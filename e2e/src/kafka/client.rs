//! What a test does to topics: create, fill, look where they end.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::Kafka;
use crate::sender::Lines;

const ANSWER: Duration = Duration::from_secs(30);

/// A record to produce. Lines convert into one without a key.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Chooses the partition where none is named.
    pub key: Option<Vec<u8>>,
    /// `None` is a null value, a tombstone.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970; the time of producing where absent.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A line keyed by its first column, the ride id, as the streams' producers key them.
    pub fn keyed(line: &str) -> Self {
        let id = line.split(',').next().unwrap_or_default();
        Self { key: Some(id.into()), value: Some(line.into()), timestamp: None }
    }
}

impl From<&str> for Record {
    fn from(line: &str) -> Self {
        Self { value: Some(line.into()), ..Self::default() }
    }
}

impl From<String> for Record {
    fn from(line: String) -> Self {
        Self { value: Some(line.into()), ..Self::default() }
    }
}

impl From<&[u8]> for Record {
    fn from(bytes: &[u8]) -> Self {
        Self { value: Some(bytes.into()), ..Self::default() }
    }
}

impl Kafka {
    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        all_done(block_on(self.admin()?.create_topics([&topic], &options()))?)
    }

    /// Creates the topics of the pipeline `name`.
    pub fn create_topics(&self, name: &str, partitions: i32) -> Result<()> {
        ["rides", "fares"]
            .iter()
            .try_for_each(|topic| self.create_topic(&format!("{name}-{topic}"), partitions))
    }

    /// Deletes a topic with all its records.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        all_done(block_on(self.admin()?.delete_topics(&[name], &options()))?)
    }

    /// Raises a topic's number of partitions to `total`.
    pub fn add_partitions(&self, topic: &str, total: usize) -> Result<()> {
        let raised = NewPartitions::new(topic, total);
        all_done(block_on(self.admin()?.create_partitions([&raised], &options()))?)
    }

    /// Produces records, in order and each once, and waits until the broker has them all. Without a partition they
    /// go by key (murmur2, as Java's producer does), or anywhere.
    pub fn produce<R: Into<Record>>(
        &self,
        topic: &str,
        partition: impl Into<Option<i32>>,
        records: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let producer: ThreadedProducer<Failures> = self
            .client()
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .create_with_context(Failures::default())
            .context("creating a producer")?;
        let partition = partition.into();
        for record in records {
            send(&producer, topic, partition, &record.into())?;
        }
        producer.flush(ANSWER).context("waiting for the broker to take all records")?;
        match producer.context().0.load(Ordering::Relaxed) {
            0 => Ok(()),
            lost => bail!("{lost} records were not delivered to {topic}"),
        }
    }

    /// Has each of the first `partitions` partitions end with what an aborted transaction leaves: a record that
    /// nobody is given, and a marker.
    pub fn abort(&self, topic: &str, partitions: i32) -> Result<()> {
        let producer = self.transactions(topic)?;
        producer.begin_transaction()?;
        for partition in 0..partitions {
            let record: BaseRecord<'_, (), str> =
                BaseRecord::to(topic).partition(partition).payload("aborted");
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(ANSWER)?;
        producer.abort_transaction(ANSWER).context("aborting")
    }

    fn transactions(&self, topic: &str) -> Result<BaseProducer> {
        let producer: BaseProducer =
            self.client().set("transactional.id", topic).create().context("creating a producer")?;
        producer.init_transactions(ANSWER).context("beginning with transactions")?;
        Ok(producer)
    }

    /// Sends lines in transactions of up to `size` of each file; each leaves a marker in the log.
    pub fn produce_in_transactions(&self, Lines { topic, files }: &Lines, size: usize) -> Result<()> {
        let texts = files
            .iter()
            .map(|file| fs::read(file).with_context(|| format!("reading {}", file.display())))
            .collect::<Result<Vec<_>>>()?;
        let mut left: Vec<_> =
            texts.iter().map(|text| text.split_inclusive(|byte| *byte == b'\n').peekable()).collect();
        let producer = self.transactions(topic)?;
        while left.iter_mut().any(|lines| lines.peek().is_some()) {
            producer.begin_transaction()?;
            for (partition, lines) in (0..).zip(&mut left) {
                for line in lines.take(size) {
                    let line = line.strip_suffix(b"\n").unwrap_or(line);
                    let record: BaseRecord<'_, (), [u8]> =
                        BaseRecord::to(topic).partition(partition).payload(line);
                    producer.send(record).map_err(|(error, _)| error)?;
                }
            }
            producer.commit_transaction(ANSWER).context("committing")?;
        }
        Ok(())
    }

    /// Deletes the records of a partition below `offset`, as its retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let mut below = TopicPartitionList::new();
        below.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        let done = block_on(self.admin()?.delete_records(&below, &options()))?;
        done.elements().iter().try_for_each(|element| element.error()).context("deleting records")
    }

    /// Where each partition of a topic ends.
    pub fn end_offsets(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let consumer: BaseConsumer = self.client().create().context("creating a consumer")?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER).context("asking for metadata")?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        partitions
            .map(|partition| {
                let (_, end) = consumer.fetch_watermarks(topic, partition.id(), ANSWER)?;
                Ok((partition.id(), end))
            })
            .collect()
    }

    /// Writes a line `topic,partition,offset,milliseconds` for each record of these topics, the timestamp as Kafka has it.
    pub fn timestamps(&self, topics: &[String], mut out: impl Write) -> Result<()> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "timestamps")
            .set("enable.auto.commit", "false")
            .create()
            .context("creating a consumer")?;
        let mut list = TopicPartitionList::new();
        let mut left = 0;
        for topic in topics {
            for (partition, end) in self.end_offsets(topic)? {
                list.add_partition_offset(topic, partition, Offset::Beginning)?;
                left += end;
            }
        }
        consumer.assign(&list).context("reading the topics")?;
        while left > 0 {
            let record = consumer.poll(ANSWER).context("the broker gives no more records")?;
            let record = record.context("reading a record")?;
            let millis = record.timestamp().to_millis().context("a record without a timestamp")?;
            writeln!(out, "{},{},{},{millis}", record.topic(), record.partition(), record.offset())?;
            left -= 1;
        }
        out.flush().context("writing the timestamps")
    }

    /// What a group has committed of all partitions of these topics, added up.
    pub fn committed(&self, group: &str, topics: &[String]) -> Result<i64> {
        let consumer: BaseConsumer =
            self.client().set("group.id", group).create().context("creating a consumer")?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in self.end_offsets(topic)?.into_keys() {
                list.add_partition(topic, partition);
            }
        }
        let committed = consumer.committed_offsets(list, ANSWER).context("asking for the group's offsets")?;
        Ok(committed
            .elements()
            .iter()
            .filter_map(|element| element.offset().to_raw())
            .map(|at| at.max(0))
            .sum())
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client().create().context("creating an admin client")
    }
}

/// Whether the broker tells an admin client about itself.
pub(super) fn answers(config: &ClientConfig) -> bool {
    let admin = config.create::<AdminClient<DefaultClientContext>>();
    admin.is_ok_and(|admin| {
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(2));
        metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
    })
}

fn all_done(results: Vec<TopicResult>) -> Result<()> {
    for result in results {
        result.map_err(|(topic, code)| anyhow!("{topic}: {code}"))?;
    }
    Ok(())
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER))
}

fn send(
    producer: &ThreadedProducer<Failures>,
    topic: &str,
    partition: Option<i32>,
    record: &Record,
) -> Result<()> {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic);
    message.partition = partition;
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    message.timestamp = record.timestamp;
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                message = back;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(error).with_context(|| format!("producing to {topic}")),
        }
    }
}

/// Counts what could not be delivered.
#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext<NoCustomPartitioner> for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
