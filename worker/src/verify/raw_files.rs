//! Raw files one by one: name, folder, footer and statistics have to say the same (I3).

use super::footer::{Footer, FooterError};
use super::path::{Folder, RawName};
use super::report::Check;
use super::{Lane, Names};
use crate::core::shard::Topic;
use crate::core::time::{Day, EventTime};
use crate::raw::range_log::Range;

const NAME: &str = "raw files";

/// A raw file as it was listed, and its footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub len: u64,
    /// What the path says.
    pub name: RawName,
    /// What the footer says.
    pub footer: Result<Footer, FooterError>,
}

impl RawFile {
    /// Whether it counts as one of its range: a file under a name that is not its own is nobody's.
    pub fn is_of_its_range(&self) -> bool {
        let agrees = |footer: &Footer| footer.lane == self.name.lane && footer.range == self.name.range;
        is_range(self.name.range) && self.footer.as_ref().map_or(true, agrees)
    }
}

/// Checks every file by itself.
pub fn check(files: &[RawFile], names: &Names) -> Check {
    let mut check = Check::new(NAME);
    let mut rows = 0;
    for file in files {
        let found = match &file.footer {
            Err(error) => Some(error.to_string()),
            Ok(footer) => {
                rows += footer.rows;
                of_name(&file.name, names).or_else(|| of_footer(&file.name, footer))
            }
        };
        if let Some(found) = found {
            check.find(format!("{} {found}", file.path));
        }
    }
    check.looked_at(format!("footers of {} files, {rows} rows", files.len()))
}

fn is_range(range: Range) -> bool {
    0 <= range.start && range.start < range.end
}

fn of_name(name: &RawName, names: &Names) -> Option<String> {
    let RawName { folder, lane: Lane { topic, .. }, range } = name;
    if !is_range(*range) {
        return Some("has no range in its name".into());
    }
    let is_misplaced = |of| *topic == names.of(of) && folder.topic() != of;
    Topic::ALL
        .into_iter()
        .any(is_misplaced)
        .then(|| format!("is of the topic {topic} and lies with the other one's files"))
}

fn of_footer(name: &RawName, footer: &Footer) -> Option<String> {
    let Footer { lane, range, rows, offsets, event_times } = footer;
    if (lane, range) != (&name.lane, &name.range) {
        return Some(format!("holds {lane} from {} to {}, by its footer", range.start, range.end));
    }
    if *rows == 0 {
        return Some("has no rows".into());
    }
    let Some((least, greatest)) = *offsets else { return Some("has no statistics of its offsets".into()) };
    if least < range.start || greatest >= range.end {
        return Some(format!("holds offsets from {least} to {greatest}"));
    }
    if greatest - least + 1 < *rows {
        return Some(format!("holds {rows} rows of the offsets from {least} to {greatest}"));
    }
    match name.folder {
        Folder::Day(_, day) => of_day(day, *event_times),
        Folder::Invalid(_) => None,
    }
}

/// What is wrong with the event times of a file of `day`.
pub(super) fn of_day(day: Day, event_times: Option<(i64, i64)>) -> Option<String> {
    let Some((least, greatest)) = event_times else {
        return Some("has no statistics of its event times".into());
    };
    let time = |micros: i64| EventTime::from_seconds(micros.div_euclid(1_000_000));
    let (least, greatest) = (time(least), time(greatest));
    (least.day() != day || greatest.day() != day)
        .then(|| format!("holds event times from {least} to {greatest}"))
}
