//! The mark of a range: tells it from every other, of the same offsets too.

use std::fmt;
use std::str::FromStr;

/// Drawn once, when the range is fixed. Whoever names it has seen that very range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// A mark of bits that were drawn for it.
    pub fn new(drawn: u64) -> Self {
        Mark(drawn)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Mark {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Mark)
    }
}
