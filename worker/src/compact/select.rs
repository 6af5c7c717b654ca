//! Which days are compacted: those that have closed, and of them those that are asked for. Pure.

use super::folder::Folder;
use crate::core::time::{Day, EventTime, Span};
use crate::results::day_file::ALL_WINDOWS;

/// A choice of days.
#[derive(Clone, Debug)]
pub struct Days {
    /// These, whether they have closed or not; empty: all that have.
    pub only: Vec<Day>,
    /// None before.
    pub since: Option<Day>,
    /// None after.
    pub until: Option<Day>,
    /// How long after its end a day counts as closed, in event time.
    pub settle: Span,
}

impl Days {
    /// Whether `day` is chosen where windows have closed up to `closed`.
    pub fn has(&self, day: Day, closed: Option<EventTime>) -> bool {
        if !self.only.is_empty() {
            return self.only.contains(&day);
        }
        let is_closed = closed.is_some_and(|closed| day.start().plus(Span::DAY).plus(self.settle) <= closed);
        is_closed
            && self.since.is_none_or(|since| since <= day)
            && self.until.is_none_or(|until| day <= until)
    }
}

/// How far windows have closed, by their files: the end of the newest. The watermark is not below it.
pub fn closed_up_to<'a>(paths: impl Iterator<Item = &'a str>, window: Span) -> Option<EventTime> {
    let end = |path: &'a str| {
        let (folder, below) = Folder::of(path)?;
        let (window_folder, _) = below.split_once('/')?;
        if window_folder == ALL_WINDOWS {
            // One of its windows at least.
            return Some(folder.day.start().plus(window));
        }
        let (hours, minutes) = window_folder.strip_prefix("window=")?.split_once('-')?;
        let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
        Some(folder.day.start().plus(Span::from_seconds(seconds)).plus(window))
    };
    paths.filter_map(end).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::folder::parse_day;

    fn day(text: &str) -> Day {
        parse_day(text).expect(text)
    }

    fn days() -> Days {
        Days { only: vec![], since: None, until: None, settle: Span::from_seconds(3600) }
    }

    #[test]
    fn a_day_has_closed_when_a_window_has_that_ends_long_enough_after() {
        let paths = [
            "tips/year=2013/month=1/day=1/window=all/tips-compacted-000001-00.parquet",
            "tips/year=2013/month=1/day=2/window=00-20/tips.parquet",
        ];
        let closed = |count: usize| closed_up_to(paths[..count].iter().copied(), Span::from_seconds(1800));
        let at = |text: &str| EventTime::parse(text.as_bytes());
        assert_eq!(closed(0), None);
        assert_eq!(closed(1), at("2013-01-01 00:30:00"));
        assert_eq!(closed(2), at("2013-01-02 00:50:00"));
        assert!(!days().has(day("2013-01-01"), at("2013-01-02 00:59:59")));
        assert!(days().has(day("2013-01-01"), at("2013-01-02 01:00:00")));
        assert!(!days().has(day("2013-01-01"), None));
    }

    #[test]
    fn days_are_chosen_by_bounds_or_by_name() {
        let closed = EventTime::parse(b"2014-01-01 00:00:00");
        let bounded = Days { since: Some(day("2013-01-02")), until: Some(day("2013-01-03")), ..days() };
        let chosen = ["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-04"]
            .map(|text| bounded.has(day(text), closed));
        assert_eq!(chosen, [false, true, true, false]);
        let named = Days { only: vec![day("2013-01-01")], ..days() };
        assert!(named.has(day("2013-01-01"), None));
        assert!(!named.has(day("2013-01-02"), closed));
    }
}
