//! A worker: cursors of the partitions that it thinks are its, and deltas that are on their way to the shards.

use std::collections::{BTreeMap, VecDeque};

use tips_worker::core::batch::{Batcher, Cursor};
use tips_worker::core::delta::Delta;
use tips_worker::core::fold::{Refused, Shard};
use tips_worker::core::join::Joiner;
use tips_worker::core::shard::{Partition, PartitionCounts};

use crate::place::{JOB, RULES};
use crate::stream::{Log, Record};

pub(crate) struct Worker {
    batcher: Batcher,
    joiner: Joiner,
    cursors: BTreeMap<Partition, Cursor>,
    /// By shard, in the order in which they were cut.
    queues: Vec<VecDeque<Delta>>,
}

impl Worker {
    pub(crate) fn new(shards: u16) -> Self {
        Worker {
            batcher: Batcher::new(JOB.clone(), shards),
            joiner: Joiner::default(),
            cursors: BTreeMap::new(),
            queues: vec![VecDeque::new(); usize::from(shards)],
        }
    }

    /// Begins to read `log` where the shards are. What it held of the partition goes its way first.
    pub(crate) fn take(&mut self, log: &Log, shards: &[Shard], known: PartitionCounts) {
        self.cut(known);
        self.cursors.insert(log.partition, cursor(log, shards));
    }

    pub(crate) fn read(&mut self, log: &Log, records: usize) {
        let Some(cursor) = self.cursors.get_mut(&log.partition) else { return };
        let position = cursor.position();
        let unread = log.records.iter().skip_while(|(offset, _)| *offset < position);
        for (offset, record) in unread.take(records) {
            match record {
                Record::Ride(ride) => self.batcher.ride(cursor, *offset, ride),
                Record::Fare(fare) => self.batcher.fare(cursor, *offset, fare),
                Record::Invalid(_) => self.batcher.invalid(cursor, *offset),
            }
        }
    }

    /// Says that `log` is idle where it has been read to its end, or, if it may still grow, wherever it has been
    /// read to.
    pub(crate) fn idle(&mut self, log: &Log, may_grow: bool) {
        if let Some(cursor) = self.cursors.get_mut(&log.partition)
            && (may_grow || cursor.position() == log.end)
        {
            cursor.set_idle();
        }
    }

    pub(crate) fn cut(&mut self, known: PartitionCounts) {
        let batch = self.batcher.cut(self.cursors.values_mut(), known);
        for (shard, delta) in batch.deltas(&RULES, &mut self.joiner) {
            self.queues[usize::from(shard)].push_back(delta);
        }
    }

    /// The next delta for a shard.
    pub(crate) fn next(&mut self, shard: usize) -> Option<Delta> {
        self.queues[shard].pop_front()
    }

    /// A shard stands elsewhere: all is void, and reading begins again where the shards are.
    pub(crate) fn rewind(&mut self, logs: &[Log], shards: &[Shard]) {
        self.batcher = Batcher::new(JOB.clone(), shards.len() as u16);
        self.queues.iter_mut().for_each(VecDeque::clear);
        for log in logs.iter().filter(|log| self.cursors.contains_key(&log.partition)).collect::<Vec<_>>() {
            self.cursors.insert(log.partition, cursor(log, shards));
        }
    }
}

fn cursor(log: &Log, shards: &[Shard]) -> Cursor {
    let stands = |shard: &Shard| shard.progress().get(&log.partition).map(|progress| progress.offset);
    Cursor::new(log.partition, shards.iter().map(stands).collect(), log.begin)
}

/// Whether the shard that refused is where the delta was to take it.
pub(crate) fn is_reached(delta: &Delta, refused: &Refused) -> bool {
    delta.moves.iter().zip(&refused.offsets).all(|(m, (_, offset))| *offset == Some(m.to))
}
