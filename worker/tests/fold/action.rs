//! What can happen, and in what order: anything.

use proptest::collection::vec;
use proptest::prelude::*;

/// Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A worker reads some records of a partition that it thinks is its.
    Read { worker: u8, partition: u8, records: u8 },
    /// A worker has stood at the end of a partition for the idle timeout.
    Idle { worker: u8, partition: u8 },
    /// A worker cuts its batch.
    Cut { worker: u8 },
    /// The next delta of a worker for a shard reaches it.
    Apply { worker: u8, shard: u8 },
    /// It reaches it, and the answer is lost, so that it is sent again.
    ApplyTwice { worker: u8, shard: u8 },
    /// A worker is given a partition. Whoever had it before may not know.
    Take { worker: u8, partition: u8 },
    /// A worker dies with all that it holds, and comes back with nothing.
    Die { worker: u8 },
    /// A shard's state reaches its disk.
    Save { shard: u8 },
    /// A shard loses what has not reached its disk.
    Lose { shard: u8 },
}

pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let n = any::<u8>;
    let action = prop_oneof![
        10 => (n(), n(), 1..20_u8)
            .prop_map(|(worker, partition, records)| Action::Read { worker, partition, records }),
        2 => (n(), n()).prop_map(|(worker, partition)| Action::Idle { worker, partition }),
        5 => n().prop_map(|worker| Action::Cut { worker }),
        12 => (n(), n()).prop_map(|(worker, shard)| Action::Apply { worker, shard }),
        1 => (n(), n()).prop_map(|(worker, shard)| Action::ApplyTwice { worker, shard }),
        1 => (n(), n()).prop_map(|(worker, partition)| Action::Take { worker, partition }),
        1 => n().prop_map(|worker| Action::Die { worker }),
        1 => n().prop_map(|shard| Action::Save { shard }),
        1 => n().prop_map(|shard| Action::Lose { shard }),
    ];
    vec(action, 0..150)
}
