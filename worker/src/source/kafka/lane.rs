//! One partition, as it is read.

use rdkafka::error::KafkaError;

use super::gaps::Gaps;
use super::queue::Queue;
use super::{BURST_BYTES, Done, Read, Record};

pub(super) struct Lane {
    queue: Queue,
    next: i64,
    at_end: bool,
    /// What was committed last, since it came to this worker.
    pub(super) committed: Option<(i64, Done)>,
    pub(super) gaps: Gaps,
}

impl Lane {
    pub(super) fn new(queue: Queue) -> Self {
        Lane { queue, next: 0, at_end: false, committed: None, gaps: Gaps::default() }
    }

    /// Offset of the record that is read next.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// It goes on at another offset.
    pub(super) fn start(&mut self, offset: i64) {
        self.queue.clear();
        self.next = offset;
        self.at_end = false;
    }

    /// Hands up to `max` records to `take`, fewer where they are large. With what it found comes an error of this
    /// partition, where there was one; librdkafka tries again by itself.
    pub(super) fn read(
        &mut self,
        max: usize,
        mut take: impl FnMut(Record<'_>),
    ) -> (Read, Option<KafkaError>) {
        let (mut records, mut bytes, mut failed) = (0, 0, None);
        while records < max && bytes < BURST_BYTES {
            match self.queue.next() {
                Some(Ok(message)) => {
                    let offset = message.offset();
                    if offset > self.next {
                        self.gaps.note(self.next..offset);
                    }
                    let value = message.value();
                    bytes += value.map_or(0, <[u8]>::len);
                    take(Record { offset, timestamp: message.timestamp(), value });
                    self.next = offset + 1;
                    self.at_end = false;
                    records += 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    break;
                }
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        let read = match (records, self.at_end) {
            (0, true) => Read::End,
            (0, false) => Read::Nothing,
            (records, _) => Read::Records(records),
        };
        (read, failed)
    }
}
