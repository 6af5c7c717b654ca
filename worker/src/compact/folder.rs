//! A day of one kind of rows: what is compacted at a time.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::core::shard::Topic;
use crate::core::time::Day;

/// A kind of rows that lie by day.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// Rides.
    Rides,
    /// Fares.
    Fares,
    /// Windows.
    Tips,
}

impl Dataset {
    /// All of them.
    pub const ALL: [Dataset; 3] = [Dataset::Rides, Dataset::Fares, Dataset::Tips];

    /// Its folder at the sink's root.
    pub const fn name(self) -> &'static str {
        match self {
            Dataset::Rides => "rides",
            Dataset::Fares => "fares",
            Dataset::Tips => "tips",
        }
    }

    /// The topic of raw rows; none of windows.
    pub const fn topic(self) -> Option<Topic> {
        match self {
            Dataset::Rides => Some(Topic::Rides),
            Dataset::Fares => Some(Topic::Fares),
            Dataset::Tips => None,
        }
    }
}

/// A day of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder {
    /// What.
    pub dataset: Dataset,
    /// When.
    pub day: Day,
}

impl Folder {
    /// Its path in the sink.
    pub fn path(self) -> String {
        format!("{}/{}", self.dataset.name(), self.day.folders())
    }

    /// The folder whose path this is.
    pub fn at(path: &str) -> Option<Folder> {
        let mut parts = path.split('/');
        let name = parts.next()?;
        let dataset = Dataset::ALL.into_iter().find(|dataset| dataset.name() == name)?;
        let mut number = |key: &str| parts.next()?.strip_prefix(key)?.strip_prefix('=')?.parse::<i16>().ok();
        let (year, month, day) = (number("year")?, number("month")?, number("day")?);
        let folder = Folder { dataset, day: day_of(year, month, day)? };
        // Written otherwise it is none of ours.
        (folder.path() == path).then_some(folder)
    }

    /// The folder of the file at `path`, and the file's path in it.
    pub fn of(path: &str) -> Option<(Folder, &str)> {
        let (end, _) = path.match_indices('/').nth(3)?;
        Some((Folder::at(&path[..end])?, &path[end + 1..]))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Folder> {
        let (name, date) = text.split_once('-')?;
        let dataset = Dataset::ALL.into_iter().find(|dataset| dataset.name() == name)?;
        Some(Folder { dataset, day: parse_day(date)? })
    }
}

/// `rides-2013-01-31`.
impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.dataset.name(), self.day.date())
    }
}

/// Reads `yyyy-mm-dd`, and nothing that is written otherwise.
pub fn parse_day(text: &str) -> Option<Day> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then(|| Day::of(date))
}

fn day_of(year: i16, month: i16, day: i16) -> Option<Day> {
    Some(Day::of(Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_id_lead_back_to_the_folder() {
        let path = "tips/year=2013/month=1/day=31/window=07-10/tips.parquet";
        let (folder, below) = Folder::of(path).expect("a folder");
        assert_eq!(
            (folder.path().as_str(), below),
            ("tips/year=2013/month=1/day=31", "window=07-10/tips.parquet")
        );
        assert_eq!(Folder::at(&folder.path()), Some(folder));
        assert_eq!(folder.to_string(), "tips-2013-01-31");
        assert_eq!(Folder::parse("tips-2013-01-31"), Some(folder));
        // A trip that ends in the first minutes of 1970 counts in windows that start in 1969.
        let (folder, _) =
            Folder::of("tips/year=1969/month=12/day=31/window=23-40/tips.parquet").expect("a folder");
        assert_eq!(Folder::parse(&folder.to_string()), Some(folder));
    }

    #[test]
    fn what_is_written_otherwise_is_no_folder() {
        for path in [
            "invalid/rides/x",
            "rides/year=2013/month=01/day=3/x",
            "rides/year=2013/month=2/day=30/x",
            "rides",
        ] {
            assert_eq!((Folder::of(path), Folder::at(path)), (None, None), "{path}");
        }
        assert_eq!(Folder::parse("rides-2013-1-31"), None);
    }
}
