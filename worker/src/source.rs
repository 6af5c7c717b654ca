//! Where records come from: partitions of two topics, each read in the order of its offsets.

pub mod files;
pub mod kafka;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::mark::Mark;
use crate::core::shard::{Partition, PartitionCounts, Topic};

/// A read ends with the record that takes it to so many bytes: records may be far larger than lines of taxis (I7).
pub const BURST_BYTES: usize = 1 << 20;

/// A record as it lies in the source.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The line; `None` for a null value.
    pub value: Option<&'a [u8]>,
}

/// A partition that has come to this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Which.
    pub partition: Partition,
    /// The first offset that is still there.
    pub low: i64,
    /// The offset after the last record that was there when the source was opened.
    pub high: i64,
    /// The mark of the range that was published last, as far as the group knows (a hint).
    pub committed: Option<Mark>,
    /// The offset from which a pipeline that has never read it begins.
    pub start: i64,
}

/// A change of what this worker reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These have come.
    Assigned(Vec<Assigned>),
    /// These have gone: what is not published of them is another worker's to read again.
    Revoked(Vec<Partition>),
    /// So many offsets of this one were deleted before they were read; what follows them is read next.
    Lost(Partition, i64),
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many records.
    Records(usize),
    /// None at the moment.
    Nothing,
    /// None: this is the end of the partition, for now or for good.
    End,
}

/// What a committed offset tells of the records below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Their raw rows are published, the last of them with the range of this mark.
    Published(Mark),
    /// All shards have applied them; there are no raw rows.
    Applied,
}

/// What has to be published of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// All below.
    pub offset: i64,
    /// Its newest range, whose mark whoever has published it commits. What the group has committed of an older log
    /// proves nothing.
    pub newest: Option<Mark>,
    /// From where the pipeline reads it, if that is set.
    pub origin: Option<i64>,
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        error: std::io::Error,
    },
    /// Input that can be read once only was to be read again.
    #[error("standard input cannot be read again from line {0}: write it to a file and name that")]
    Stdin(i64),
    /// The brokers; the text says what to do.
    #[error("{0}")]
    Kafka(String),
}

/// Records by partition. Its methods are called from one thread.
pub trait Source {
    /// Serves what has to be served, for up to `wait`, and tells what changed.
    ///
    /// # Errors
    /// Where nothing can be read any more.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Change>, SourceError>;

    /// Reads `partition` from `offset` on, of which all below `reached` was read before.
    ///
    /// # Errors
    /// Where that is not possible, or the partition has ended before `reached`: it is another one.
    fn start(&mut self, partition: Partition, offset: i64, reached: i64) -> Result<(), SourceError>;

    /// Hands up to `max` records to `take`, fewer where they are large ([`BURST_BYTES`]), without waiting.
    ///
    /// # Errors
    /// Where the partition cannot be read any more.
    fn read(
        &mut self,
        partition: Partition,
        max: usize,
        take: impl FnMut(Record<'_>),
    ) -> Result<Read, SourceError>;

    /// Says that all below `offset` is done with.
    fn commit(&mut self, partition: Partition, offset: i64, done: Done);

    /// Whether the group that gives out the partitions is there, as far as was heard.
    fn reaches_group(&self) -> bool;

    /// The partitions that the topics have now, as far as is known.
    fn known(&self) -> PartitionCounts;

    /// Whether `partition` has at this moment no record that was not read; `None` where that cannot be found out. Where
    /// it has more it goes on with that.
    ///
    /// # Errors
    /// Where it ends before what was read: it is another partition.
    fn is_at_end(&mut self, partition: Partition) -> Result<Option<bool>, SourceError>;

    /// The offset after the last record of `partition`, as last heard.
    fn high(&self, partition: Partition) -> Option<i64>;

    /// Whether `partition` surely has no record from `from` on below `end`, though its offsets may go on.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn has_none_between(&self, partition: Partition, from: i64, end: i64) -> Result<bool, SourceError>;

    /// Hears where the partitions that were assigned end now, for [`Source::high`], also of those that are not read for
    /// now. Returns whether that was told.
    fn hear_ends(&mut self) -> bool;

    /// Whether of these partitions, which other workers have, all is published that is due.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn is_published(&mut self, due: &BTreeMap<Partition, Due>) -> Result<bool, SourceError>;

    /// The offset after the last record of `partition` when the source was opened.
    fn target(&self, partition: Partition) -> i64;

    /// The name of a topic.
    fn topic(&self, topic: Topic) -> &str;
}
