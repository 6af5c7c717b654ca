//! Where this worker has left the shards, to be compared with where they are.

use std::collections::HashMap;

use crate::core::delta::Delta;
use crate::core::shard::Partition;
use crate::state::View;

/// The last move of each partition in each shard.
#[derive(Default)]
pub(super) struct Left(HashMap<(u16, Partition), Stood>);

struct Stood {
    offset: i64,
    idle: bool,
}

impl Left {
    /// Remembers deltas that were applied.
    pub(super) fn note(&mut self, deltas: &[(u16, Delta)]) {
        for (shard, delta) in deltas {
            for step in &delta.moves {
                self.0.insert((*shard, step.partition), Stood { offset: step.to, idle: step.idle });
            }
        }
    }

    /// Partitions that have gone to other workers: from now on these know where they stand, and meet what is not there
    /// with their next batch. What they say of them, that one is not idle any more too, is no loss.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        self.0.retain(|(_, partition), _| !partitions.contains(partition));
    }

    /// Whether no shard is behind. One that is further was taken there by the partition's next owner.
    pub(super) fn is_there(&self, views: &[View]) -> bool {
        self.0.iter().all(|((shard, partition), stood)| {
            let view = views.get(usize::from(*shard)).and_then(|view| view.progress.get(partition));
            view.is_some_and(|progress| {
                progress.offset > stood.offset
                    || progress.offset == stood.offset && (progress.idle || !stood.idle)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::delta::Move;
    use crate::core::shard::Topic;
    use crate::core::watermark::Progress;

    const PARTITION: Partition = Partition { topic: Topic::Rides, index: 3 };

    fn left(to: i64, idle: bool) -> Left {
        let step = Move { partition: PARTITION, from: None, to, max_event_time: None, idle };
        let mut left = Left::default();
        left.note(&[(1, Delta { moves: vec![step], ..Delta::default() })]);
        left
    }

    fn at(offset: i64, idle: bool) -> [View; 2] {
        let progress = Progress { offset, max_event_time: None, idle };
        [View::default(), View { progress: BTreeMap::from([(PARTITION, progress)]), ..View::default() }]
    }

    #[test]
    fn a_shard_that_has_lost_its_last_writes_is_not_where_it_was_left() {
        assert!(left(10, false).is_there(&at(10, false)));
        assert!(!left(10, false).is_there(&at(9, false)));
        assert!(!left(10, false).is_there(&[View::default(), View::default()]));
    }

    #[test]
    fn that_a_partition_is_idle_is_lost_too() {
        assert!(!left(10, true).is_there(&at(10, false)));
        assert!(left(10, true).is_there(&at(10, true)));
    }

    #[test]
    fn the_next_owner_may_be_further() {
        assert!(left(10, true).is_there(&at(12, false)));
    }

    #[test]
    fn what_became_of_a_partition_is_its_next_owner_s_to_see() {
        let mut left = left(10, true);
        left.forget(&[PARTITION]);
        assert!(left.is_there(&at(10, false)));
    }
}
