//! How many workers the lag asks for: pure, and as a HorizontalPodAutoscaler decides.
//!
//! Of records that wait, [`Scaling::target_lag`] for each worker are as they should be. A little more or less than that
//! changes nothing, more adds workers at once, and less takes them away only when it has been so for a while: records
//! come in bursts, and each change hands partitions over.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipstream_crds::Scaling;

use crate::reconcile::observe::Backlog;

/// How long fewer workers must have been enough, as `--horizontal-pod-autoscaler-downscale-stabilization` has it.
pub(in crate::reconcile) const STABILIZATION: Duration = Duration::from_secs(300);
/// How far from the target the lag may be, one part in so many, as `--horizontal-pod-autoscaler-tolerance` has it.
const TOLERANCE: i128 = 10;

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reconcile) struct Decision {
    /// So many workers there should be.
    pub replicas: i32,
    /// Why so many.
    pub because: Because,
}

/// Why there should be so many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reconcile) enum Because {
    /// The lag asks for them.
    Lag,
    /// The lag asks for more than there may be.
    Maximum,
    /// The lag asks for more than can have a partition.
    Partitions,
    /// The lag asks for fewer, and has not done so for long enough.
    Stabilization,
    /// The lag is not known.
    Unknown,
}

/// How many workers there should be in place of `current`, of which there is one at least.
pub(in crate::reconcile) fn decide(
    scaling: &Scaling,
    current: i32,
    backlog: Option<Backlog>,
    recent: &mut Recent,
    now: Instant,
) -> Decision {
    // In this order a spec that breaks the rule of them is no panic.
    let within = |replicas: i32| replicas.min(scaling.max_replicas).max(scaling.min_replicas);
    let Some(backlog) = backlog else {
        return Decision { replicas: within(current), because: Because::Unknown };
    };
    let asked = asked_for(backlog.records, scaling.target_lag, current);
    let useful = asked.min(backlog.partitions.max(1));
    let highest = recent.highest(current, useful, now);
    let replicas = within(if useful > current { useful } else { highest.min(current) });
    let because = if useful > replicas {
        Because::Maximum
    } else if replicas > within(useful) {
        Because::Stabilization
    } else if asked > useful {
        Because::Partitions
    } else {
        Because::Lag
    };
    Decision { replicas, because }
}

/// The workers of whom each has the target of `records` or less; `current` where they have about that.
fn asked_for(records: i64, target: i64, current: i32) -> i32 {
    let (records, target) = (i128::from(records.max(0)), i128::from(target.max(1)));
    let expected = target * i128::from(current);
    if (records - expected).abs() * TOLERANCE <= expected {
        return current;
    }
    i32::try_from((records + target - 1) / target).unwrap_or(i32::MAX)
}

/// The numbers of workers that were asked for of late, as far as any of them can still be the highest: each is less than
/// the one before it. Can be lost: then nothing is taken away for a while.
#[derive(Debug, Default)]
pub(in crate::reconcile) struct Recent(VecDeque<(Instant, i32)>);

impl Recent {
    /// The highest of the last while, with `asked`, which is the newest. Before anything was asked for, `current` was.
    fn highest(&mut self, current: i32, asked: i32, now: Instant) -> i32 {
        if self.0.is_empty() {
            self.0.push_back((now, current));
        }
        while self.0.back().is_some_and(|(_, before)| *before <= asked) {
            self.0.pop_back();
        }
        self.0.push_back((now, asked));
        while self.0.front().is_some_and(|(then, _)| now.duration_since(*then) >= STABILIZATION) {
            self.0.pop_front();
        }
        self.0.front().map_or(asked, |(_, highest)| *highest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCALING: Scaling = Scaling { min_replicas: 2, max_replicas: 8, target_lag: 1000 };
    const LOOK: Duration = Duration::from_secs(10);

    fn waiting(records: i64) -> Option<Backlog> {
        Some(Backlog { records, partitions: 6 })
    }

    /// What is decided of a first look.
    fn at_once(current: i32, backlog: Option<Backlog>) -> (i32, Because) {
        let Decision { replicas, because } =
            decide(&SCALING, current, backlog, &mut Recent::default(), Instant::now());
        (replicas, because)
    }

    #[test]
    fn more_lag_asks_for_more_workers_at_once() {
        assert_eq!(at_once(2, waiting(2_201)), (3, Because::Lag));
        assert_eq!(at_once(2, waiting(4_000)), (4, Because::Lag));
        assert_eq!(at_once(2, waiting(4_001)), (5, Because::Lag));
    }

    #[test]
    fn a_lag_of_about_the_target_changes_nothing() {
        for records in [1_800, 2_000, 2_001, 2_200] {
            assert_eq!(at_once(2, waiting(records)), (2, Because::Lag), "{records}");
        }
    }

    #[test]
    fn no_worker_is_added_that_would_have_no_partition_or_that_there_may_not_be() {
        assert_eq!(at_once(2, waiting(i64::MAX)), (6, Because::Partitions));
        let of_many = Some(Backlog { records: 90_000, partitions: 64 });
        assert_eq!(at_once(2, of_many), (8, Because::Maximum));
        assert_eq!(at_once(7, waiting(90_000)), (7, Because::Stabilization), "more than partitions");
    }

    #[test]
    fn what_is_out_of_range_is_brought_inside_whatever_the_lag_is() {
        for backlog in [None, waiting(0)] {
            assert_eq!(at_once(1, backlog).0, 2);
            assert_eq!(at_once(9, backlog).0, 8);
        }
    }

    #[test]
    fn workers_are_taken_away_only_when_fewer_were_enough_for_a_while() {
        let (mut recent, begun) = (Recent::default(), Instant::now());
        let mut at = |current, seconds, records| {
            let now = begun + Duration::from_secs(seconds);
            decide(&SCALING, current, waiting(records), &mut recent, now)
        };
        assert_eq!(at(5, 0, 0), Decision { replicas: 5, because: Because::Stabilization });
        assert_eq!(at(5, 10, 4_000).replicas, 5);
        assert_eq!(at(5, 299, 2_500).replicas, 5);
        // What there was at first is forgotten, and of the rest the highest counts.
        assert_eq!(at(5, 300, 0).replicas, 4);
        assert_eq!(at(4, 310, 0).replicas, 3);
        assert_eq!(at(3, 598, 0), Decision { replicas: 3, because: Because::Stabilization });
        assert_eq!(at(3, 600, 0), Decision { replicas: 2, because: Because::Lag });
    }

    #[test]
    fn what_was_asked_for_before_adds_nothing() {
        let (mut recent, begun) = (Recent::default(), Instant::now());
        assert_eq!(decide(&SCALING, 2, waiting(6_000), &mut recent, begun).replicas, 6);
        // Somebody has taken some away meanwhile.
        let after = decide(&SCALING, 3, waiting(2_500), &mut recent, begun + LOOK);
        assert_eq!(after, Decision { replicas: 3, because: Because::Lag });
    }

    proptest! {
        #[test]
        fn more_that_waits_never_asks_for_fewer(
            current in 1..100i32, records in 0..i64::MAX, more in 0..i64::MAX, target in 1..i64::MAX,
        ) {
            let asked = |records| asked_for(records, target, current);
            prop_assert!(asked(records) <= asked(records.saturating_add(more)));
        }

        #[test]
        fn at_every_look_there_are_as_many_as_may_be_and_none_goes_too_soon(
            looks in prop::collection::vec(prop::option::of(0..20_000i64), 1..60), first in 1..12i32,
        ) {
            let (mut recent, begun, mut current) = (Recent::default(), Instant::now(), first);
            let mut asked: Vec<(usize, i32)> = Vec::new();
            for (look, records) in looks.into_iter().enumerate() {
                let now = begun + LOOK * u32::try_from(look).expect("few looks");
                let decision = decide(&SCALING, current, records.and_then(waiting), &mut recent, now);
                prop_assert!((2..=8).contains(&decision.replicas));
                let within = current.clamp(2, 8);
                match records {
                    None => prop_assert_eq!(decision.replicas, within),
                    Some(records) => asked.push((look, asked_for(records, 1000, current).min(6))),
                }
                // Thirty looks are five minutes.
                if decision.replicas < within {
                    prop_assert!(look >= 30, "taken away by look {}", look);
                    let late = asked.iter().filter(|(then, _)| then + 30 > look);
                    prop_assert!(late.map(|(_, asked)| *asked).all(|asked| asked <= decision.replicas.max(2)));
                }
                current = decision.replicas;
            }
        }
    }
}
