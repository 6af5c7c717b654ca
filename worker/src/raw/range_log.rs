//! The range log (I4): which ranges the raw files of a partition cover.
//!
//! An entry `_tips/raw/<topic>/<partition>/<start>` is created only if absent and never changed; it holds the
//! end, and a mark that no other entry has. A range is published before the next is begun, so only the newest entry
//! can be unfinished; whoever has published it says so by its mark. Beside the entries stands `origin`, as write-once
//! as they are: the offset from which the pipeline reads the partition.
//!
//! Old entries are pruned. A worker that was stopped may then find the entry of its range gone and create it
//! again, with an end of its own. So whoever has an entry looks for a newer one: there is one, since the newest is
//! never pruned, and the worker knows that it is not the owner any more. It looks each time, since the try that
//! created the entry may have ended before it had looked.

use std::num::ParseIntError;

use rand::RngExt;

use crate::core::mark::Mark;
use crate::sink::{Put, Sink, SinkError};

/// Entries that are kept, the newest among them. What is older is of no meaning: it may be a creation that came
/// too late.
pub const KEPT: usize = 8;

/// Offsets from `start` up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First offset.
    pub start: i64,
    /// The offset after the last.
    pub end: i64,
}

/// A range that is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its offsets.
    pub range: Range,
    /// Tells it from a range of the same offsets in a log that was there before.
    pub mark: Mark,
}

/// What became of the wish to begin a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is fixed as wished, by this call or by one before.
    Ours(Mark),
    /// It was begun before with another end: that one holds.
    Fixed(Range),
    /// Ranges beyond it have been begun: the partition has another owner.
    Passed,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An entry that is none.
    #[error(
        "{path} in the sink is not an entry of the range log ({error}): it was changed by hand; restore it"
    )]
    Corrupt {
        /// Where.
        path: String,
        /// What is wrong.
        error: ParseIntError,
    },
}

/// The log of one partition.
#[derive(Clone)]
pub struct RangeLog {
    sink: Sink,
    folder: String,
}

impl RangeLog {
    /// The log of a partition of a Kafka topic.
    pub fn new(sink: Sink, topic: &str, partition: i32) -> Self {
        RangeLog { sink, folder: format!("_tips/raw/{topic}/{partition}") }
    }

    /// The offset from which the pipeline reads; `proposed` where none is set yet.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn origin(&self, proposed: i64) -> Result<i64, LogError> {
        loop {
            if let Some(origin) = self.origin_if_set().await? {
                return Ok(origin);
            }
            let content = proposed.to_string().into();
            if self.sink.put_if_absent(&self.origin_path(), content).await? == Put::Created {
                return Ok(proposed);
            }
        }
    }

    /// The offset from which the pipeline reads, if one is set.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn origin_if_set(&self) -> Result<Option<i64>, LogError> {
        let path = self.origin_path();
        let Some(content) = self.sink.read(&path).await? else { return Ok(None) };
        let origin = String::from_utf8_lossy(&content).trim().parse();
        Ok(Some(origin.map_err(|error| LogError::Corrupt { path, error })?))
    }

    /// The newest range, finished or not.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn newest(&self) -> Result<Option<Entry>, LogError> {
        loop {
            let Some(start) = self.starts().await?.pop() else { return Ok(None) };
            // It is gone only if so many ranges were begun since the listing that it was pruned.
            if let Some(entry) = self.entry(start).await? {
                return Ok(Some(entry));
            }
        }
    }

    /// All ranges that are still in the log, oldest first.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn entries(&self) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        for start in self.starts().await? {
            entries.extend(self.entry(start).await?);
        }
        Ok(entries)
    }

    /// Fixes a range, unless it is fixed already.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn begin(&self, range: Range) -> Result<Begun, LogError> {
        let mark = Mark::new(rand::rng().random());
        let content = format!("{} {mark}", range.end).into();
        let there = match self.sink.put_if_absent(&self.path(range.start), content).await? {
            Put::Created => Some(Entry { range, mark }),
            Put::Exists => self.entry(range.start).await?,
        };
        // Gone means pruned, which only those are that have newer ones after them.
        let Some(there) = there else { return Ok(Begun::Passed) };
        if self.starts().await?.last().is_some_and(|newest| *newest > range.start) {
            return Ok(Begun::Passed);
        }
        Ok(if there.range == range { Begun::Ours(there.mark) } else { Begun::Fixed(there.range) })
    }

    /// Deletes entries that are long finished.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn prune(&self) -> Result<(), LogError> {
        let starts = self.starts().await?;
        for start in &starts[..starts.len().saturating_sub(KEPT)] {
            self.sink.delete(&self.path(*start)).await?;
        }
        Ok(())
    }

    async fn entry(&self, start: i64) -> Result<Option<Entry>, LogError> {
        let path = self.path(start);
        let Some(content) = self.sink.read(&path).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&content);
        let text = text.trim();
        let (end, mark) = text.split_once(' ').unwrap_or((text, ""));
        let corrupt = |error| LogError::Corrupt { path: path.clone(), error };
        let end = end.parse().map_err(corrupt)?;
        Ok(Some(Entry { range: Range { start, end }, mark: mark.parse().map_err(corrupt)? }))
    }

    async fn starts(&self) -> Result<Vec<i64>, LogError> {
        let entries = self.sink.list(&self.folder).await?;
        let name = |path: &str| path.rsplit('/').next().and_then(|name| name.parse().ok());
        let mut starts: Vec<i64> = entries.iter().filter_map(|entry| name(&entry.path)).collect();
        starts.sort_unstable();
        Ok(starts)
    }

    fn origin_path(&self) -> String {
        format!("{}/origin", self.folder)
    }

    fn path(&self, start: i64) -> String {
        format!("{}/{start:020}", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::SinkConfig;

    async fn log(root: &std::path::Path) -> RangeLog {
        let sink = Sink::open(&SinkConfig::Fs { root: root.to_owned() }).await.expect("a folder");
        RangeLog::new(sink, "rides", 0)
    }

    fn range(start: i64, end: i64) -> Range {
        Range { start, end }
    }

    #[tokio::test]
    async fn an_entry_is_fixed_once_and_keeps_its_mark() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = log(dir.path()).await;
        let Begun::Ours(mark) = log.begin(range(0, 10)).await.expect("begun") else { panic!("not ours") };
        assert_eq!(log.begin(range(0, 10)).await.expect("again"), Begun::Ours(mark));
        assert_eq!(log.begin(range(0, 7)).await.expect("another"), Begun::Fixed(range(0, 10)));
        assert_eq!(log.newest().await.expect("read"), Some(Entry { range: range(0, 10), mark }));
    }

    /// The first try may have created the entry and failed before it looked for newer ones.
    #[tokio::test]
    async fn a_zombie_that_created_its_pruned_entry_again_is_stopped_at_the_next_try_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = log(dir.path()).await;
        for start in 0..=KEPT as i64 {
            log.begin(range(10 * start, 10 * start + 10)).await.expect("begun");
        }
        log.prune().await.expect("pruned");
        assert_eq!(log.begin(range(0, 5)).await.expect("created"), Begun::Passed);
        assert_eq!(log.begin(range(0, 5)).await.expect("found"), Begun::Passed);
    }
}
