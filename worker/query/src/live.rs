//! The windows that are in the state, from what its shards say. Pure.
//!
//! A shard closes a window by its own watermark, so for a while some have closed it and others have not. Its sum is
//! then that of the parts, frozen where closed and of its panes where open, and it is final once all have closed it.

use std::collections::{BTreeMap, BTreeSet};

use tips_worker::core::fold::Sums;
use tips_worker::core::time::{Day, EventTime};
use tips_worker::core::window::{Pane, Rules};
use tips_worker::state::Results;

use crate::dense::Dense;

/// The windows of a state, by their start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// The least watermark of all shards; `None` until each has one.
    pub watermark: Option<EventTime>,
    /// Sums of the windows that some shard has open, as far as open shards have them.
    pub open: BTreeMap<EventTime, Sums>,
    /// The shards that have closed an open window, and so hold the rest of its sums.
    pub ahead: BTreeMap<EventTime, Vec<u16>>,
    /// The windows that every shard has closed and some shard has sums of, with the shards that have them.
    pub closed: BTreeMap<EventTime, Vec<u16>>,
}

impl Windows {
    /// Puts together what the shards say, in their order.
    pub fn of(rules: &Rules, shards: &[Results]) -> Self {
        let watermark = shards.iter().map(|shard| shard.watermark).min().flatten();
        let mut windows = Windows { watermark, open: open_windows(rules, shards), ..Windows::default() };
        for (shard, results) in (0..).zip(shards) {
            for start in &results.closed {
                let is_final = watermark.is_some_and(|watermark| start.plus(rules.window) <= watermark);
                let holders = if is_final { &mut windows.closed } else { &mut windows.ahead };
                holders.entry(*start).or_default().push(shard);
            }
        }
        windows
    }

    /// Whether a window of `day` is among them.
    pub fn has_of(&self, day: Day) -> bool {
        let mut starts = self.open.keys().chain(self.ahead.keys()).chain(self.closed.keys());
        starts.any(|start| start.day() == day)
    }

    /// The starts of windows that are open in some shard.
    pub fn open_starts(&self) -> BTreeSet<EventTime> {
        self.open.keys().chain(self.ahead.keys()).copied().collect()
    }
}

/// Most of what there is to add are the same panes of many shards, so these come first, and windows are made of what
/// they come to. Shards whose watermarks are in one pane have the same windows open, since windows end where panes do.
fn open_windows(rules: &Rules, shards: &[Results]) -> BTreeMap<EventTime, Sums> {
    let mut panes: BTreeMap<(Option<Pane>, Pane), Dense> = BTreeMap::new();
    for results in shards {
        let reached = results.watermark.map(|watermark| rules.pane(watermark));
        for (pane, sums) in &results.panes {
            panes.entry((reached, *pane)).or_default().add(sums);
        }
    }
    let mut windows: BTreeMap<EventTime, Dense> = BTreeMap::new();
    for ((reached, pane), sums) in &panes {
        let is_open = |end: &EventTime| reached.is_none_or(|reached| reached < *end);
        for end in rules.window_ends_of_pane(*pane).filter(is_open) {
            windows.entry(end.minus(rules.window)).or_default().merge(sums);
        }
    }
    windows.into_iter().map(|(start, sums)| (start, sums.sums())).collect()
}

#[cfg(test)]
mod tests {
    use tips_worker::core::amount::TipSum;
    use tips_worker::core::locate::Place;
    use tips_worker::core::time::Span;

    use super::*;

    const RULES: Rules = Rules {
        window: Span::from_seconds(1800),
        slide: Span::from_seconds(600),
        delay: Span::from_seconds(1800),
        join_within: Span::from_seconds(7200),
    };

    fn at(minutes: i64) -> EventTime {
        EventTime::from_seconds(minutes * 60)
    }

    fn sums(trips: u64) -> Sums {
        Sums::from([(Place::new(0), TipSum { micros: i128::from(trips) * 1_000_000, trips })])
    }

    fn shard(watermark: Option<i64>, panes: &[(i64, u64)], closed: &[i64]) -> Results {
        Results {
            watermark: watermark.map(at),
            panes: panes.iter().map(|(pane, trips)| (at(*pane), sums(*trips))).collect(),
            closed: closed.iter().map(|start| at(*start)).collect(),
        }
    }

    #[test]
    fn a_window_is_the_sum_of_its_panes_over_all_shards() {
        let shards = [shard(None, &[(20, 1), (40, 2)], &[]), shard(None, &[(30, 4)], &[])];
        let windows = Windows::of(&RULES, &shards);
        assert_eq!(windows.watermark, None);
        assert_eq!(windows.open[&at(20)], sums(7));
        assert_eq!(windows.open[&at(0)], sums(1));
        assert_eq!(windows.open[&at(40)], sums(2));
        assert_eq!(windows.open.len(), 5);
    }

    #[test]
    fn a_window_that_one_shard_has_closed_is_open_and_names_who_holds_the_rest() {
        let shards = [shard(Some(50), &[(40, 2)], &[20]), shard(Some(49), &[(20, 1)], &[])];
        let windows = Windows::of(&RULES, &shards);
        assert_eq!(windows.watermark, Some(at(49)));
        assert_eq!(
            windows.open[&at(20)],
            sums(1),
            "what the closed shard has in panes is in its frozen sums"
        );
        assert_eq!(windows.ahead, BTreeMap::from([(at(20), vec![0])]));
        assert!(windows.closed.is_empty());
    }

    #[test]
    fn a_window_that_all_have_closed_is_not_open() {
        let shards = [shard(Some(50), &[(20, 1)], &[20]), shard(Some(50), &[], &[])];
        let windows = Windows::of(&RULES, &shards);
        assert_eq!(windows.closed, BTreeMap::from([(at(20), vec![0])]));
        assert!(!windows.open_starts().contains(&at(20)));
        assert!(windows.open_starts().contains(&at(10)).eq(&false));
        assert!(windows.open_starts().contains(&at(0)).eq(&false), "it ended before");
    }
}
