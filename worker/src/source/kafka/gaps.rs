//! Offsets of a partition that come without a record: transactions' own, compacted away, or deleted before they were
//! read.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a partition is read on after a gap was looked into.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest gap since one was looked into.
#[derive(Default)]
pub(super) struct Gaps {
    longest: Range<i64>,
    taken: Option<Instant>,
}

impl Gaps {
    #[cold]
    pub(super) fn note(&mut self, gap: Range<i64>) {
        if gap.end - gap.start > self.longest.end - self.longest.start {
            self.longest = gap;
        }
    }

    /// The gap, where it is time to look into it.
    pub(super) fn take(&mut self) -> Option<Range<i64>> {
        if self.longest.is_empty() || self.taken.is_some_and(|taken| taken.elapsed() < PAUSE) {
            return None;
        }
        self.taken = Some(Instant::now());
        Some(std::mem::take(&mut self.longest))
    }
}
