//! Which shard of the state a record belongs to, and the names of partitions.

use std::fmt;

/// One of the two topics of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Ride lines.
    Rides,
    /// Fare lines.
    Fares,
}

impl Topic {
    /// Both, in the order in which they are written down everywhere.
    pub const ALL: [Topic; 2] = [Topic::Rides, Topic::Fares];

    /// `rides` or `fares`: the label of metrics, and the folder of the raw files.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Rides => "rides",
            Topic::Fares => "fares",
        }
    }

    /// The topic that it is joined with.
    pub const fn other(self) -> Topic {
        match self {
            Topic::Rides => Topic::Fares,
            Topic::Fares => Topic::Rides,
        }
    }
}

/// A partition of one of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Its topic.
    pub topic: Topic,
    /// Its number, from 0.
    pub index: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic.name(), self.index)
    }
}

/// How many partitions each topic has. The set belongs to the state and only grows (I2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounts {
    /// Of the rides topic.
    pub rides: i32,
    /// Of the fares topic.
    pub fares: i32,
}

impl PartitionCounts {
    /// Of `topic`.
    pub const fn of(self, topic: Topic) -> i32 {
        match topic {
            Topic::Rides => self.rides,
            Topic::Fares => self.fares,
        }
    }

    /// All partitions, rides first.
    pub fn partitions(self) -> impl Iterator<Item = Partition> {
        Topic::ALL
            .into_iter()
            .flat_map(move |topic| (0..self.of(topic)).map(move |index| Partition { topic, index }))
    }

    /// The larger count of each.
    #[must_use]
    pub fn grown_to(self, other: Self) -> Self {
        PartitionCounts { rides: self.rides.max(other.rides), fares: self.fares.max(other.fares) }
    }
}

/// The shard of a ride id among `shards`. Part of the format of the state: it never changes.
///
/// The finalizer of splitmix64 spreads consecutive ids; the high half of a product maps it to a shard without
/// a division.
pub fn shard_of(ride_id: i64, shards: u16) -> u16 {
    let mut x = ride_id as u64;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    ((u128::from(x) * u128::from(shards)) >> 64) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_an_id_never_changes() {
        let of = |id| shard_of(id, 16);
        assert_eq!([of(0), of(1), of(2), of(51602), of(-1), of(i64::MAX)], [0, 5, 13, 10, 11, 5]);
    }

    #[test]
    fn consecutive_ids_spread_evenly() {
        let mut counts = [0; 16];
        (0..16_000).for_each(|id| counts[shard_of(id, 16) as usize] += 1);
        assert!(counts.iter().all(|n| (900..1100).contains(n)), "{counts:?}");
    }
}
