//! One partition, as it is read.

use std::ops::ControlFlow;

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
        let Lane { queue, next, at_end, gaps, .. } = self;
        let (mut records, mut bytes, mut failed) = (0, 0, None);
        queue.take(|message| {
            match message {
                Ok(message) => {
                    let offset = message.offset();
                    if offset > *next {
                        gaps.note(*next..offset);
                    }
                    let value = message.value();
                    bytes += value.map_or(0, <[u8]>::len);
                    take(Record { offset, timestamp: message.timestamp(), value });
                    *next = offset + 1;
                    *at_end = false;
                    records += 1;
                }
                Err(KafkaError::PartitionEOF(_)) => {
                    *at_end = true;
                    return ControlFlow::Break(());
                }
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if records < max && bytes < BURST_BYTES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let read = match (records, self.at_end) {
            (0, true) => Read::End,
            (0, false) => Read::Nothing,
            (records, _) => Read::Records(records),
        };
        (read, failed)
    }
}
