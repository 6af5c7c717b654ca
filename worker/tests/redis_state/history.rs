//! Histories of a shard, generated: deltas of any content, some of them by workers that think the shard is
//! elsewhere.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tips_worker::core::amount::{Amount, TipSum};
use tips_worker::core::delta::{Cell, Delta, FareStart, Move, RideEnd};
use tips_worker::core::locate::Place;
use tips_worker::core::shard::{Partition, PartitionCounts, Topic};
use tips_worker::core::time::{EventTime, Span};
use tips_worker::core::window::Rules;
use tips_worker::state::View;

use crate::deltas::{at, consumed};
use crate::server::RULES;

/// Offsets travel as doubles.
const GREATEST_OFFSET: i64 = (1 << 53) - 1;
const BEGIN: i64 = 1_356_998_400;
const DAY: i64 = 86_400;
const GREATEST_TIP: i64 = 999_999_999_999_999;

/// What a shard goes through.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) rules: Rules,
    /// Times are multiples of it: on a coarse one, much happens at the very second when a window closes.
    grain: Span,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Event time goes on by so many seconds before it.
    goes_on: i64,
    known: PartitionCounts,
    moves: Vec<MovePlan>,
    rides: Vec<(i64, i64, u16)>,
    fares: Vec<(i64, i64, i64)>,
    cells: Vec<(i64, u16, i128, u64)>,
    /// Afterwards this closed window, counted from the oldest, is forgotten.
    pub(crate) forget: Option<usize>,
}

#[derive(Clone, Debug)]
struct MovePlan {
    partition: Partition,
    claim: Claim,
    records: i64,
    /// How far its newest record is behind; `None`: no valid line.
    behind: Option<i64>,
    idle: bool,
}

/// Where a worker thinks that the shard stands.
#[derive(Clone, Debug)]
enum Claim {
    Right,
    Wrong(i64),
    Unheard,
}

pub(crate) fn histories() -> impl Strategy<Value = History> {
    let grain = prop_oneof![Just(1), Just(60), Just(600)].prop_map(Span::from_seconds);
    (rules(), grain, vec(step(), 1..25)).prop_map(|(rules, grain, steps)| History { rules, grain, steps })
}

/// Tumbling and sliding windows, with and without a delay.
fn rules() -> impl Strategy<Value = Rules> {
    let short = Rules {
        window: Span::from_seconds(60),
        slide: Span::from_seconds(60),
        delay: Span::from_seconds(0),
        join_within: Span::from_seconds(90),
    };
    prop_oneof![3 => Just(RULES), 1 => Just(short)]
}

fn step() -> impl Strategy<Value = Step> {
    let goes_on = prop_oneof![12 => 0..900_i64, 3 => 900..10_800_i64, 1 => DAY..10 * DAY];
    let known = prop_oneof![10 => Just((1, 1)), 1 => (1..4_i32, 1..4_i32)];
    let behind = || prop_oneof![8 => -600..5400_i64, 1 => 5400..20_000_i64];
    let rides = vec((ids(), behind(), places()), 0..12);
    let fares = vec((ids(), behind(), tips()), 0..12);
    let cells = vec((behind(), places(), sums(), 1..1_000_000_u64), 0..6);
    let forget = option::weighted(0.1, 0..4_usize);
    (goes_on, known, moves(), rides, fares, cells, forget).prop_map(
        |(goes_on, (rides_known, fares_known), moves, rides, fares, cells, forget)| {
            let known = PartitionCounts { rides: rides_known, fares: fares_known };
            Step { goes_on, known, moves, rides, fares, cells, forget }
        },
    )
}

/// Few, so that they meet; and the ones that need all eight bytes.
fn ids() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 0..12_i64, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn places() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..3_u16, 1 => Just(Place::OTHER.index())]
}

fn tips() -> impl Strategy<Value = i64> {
    prop_oneof![2 => 0..20_000_000_i64, 1 => -GREATEST_TIP..=GREATEST_TIP, 1 => Just(GREATEST_TIP)]
}

fn sums() -> impl Strategy<Value = i128> {
    let greatest = i128::from(GREATEST_TIP) * 1_000_000;
    prop_oneof![1 => 0..1_000_000_000_i128, 1 => -greatest..=greatest]
}

fn moves() -> impl Strategy<Value = Vec<MovePlan>> {
    let first = [Topic::Rides, Topic::Fares].map(|topic| Partition { topic, index: 0 });
    let any = (prop_oneof![Just(Topic::Rides), Just(Topic::Fares)], 0..4_i32)
        .prop_map(|(topic, index)| Partition { topic, index });
    let partition = prop_oneof![4 => Just(first[0]), 4 => Just(first[1]), 2 => any];
    vec(partition.prop_flat_map(move_of), 1..6)
}

fn move_of(partition: Partition) -> impl Strategy<Value = MovePlan> {
    let claim = prop_oneof![
        60 => Just(Claim::Right),
        1 => (0..2000_i64).prop_map(Claim::Wrong),
        1 => Just(Claim::Wrong(GREATEST_OFFSET)),
        1 => Just(Claim::Unheard),
    ];
    let records = prop_oneof![6 => 0..1000_i64, 1 => Just(GREATEST_OFFSET / 2)];
    let behind = option::weighted(0.9, -600..3600_i64);
    (claim, records, behind, proptest::bool::weighted(0.2))
        .prop_map(move |(claim, records, behind, idle)| MovePlan { partition, claim, records, behind, idle })
}

/// Event time while a history is lived.
pub(crate) struct Clock<'a> {
    history: &'a History,
    now: i64,
}

impl History {
    /// Its steps, each with the clock of its moment.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Step, Clock<'_>)> {
        self.steps.iter().scan(BEGIN, |now, step| {
            *now += step.goes_on;
            Some((step, Clock { history: self, now: *now }))
        })
    }

    /// A delta that takes every partition of a shard at `view` far beyond all that the history holds.
    pub(crate) fn last(&self, view: &View) -> Delta {
        let known = view.known.grown_to(PartitionCounts { rides: 1, fares: 1 });
        let end = BEGIN + 30 * DAY + self.steps.iter().map(|step| step.goes_on).sum::<i64>();
        let moves = known.partitions().map(|partition| {
            let from = view.progress.get(&partition).map(|progress| progress.offset);
            Move { partition, from, to: from.unwrap_or(0), max_event_time: Some(at(end)), idle: false }
        });
        Delta { known, moves: moves.collect(), ..Delta::default() }
    }
}

impl Clock<'_> {
    fn time(&self, behind: i64) -> EventTime {
        at(self.now - behind).floor(self.history.grain)
    }
}

impl Step {
    /// The delta of this step for a shard at `view`.
    pub(crate) fn delta(&self, clock: &Clock<'_>, view: &View) -> Delta {
        let rides = unique(self.rides.iter().map(|(id, behind, place)| {
            (*id, RideEnd { id: *id, end: clock.time(*behind), place: Place::new(*place) })
        }));
        let fares = unique(self.fares.iter().map(|(id, behind, tip)| {
            let tip = Amount::from_micros(*tip);
            (*id, FareStart { id: *id, start: clock.time(*behind), tip })
        }));
        let cells = unique(self.cells.iter().map(|(behind, place, micros, trips)| {
            let (pane, place) = (clock.history.rules.pane(clock.time(*behind)), Place::new(*place));
            let sum = TipSum { micros: *micros, trips: *trips };
            ((pane, place), Cell { pane, place, sum })
        }));
        let moves = unique(self.moves.iter().map(|plan| (plan.partition, plan.made(clock, view))));
        let booked = consumed(&rides, &fares, &cells);
        Delta { known: self.known, moves, rides, fares, cells, booked }
    }
}

impl MovePlan {
    fn made(&self, clock: &Clock<'_>, view: &View) -> Move {
        let from = match self.claim {
            Claim::Right => view.progress.get(&self.partition).map(|progress| progress.offset),
            Claim::Wrong(offset) => Some(offset),
            Claim::Unheard => None,
        };
        let to = (from.unwrap_or(0) + self.records).min(GREATEST_OFFSET);
        let max_event_time = self.behind.map(|behind| clock.time(behind));
        Move { partition: self.partition, from, to, max_event_time, idle: self.idle }
    }
}

/// In the order of keys, one of each.
fn unique<K: Ord, T>(items: impl Iterator<Item = (K, T)>) -> Vec<T> {
    items.collect::<BTreeMap<_, _>>().into_values().collect()
}
