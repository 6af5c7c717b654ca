//! State in this process: the fold itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Frozen, Reply, Results, View};
use crate::core::delta::Delta;
use crate::core::fold::{Shard, Sums, add};
use crate::core::time::EventTime;
use crate::core::window::Rules;

/// Shards in memory.
#[derive(Clone)]
pub struct MemoryState {
    rules: Rules,
    shards: Arc<[Mutex<Shard>]>,
}

impl MemoryState {
    /// An empty state.
    pub fn new(rules: Rules, shards: u16) -> Self {
        MemoryState { rules, shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    /// Closes every window: the input has ended.
    pub fn finish(&self) {
        for index in 0..self.shards() {
            self.shard(index).finish(&self.rules);
        }
    }

    /// The starts of the windows that hold a trip and are not forgotten, open or closed.
    pub fn windows(&self) -> BTreeSet<EventTime> {
        (0..self.shards()).flat_map(|index| self.shard(index).windows(&self.rules)).collect()
    }

    /// Whether the window that starts at `start` has closed on every shard, and its sums.
    pub fn window(&self, start: EventTime) -> (bool, Sums) {
        let (mut closed, mut sums) = (true, Sums::new());
        for index in 0..self.shards() {
            let (closed_here, part) = self.shard(index).window(&self.rules, start);
            closed &= closed_here;
            add(&mut sums, &part);
        }
        (closed, sums)
    }

    pub(super) fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    pub(super) fn apply(&self, shard: u16, delta: &Delta) -> Reply {
        let mut shard = self.shard(shard);
        match shard.apply(&self.rules, delta) {
            Ok(()) => Reply::Applied(shard.watermark()),
            Err(refused) => Reply::Refused(refused),
        }
    }

    pub(super) fn view(&self, shard: u16) -> View {
        let shard = self.shard(shard);
        View {
            progress: shard.progress().clone(),
            known: shard.known(),
            watermark: shard.watermark(),
            books: *shard.books(),
            waiting: shard.waiting() as u64,
        }
    }

    pub(super) fn closed(&self, shard: u16) -> Vec<EventTime> {
        self.shard(shard).frozen().keys().copied().collect()
    }

    pub(super) fn results(&self, shard: u16) -> Results {
        let shard = self.shard(shard);
        Results {
            watermark: shard.watermark(),
            panes: shard.panes().clone(),
            closed: shard.frozen().keys().copied().collect(),
        }
    }

    pub(super) fn frozen(&self, shard: u16, start: EventTime) -> Frozen {
        let shard = self.shard(shard);
        Frozen { watermark: shard.watermark(), sums: shard.frozen().get(&start).cloned().unwrap_or_default() }
    }

    pub(super) fn forget(&self, shard: u16, starts: &[EventTime]) {
        let mut shard = self.shard(shard);
        starts.iter().for_each(|start| shard.forget(*start));
    }

    /// A delta is checked before it changes anything, so a panic elsewhere leaves no half of one.
    fn shard(&self, index: u16) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(index)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
