//! Rebalance: what becomes of a partition's lane when the partition comes, goes, or has to be read again.
//!
//! A partition that comes is located first: the shards say what they have applied of it, the range log up to where
//! it has raw files, and it is sought to the lesser. One that goes is handed over by what was published and applied;
//! the rest of it is dropped here, and read again by its next owner.

use std::time::Instant;

use super::lane::Lane;
use super::{Out, Reader};
use crate::core::batch::Batcher;
use crate::core::shard::Partition;
use crate::pipeline::applier::ToApplier;
use crate::pipeline::locate::{Located, Question};
use crate::raw::lane::Origin;
use crate::raw::writer::ToWriter;
use crate::source::{Assigned, Source, SourceError};

impl<S: Source> Reader<S> {
    pub(super) fn assigned(&mut self, assigned: Vec<Assigned>) {
        tracing::debug!(?assigned, "assigned");
        self.links.metrics.rebalances.inc();
        // Rows and offsets of a lane that is replaced belong in one batch.
        self.cut_batch();
        let partitions: Vec<Partition> = assigned.iter().map(|one| one.partition).collect();
        for one in assigned {
            self.incarnations += 1;
            self.lanes.insert(one.partition, Lane::new(one, self.incarnations));
        }
        self.ask(&partitions);
        self.tell_assignment();
    }

    pub(super) fn revoked(&mut self, partitions: &[Partition]) {
        tracing::debug!(?partitions, "revoked");
        self.links.metrics.rebalances.inc();
        self.cut_batch();
        for partition in partitions {
            self.lanes.remove(partition);
            self.links.metrics.forget_lag(*partition);
            self.out.push_back(Out::Writer(ToWriter::Close(*partition)));
        }
        self.out.push_back(Out::Applier(ToApplier::Forget(partitions.to_vec())));
        self.tell_assignment();
    }

    fn tell_assignment(&self) {
        self.links.metrics.assigned_partitions.set(self.lanes.len() as i64);
        let first = self.source.known().partitions().next();
        self.links.owns_first.send_replace(first.is_some_and(|first| self.lanes.contains_key(&first)));
    }

    /// The state is not where it was: everything read of this generation is void, raw rows are not.
    pub(super) fn rewind(&mut self, generation: u64) {
        if generation != self.generation {
            return;
        }
        self.generation += 1;
        self.returns += 1;
        self.batcher = Batcher::new(self.job.clone(), self.shards);
        self.batch_since = None;
        self.oldest.clear();
        self.out.retain(|out| !matches!(out, Out::Applier(ToApplier::Batch { .. })));
        let partitions: Vec<Partition> = self.lanes.keys().copied().collect();
        self.lanes.values_mut().for_each(Lane::lose_state);
        self.ask(&partitions);
    }

    pub(super) fn restart(&mut self, partition: Partition, incarnation: u64) {
        self.cut_batch();
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.incarnation == incarnation) else {
            return;
        };
        self.incarnations += 1;
        self.returns += 1;
        *lane = Lane::new(lane.assigned, self.incarnations);
        // What was committed when the partition came is of the past; the log knows better.
        lane.assigned.committed = None;
        self.ask(&[partition]);
    }

    fn ask(&mut self, partitions: &[Partition]) {
        let mut questions = Vec::new();
        for partition in partitions {
            let Some(lane) = self.lanes.get_mut(partition) else { continue };
            self.tickets += 1;
            lane.ticket = self.tickets;
            questions.push(Question {
                assigned: lane.assigned,
                ticket: lane.ticket,
                topic: self.source.topic(lane.assigned.partition.topic).to_owned(),
                raw: self.settings.raw && lane.chunk.is_none(),
            });
        }
        self.out.push_back(Out::Applier(ToApplier::Locate(questions)));
    }

    /// Kafka has deleted so many offsets that no worker has read.
    pub(super) fn lost(&self, partition: Partition, offsets: i64) {
        tracing::error!(%partition, offsets, "Kafka has deleted records that were not read; raise the topic's retention");
        self.links.metrics.lost_records.with_label_values(&[partition.topic.name()]).inc_by(offsets as u64);
    }

    /// Begins to read what was asked for. One partition's records move the watermark past another that counts as idle: of
    /// all that have more the shards hear before they hear of any record (I2).
    pub(super) fn located(&mut self, all: Vec<Located>) -> Result<(), SourceError> {
        for located in all {
            if self.begin(located)? {
                self.batch_since.get_or_insert_with(Instant::now);
            }
        }
        self.cut_batch();
        Ok(())
    }

    /// Whether it is no longer idle.
    fn begin(&mut self, located: Located) -> Result<bool, SourceError> {
        let partition = located.assigned.partition;
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.waits_for(&located)) else {
            return Ok(false);
        };
        if let Some(raw) = located.raw {
            let origin = Origin {
                partition,
                topic: self.source.topic(partition.topic).to_owned(),
                fingerprint: self.settings.fingerprint.clone(),
            };
            let (incarnation, start, end) = (lane.incarnation, raw.start, raw.end);
            self.out.push_back(Out::Writer(ToWriter::Open { origin, incarnation, start, end }));
        }
        let begun = lane.begin(located, self.source.high(partition));
        tracing::debug!(%partition, ?begun, "located");
        let low = lane.assigned.low;
        if let Some(unread) = begun.unread.filter(|unread| *unread < low) {
            self.lost(partition, low - unread);
        } else if begun.position < low {
            tracing::warn!(%partition, from = begun.position, to = low, "Kafka does not hold these records any more: the state is built anew without them");
        }
        self.source.start(partition, begun.position.max(low), begun.reached)?;
        Ok(begun.roused)
    }
}
