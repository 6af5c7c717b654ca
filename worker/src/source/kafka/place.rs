//! Where a partition is read, which is said to librdkafka, and where it begins and ends, which the broker is asked for.

use std::ops::Range;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::lane::WentBack;
use super::{END_TIMEOUT, KafkaSource, REQUEST_TIMEOUT, Source, SourceError};
use crate::core::shard::Partition;

/// A partition that has just been assigned is started once what was committed and stopped before is answered for, and
/// refuses to seek until then.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
const SEEK_TRIES: u32 = 100;
const SEEK_PAUSE: Duration = Duration::from_millis(100);
/// The controller, the broker and this client hear of a new partition, or of a new leader, one after the other.
const NEWS_TRIES: u32 = 20;
const NEWS_PAUSE: Duration = Duration::from_millis(250);

impl KafkaSource {
    /// The first offset that is still there, and the one after the last. The group may give us a partition that
    /// was just added or has just moved before this client has heard of it.
    pub(super) fn ends(&self, partition: Partition, timeout: Duration) -> Result<(i64, i64), SourceError> {
        let name = self.topic(partition.topic);
        let mut tries = 0;
        loop {
            let error = match self.consumer.fetch_watermarks(name, partition.index, timeout) {
                Ok((low, high)) => {
                    self.consumer.client().context().set_high(name, partition.index, high);
                    return Ok((low, high));
                }
                Err(error) => error,
            };
            tries += 1;
            if tries == NEWS_TRIES || !is_news(&error) {
                return Err(self.failed("look up the ends of a partition", &error));
            }
            std::thread::sleep(NEWS_PAUSE);
            if let Err(error) = self.consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT) {
                tracing::warn!(%error, %partition, "cannot look up a partition that was added or has moved; trying again");
            }
        }
    }

    /// Asks where all partitions end that are read or paused: librdkafka hears of it with their records only.
    pub(super) fn hear_all_ends(&self) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for Partition { topic, index } in self.lanes.keys() {
            list.add_partition_offset(self.topic(*topic), *index, Offset::End)?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        // The end is a time of which Kafka tells the offset.
        for end in self.consumer.offsets_for_times(list, END_TIMEOUT)?.elements() {
            end.error()?;
            if let Offset::Offset(offset) = end.offset() {
                self.consumer.client().context().set_high(end.topic(), end.partition(), offset);
            }
        }
        Ok(())
    }

    /// Where the partition ends, if that is before `offset`. The end that was heard last may be of seconds ago, and
    /// another worker may have read on since: what seems to be so is asked for.
    pub(super) fn end_before(&self, partition: Partition, offset: i64) -> Result<Option<i64>, SourceError> {
        if self.high(partition).is_none_or(|heard| heard >= offset) {
            return Ok(None);
        }
        let (_, end) = self.ends(partition, REQUEST_TIMEOUT)?;
        Ok((end < offset).then_some(end))
    }

    /// Has `partition` go on at `offset`. That is between us and librdkafka: no broker is asked.
    pub(super) fn go_to(&mut self, partition: Partition, offset: i64) -> Result<(), SourceError> {
        let name = self.topic(partition.topic);
        let mut tries = 0;
        while let Err(error) = self.consumer.seek(name, partition.index, Offset::Offset(offset), SEEK_TIMEOUT)
        {
            tries += 1;
            if tries == SEEK_TRIES {
                return Err(self.failed(&format!("go to offset {offset} of {partition}"), &error));
            }
            std::thread::sleep(SEEK_PAUSE);
        }
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.start(offset);
        }
        Ok(())
    }

    /// Has what is read go on where it is. Librdkafka pauses everything while the group is rebalanced, and then goes on
    /// behind the last record that it has handed out; but it (2.12) takes a transaction's marker for one that was handed
    /// out even where it throws the records before it away, and so passes over them.
    pub(super) fn stay(&mut self) -> Result<(), SourceError> {
        let places = self.lanes.iter().filter_map(|(partition, lane)| Some((*partition, lane.next()?)));
        for (partition, next) in places.collect::<Vec<_>>() {
            self.go_to(partition, next)?;
        }
        Ok(())
    }

    /// Librdkafka goes back to the first record where Kafka has refused its offset. A topic that was made again and has
    /// grown past what was read by the time that it is asked is not told from a step back of librdkafka's own.
    pub(super) fn return_from(
        &mut self,
        partition: Partition,
        WentBack { next, to }: &WentBack,
    ) -> Result<(), SourceError> {
        match self.ends(partition, END_TIMEOUT) {
            Ok((_, end)) if end < *next => {
                Err(self.made_again(partition, &format!("goes on at offset {to}"), *next))
            }
            Ok(_) => {
                tracing::warn!(%partition, from = next, to, "librdkafka went back; going on where it was");
                self.go_to(partition, *next)
            }
            // The record after this one will ask again.
            Err(error) => {
                tracing::warn!(%error, %partition, from = next, to, "cannot tell why librdkafka went back");
                Ok(())
            }
        }
    }

    /// Tells how much of `gap` Kafka has deleted.
    pub(super) fn look_into(&mut self, partition: Partition, gap: &Range<i64>) {
        match self.ends(partition, END_TIMEOUT) {
            Ok((low, _)) if low > gap.start => self.lost.push((partition, low.min(gap.end) - gap.start)),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, %partition, ?gap, "cannot tell why there are no records"),
        }
    }

    /// What was read up to `offset` `does` what a log does not that only grows.
    pub(super) fn made_again(&self, partition: Partition, does: &str, offset: i64) -> SourceError {
        SourceError::Kafka(format!(
            "partition {} of {} {does}, and this pipeline has read it up to {offset}: the topic was deleted and made \
             again; give the new one another name, or the pipeline another name and sink path",
            partition.index,
            self.topic(partition.topic)
        ))
    }
}

/// Whether the partition, or its leader, is not known here or there, perhaps only not yet.
fn is_news(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        LeaderNotAvailable, NotLeaderForPartition, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
                | LeaderNotAvailable
                | NotLeaderForPartition
        )
    )
}
