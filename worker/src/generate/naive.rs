//! The job read off its definition, line by line, with strings and maps: what the lines mean to one
//! who does not know how they were made. For the tests of the generator; slow and plain on purpose.

use std::collections::BTreeMap;

use geojson::{FeatureCollection, GeometryValue};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const WINDOW: i64 = 1_800;
const SLIDE: i64 = 600;
const WITHIN: i64 = 7_200;
const DELAY: i64 = 1_800;

type Rings = Vec<Vec<(f64, f64)>>;

/// A partition's lines, and whether they are rides.
pub(super) struct Partition {
    pub(super) rides: bool,
    pub(super) lines: Vec<Vec<u8>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// By window's start and neighbourhood: trips and cents.
    pub(super) tips: BTreeMap<(i64, String), (u64, u64)>,
    /// By topic (rides: true) and outcome.
    pub(super) books: BTreeMap<(bool, &'static str), u64>,
}

#[derive(Clone)]
enum Parsed {
    Start { time: i64 },
    End(End),
    Fare(Fare),
}

#[derive(Clone)]
struct End {
    id: u64,
    time: i64,
    from: (f64, f64),
    to: (f64, f64),
}

#[derive(Clone)]
struct Fare {
    id: u64,
    time: i64,
    cents: u64,
}

pub(super) struct Reader {
    partitions: Vec<Partition>,
    next: Vec<usize>,
    newest: Vec<i64>,
    watermark: i64,
    polygons: Vec<(String, Rings)>,
    ends: BTreeMap<u64, End>,
    fares: BTreeMap<u64, Fare>,
    answer: Answer,
}

impl Reader {
    pub(super) fn new(partitions: Vec<Partition>, polygons: &str) -> Self {
        Self {
            next: vec![0; partitions.len()],
            newest: vec![i64::MIN / 2; partitions.len()],
            watermark: i64::MIN,
            partitions,
            polygons: read_polygons(polygons),
            ends: BTreeMap::new(),
            fares: BTreeMap::new(),
            answer: Answer::default(),
        }
    }

    /// Reads all: each time the next line of that one of the unfinished partitions that `choose`
    /// picks, given their greatest event times.
    pub(super) fn read(mut self, mut choose: impl FnMut(&[i64]) -> usize) -> Answer {
        loop {
            let open: Vec<usize> = (0..self.partitions.len())
                .filter(|at| self.next[*at] < self.partitions[*at].lines.len())
                .collect();
            if open.is_empty() {
                break;
            }
            // Those that are read to their end count as idle already: nobody is quicker to close.
            let least = open.iter().map(|at| self.newest[*at]).min();
            self.watermark = self.watermark.max(least.map_or(i64::MIN, |least| least - DELAY));
            let times: Vec<i64> = open.iter().map(|at| self.newest[*at]).collect();
            let at = open[choose(&times) % open.len()];
            let line = std::mem::take(&mut self.partitions[at].lines[self.next[at]]);
            self.next[at] += 1;
            self.take(at, &line);
        }
        for (rides, left) in [(true, self.ends.len()), (false, self.fares.len())] {
            *self.answer.books.entry((rides, "unmatched")).or_default() += left as u64;
        }
        self.answer.books.retain(|_, count| *count > 0);
        self.answer
    }

    fn take(&mut self, at: usize, line: &[u8]) {
        let rides = self.partitions[at].rides;
        let watermark = self.watermark;
        let outcome = match parse(rides, line) {
            None => Some("invalid"),
            Some(parsed) => {
                let time = match &parsed {
                    Parsed::Start { time } => *time,
                    Parsed::End(end) => end.time,
                    Parsed::Fare(fare) => fare.time,
                };
                self.newest[at] = self.newest[at].max(time);
                match parsed {
                    Parsed::Start { .. } => Some("start"),
                    Parsed::End(end) => self.take_end(end, watermark),
                    Parsed::Fare(fare) => self.take_fare(fare, watermark),
                }
            }
        };
        if let Some(outcome) = outcome {
            *self.answer.books.entry((rides, outcome)).or_default() += 1;
        }
    }

    /// `None`: the END is pending, or has joined and is counted.
    fn take_end(&mut self, end: End, watermark: i64) -> Option<&'static str> {
        if !in_box(end.from) || !in_box(end.to) {
            return Some("out_of_area");
        }
        if last_window(end.time) <= watermark {
            return Some("late");
        }
        match self.fares.get(&end.id) {
            Some(fare) if joins(&end, fare) && last_window(fare.time + WITHIN) > watermark => {
                let fare = self.fares.remove(&end.id).expect("it was just there");
                self.join(&end, &fare, watermark);
                None
            }
            _ if self.ends.contains_key(&end.id) => Some("duplicate"),
            _ => {
                self.ends.insert(end.id, end);
                None
            }
        }
    }

    fn take_fare(&mut self, fare: Fare, watermark: i64) -> Option<&'static str> {
        if last_window(fare.time + WITHIN) <= watermark {
            return Some("late");
        }
        match self.ends.get(&fare.id) {
            Some(end) if joins(end, &fare) && last_window(end.time) > watermark => {
                let end = self.ends.remove(&fare.id).expect("it was just there");
                self.join(&end, &fare, watermark);
                None
            }
            _ if self.fares.contains_key(&fare.id) => Some("duplicate"),
            _ => {
                self.fares.insert(fare.id, fare);
                None
            }
        }
    }

    /// Counts both sides.
    fn join(&mut self, end: &End, fare: &Fare, watermark: i64) {
        let name = self.neighbourhood(end.to);
        for start in (end.time - WINDOW + 1..=end.time).filter(|start| start % SLIDE == 0) {
            if start + WINDOW > watermark {
                let cell = self.answer.tips.entry((start, name.clone())).or_default();
                cell.0 += 1;
                cell.1 += fare.cents;
            }
        }
        for rides in [true, false] {
            *self.answer.books.entry((rides, "joined")).or_default() += 1;
        }
    }

    fn neighbourhood(&self, point: (f64, f64)) -> String {
        let holds = |rings: &Rings| rings.iter().filter(|ring| wraps(ring, point)).count() % 2 == 1;
        let found = self.polygons.iter().find(|(_, rings)| holds(rings));
        found.map_or("Other", |(name, _)| name).to_owned()
    }
}

fn parse(rides: bool, line: &[u8]) -> Option<Parsed> {
    let text = std::str::from_utf8(line).ok()?;
    let fields: Vec<&str> = text.split(',').collect();
    if rides { parse_ride(&fields) } else { parse_fare(&fields) }
}

fn parse_ride(fields: &[&str]) -> Option<Parsed> {
    let [id, kind, time, other, from_lon, from_lat, to_lon, to_lat, passengers, taxi, driver] = fields else {
        return None;
    };
    let (_, _, _): (u32, u64, u64) = (passengers.parse().ok()?, taxi.parse().ok()?, driver.parse().ok()?);
    let end = End {
        id: id.parse().ok()?,
        time: second(time)?,
        from: (from_lon.parse().ok()?, from_lat.parse().ok()?),
        to: (to_lon.parse().ok()?, to_lat.parse().ok()?),
    };
    let other = second(other)?;
    match *kind {
        "START" => (other == 0).then_some(Parsed::Start { time: end.time }),
        "END" => (other <= end.time).then_some(Parsed::End(end)),
        _ => None,
    }
}

fn parse_fare(fields: &[&str]) -> Option<Parsed> {
    let [id, taxi, driver, time, payment, tip, tolls, total] = fields else {
        return None;
    };
    let (_, _): (u64, u64) = (taxi.parse().ok()?, driver.parse().ok()?);
    let (cents, tolls, total) = (cents(tip)?, cents(tolls)?, cents(total)?);
    assert!(cents == 0 || *payment == "CRD", "only cards tip");
    assert!(total >= cents + tolls + 250, "the total holds its parts");
    Some(Parsed::Fare(Fare { id: id.parse().ok()?, time: second(time)?, cents }))
}

fn cents(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: u64 = format!("{part:0<2}").parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 100 + part)
}

fn second(text: &str) -> Option<i64> {
    let time: DateTime = text.parse().ok()?;
    let timestamp = TimeZone::UTC.to_timestamp(time).ok()?;
    (text.len() == "yyyy-MM-dd HH:mm:ss".len()).then(|| timestamp.as_second())
}

fn in_box((lon, lat): (f64, f64)) -> bool {
    (-74.05..=-73.7).contains(&lon) && (40.5..=41.0).contains(&lat)
}

fn joins(end: &End, fare: &Fare) -> bool {
    fare.time < end.time && end.time <= fare.time + WITHIN
}

/// When the last window that holds the time ends.
fn last_window(time: i64) -> i64 {
    time - time % SLIDE + WINDOW
}

/// By winding: how the angle to the ring's points turns. Nothing like the even-odd test of `area`.
fn wraps(ring: &[(f64, f64)], (x, y): (f64, f64)) -> bool {
    let turn: f64 = ring
        .windows(2)
        .map(|edge| {
            let (ax, ay) = (edge[0].0 - x, edge[0].1 - y);
            let (bx, by) = (edge[1].0 - x, edge[1].1 - y);
            (ax * by - ay * bx).atan2(ax * bx + ay * by)
        })
        .sum();
    turn.abs() > 3.0
}

fn read_polygons(text: &str) -> Vec<(String, Rings)> {
    let collection: FeatureCollection = text.parse().expect("a FeatureCollection");
    let read = |feature: &geojson::Feature| {
        let name = feature.property("name").and_then(|name| name.as_str()).expect("a name");
        let polygons = match feature.geometry.as_ref().map(|shape| &shape.value) {
            Some(GeometryValue::Polygon { coordinates }) => vec![coordinates.clone()],
            Some(GeometryValue::MultiPolygon { coordinates }) => coordinates.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let points = |ring: Vec<geojson::Position>| ring.iter().map(|at| (at[0], at[1])).collect();
        (name.to_owned(), polygons.into_iter().flatten().map(points).collect())
    };
    collection.features.iter().map(read).collect()
}
