//! What librdkafka tells by callbacks: the assignment, the ends of partitions, and why something fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance as Rebalanced};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

/// A change of the assignment that the reader has not heard of yet.
pub(super) enum Rebalance {
    Assigned(TopicPartitionList),
    Revoked(TopicPartitionList),
}

#[derive(Default)]
pub(super) struct Context {
    rebalances: Mutex<Vec<Rebalance>>,
    highs: Mutex<HashMap<(String, i32), i64>>,
    last_error: Mutex<Option<String>>,
    reaches_group: AtomicBool,
    has_failed_to_commit: AtomicBool,
}

impl Context {
    /// Whether a commit has failed since this was asked last.
    pub(super) fn take_failed_commit(&self) -> bool {
        self.has_failed_to_commit.swap(false, Ordering::Relaxed)
    }

    pub(super) fn take_rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut lock(&self.rebalances))
    }

    /// Whether there is a connection to the group's coordinator, as far as was heard. That we are a member cannot be
    /// told: with KIP-848 librdkafka shows who has no partition as one who has not joined.
    pub(super) fn reaches_group(&self) -> bool {
        self.reaches_group.load(Ordering::Relaxed)
    }

    pub(super) fn high(&self, topic: &str, partition: i32) -> Option<i64> {
        lock(&self.highs).get(&(topic.to_owned(), partition)).copied()
    }

    fn begin_at_ends(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        for mut partition in list.elements() {
            let high = self.high(partition.topic(), partition.partition()).unwrap_or(0);
            partition.set_offset(Offset::Offset(high))?;
        }
        Ok(())
    }

    pub(super) fn set_high(&self, topic: &str, partition: i32, offset: i64) {
        lock(&self.highs).insert((topic.to_owned(), partition), offset);
    }

    /// An error with the reason that the connection gave: a wrong password and an untrusted certificate both
    /// come as a broken transport.
    pub(super) fn reason(&self, error: &KafkaError) -> String {
        match &*lock(&self.last_error) {
            Some(reason) => format!("{error} ({reason})"),
            None => error.to_string(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Warning};
        match level {
            Emerg | Alert | Critical | Error | Warning => tracing::warn!(facility, message, "librdkafka"),
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(group) = &statistics.cgrp {
            self.reaches_group.store(group.state == "up", Ordering::Relaxed);
        }
        let mut highs = lock(&self.highs);
        for (name, topic) in statistics.topics {
            for (index, partition) in topic.partitions {
                if index >= 0 && partition.hi_offset >= 0 {
                    // That of a partition which is not fetched any more is old.
                    let high = highs.entry((name.clone(), index)).or_insert(partition.hi_offset);
                    *high = partition.hi_offset.max(*high);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // The end of a partition comes this way too, and to the reader by the partition's queue.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            // That none is left is told again and again, and not why.
            Some(RDKafkaErrorCode::AllBrokersDown) => tracing::debug!(reason, "Kafka"),
            _ => {
                tracing::warn!(%error, reason, "Kafka");
                *lock(&self.last_error) = Some(reason.to_owned());
            }
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalanced<'_>) {
        match rebalance {
            Rebalanced::Revoke(list) => lock(&self.rebalances).push(Rebalance::Revoked((*list).clone())),
            Rebalanced::Error(error) => tracing::warn!(%error, "the group could not be balanced"),
            // Without an offset librdkafka (2.12) looks one up, and takes what it finds even where it was told another
            // meanwhile; and where the lookup fails, it drops that and starts the partition never. From the end as it
            // was last heard nothing is fetched, or nearly so, before it is paused.
            Rebalanced::Assign(list) => {
                if let Err(error) = self.begin_at_ends(list) {
                    tracing::warn!(%error, "cannot say where an assigned partition begins; it is started at its offset all the same");
                }
            }
        }
    }

    /// Nothing is fetched before it is known from where.
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalanced<'_>) {
        if let Rebalanced::Assign(list) = rebalance {
            if let Err(error) = consumer.pause(list) {
                tracing::warn!(%error, "cannot pause what was assigned; it is started at its offset all the same");
            }
            lock(&self.rebalances).push(Rebalance::Assigned((*list).clone()));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            self.has_failed_to_commit.store(true, Ordering::Relaxed);
            tracing::warn!(%error, "an offset was not committed; trying again");
        }
    }
}
