//! A span of event time: whole seconds, since event times have no less.

const SECOND: i64 = 1_000_000;

/// From `from` up to but without `to`, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    /// The seconds of all of these times (least and greatest); none of nothing.
    pub(super) fn of(times: impl Iterator<Item = (i64, i64)>) -> Option<Span> {
        let all = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let second = |time: i64| time.div_euclid(SECOND) * SECOND;
        Some(Span { from: second(all.0), to: second(all.1) + SECOND })
    }

    /// Two spans that are this one; none of a second.
    pub(super) fn halves(self) -> Option<(Span, Span)> {
        let middle = (self.from + (self.to - self.from) / 2).div_euclid(SECOND) * SECOND;
        (middle > self.from).then_some((Span { to: middle, ..self }, Span { from: middle, ..self }))
    }

    pub(super) fn overlaps(self, (least, greatest): (i64, i64)) -> bool {
        least < self.to && self.from <= greatest
    }

    /// Which part of these times lies in it, from 0 to 1.
    pub(super) fn share_of(self, (least, greatest): (i64, i64)) -> f64 {
        let inside = (greatest + 1).min(self.to) - least.max(self.from);
        inside.max(0) as f64 / (greatest + 1 - least) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_meet_at_a_whole_second_and_a_second_has_none() {
        let all = Span::of([(5 * SECOND, 9 * SECOND), (2 * SECOND, 6 * SECOND)].into_iter()).expect("times");
        assert_eq!(all, Span { from: 2 * SECOND, to: 10 * SECOND });
        let mut spans = vec![all];
        let mut whole = Vec::new();
        while let Some(span) = spans.pop() {
            match span.halves() {
                Some((early, late)) => spans.extend([late, early]),
                None => whole.push(span.from / SECOND),
            }
        }
        assert_eq!(whole, (2..=9).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_is_of_the_time_that_is_inside() {
        let span = Span { from: 0, to: 10 };
        assert_eq!(span.share_of((0, 9)), 1.0);
        assert_eq!(span.share_of((5, 14)), 0.5);
        assert_eq!(span.share_of((10, 14)), 0.0);
        assert_eq!(span.share_of((3, 3)), 1.0);
    }
}
