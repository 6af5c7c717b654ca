//! When a worker that is to end once it has caught up may do so: when others have, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::lane::Lane;
use super::{Out, Reader};
use crate::core::shard::{Partition, Topic};
use crate::pipeline::applier::ToApplier;
use crate::pipeline::locate::Reached;
use crate::raw::writer::ToWriter;
use crate::source::{Due, Source, SourceError};

/// How often a worker that has caught up looks whether the others have.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of partitions that other workers have.
#[derive(Default)]
pub(super) struct Elsewhere {
    pub(super) checked: Option<Instant>,
    /// How far all shards are.
    pub(super) applied: BTreeMap<Partition, Reached>,
}

impl<S: Source> Reader<S> {
    /// Whether all is processed that there was, by this worker or by others. Partitions of a worker that has
    /// died come here once the group has noticed.
    pub(super) fn is_caught_up(&mut self) -> Result<bool, SourceError> {
        let own = self.out.is_empty() && self.lanes.values().all(Lane::is_caught_up);
        if !own {
            self.elsewhere.checked = None;
            return Ok(false);
        }
        let mut others: Vec<Partition> = self.source.known().partitions().collect();
        others.retain(|partition| !self.lanes.contains_key(partition));
        if others.is_empty() {
            return Ok(true);
        }
        if self.elsewhere.checked.is_some_and(|checked| checked.elapsed() < CHECK_INTERVAL) {
            return Ok(false);
        }
        self.elsewhere.checked = Some(Instant::now());
        let up_to: Option<BTreeMap<Partition, Due>> =
            others.into_iter().map(|one| self.reached(one)).collect();
        if let Some(up_to) = up_to
            && (!self.settings.raw || self.source.is_published(&up_to)?)
        {
            return Ok(true);
        }
        // Others wait for us just so: what is read is published now, not when its time comes.
        self.cut_batch();
        self.cut_chunks(|_| true);
        self.out.push_back(Out::Writer(ToWriter::Drain(oneshot::channel().0)));
        let logs = self.settings.raw.then(|| Topic::ALL.map(|topic| self.source.topic(topic).to_owned()));
        self.out.push_back(Out::Applier(ToApplier::AskApplied { logs }));
        Ok(false)
    }

    /// The partition, with what has to be published of it, if all of it that has to be is applied.
    fn reached(&self, partition: Partition) -> Option<(Partition, Due)> {
        let reached = self.elsewhere.applied.get(&partition)?;
        let target = self.source.target(partition);
        let due = Due { offset: reached.offset.min(target), newest: reached.newest };
        (reached.at_end || reached.offset >= target).then_some((partition, due))
    }
}
