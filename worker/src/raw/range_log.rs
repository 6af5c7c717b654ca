//! The range log (I4): which ranges the raw files of a partition cover.
//!
//! An entry `_tips/raw/<topic>/<partition>/<start>` is created only if absent and never changed; it holds the
//! end. A range is published before the next is begun, so only the newest entry can be unfinished. Beside the
//! entries stands `origin`, as write-once as they are: the offset from which the pipeline reads the partition.
//!
//! Old entries are pruned. A worker that was stopped may then find the entry of its range gone and create it
//! again, with an end of its own. So after a creation it looks for a newer entry: there is one, since the newest
//! is never pruned, and the worker knows that it is not the owner any more.

use std::num::ParseIntError;

use bytes::Bytes;

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

/// What became of the wish to begin a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is fixed as wished, by this call or by one before.
    Ours,
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
        let content = self.sink.read(&path).await?;
        content.map(|content| parse(&path, &content)).transpose()
    }

    /// The newest range, finished or not.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn newest(&self) -> Result<Option<Range>, LogError> {
        loop {
            let Some(start) = self.starts().await?.pop() else { return Ok(None) };
            let path = self.path(start);
            // It is gone only if so many ranges were begun since the listing that it was pruned.
            if let Some(content) = self.sink.read(&path).await? {
                return Ok(Some(Range { start, end: parse(&path, &content)? }));
            }
        }
    }

    /// All ranges that are still in the log, oldest first.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn ranges(&self) -> Result<Vec<Range>, LogError> {
        let mut ranges = Vec::new();
        for start in self.starts().await? {
            let path = self.path(start);
            if let Some(content) = self.sink.read(&path).await? {
                ranges.push(Range { start, end: parse(&path, &content)? });
            }
        }
        Ok(ranges)
    }

    /// Fixes a range, unless it is fixed already.
    ///
    /// # Errors
    /// Where the sink cannot be reached.
    pub async fn begin(&self, range: Range) -> Result<Begun, LogError> {
        let path = self.path(range.start);
        let created = self.sink.put_if_absent(&path, range.end.to_string().into()).await? == Put::Created;
        if created {
            let passed = self.starts().await?.last().is_some_and(|newest| *newest > range.start);
            return Ok(if passed { Begun::Passed } else { Begun::Ours });
        }
        match self.sink.read(&path).await? {
            Some(content) => match parse(&path, &content)? {
                end if end == range.end => Ok(Begun::Ours),
                end => Ok(Begun::Fixed(Range { end, ..range })),
            },
            None => Ok(Begun::Passed),
        }
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

fn parse(path: &str, content: &Bytes) -> Result<i64, LogError> {
    let text = String::from_utf8_lossy(content);
    text.trim().parse().map_err(|error| LogError::Corrupt { path: path.to_owned(), error })
}
