//! Deltas and state as bytes: what `apply.lua` reads and what it keeps. Little-endian; times and offsets as
//! doubles, which hold every whole number below 2^53.

use std::collections::{BTreeMap, HashMap};

use crate::core::amount::TipSum;
use crate::core::books::{Books, Outcome};
use crate::core::delta::{Cell, Delta, FareStart, Move, RideEnd};
use crate::core::fold::Sums;
use crate::core::locate::Place;
use crate::core::shard::{Partition, PartitionCounts, Topic};
use crate::core::time::EventTime;
use crate::core::watermark::Progress;
use crate::core::window::Rules;
use crate::state::StateError;

const NONE: i64 = -1;
/// A sum is `high * CARRY + low`.
const CARRY: i128 = 1_000_000_000_000_000;
const CONSUMED: u8 = b'C';

/// The arguments of the script after the fingerprint.
pub(super) fn args(rules: &Rules, delta: &Delta) -> [Vec<u8>; 10] {
    let mut rides: Vec<RideEnd> = delta.rides.clone();
    rides.sort_unstable_by_key(|ride| rules.ride_expires(ride.end));
    let mut fares: Vec<FareStart> = delta.fares.clone();
    fares.sort_unstable_by_key(|fare| rules.fare_expires(fare.start));
    [
        rule_bytes(rules, delta.known),
        packed(&delta.moves, put_move),
        packed(&delta.cells, put_cell),
        booked(&delta.booked),
        packed(&rides, |out, ride| out.extend(ride.id.to_le_bytes())),
        packed(&rides, put_ride),
        groups(rides.iter().map(|ride| rules.ride_expires(ride.end))),
        packed(&fares, |out, fare| out.extend(fare.id.to_le_bytes())),
        packed(&fares, put_fare),
        groups(fares.iter().map(|fare| rules.fare_expires(fare.start))),
    ]
}

fn packed<T>(items: &[T], put: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() * 34);
    items.iter().for_each(|item| put(&mut out, item));
    out
}

fn double(out: &mut Vec<u8>, whole: i64) {
    out.extend((whole as f64).to_le_bytes());
}

fn rule_bytes(rules: &Rules, known: PartitionCounts) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    for span in [rules.window, rules.slide, rules.delay, rules.join_within] {
        double(&mut out, span.seconds());
    }
    double(&mut out, i64::from(known.rides));
    double(&mut out, i64::from(known.fares));
    out
}

fn topic_byte(topic: Topic) -> u8 {
    match topic {
        Topic::Rides => b'r',
        Topic::Fares => b'f',
    }
}

fn put_move(out: &mut Vec<u8>, m: &Move) {
    out.push(topic_byte(m.partition.topic));
    out.extend(m.partition.index.to_le_bytes());
    double(out, m.from.unwrap_or(NONE));
    double(out, m.to);
    double(out, m.max_event_time.map_or(NONE, EventTime::seconds));
    out.push(u8::from(m.idle));
}

fn put_ride(out: &mut Vec<u8>, ride: &RideEnd) {
    double(out, ride.end.seconds());
    out.extend(ride.place.index().to_le_bytes());
}

fn put_fare(out: &mut Vec<u8>, fare: &FareStart) {
    double(out, fare.start.seconds());
    double(out, fare.tip.micros());
}

fn put_cell(out: &mut Vec<u8>, cell: &Cell) {
    double(out, cell.pane.seconds());
    out.extend(cell.place.index().to_le_bytes());
    double(out, (cell.sum.micros / CARRY) as i64);
    double(out, (cell.sum.micros % CARRY) as i64);
    double(out, cell.sum.trips as i64);
}

/// The runs of equal times in what is sorted by them: time and length.
fn groups(times: impl Iterator<Item = EventTime>) -> Vec<u8> {
    let mut runs: Vec<(EventTime, i64)> = Vec::new();
    for time in times {
        match runs.last_mut() {
            Some((last, length)) if *last == time => *length += 1,
            _ => runs.push((time, 1)),
        }
    }
    packed(&runs, |out, (time, length)| {
        double(out, time.seconds());
        double(out, *length);
    })
}

fn outcome_byte(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Joined => b'J',
        Outcome::Pending => b'P',
        Outcome::Unmatched => b'U',
        Outcome::Duplicate => b'D',
        Outcome::Late => b'L',
        Outcome::OutOfArea => b'O',
        Outcome::Start => b'S',
        Outcome::Invalid => b'I',
    }
}

fn booked(books: &Books) -> Vec<u8> {
    let mut out = Vec::new();
    for topic in Topic::ALL {
        let account = books.of(topic);
        let consumed = (CONSUMED, account.consumed);
        let outcomes = Outcome::ALL.map(|outcome| (outcome_byte(outcome), account.get(outcome)));
        for (byte, records) in std::iter::once(consumed).chain(outcomes).filter(|(_, records)| *records != 0)
        {
            out.extend([topic_byte(topic), byte]);
            double(&mut out, records);
        }
    }
    out
}

/// The `meta` hash.
pub(super) struct Meta {
    pub(super) fingerprint: Option<String>,
    pub(super) watermark: Option<EventTime>,
    pub(super) known: PartitionCounts,
}

impl Meta {
    pub(super) fn read(mut fields: HashMap<String, String>) -> Result<Self, StateError> {
        let number = |field: &str| -> Result<Option<i64>, StateError> {
            let text = fields.get(field).map(|text| text.parse());
            text.transpose().map_err(|_| StateError::Corrupt(format!("meta field {field}")))
        };
        let partitions = |count: Option<i64>| count.unwrap_or(0) as i32;
        let known =
            PartitionCounts { rides: partitions(number("rides")?), fares: partitions(number("fares")?) };
        let watermark = number("watermark")?.map(EventTime::from_seconds);
        Ok(Meta { fingerprint: fields.remove("fingerprint"), watermark, known })
    }
}

/// The `progress` hash.
pub(super) fn progress(
    fields: HashMap<String, Vec<u8>>,
) -> Result<BTreeMap<Partition, Progress>, StateError> {
    let corrupt = |name: &str| StateError::Corrupt(format!("progress of {name:?}"));
    let mut all = BTreeMap::new();
    for (name, value) in fields {
        let topic = match name.as_bytes().first() {
            Some(b'r') => Topic::Rides,
            Some(b'f') => Topic::Fares,
            _ => return Err(corrupt(&name)),
        };
        let index = name[1..].parse().map_err(|_| corrupt(&name))?;
        let mut read = Reader(&value);
        let (Some(offset), Some(time), Some(idle)) = (read.double(), read.double(), read.byte()) else {
            return Err(corrupt(&name));
        };
        let max_event_time = (time != NONE).then(|| EventTime::from_seconds(time));
        all.insert(Partition { topic, index }, Progress { offset, max_event_time, idle: idle != 0 });
    }
    Ok(all)
}

/// The `books` hash.
pub(super) fn books(fields: HashMap<String, i64>) -> Result<Books, StateError> {
    let mut books = Books::default();
    for topic in Topic::ALL {
        let get = |byte: u8| {
            let name: String = [topic_byte(topic), byte].map(char::from).iter().collect();
            fields.get(&name).copied().unwrap_or(0)
        };
        let account = books.of_mut(topic);
        account.consumed = get(CONSUMED);
        for outcome in Outcome::ALL {
            account.add(outcome, get(outcome_byte(outcome)));
        }
    }
    Ok(books)
}

/// The sums of a frozen window.
pub(super) fn sums(bytes: &[u8]) -> Result<Sums, StateError> {
    let mut sums = Sums::new();
    let mut read = Reader(bytes);
    while let Some(place) = read.short() {
        let (Some(high), Some(low), Some(trips)) = (read.double(), read.double(), read.double()) else {
            return Err(StateError::Corrupt("a frozen window is cut short".into()));
        };
        let micros = i128::from(high) * CARRY + i128::from(low);
        sums.insert(Place::new(place), TipSum { micros, trips: trips as u64 });
    }
    Ok(sums)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn double(&mut self) -> Option<i64> {
        self.take().map(|bytes| f64::from_le_bytes(bytes) as i64)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }
}
