//! One partition, as it is read.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use rdkafka::error::KafkaError;

use super::gaps::Gaps;
use super::queue::Queue;
use super::{BURST_BYTES, Done, Read, Record};

pub(super) struct Lane {
    queue: Queue,
    /// `None`: it was not said yet where it begins.
    next: Option<i64>,
    at_end: bool,
    /// What was committed last, since it came to this worker.
    pub(super) committed: Option<(i64, Done)>,
    pub(super) gaps: Gaps,
}

/// A record came that is before the `next` one.
#[derive(Debug)]
pub(super) struct WentBack {
    pub(super) next: i64,
    pub(super) to: i64,
}

impl Lane {
    pub(super) fn new(queue: Queue) -> Self {
        Lane { queue, next: None, at_end: false, committed: None, gaps: Gaps::default() }
    }

    /// Offset of the record that is read next, once it is read.
    pub(super) fn next(&self) -> Option<i64> {
        self.next
    }

    /// It goes on at another offset.
    pub(super) fn start(&mut self, offset: i64) {
        self.next = Some(offset);
        self.at_end = false;
    }

    /// Hands up to `max` records to `take`, fewer where they are large. With what it found comes an error of this
    /// partition, where there was one; librdkafka tries again by itself.
    ///
    /// # Errors
    /// Where the next record is one that was read before.
    pub(super) fn read(
        &mut self,
        max: usize,
        mut take: impl FnMut(Record<'_>),
    ) -> Result<(Read, Option<KafkaError>), WentBack> {
        let Lane { queue, next: Some(next), at_end, gaps, .. } = self else {
            return Ok((Read::Nothing, None));
        };
        let (mut records, mut bytes, mut failed, mut went_back) = (0, 0, None, None);
        queue.take(|message| {
            match message {
                Ok(message) => {
                    let offset = message.offset();
                    match offset.cmp(next) {
                        Ordering::Equal => {}
                        Ordering::Greater => gaps.note(*next..offset),
                        Ordering::Less => {
                            went_back = Some(WentBack { next: *next, to: offset });
                            return ControlFlow::Break(());
                        }
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
        // What was read before it comes first; the record after it tells again.
        if let Some(went_back) = went_back.filter(|_| records == 0) {
            return Err(went_back);
        }
        let read = match (records, self.at_end) {
            (0, true) => Read::End,
            (0, false) => Read::Nothing,
            (records, _) => Read::Records(records),
        };
        Ok((read, failed))
    }
}
