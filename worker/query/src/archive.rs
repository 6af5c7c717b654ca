//! The files of the sink: which of them a query reads.
//!
//! Paths say what is in them (`tips/year=Y/month=M/day=D/window=HH-MM/`, `rides/year=Y/month=M/day=D/`), so a query
//! that bounds the time lists the folders of its days only, and opens only the files whose times it may want. Of
//! what is in them Parquet's own statistics decide.
//!
//! While files are compacted, the journal tells which of them count ([`tips_worker::compact::visible`]).

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use futures::future::try_join_all;
use tips_worker::compact::folder::{Dataset, Folder as DayFolder};
use tips_worker::compact::journal::{Journal, JournalError};
use tips_worker::compact::visible::visible;
use tips_worker::core::shard::Topic;
use tips_worker::core::time::{Day, EventTime, Span};
use tips_worker::sink::{Entry, Sink, SinkError};
use tips_worker::verify::path::{Folder, Kind, kind};

use crate::bounds::Bounds;

/// Up to so many days are listed one by one, at once; more by listing all of the table.
const DAYS: i64 = 62;
/// How often a listing is made again that has a hole which compaction explains.
const TRIES: usize = 5;
/// What a merge takes between two of its steps, and more.
const AGAIN: Duration = Duration::from_millis(100);

/// A table's folder in the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Windows.
    Tips,
    /// Valid lines of a topic.
    Raw(Topic),
    /// Lines in quarantine.
    Invalid,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 4] =
        [Table::Tips, Table::Raw(Topic::Rides), Table::Raw(Topic::Fares), Table::Invalid];

    /// Its path, which is its name too.
    pub fn folder(self) -> &'static str {
        self.dataset().map_or("invalid", Dataset::name)
    }

    /// What compaction calls it; it leaves quarantine alone.
    fn dataset(self) -> Option<Dataset> {
        match self {
            Table::Tips => Some(Dataset::Tips),
            Table::Raw(Topic::Rides) => Some(Dataset::Rides),
            Table::Raw(Topic::Fares) => Some(Dataset::Fares),
            Table::Invalid => None,
        }
    }
}

/// A file with the times of its rows, where its path tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub entry: Entry,
    /// The least and the greatest time that a row may have.
    pub times: Option<RangeInclusive<EventTime>>,
}

impl File {
    /// The start of the one window that it holds; `None` where it holds others.
    pub fn window(&self) -> Option<EventTime> {
        match kind(&self.entry.path) {
            Kind::Window(start) => Some(start),
            _ => None,
        }
    }

    /// The day of which it holds windows; `None` where it holds one, or others.
    pub fn windows_of(&self) -> Option<Day> {
        match kind(&self.entry.path) {
            Kind::Windows(day) => Some(day),
            _ => None,
        }
    }
}

/// What a table has in the sink, within bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The files that may hold a row.
    pub files: Vec<File>,
    /// The starts of the windows that are in files of their own, whichever.
    pub windows: BTreeSet<EventTime>,
}

/// What `table` has within `bounds`, as of one moment.
///
/// # Errors
/// Where the sink does not answer, or the journal of compaction makes no sense.
pub async fn list(sink: &Sink, table: Table, bounds: Bounds) -> Result<Listed, JournalError> {
    let days = days(table, bounds);
    let mut tries = TRIES;
    let entries = loop {
        let entries = entries(sink, table, days.as_deref()).await?;
        let Some(dataset) = table.dataset() else { break entries };
        // After the data: see `compact::visible`.
        let wanted = |folder: DayFolder| {
            folder.dataset == dataset && days.as_ref().is_none_or(|days| days.contains(&folder.day))
        };
        let plans = Journal::new(sink.clone()).plans(wanted).await?;
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        let seen = visible(&paths, &plans);
        tries -= 1;
        // A hole that stays was made by a person, who has deleted files.
        if seen.torn.is_some() && tries > 0 {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let counts: HashSet<&str> = seen.files.into_iter().collect();
        break entries.iter().filter(|entry| counts.contains(entry.path.as_str())).cloned().collect();
    };
    let wanted = |file: &File| file.times.as_ref().is_none_or(|times| bounds.meet(times));
    let files: Vec<File> =
        entries.into_iter().filter_map(|entry| file(table, entry)).filter(wanted).collect();
    let windows = files.iter().filter_map(File::window).collect();
    Ok(Listed { files, windows })
}

async fn entries(sink: &Sink, table: Table, days: Option<&[Day]>) -> Result<Vec<Entry>, SinkError> {
    let folders = match days {
        Some(days) => days.iter().map(|day| day_folder(table, *day)).collect(),
        None => vec![table.folder().to_owned()],
    };
    let listed = try_join_all(folders.iter().map(|folder| sink.list(folder))).await?;
    Ok(listed.into_iter().flatten().collect())
}

/// The days whose folders are listed; `None`: all.
fn days(table: Table, bounds: Bounds) -> Option<Vec<Day>> {
    let (Some(from), Some(to), true) = (bounds.from, bounds.to, table != Table::Invalid) else { return None };
    let (first, last) = (from.day().start(), to.day().start());
    let days = last.since(first).seconds() / Span::DAY.seconds() + 1;
    let day = |n| first.plus(Span::from_seconds(Span::DAY.seconds() * n)).day();
    (days <= DAYS).then(|| (0..days).map(day).collect())
}

fn day_folder(table: Table, day: Day) -> String {
    format!("{}/{}", table.folder(), day.folders())
}

/// `None` for what is none of ours: a data path holds nothing else, but whoever puts something there shall not
/// break the queries.
fn file(table: Table, entry: Entry) -> Option<File> {
    let times = match (kind(&entry.path), table) {
        (Kind::Window(start), Table::Tips) => Some(start..=start),
        (Kind::Windows(day), Table::Tips) | (Kind::Merged(_, day), Table::Raw(_)) => Some(day_times(day)),
        (Kind::Raw(name), _) => match name.folder {
            Folder::Day(_, day) => Some(day_times(day)),
            Folder::Invalid(_) => None,
        },
        _ => return None,
    };
    Some(File { entry, times })
}

/// The times of a day.
pub fn day_times(day: Day) -> RangeInclusive<EventTime> {
    day.start()..=EventTime::from_seconds(day.start().seconds() + Span::DAY.seconds() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        EventTime::parse(text.as_bytes()).expect(text)
    }

    fn bounds(from: &str, to: &str) -> Bounds {
        Bounds { from: Some(at(from)), to: Some(at(to)) }
    }

    #[test]
    fn days_are_listed_where_the_time_is_bounded_and_all_where_it_is_not() {
        let two = bounds("2013-01-31 10:00:00", "2013-02-01 00:00:00");
        let listed = days(Table::Raw(Topic::Rides), two).expect("few days");
        let folders: Vec<String> =
            listed.into_iter().map(|day| day_folder(Table::Raw(Topic::Rides), day)).collect();
        assert_eq!(folders, ["rides/year=2013/month=1/day=31", "rides/year=2013/month=2/day=1"]);
        assert_eq!(days(Table::Tips, Bounds { to: None, ..two }), None);
        assert_eq!(days(Table::Tips, bounds("2013-01-01 00:00:00", "2013-12-31 00:00:00")), None);
        assert_eq!(days(Table::Invalid, two), None);
        let none = days(Table::Tips, bounds("2013-01-02 00:00:00", "2013-01-01 00:00:00"));
        assert_eq!(none, Some(Vec::new()));
    }

    #[test]
    fn what_is_none_of_ours_is_no_file_of_a_table() {
        let entry = |path: &str| Entry { path: path.to_owned(), len: 1 };
        assert_eq!(file(Table::Tips, entry("tips/_SUCCESS")), None);
        let window = file(Table::Tips, entry("tips/year=2013/month=1/day=1/window=10-20/tips.parquet"));
        let start = at("2013-01-01 10:20:00");
        assert_eq!(window.expect("a window").times, Some(start..=start));
        let merged = file(
            Table::Tips,
            entry("tips/year=2013/month=1/day=1/window=all/tips-compacted-000001-336a3e44c610d383.parquet"),
        );
        assert_eq!(merged.and_then(|file| file.windows_of()), Some(start.day()));
    }
}
