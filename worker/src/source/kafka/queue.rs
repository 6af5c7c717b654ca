//! A partition's queue in librdkafka, emptied by the batch.
//!
//! rdkafka takes one record a call, and at each call librdkafka reads the clock three times: an eighth of what `stream`
//! costs. `rd_kafka_consume_batch_queue` gives many at a time, and rdkafka has no safe name for it.

#![expect(unsafe_code, reason = "rdkafka does not wrap rd_kafka_consume_batch_queue")]

use std::collections::VecDeque;
use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use rdkafka::bindings::{self as librdkafka, rd_kafka_timestamp_type_t as TimestampKind};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::{RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};

use super::context::Context;

/// Records taken at a time: the cost of a call is a hundredth of theirs. They may be large, so not many more.
const BATCH: usize = 128;

/// The records of one partition that were fetched and are not read yet.
pub(super) struct Queue {
    queue: NonNull<RDKafkaQueue>,
    taken: VecDeque<Message>,
    /// Whose queue it is: it lives longer.
    _consumer: Arc<BaseConsumer<Context>>,
}

// SAFETY: librdkafka's queues and messages belong to no thread.
unsafe impl Send for Queue {}

impl Queue {
    /// The queue of a partition, which from now on alone gives its records. `None` where librdkafka knows no such
    /// partition.
    pub(super) fn of(consumer: &Arc<BaseConsumer<Context>>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives, since `consumer` does; `topic` ends with a zero and is copied.
        let queue = unsafe { librdkafka::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        // SAFETY: the queue lives until it is destroyed, in `drop`; forwarded to none it keeps its records.
        unsafe { librdkafka::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut()) };
        Some(Queue { queue, taken: VecDeque::with_capacity(BATCH), _consumer: consumer.clone() })
    }

    /// The next record, or what came in its place; `None` where there is none now.
    pub(super) fn next(&mut self) -> Option<Result<Message, KafkaError>> {
        if self.taken.is_empty() {
            self.take_some();
        }
        self.taken.pop_front().map(Message::checked)
    }

    /// Forgets what was taken: the partition is read from another offset now.
    pub(super) fn clear(&mut self) {
        self.taken.clear();
    }

    fn take_some(&mut self) {
        let mut messages = [ptr::null_mut::<RDKafkaMessage>(); BATCH];
        // SAFETY: there is room for BATCH pointers. 0 milliseconds is not to wait.
        let count = unsafe {
            librdkafka::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, messages.as_mut_ptr(), BATCH)
        };
        // Negative where it failed, which it never does for a queue.
        let count = usize::try_from(count).unwrap_or(0);
        self.taken.extend(messages.into_iter().take(count).filter_map(NonNull::new).map(Message));
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.taken.clear();
        // SAFETY: it is used no more, and its client still lives.
        unsafe { librdkafka::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record of librdkafka's.
pub(super) struct Message(NonNull<RDKafkaMessage>);

impl Message {
    /// The record, or the error that it stands for.
    fn checked(self) -> Result<Self, KafkaError> {
        let message = self.native();
        match message.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Err(KafkaError::PartitionEOF(message.partition))
            }
            error if error.is_error() => Err(KafkaError::MessageConsumption(error.into())),
            _ => Ok(self),
        }
    }

    fn native(&self) -> &RDKafkaMessage {
        // SAFETY: librdkafka gave it to us, and changes it no more until it is destroyed, in `drop`.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn offset(&self) -> i64 {
        self.native().offset
    }

    /// In milliseconds since the epoch; `None` where the topic keeps none.
    pub(super) fn timestamp(&self) -> Option<i64> {
        let mut kind = TimestampKind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and so does what its kind is written to.
        let millis = unsafe { librdkafka::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        (millis != -1 && kind != TimestampKind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(millis)
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        let message = self.native();
        let bytes = NonNull::new(message.payload)?;
        // SAFETY: the value is these bytes, which live as long as the message.
        Some(unsafe { slice::from_raw_parts(bytes.as_ptr().cast(), message.len) })
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it was given to us, and nobody else has it.
        unsafe { librdkafka::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}
