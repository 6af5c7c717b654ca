//! The answer that the pipeline must give for these lines, worked out from what the generator
//! knows about each ride, not from the lines: tips by window, and the books.

use std::collections::BTreeMap;

use super::area::Areas;
use super::lines::Flaw;
use super::plan::Job;
use super::trip::{Fate, Line, Ride};

/// Which of the two topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Rides,
    Fares,
}

impl Topic {
    pub(super) const BOTH: [Self; 2] = [Self::Rides, Self::Fares];

    pub(super) fn of(line: Line) -> Self {
        match line {
            Line::Start | Line::End => Self::Rides,
            Line::Fare => Self::Fares,
        }
    }
}

/// What a line must be counted as when all input has been read and every window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Start,
    Joined,
    Unmatched,
    Duplicate,
    DuplicateOrUnmatched,
    Late,
    OutOfArea,
    Invalid(Flaw),
}

/// The outcome of a valid line; `copy` says that it is sent the second time.
pub(super) fn outcome(line: Line, fate: Fate, copy: bool) -> Outcome {
    match (line, fate) {
        (Line::Start, _) => Outcome::Start,
        (Line::End, Fate::OutOfArea) => Outcome::OutOfArea,
        (_, Fate::Late) => Outcome::Late,
        (_, Fate::Joins) if copy => Outcome::DuplicateOrUnmatched,
        (_, Fate::Joins) => Outcome::Joined,
        // Its like waits for a partner that never comes, so the copy is seen while it is pending.
        _ if copy => Outcome::Duplicate,
        _ => Outcome::Unmatched,
    }
}

/// The records of one topic by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)] // the outcomes of the pipeline's books, by the same names
pub struct TopicBooks {
    pub consumed: u64,
    pub start: u64,
    pub joined: u64,
    /// Nothing is, once every window is closed.
    pub pending: u64,
    pub unmatched: u64,
    pub duplicate: u64,
    /// Copies of lines that join. Whether a copy meets its like while that is still pending depends
    /// on who reads what when; only the sum of the two outcomes is certain.
    pub duplicate_or_unmatched: u64,
    pub late: u64,
    pub out_of_area: u64,
    pub invalid: u64,
    pub invalid_by: InvalidBy,
}

/// The invalid records of one topic by what is wrong with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct InvalidBy {
    pub columns: u64,
    pub field: u64,
    pub not_utf8: u64,
    pub empty_tip: u64,
    pub null_value: u64,
}

/// What must have become of every record.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Books {
    /// The topic of the rides.
    pub rides: TopicBooks,
    /// The topic of the fares.
    pub fares: TopicBooks,
}

impl Books {
    pub(super) fn count(&mut self, topic: Topic, outcome: Outcome) {
        let books = match topic {
            Topic::Rides => &mut self.rides,
            Topic::Fares => &mut self.fares,
        };
        books.consumed += 1;
        let counter = match outcome {
            Outcome::Start => &mut books.start,
            Outcome::Joined => &mut books.joined,
            Outcome::Unmatched => &mut books.unmatched,
            Outcome::Duplicate => &mut books.duplicate,
            Outcome::DuplicateOrUnmatched => &mut books.duplicate_or_unmatched,
            Outcome::Late => &mut books.late,
            Outcome::OutOfArea => &mut books.out_of_area,
            Outcome::Invalid(flaw) => {
                books.invalid_by.count(flaw);
                &mut books.invalid
            }
        };
        *counter += 1;
    }
}

impl InvalidBy {
    fn count(&mut self, flaw: Flaw) {
        let counter = match flaw {
            Flaw::ColumnTooFew | Flaw::ColumnTooMany => &mut self.columns,
            Flaw::Field => &mut self.field,
            Flaw::NotUtf8 => &mut self.not_utf8,
            Flaw::EmptyTip => &mut self.empty_tip,
            Flaw::NullValue => &mut self.null_value,
        };
        *counter += 1;
    }
}

/// Trips and tips (cents) by start of window, then by index of the neighbourhood.
pub(super) struct Tips {
    job: Job,
    areas: usize,
    windows: BTreeMap<i64, Vec<Cell>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) trips: u64,
    pub(super) cents: u64,
}

/// A row of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) name: &'a str,
    pub(super) cell: Cell,
}

impl Tips {
    pub(super) fn new(job: Job, areas: &Areas) -> Self {
        Self { job, areas: areas.len() + 1, windows: BTreeMap::new() }
    }

    /// Counts a joined ride in every window that holds its end.
    pub(super) fn count(&mut self, ride: &Ride) {
        let end = ride.end();
        let mut start = end - end.rem_euclid(self.job.slide);
        while start + self.job.window > end {
            let cells = self.windows.entry(start).or_insert_with(|| vec![Cell::default(); self.areas]);
            let cell = &mut cells[usize::from(ride.area)];
            cell.trips += 1;
            cell.cents += u64::from(ride.paid.tip);
            start -= self.job.slide;
        }
    }

    /// All rows, by window and then by name. Neighbourhoods of one name are one.
    pub(super) fn rows<'a>(&'a self, areas: &'a Areas) -> impl Iterator<Item = Row<'a>> {
        self.windows.iter().flat_map(move |(&start, cells)| {
            let mut by_name: BTreeMap<&str, Cell> = BTreeMap::new();
            for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.trips > 0) {
                let sum = by_name.entry(areas.name(index)).or_default();
                sum.trips += cell.trips;
                sum.cents += cell.cents;
            }
            by_name.into_iter().map(move |(name, cell)| Row {
                start,
                end: start + self.job.window,
                name,
                cell,
            })
        })
    }
}
