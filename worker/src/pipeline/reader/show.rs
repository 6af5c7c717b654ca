//! What the reader tells of how it is doing: metrics of its partitions, and the board.

use std::time::{Duration, Instant};

use super::Reader;
use super::lane::Lane;
use crate::clock::unix_millis;
use crate::core::shard::Partition;
use crate::core::time::EventTime;
use crate::http::LaneStatus;
use crate::metrics::Lag;
use crate::source::Source;

/// Whether or not anything is read: a partition that stands still falls behind.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

impl<S: Source> Reader<S> {
    pub(super) fn show_now_and_then(&mut self) {
        if self.shown.is_some_and(|shown| shown.elapsed() < SHOW_INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let now = EventTime::from_seconds(unix_millis() / 1000);
        for (partition, lane) in &self.lanes {
            self.links.metrics.set_lag(*partition, self.lag(*partition, lane, now));
        }
        if let Some(board) = &self.links.board {
            let lanes = self.lanes.iter().map(|(partition, lane)| self.status(*partition, lane));
            board.show(lanes.collect(), self.source.known());
            if self.source.reaches_group() {
                board.reaches_group();
            }
        }
    }

    fn lag(&self, partition: Partition, lane: &Lane, now: EventTime) -> Lag {
        let records =
            self.source.high(partition).zip(lane.position()).map(|(high, position)| (high - position).max(0));
        let behind = |time: EventTime| now.since(time).seconds().max(0);
        let seconds = match records {
            Some(0) => Some(0),
            _ => lane.event_time().map(behind),
        };
        let watermark = self.links.watermark.get();
        let ahead = lane.event_time().zip(watermark).map(|(time, watermark)| time.since(watermark).seconds());
        Lag { records, seconds, ahead_seconds: ahead }
    }

    fn status(&self, partition: Partition, lane: &Lane) -> LaneStatus {
        let idle = lane.cursor.as_ref().is_some_and(|cursor| cursor.is_idle());
        LaneStatus::new(partition, lane.position(), self.source.high(partition), lane.event_time(), idle)
    }
}
