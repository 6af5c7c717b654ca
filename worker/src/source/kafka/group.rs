//! What Kafka and the group say of the partitions, asked by a client that does not join the group.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::config::client_config;
use super::context::Context;
use super::topics::known;
use super::{OpenError, REQUEST_TIMEOUT, unusable};
use crate::core::mark::Mark;
use crate::core::shard::Partition;
use crate::manifest::Manifest;
use crate::source::SourceError;

/// Offsets of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The first that is still there.
    pub low: i64,
    /// The one after the last record.
    pub high: i64,
    /// The range that the group has as published last, if it has one.
    pub committed: Option<Whole>,
}

/// Offsets of all partitions of both topics.
pub type GroupOffsets = BTreeMap<Partition, Offsets>;

/// Asks for the offsets. Waits for brokers.
///
/// # Errors
/// Where the brokers cannot be reached or refuse, or a topic is not there; the message says what to do.
pub fn group_offsets(manifest: &Manifest) -> Result<GroupOffsets, OpenError> {
    let kafka = &manifest.kafka;
    let names = [kafka.rides_topic.clone(), kafka.fares_topic.clone()];
    let config = client_config(manifest)?;
    let known = known(&config, &kafka.bootstrap_servers, &names)?;
    let client: BaseConsumer<Context> =
        config.create_with_context(Context::default()).map_err(|error| unusable(&error))?;
    let failed = |error: KafkaError| {
        let reason = client.client().context().reason(&error);
        let brokers = &kafka.bootstrap_servers;
        SourceError::Kafka(format!("Kafka at {brokers}: cannot look up the group's offsets: {reason}"))
    };
    let name = |partition: Partition| names[partition.topic as usize].as_str();
    let mut list = TopicPartitionList::new();
    for partition in known.partitions() {
        list.add_partition(name(partition), partition.index);
    }
    let committed = client.committed_offsets(list, REQUEST_TIMEOUT).map_err(failed)?;
    let mut all = GroupOffsets::new();
    for partition in known.partitions() {
        let watermarks = client.fetch_watermarks(name(partition), partition.index, REQUEST_TIMEOUT);
        let (low, high) = watermarks.map_err(failed)?;
        let committed = committed.find_partition(name(partition), partition.index);
        let committed = committed.and_then(|element| published(&element));
        all.insert(partition, Offsets { low, high, committed });
    }
    Ok(all)
}

/// A range that was published, as the group has it: its end is the offset that is committed, its mark the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The offset after its last.
    pub end: i64,
    /// Tells it from every other, of another log too.
    pub mark: Mark,
}

/// What was committed after a range was published. An offset without a mark tells nothing of raw rows: none were kept,
/// or a person has set it.
pub(super) fn published(element: &TopicPartitionListElem<'_>) -> Option<Whole> {
    match element.offset() {
        Offset::Offset(end) => Some(Whole { end, mark: element.metadata().parse().ok()? }),
        _ => None,
    }
}
