//! The files of the sink: which of them a query reads.
//!
//! Paths say what is in them (`tips/year=Y/month=M/day=D/window=HH-MM/`, `rides/year=Y/month=M/day=D/`), so a query
//! that bounds the time lists the folders of its days only, and opens only the files whose times it may want. Of
//! what is in them Parquet's own statistics decide.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use futures::future::try_join_all;
use tips_worker::core::shard::Topic;
use tips_worker::core::time::{Day, EventTime, Span};
use tips_worker::sink::{Entry, Sink, SinkError};
use tips_worker::verify::path::{Folder, Kind, kind};

use crate::bounds::Bounds;

const DAY: Span = Span::from_seconds(86_400);
/// Up to so many days are listed one by one, at once; more by listing all of the table.
const DAYS: i64 = 62;

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
    fn folder(self) -> &'static str {
        match self {
            Table::Tips => "tips",
            Table::Raw(topic) => topic.name(),
            Table::Invalid => "invalid",
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
}

/// What a table has in the sink, within bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The files that may hold a row.
    pub files: Vec<File>,
    /// The starts of the windows that are in files, whichever.
    pub windows: BTreeSet<EventTime>,
}

/// What `table` has within `bounds`, as of one listing.
///
/// # Errors
/// Where the sink does not answer.
pub async fn list(sink: &Sink, table: Table, bounds: Bounds) -> Result<Listed, SinkError> {
    let folders = folders(table, bounds);
    let listed = try_join_all(folders.iter().map(|folder| sink.list(folder))).await?;
    let files = listed.into_iter().flatten().filter_map(|entry| file(table, entry));
    let wanted = |file: &File| file.times.as_ref().is_none_or(|times| bounds.meet(times));
    let files: Vec<File> = files.filter(wanted).collect();
    let windows = files.iter().filter_map(File::window).collect();
    Ok(Listed { files, windows })
}

fn folders(table: Table, bounds: Bounds) -> Vec<String> {
    let all = || vec![table.folder().to_owned()];
    let (Some(from), Some(to), true) = (bounds.from, bounds.to, table != Table::Invalid) else {
        return all();
    };
    let (first, last) = (from.day(), to.day());
    let days = last.start().since(first.start()).seconds() / DAY.seconds() + 1;
    if days > DAYS {
        return all();
    }
    (0..days)
        .map(|n| day_folder(table, first.start().plus(Span::from_seconds(DAY.seconds() * n)).day()))
        .collect()
}

fn day_folder(table: Table, day: Day) -> String {
    let date = day.date();
    format!("{}/year={}/month={}/day={}", table.folder(), date.year(), date.month(), date.day())
}

/// `None` for what is none of ours: a data path holds nothing else, but whoever puts something there shall not
/// break the queries.
fn file(table: Table, entry: Entry) -> Option<File> {
    let times = match (kind(&entry.path), table) {
        (Kind::Window(start), Table::Tips) => Some(start..=start),
        (Kind::Raw(name), _) => match name.folder {
            Folder::Day(_, day) => Some(day_times(day)),
            Folder::Invalid(_) => None,
        },
        _ => return None,
    };
    Some(File { entry, times })
}

fn day_times(day: Day) -> RangeInclusive<EventTime> {
    day.start()..=EventTime::from_seconds(day.start().seconds() + DAY.seconds() - 1)
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
        let listed = folders(Table::Raw(Topic::Rides), two);
        assert_eq!(listed, ["rides/year=2013/month=1/day=31", "rides/year=2013/month=2/day=1"]);
        assert_eq!(folders(Table::Tips, Bounds { to: None, ..two }), ["tips"]);
        assert_eq!(folders(Table::Tips, bounds("2013-01-01 00:00:00", "2013-12-31 00:00:00")), ["tips"]);
        assert_eq!(folders(Table::Invalid, two), ["invalid"]);
        assert!(folders(Table::Tips, bounds("2013-01-02 00:00:00", "2013-01-01 00:00:00")).is_empty());
    }

    #[test]
    fn what_is_none_of_ours_is_no_file_of_a_table() {
        let entry = |path: &str| Entry { path: path.to_owned(), len: 1 };
        assert_eq!(file(Table::Tips, entry("tips/_SUCCESS")), None);
        let window = file(Table::Tips, entry("tips/year=2013/month=1/day=1/window=10-20/tips.parquet"));
        let start = at("2013-01-01 10:20:00");
        assert_eq!(window.expect("a window").times, Some(start..=start));
    }
}
