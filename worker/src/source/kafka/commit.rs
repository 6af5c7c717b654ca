//! Commits that are answered.
//!
//! librdkafka tells what has become of an offset that was committed only to a queue that is named with the commit, and
//! rdkafka names none: its `commit_callback` is never called for what `Consumer::commit` commits.

#![expect(unsafe_code, reason = "rdkafka does not wrap rd_kafka_commit_queue")]

use std::ptr::{self, NonNull};

use rdkafka::TopicPartitionList;
use rdkafka::bindings as librdkafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::RDKafkaErrorCode;

use super::context::Context;

/// Commits without waiting; the answer comes to the context's `commit_callback` in a poll of the consumer.
///
/// # Errors
/// Where it cannot even be sent.
pub(super) fn commit(
    consumer: &BaseConsumer<Context>,
    offsets: &TopicPartitionList,
) -> Result<(), KafkaError> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives, since `consumer` does.
    let queue = NonNull::new(unsafe { librdkafka::rd_kafka_queue_get_consumer(client) })
        .ok_or(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownGroup))?;
    // SAFETY: the client, the offsets, which are copied, and the queue live; without a callback the answer is an event.
    let error = unsafe {
        librdkafka::rd_kafka_commit_queue(client, offsets.ptr(), queue.as_ptr(), None, ptr::null_mut())
    };
    // SAFETY: this handle is used no more; the consumer's own keeps the queue.
    unsafe { librdkafka::rd_kafka_queue_destroy(queue.as_ptr()) };
    if error.is_error() { Err(KafkaError::ConsumerCommit(error.into())) } else { Ok(()) }
}
