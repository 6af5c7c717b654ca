//! The books (I5): every record consumed ends in exactly one outcome.

use std::iter::Sum;
use std::ops::AddAssign;

use super::shard::Topic;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Joined, and counted in at least one window.
    Joined,
    /// Waits for its other half.
    Pending,
    /// Waited until no window was open for it.
    Unmatched,
    /// A copy, seen while its like was pending.
    Duplicate,
    /// Had no open window left to count in.
    Late,
    /// An END ride that began or ended out of the area.
    OutOfArea,
    /// A START ride.
    Start,
    /// In quarantine.
    Invalid,
}

impl Outcome {
    /// All, in the order of the books.
    pub const ALL: [Outcome; 8] = [
        Outcome::Joined,
        Outcome::Pending,
        Outcome::Unmatched,
        Outcome::Duplicate,
        Outcome::Late,
        Outcome::OutOfArea,
        Outcome::Start,
        Outcome::Invalid,
    ];

    /// Its name in metrics, status and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Joined => "joined",
            Outcome::Pending => "pending",
            Outcome::Unmatched => "unmatched",
            Outcome::Duplicate => "duplicate",
            Outcome::Late => "late",
            Outcome::OutOfArea => "out_of_area",
            Outcome::Start => "start",
            Outcome::Invalid => "invalid",
        }
    }
}

/// The account of one topic. As part of a change, `pending` may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Records consumed.
    pub consumed: i64,
    outcomes: [i64; Outcome::ALL.len()],
}

impl Account {
    /// Records with this outcome.
    pub const fn get(&self, outcome: Outcome) -> i64 {
        self.outcomes[outcome as usize]
    }

    /// Books `records` more with this outcome.
    pub const fn add(&mut self, outcome: Outcome, records: i64) {
        self.outcomes[outcome as usize] += records;
    }

    /// Books records that were pending and now are something else.
    pub const fn settle(&mut self, outcome: Outcome, records: i64) {
        self.outcomes[Outcome::Pending as usize] -= records;
        self.outcomes[outcome as usize] += records;
    }

    /// Consumed records that have no outcome, less those that have one too many; 0: the books balance (I5).
    pub fn unaccounted(&self) -> i64 {
        self.consumed - self.outcomes.iter().sum::<i64>()
    }

    /// Whether every consumed record has one outcome.
    pub fn balances(&self) -> bool {
        self.unaccounted() == 0
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.consumed += other.consumed;
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += theirs;
        }
    }
}

/// The accounts of both topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Of the rides topic.
    pub rides: Account,
    /// Of the fares topic.
    pub fares: Account,
}

impl Books {
    /// The account of `topic`.
    pub const fn of(&self, topic: Topic) -> &Account {
        match topic {
            Topic::Rides => &self.rides,
            Topic::Fares => &self.fares,
        }
    }

    /// The account of `topic`, to be changed.
    pub const fn of_mut(&mut self, topic: Topic) -> &mut Account {
        match topic {
            Topic::Rides => &mut self.rides,
            Topic::Fares => &mut self.fares,
        }
    }

    /// Whether both accounts balance.
    pub fn balance(&self) -> bool {
        self.rides.balances() && self.fares.balances()
    }
}

impl Sum for Books {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Books::default(), |mut all, part| {
            all += part;
            all
        })
    }
}

impl AddAssign for Books {
    fn add_assign(&mut self, other: Self) {
        self.rides += other.rides;
        self.fares += other.fares;
    }
}
