//! A partition's queue in librdkafka.
//!
//! rdkafka takes one record a call, and at each call librdkafka reads the clock three times: an eighth of what `stream`
//! costs. `rd_kafka_consume_callback_queue` gives all that is there at one call, and rdkafka has no safe name for it.
//! (`rd_kafka_consume_batch_queue` does too, but takes the end of a partition for a record: where the broker then comes
//! back from a restart, librdkafka 2.12 goes on one record too far.)

#![expect(unsafe_code, reason = "rdkafka does not wrap rd_kafka_consume_callback_queue")]

use std::ffi::{CString, c_void};
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use rdkafka::bindings::{self as librdkafka, rd_kafka_timestamp_type_t as TimestampKind};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::{RDKafka, RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};

use super::context::Context;

/// The records of one partition that were fetched and are not read yet.
pub(super) struct Queue {
    queue: NonNull<RDKafkaQueue>,
    /// Whose queue it is: it lives longer.
    consumer: Arc<BaseConsumer<Context>>,
}

// SAFETY: librdkafka's queues belong to no thread.
unsafe impl Send for Queue {}

/// A call of librdkafka, and what it is to do with each record.
struct Call<F> {
    take: F,
    client: *mut RDKafka,
}

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
        Some(Queue { queue, consumer: consumer.clone() })
    }

    /// Hands what was fetched to `take`, one record after the other, until there is none or `take` breaks off. The rest
    /// stays.
    pub(super) fn take<F>(&mut self, take: F)
    where
        F: FnMut(Result<Message<'_>, KafkaError>) -> ControlFlow<()>,
    {
        let mut call = Call { take, client: self.consumer.client().native_ptr() };
        // SAFETY: the queue lives, `each` is of the type of `call`, and both are used within this call only. To wait 0
        // milliseconds is not to wait.
        unsafe {
            librdkafka::rd_kafka_consume_callback_queue(
                self.queue.as_ptr(),
                0,
                Some(each::<F>),
                (&raw mut call).cast(),
            );
        }
    }
}

unsafe extern "C" fn each<F>(message: *mut RDKafkaMessage, call: *mut c_void)
where
    F: FnMut(Result<Message<'_>, KafkaError>) -> ControlFlow<()>,
{
    // SAFETY: `Queue::take` has given its `call`, and is not to touch it before librdkafka returns; librdkafka gives a
    // message that lives, and that nobody changes, until this function returns.
    let (call, message) = unsafe { (&mut *call.cast::<Call<F>>(), &*message) };
    if (call.take)(Message(message).checked()).is_break() {
        // SAFETY: the client lives, and this is a callback of its, in its caller's thread.
        unsafe { librdkafka::rd_kafka_yield(call.client) };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it is used no more, and its client still lives.
        unsafe { librdkafka::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record of librdkafka's.
pub(super) struct Message<'a>(&'a RDKafkaMessage);

impl<'a> Message<'a> {
    /// The record, or the error that it stands for.
    fn checked(self) -> Result<Self, KafkaError> {
        match self.0.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Err(KafkaError::PartitionEOF(self.0.partition))
            }
            error if error.is_error() => Err(KafkaError::MessageConsumption(error.into())),
            _ => Ok(self),
        }
    }

    pub(super) fn offset(&self) -> i64 {
        self.0.offset
    }

    /// In milliseconds since the epoch; `None` where the topic keeps none.
    pub(super) fn timestamp(&self) -> Option<i64> {
        let mut kind = TimestampKind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and so does what its kind is written to.
        let millis = unsafe { librdkafka::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        (millis != -1 && kind != TimestampKind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(millis)
    }

    pub(super) fn value(&self) -> Option<&'a [u8]> {
        let bytes = NonNull::new(self.0.payload)?;
        // SAFETY: the value is these bytes, which live as long as the message.
        Some(unsafe { slice::from_raw_parts(bytes.as_ptr().cast(), self.0.len) })
    }
}
