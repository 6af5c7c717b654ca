//! What a path in the sink says. A path is known only if writing it again gives the same text, so no two paths
//! mean one file.

use jiff::civil::Date;

use crate::core::shard::Topic;
use crate::core::time::{Day, EventTime, Span, hour_minute};
use crate::raw::range_log::Range;
use crate::verify::Lane;

/// Where readers look: nothing may lie here that is not theirs (I3).
pub const DATA: [&str; 4] = ["rides", "fares", "invalid", "tips"];

/// What lies below a data path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows of a range.
    Raw(RawName),
    /// Rows of several ranges of a day, merged.
    Merged(Topic, Day),
    /// The window that starts then.
    Window(EventTime),
    /// Windows of a day, merged.
    Windows(Day),
    /// None of ours.
    Stray,
}

/// What lies below `_tips/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The range log of a partition.
    Log(Lane),
    /// Where the partitions of a topic began.
    Latest,
    /// What a writer has not finished, or left.
    Temporary,
    /// Whose the sink is.
    Owner,
    /// What compaction has planned, or done.
    Plan,
    /// None that this version knows.
    Unknown,
}

/// Which rows a raw file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Valid rows of a day.
    Day(Topic, Day),
    /// Invalid lines.
    Invalid(Topic),
}

impl Folder {
    /// Whose rows they are.
    pub const fn topic(self) -> Topic {
        match self {
            Folder::Day(topic, _) | Folder::Invalid(topic) => topic,
        }
    }
}

/// The path of a raw file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawName {
    /// Its folder.
    pub folder: Folder,
    /// Whose range it is.
    pub lane: Lane,
    /// The range.
    pub range: Range,
}

impl RawName {
    fn path(&self) -> String {
        let RawName { folder, lane: Lane { topic, partition }, range: Range { start, end } } = self;
        let folder = match folder {
            Folder::Day(topic, day) => format!("{}/{}", topic.name(), day_folders(day.start())),
            Folder::Invalid(topic) => format!("invalid/{}", topic.name()),
        };
        format!("{folder}/{topic}-{partition}-{start:020}-{end:020}.parquet")
    }
}

/// What lies at `path`, below a data path.
pub fn kind(path: &str) -> Kind {
    let known = match path.split_once('/') {
        Some(("tips", rest)) => window(rest).map(Kind::Window).or_else(|| windows(rest).map(Kind::Windows)),
        Some(("invalid", rest)) => rest.split_once('/').and_then(|(folder, name)| {
            let folder = Folder::Invalid(topic(folder)?);
            Some(Kind::Raw(raw(folder, name)?))
        }),
        Some((folder, rest)) => rest.rsplit_once('/').and_then(|(days, name)| {
            let (topic, day) = (topic(folder)?, parse_days(days)?);
            if merged_of(name).is_some() {
                return Some(Kind::Merged(topic, day));
            }
            Some(Kind::Raw(raw(Folder::Day(topic, day), name)?))
        }),
        None => None,
    };
    let again = match &known {
        Some(Kind::Raw(name)) => name.path(),
        Some(Kind::Window(start)) => window_path(*start),
        Some(Kind::Merged(topic, day)) => {
            in_folder(&format!("{}/{}", topic.name(), day_folders(day.start())), path)
        }
        Some(Kind::Windows(day)) => in_folder(&day_files_path(*day), path),
        Some(Kind::Stray) | None => return Kind::Stray,
    };
    known.filter(|_| again == path).unwrap_or(Kind::Stray)
}

/// What lies at `path`, below `_tips/`.
pub fn control(path: &str) -> Control {
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        ["_tips", "raw", topic, partition, entry] => match (partition.parse(), entry) {
            (Ok(partition), "origin") => Control::Log(Lane { topic: topic.to_owned(), partition }),
            (Ok(partition), entry) if entry.len() == 20 && entry.parse::<i64>().is_ok() => {
                Control::Log(Lane { topic: topic.to_owned(), partition })
            }
            _ => Control::Unknown,
        },
        ["_tips", "raw", _, "latest"] => Control::Latest,
        ["_tips", "compact", _] | ["_tips", "swap", "lock"] => Control::Plan,
        ["_tips", "tmp" | "swap", ..] => Control::Temporary,
        ["_tips", "owner"] => Control::Owner,
        _ => Control::Unknown,
    }
}

/// Where the file of the window that starts at `start` belongs.
pub fn window_path(start: EventTime) -> String {
    format!("tips/{}/window={}/tips.parquet", day_folders(start), hour_minute(start))
}

/// Where files of the windows of `day` belong.
pub fn day_files_path(day: Day) -> String {
    format!("tips/{}/window=all", day_folders(day.start()))
}

fn day_folders(time: EventTime) -> String {
    let date = time.day().date();
    format!("year={}/month={}/day={}", date.year(), date.month(), date.day())
}

fn topic(name: &str) -> Option<Topic> {
    Topic::ALL.into_iter().find(|topic| topic.name() == name)
}

fn raw(folder: Folder, name: &str) -> Option<RawName> {
    let name = name.strip_suffix(".parquet")?;
    // A topic may have dashes in its name; what follows has none.
    let mut parts = name.rsplitn(4, '-');
    let end = parts.next()?.parse().ok()?;
    let start = parts.next()?.parse().ok()?;
    let partition = parts.next()?.parse().ok()?;
    let topic = parts.next()?.to_owned();
    Some(RawName { folder, lane: Lane { topic, partition }, range: Range { start, end } })
}

fn window(rest: &str) -> Option<EventTime> {
    let (days, window) = rest.strip_suffix("/tips.parquet")?.rsplit_once('/')?;
    let (hour, minute) = window.strip_prefix("window=")?.split_once('-')?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    Some(parse_days(days)?.start().plus(Span::from_seconds(hour * 3600 + minute * 60)))
}

fn windows(rest: &str) -> Option<Day> {
    let (folders, name) = rest.rsplit_once('/')?;
    let days = folders.strip_suffix("/window=all")?;
    (merged_of(name) == Some("tips")).then(|| parse_days(days))?
}

/// Whose rows a merged file has: its name is `<topic or tips>-compacted-<number of the plan>-<hash of the sources>`.
fn merged_of(name: &str) -> Option<&str> {
    // A topic may have dashes in its name; what follows has none.
    let mut parts = name.strip_suffix(".parquet")?.rsplitn(4, '-');
    let (hash, number) = (parts.next()?, parts.next()?);
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hash = hash.len() == 16 && hash.bytes().all(is_digit);
    let is_number = number.len() == 6 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_hash && is_number && parts.next()? == "compacted").then(|| parts.next())?
}

/// The file of `path` in `folder`.
fn in_folder(folder: &str, path: &str) -> String {
    format!("{folder}/{}", path.rsplit('/').next().unwrap_or_default())
}

/// A window may start before the first event time there is, in 1969.
fn parse_days(folders: &str) -> Option<Day> {
    let mut folders = folders.split('/');
    let mut value = |name: &str| folders.next()?.strip_prefix(name)?.strip_prefix('=')?.parse::<i16>().ok();
    let (year, month, day) = (value("year")?, value("month")?, value("day")?);
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    folders.next().is_none().then(|| Day::of(date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::window_file;

    #[test]
    fn a_raw_file_says_whose_rows_it_holds() {
        let path =
            "rides/year=2013/month=1/day=2/nyc-taxi-3-00000000000000000100-00000000000000000250.parquet";
        let Kind::Raw(name) = kind(path) else { panic!("a raw file") };
        assert_eq!(name.lane.to_string(), "nyc-taxi/3");
        assert_eq!(name.range, Range { start: 100, end: 250 });
        let day = EventTime::parse(b"2013-01-02 00:00:00").expect("a time").day();
        assert_eq!(name.folder, Folder::Day(Topic::Rides, day));
        let invalid = "invalid/fares/f-0-00000000000000000000-00000000000000000001.parquet";
        let Kind::Raw(name) = kind(invalid) else { panic!("a raw file") };
        assert_eq!(name.folder, Folder::Invalid(Topic::Fares));
    }

    #[test]
    fn a_window_file_says_when_the_window_starts() {
        for seconds in [-1_200, 0, 1_357_000_800, 1_362_095_400] {
            let start = EventTime::from_seconds(seconds);
            assert_eq!(kind(&window_file::path(start)), Kind::Window(start));
            assert_eq!(window_path(start), window_file::path(start));
        }
    }

    #[test]
    fn a_merged_file_says_of_which_day_it_is() {
        let day = EventTime::parse(b"2013-01-02 00:00:00").expect("a time").day();
        let name = "compacted-000001-0123456789abcdef.parquet";
        let raw = format!("fares/year=2013/month=1/day=2/nyc-fares-{name}");
        assert_eq!(kind(&raw), Kind::Merged(Topic::Fares, day));
        let windows = format!("tips/year=2013/month=1/day=2/window=all/tips-{name}");
        assert_eq!(kind(&windows), Kind::Windows(day));
        for stray in [
            format!("invalid/rides/rides-{name}"),
            format!("tips/year=2013/month=1/day=2/tips-{name}"),
            windows.replace("tips-", "rides-"),
            raw.replace("abcdef", "ABCDEF"),
            raw.replace("000001", "1"),
        ] {
            assert_eq!(kind(&stray), Kind::Stray, "{stray}");
        }
        assert_eq!(control("_tips/compact/rides-2013-01-02-000001"), Control::Plan);
    }

    #[test]
    fn what_is_written_otherwise_is_not_known() {
        for path in [
            "rides/x-0-00000000000000000000-00000000000000000001.parquet",
            "rides/year=2013/month=01/day=2/x-0-00000000000000000000-00000000000000000001.parquet",
            "rides/year=2013/month=2/day=30/x-0-00000000000000000000-00000000000000000001.parquet",
            "rides/year=2013/month=1/day=2/x-0-0-00000000000000000001.parquet",
            "rides/year=2013/month=1/day=2/x-0-00000000000000000000-00000000000000000001.parquet.tmp",
            "invalid/x-0-00000000000000000000-00000000000000000001.parquet",
            "invalid/tips/x-0-00000000000000000000-00000000000000000001.parquet",
            "tips/year=2013/month=1/day=2/window=7-00/tips.parquet",
            "tips/year=2013/month=1/day=2/window=07-00/other.parquet",
            "tips/_SUCCESS",
            "rides",
        ] {
            assert_eq!(kind(path), Kind::Stray, "{path}");
        }
    }

    #[test]
    fn the_range_log_is_told_from_what_else_is_kept_aside() {
        let log = Control::Log(Lane { topic: "rides".into(), partition: 7 });
        assert_eq!(control("_tips/raw/rides/7/origin"), log);
        assert_eq!(control("_tips/raw/rides/7/00000000000000000100"), log);
        assert_eq!(control("_tips/raw/rides/x/origin"), Control::Unknown);
        assert_eq!(control("_tips/raw/rides/latest"), Control::Latest);
        assert_eq!(control("_tips/tmp/0123"), Control::Temporary);
        assert_eq!(control("_tips/owner"), Control::Owner);
    }
}
