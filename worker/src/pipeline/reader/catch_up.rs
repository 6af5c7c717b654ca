//! When a worker that is to end once it has caught up may do so: when others have, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

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
        let own = self.out.is_empty() && self.own_are_caught_up()?;
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
        if self.are_done(&others)? {
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

    /// Of a partition that stands at its end, before the offset up to which it was to be read, the source has to say so:
    /// the rest is no record then.
    fn own_are_caught_up(&mut self) -> Result<bool, SourceError> {
        let begun = Instant::now();
        for (partition, lane) in &mut self.lanes {
            if !lane.is_caught_up() && lane.is_at_end() {
                match self.ends.is_at_end(&mut self.source, *partition, begun)? {
                    Some(true) => lane.prove_end(),
                    Some(false) => lane.look_again(),
                    None => return Ok(false),
                }
            }
            if !lane.is_caught_up() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn are_done(&mut self, others: &[Partition]) -> Result<bool, SourceError> {
        let mut up_to = BTreeMap::new();
        for partition in others {
            let Some(due) = self.reached(*partition)? else { return Ok(false) };
            up_to.insert(*partition, due);
        }
        if !self.settings.raw {
            return Ok(true);
        }
        // The brokers may be away for a moment.
        Ok(self.source.is_published(&up_to).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot tell whether other workers have caught up; asking again");
            false
        }))
    }

    /// What has to be published of the partition, if all of it that has to be is applied.
    fn reached(&self, partition: Partition) -> Result<Option<Due>, SourceError> {
        let Some(reached) = self.elsewhere.applied.get(&partition) else { return Ok(None) };
        let target = self.source.target(partition);
        let due = Due { offset: reached.offset.min(target), newest: reached.newest, origin: reached.origin };
        // The end at which its owner once stood may be an old one: more may have come since the owner went.
        let is_reached = reached.offset >= target
            || (reached.at_end && self.source.has_none_between(partition, reached.offset, target)?);
        Ok(is_reached.then_some(due))
    }
}
