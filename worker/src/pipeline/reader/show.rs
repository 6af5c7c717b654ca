//! What the reader tells of how it is doing: metrics of its partitions, and the board.

use super::Reader;
use super::lane::Lane;
use crate::core::shard::Partition;
use crate::http::LaneStatus;
use crate::source::Source;

impl<S: Source> Reader<S> {
    pub(super) fn observe_lag(&self) {
        self.show();
        let watermark = self.links.watermark.get();
        for (partition, lane) in &self.lanes {
            let labels = [partition.topic.name(), &partition.index.to_string()];
            if let (Some(position), Some(high)) = (lane.position(), self.source.high(*partition)) {
                self.links.metrics.lag_records.with_label_values(&labels).set((high - position).max(0));
            }
            if let (Some(time), Some(watermark)) = (lane.event_time(), watermark) {
                let ahead = time.since(watermark).seconds();
                self.links.metrics.lag_seconds.with_label_values(&labels).set(ahead);
            }
        }
    }

    fn show(&self) {
        let Some(board) = &self.links.board else { return };
        let show = |(partition, lane): (&Partition, &Lane)| {
            let idle = lane.cursor.as_ref().is_some_and(|cursor| cursor.is_idle());
            LaneStatus::new(
                *partition,
                lane.position(),
                self.source.high(*partition),
                lane.event_time(),
                idle,
            )
        };
        board.show(self.lanes.iter().map(show).collect());
    }
}
