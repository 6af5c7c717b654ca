//! Panes, windows, and until when a record can count.
//!
//! A pane is a slide long; a window is a run of panes, so a trip counts in every window that covers its pane.
//! Sums are kept by pane, and a window is the sum of its panes at the moment when it closes.

use super::time::{EventTime, Span};

/// The start of a pane: a multiple of the slide since the epoch.
pub type Pane = EventTime;

/// The rules of time of a job. `slide` divides `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Length of a window.
    pub window: Span,
    /// From the start of a window to the start of the next.
    pub slide: Span,
    /// How far the watermark stays behind the greatest event time.
    pub delay: Span,
    /// How long after its start a ride may end and still join its fare.
    pub join_within: Span,
}

impl Rules {
    /// Whether a fare that starts at `start` and a ride that ends at `end` make a pair.
    pub fn joins(&self, start: EventTime, end: EventTime) -> bool {
        start < end && end <= start.plus(self.join_within)
    }

    /// The pane of `time`.
    pub fn pane(&self, time: EventTime) -> Pane {
        time.floor(self.slide)
    }

    /// The watermark at which the last window of `pane` has closed: a trip of that pane counts while the
    /// watermark is below.
    pub fn pane_closes(&self, pane: Pane) -> EventTime {
        pane.plus(self.window)
    }

    /// The watermark at which a ride that ends at `end` has no open window left.
    pub fn ride_expires(&self, end: EventTime) -> EventTime {
        self.pane_closes(self.pane(end))
    }

    /// The watermark at which no ride that could join a fare of `start` has an open window left.
    pub fn fare_expires(&self, start: EventTime) -> EventTime {
        self.ride_expires(start.plus(self.join_within))
    }

    /// The panes of the window that ends at `end`, oldest first.
    pub fn panes_of_window_ending(&self, end: EventTime) -> impl Iterator<Item = Pane> {
        let slide = self.slide;
        let first = end.minus(self.window);
        (0..self.panes()).map(move |n| first.plus(Span::from_seconds(slide.seconds() * n)))
    }

    /// The ends of the windows that cover `pane`, earliest first.
    pub fn window_ends_of_pane(&self, pane: Pane) -> impl Iterator<Item = EventTime> {
        let slide = self.slide;
        (1..=self.panes()).map(move |n| pane.plus(Span::from_seconds(slide.seconds() * n)))
    }

    fn panes(&self) -> i64 {
        self.window.seconds() / self.slide.seconds()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The defaults of the manifest.
    pub(crate) const RULES: Rules = Rules {
        window: Span::from_seconds(1800),
        slide: Span::from_seconds(600),
        delay: Span::from_seconds(1800),
        join_within: Span::from_seconds(7200),
    };

    fn at(minutes: i64) -> EventTime {
        EventTime::from_seconds(minutes * 60)
    }

    #[test]
    fn a_ride_joins_after_its_start_and_up_to_two_hours() {
        assert!(!RULES.joins(at(0), at(0)));
        assert!(RULES.joins(at(0), at(1)));
        assert!(RULES.joins(at(0), at(120)));
        assert!(!RULES.joins(at(0), EventTime::from_seconds(7201)));
        assert!(!RULES.joins(at(1), at(0)));
    }

    #[test]
    fn a_pane_is_in_three_windows_and_a_window_has_three_panes() {
        assert_eq!(RULES.pane(at(29)), at(20));
        assert!(RULES.window_ends_of_pane(at(20)).eq([at(30), at(40), at(50)]));
        assert!(RULES.panes_of_window_ending(at(50)).eq([at(20), at(30), at(40)]));
    }

    #[test]
    fn a_record_expires_with_its_last_window() {
        assert_eq!(RULES.ride_expires(at(29)), at(50));
        assert_eq!(RULES.fare_expires(at(29)), at(20 + 120 + 30));
    }
}
