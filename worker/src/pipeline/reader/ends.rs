//! When the source is asked where partitions end: not while a broker has just not answered, and not for so long that
//! whatever else there is to do has to wait.

use std::time::{Duration, Instant};

use crate::core::shard::Partition;
use crate::source::{Source, SourceError};

/// How often it is asked where partitions end, whether or not they are read.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a broker that could not tell the end of a partition is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// How long one partition after the other is asked for before what else there is to do gets its turn.
const BUDGET: Duration = Duration::from_secs(1);

/// When it was asked, and may be again.
pub(super) struct Ends {
    not_before: Instant,
    heard: Instant,
}

impl Ends {
    pub(super) fn new() -> Self {
        Ends { not_before: Instant::now(), heard: Instant::now() }
    }

    /// Whether `partition` has no record that was not read. `None`: that is not told, or there is no time left to ask,
    /// as others have been asked for since `begun`; to ask for more would hold up the rest.
    pub(super) fn is_at_end(
        &mut self,
        source: &mut impl Source,
        partition: Partition,
        begun: Instant,
    ) -> Result<Option<bool>, SourceError> {
        if begun < self.not_before || begun.elapsed() > BUDGET {
            return Ok(None);
        }
        let is_at_end = source.is_at_end(partition)?;
        if is_at_end.is_none() {
            self.pause();
        }
        Ok(is_at_end)
    }

    /// Has the source hear where all partitions end, if it was not asked just now: what is not read, since it is too far
    /// ahead or a queue is full, falls behind all the same.
    pub(super) fn hear(&mut self, source: &mut impl Source) {
        let now = Instant::now();
        if now < self.not_before || now - self.heard < INTERVAL {
            return;
        }
        self.heard = now;
        if !source.hear_ends() {
            self.pause();
        }
    }

    fn pause(&mut self) {
        self.not_before = Instant::now() + PAUSE;
    }
}
