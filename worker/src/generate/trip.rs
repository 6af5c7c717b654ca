//! A ride and how one is drawn: where it ends, how long it takes, what is paid, and what is to
//! become of its two sides.

use super::area::{Areas, BOX, Point};
use super::args::Pattern;
use super::dice::Dice;
use super::error::GenerateError;
use super::plan::Plan;

const TAXIS: u64 = 13_000;
const DRIVERS: u64 = 40_000;
const FIRST_LICENCE: u32 = 2_013_000_001;

/// Trip lengths in seconds by rank: a tenth of the trips lies between two neighbours.
const LENGTHS: [i64; 11] = [180, 290, 380, 470, 560, 670, 800, 960, 1_180, 1_580, 2_400];

/// Points from which nobody was driven: a GPS without a fix, beyond the rivers, upstate, and a
/// step outside each bound of the box.
const OUT_OF_BOX: [Point; 8] = [
    Point { lon: 0, lat: 0 },
    Point { lon: -74_171_000, lat: 40_735_657 },
    Point { lon: -73_587_912, lat: 40_723_001 },
    Point { lon: -73_912_345, lat: 41_290_000 },
    Point { lon: BOX.west - 1, lat: 40_750_000 },
    Point { lon: BOX.east + 1, lat: 40_750_000 },
    Point { lon: -73_980_000, lat: BOX.south - 1 },
    Point { lon: -73_980_000, lat: BOX.north + 1 },
];

/// Points on the bounds of the box, which belong to it.
const ON_THE_BOUND: [Point; 4] = [
    Point { lon: BOX.west, lat: 40_750_000 },
    Point { lon: BOX.east, lat: BOX.north },
    Point { lon: -73_980_000, lat: BOX.south },
    Point { lon: BOX.west, lat: BOX.south },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ride {
    pub(super) id: u64,
    pub(super) start: i64,
    pub(super) seconds: i32,
    pub(super) from: Point,
    pub(super) to: Point,
    pub(super) taxi: u32,
    pub(super) driver: u32,
    pub(super) paid: Paid,
    /// Where it ends: an index of [`Areas`].
    pub(super) area: u16,
    pub(super) passengers: u8,
    pub(super) fate: Fate,
    pub(super) twice: Option<Line>,
}

/// Cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paid {
    pub(super) by: Payment,
    pub(super) tip: u32,
    pub(super) tolls: u32,
    pub(super) total: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payment {
    Card,
    Cash,
    NoCharge,
    Dispute,
}

impl Payment {
    pub(super) fn code(self) -> &'static [u8] {
        match self {
            Self::Card => b"CRD",
            Self::Cash => b"CSH",
            Self::NoCharge => b"NOC",
            Self::Dispute => b"DIS",
        }
    }
}

/// The three lines of a ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Start,
    End,
    Fare,
}

/// What becomes of a ride's END and its fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They join.
    Joins,
    /// They would have, but come after all their windows are closed.
    Late,
    /// The fare never comes.
    RideAlone,
    /// The END never comes.
    FareAlone,
    /// An end of the ride lies outside the box.
    OutOfArea,
    /// Both come, but the join's condition does not hold.
    Apart,
}

impl Ride {
    pub(super) fn end(&self) -> i64 {
        self.start + i64::from(self.seconds)
    }
}

pub(super) struct Trips {
    areas: Areas,
    /// Running sums of the neighbourhoods' weights.
    busy: Vec<u64>,
    /// Usual tip by neighbourhood, in basis points of the fare.
    tips: Vec<u64>,
}

impl Trips {
    pub(super) fn new(plan: &Plan, areas: Areas) -> Result<Self, GenerateError> {
        if !plan.shares.other.is_zero() && !areas.has_other() {
            let reason = "the neighbourhoods leave no room for it: give --other 0";
            return Err(GenerateError::setting("--other", reason));
        }
        let mut dice = Dice::new(plan.seed, 1);
        let order = shuffled(areas.len(), &mut dice);
        let mut sum = 0;
        let busy = order
            .iter()
            .map(|rank| {
                sum += weight(plan.pattern, *rank, areas.len() as u64);
                sum
            })
            .collect();
        let tips = (0..=areas.len()).map(|_| 800 + dice.below(2_000)).collect();
        Ok(Self { areas, busy, tips })
    }

    pub(super) fn areas(&self) -> &Areas {
        &self.areas
    }

    pub(super) fn draw(&self, plan: &Plan, index: u64, dice: &mut Dice) -> Ride {
        let start = plan.starts_at(index);
        let (seconds, fate) = self.course(plan, start, dice);
        let area = if dice.hit(plan.shares.other) { self.areas.len() } else { self.neighbourhood(dice) };
        let (from, to) = self.ends(area, fate, dice);
        Ride {
            id: plan.first_ride_id + index,
            start,
            seconds: seconds as i32,
            from,
            to,
            taxi: FIRST_LICENCE + dice.below(TAXIS) as u32,
            driver: FIRST_LICENCE + dice.below(DRIVERS) as u32,
            paid: self.pay(plan, area, start, seconds as u64, dice),
            area: area as u16,
            passengers: passengers(dice),
            fate,
            twice: twice(plan, fate, dice),
        }
    }

    /// How long the ride takes and what is to become of it. Each share is of all rides.
    fn course(&self, plan: &Plan, start: i64, dice: &mut Dice) -> (i64, Fate) {
        let shares = &plan.shares;
        let usual = plan.trip_length(length(dice));
        let within = plan.job.join_within;
        if dice.hit(shares.border) {
            return match dice.below(3) {
                0 => (within, Fate::Joins),
                1 => (within + 1, Fate::Apart),
                _ => (0, Fate::Apart),
            };
        }
        if dice.hit(shares.unmatched) {
            let side = [Fate::RideAlone, Fate::FareAlone][dice.below(2) as usize];
            return (usual, side);
        }
        if dice.hit(shares.out_of_area) {
            return (usual, Fate::OutOfArea);
        }
        let in_time_to_be_late = start + plan.late_after() < plan.starts_at(plan.rides - 1);
        if dice.hit(shares.late) && in_time_to_be_late {
            return (usual, Fate::Late);
        }
        (usual, Fate::Joins)
    }

    fn neighbourhood(&self, dice: &mut Dice) -> usize {
        let all = *self.busy.last().expect("there is at least one neighbourhood");
        let drawn = dice.below(all);
        self.busy.partition_point(|sum| *sum <= drawn)
    }

    fn ends(&self, area: usize, fate: Fate, dice: &mut Dice) -> (Point, Point) {
        let inside = self.areas.point_in(area, dice);
        let about = match dice.below(256) {
            0 => pick(&ON_THE_BOUND, dice),
            _ => self.areas.point_about(self.neighbourhood(dice), dice),
        };
        if fate != Fate::OutOfArea {
            return (about, inside);
        }
        let outside = pick(&OUT_OF_BOX, dice);
        match dice.below(3) {
            0 => (outside, inside),
            1 => (about, outside),
            _ => (outside, outside),
        }
    }

    fn pay(&self, plan: &Plan, area: usize, start: i64, seconds: u64, dice: &mut Dice) -> Paid {
        let metered = 250 + 50 * (seconds / 50);
        let tolls = if dice.below(40) == 0 { 480 } else { 0 };
        let card = dice.hit(plan.shares.card);
        let (mood, rare) = (dice.below(101), dice.below(64));
        let (by, tip) = match (card, rare) {
            (true, 0..=2) => (Payment::Card, 0),
            (true, _) => {
                let parts = self.tips[area] * hour_factor(start) * (50 + mood);
                (Payment::Card, metered * parts / 100_000_000)
            }
            (false, 0) => (Payment::NoCharge, 0),
            (false, 1) => (Payment::Dispute, 0),
            (false, _) => (Payment::Cash, 0),
        };
        Paid { by, tip: tip as u32, tolls: tolls as u32, total: (metered + 50 + tip + tolls) as u32 }
    }
}

/// Percent: people tip more at night than at noon, so that the answer differs by window too.
fn hour_factor(second: i64) -> u64 {
    let minute_of_day = second.rem_euclid(86_400) / 60;
    80 + (minute_of_day - 720).unsigned_abs() / 18
}

/// Most trips by [`LENGTHS`]; three in a hundred up to nearly two hours, the longer the rarer.
fn length(dice: &mut Dice) -> i64 {
    if dice.below(100) < 3 {
        let reach = dice.between(0, 68);
        return 2_400 + reach * reach + dice.between(0, 100);
    }
    let decile = dice.below(10) as usize;
    dice.between(LENGTHS[decile], LENGTHS[decile + 1] - 1)
}

fn passengers(dice: &mut Dice) -> u8 {
    match dice.below(10) {
        0..=6 => 1,
        7 => 2,
        _ => 1 + dice.below(6) as u8,
    }
}

/// Never both sides of a pair: two of each could join twice, depending on who reads what when.
fn twice(plan: &Plan, fate: Fate, dice: &mut Dice) -> Option<Line> {
    if !dice.hit(plan.shares.duplicates) {
        return None;
    }
    let line = [Line::Start, Line::End, Line::Fare][dice.below(3) as usize];
    match (fate, line) {
        (Fate::RideAlone, Line::Fare) => Some(Line::End),
        (Fate::FareAlone, Line::End) => Some(Line::Fare),
        _ => Some(line),
    }
}

fn weight(pattern: Pattern, rank: u64, count: u64) -> u64 {
    match (pattern, rank) {
        (Pattern::Uniform, _) => 1,
        (Pattern::Skewed, _) => 1_000_000 / (rank + 1),
        (Pattern::Hotspot, 0) => count.max(2) - 1,
        (Pattern::Hotspot, _) => 1,
    }
}

fn shuffled(count: usize, dice: &mut Dice) -> Vec<u64> {
    let mut order: Vec<u64> = (0..count as u64).collect();
    for last in (1..count).rev() {
        order.swap(last, dice.below(last as u64 + 1) as usize);
    }
    order
}

fn pick(points: &[Point], dice: &mut Dice) -> Point {
    points[dice.below(points.len() as u64) as usize]
}
