//! `verify`: proves the books (I5) and the files (I3, I4) of a pipeline, live or stopped.
//!
//! A check is a pure function from facts to findings; what touches a server or a file is in [`collect`], and
//! `commands/verify.rs` brings both together. Names and footers are taken apart here by code of its own: a proof
//! that used the writer's code would agree with the writer's mistakes.
//!
//! | check | what must hold |
//! |---|---|
//! | [`strays`] | a data path holds nothing but files of the pipeline |
//! | [`raw_files`] | name, folder, footer and statistics of a raw file say the same |
//! | [`merged`] | a merged raw file has the rows that its footer names, and no other file has them too |
//! | [`ranges`] | the ranges of a partition follow each other from its origin on, as the range log has them |
//! | [`group`] | Kafka, the group's offsets and the files are of one history |
//! | [`rows`] | rows in the files = records in the books, as far as both have come |
//! | [`applied`] | what the files hold is in the state, or a worker is putting it there |
//! | [`shards`] | all shards know the same partitions |
//! | [`books`] | every record consumed has one outcome, and what is pending is there |
//! | [`window_files`] | a window's file is whole, where it belongs, and each average is its sum by its trips |
//! | [`window_sums`] | a closed window has its file, with the sums of the state |
//!
//! A live pipeline moves while it is looked at. Each check says what it can of two moments: the group's offsets
//! are read before the range log and that before the files, so that what has to be there is; what is begun
//! later is open, not wrong. While files are merged, those count that a reader of the journal counts
//! ([`crate::compact::visible`]). What is about to be published gets a grace, and is looked at again.

pub mod applied;
pub mod books;
pub mod collect;
pub mod footer;
pub mod group;
pub mod merged;
pub mod path;
pub mod progress;
pub mod ranges;
pub mod raw_files;
pub mod report;
pub mod rows;
pub mod shards;
pub mod strays;
pub mod window_file;
pub mod window_files;
pub mod window_sums;

use std::fmt;

use crate::core::shard::{Partition, Topic};
use crate::manifest::Manifest;

/// A partition as files name it: by its topic in Kafka. An archive may hold topics of earlier epochs too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The topic's name.
    pub topic: String,
    /// The number of the partition.
    pub partition: i32,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What the topics of the pipeline are called.
#[derive(Clone, Debug)]
pub struct Names {
    rides: String,
    fares: String,
}

impl Names {
    /// In Kafka.
    pub fn of_kafka(manifest: &Manifest) -> Self {
        Names { rides: manifest.kafka.rides_topic.clone(), fares: manifest.kafka.fares_topic.clone() }
    }

    /// Where files are the source.
    pub fn of_files() -> Self {
        Names { rides: Topic::Rides.name().to_owned(), fares: Topic::Fares.name().to_owned() }
    }

    /// The name of `topic`.
    pub fn of(&self, topic: Topic) -> &str {
        match topic {
            Topic::Rides => &self.rides,
            Topic::Fares => &self.fares,
        }
    }

    /// `partition` as files name it.
    pub fn lane(&self, partition: Partition) -> Lane {
        Lane { topic: self.of(partition.topic).to_owned(), partition: partition.index }
    }
}

#[cfg(test)]
mod tests;
