//! Merged raw files: each holds exactly the rows that its footer names, and no other file holds them too.
//!
//! The footer names parts: ranges, and how many of their rows are in the file. The rows say themselves whose they are, by
//! partition and offset; each of them is looked at, so that a row that was lost is not made up for by one that is there
//! twice. That no part is missing altogether shows in the ranges ([`super::ranges`]) and in the books ([`super::rows`]).

use std::collections::BTreeMap;

use super::Lane;
use super::footer::FooterError;
use super::path::Folder;
use super::raw_files::{RawFile, of_day};
use super::report::Check;
use crate::core::shard::Topic;
use crate::core::time::Day;
use crate::raw::range_log::Range;

const NAME: &str = "merged files";

/// Rows of one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose range it is.
    pub lane: Lane,
    /// The range.
    pub range: Range,
    /// How many of its rows are in the file.
    pub rows: i64,
}

/// The footer of a merged file, and what its rows say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The parts.
    pub parts: Vec<Part>,
    /// Rows.
    pub rows: i64,
    /// The least and the greatest event time in microseconds.
    pub event_times: Option<(i64, i64)>,
    /// What the coordinates of the rows came to; the text says what is wrong with them.
    pub coordinates: Result<(), String>,
}

/// A merged file as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedFile {
    /// Its path.
    pub path: String,
    /// Whose rows.
    pub topic: Topic,
    /// Of which day.
    pub day: Day,
    /// What is in it.
    pub contents: Result<Contents, FooterError>,
}

impl MergedFile {
    /// Its parts, where they are known.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.contents.iter().flat_map(|contents| &contents.parts)
    }

    fn wrong(&self) -> Option<String> {
        let Contents { parts, rows, event_times, coordinates } = match &self.contents {
            Ok(contents) => contents,
            Err(error) => return Some(error.to_string()),
        };
        let promised: i64 = parts.iter().map(|part| part.rows).sum();
        if promised != *rows {
            return Some(format!("has {rows} rows, and {promised} by its footer"));
        }
        coordinates.as_ref().err().cloned().or_else(|| of_day(self.day, *event_times))
    }
}

/// Checks every merged file by itself, and that no rows are in two files.
pub fn check(merged: &[MergedFile], raw: &[RawFile]) -> Check {
    let mut check = Check::new(NAME);
    for file in merged {
        if let Some(wrong) = file.wrong() {
            check.find(format!("{} {wrong}", file.path));
        }
    }
    let mut owners: BTreeMap<(Topic, Day, &Lane, i64), &str> = BTreeMap::new();
    let of_merged = merged.iter().flat_map(|file| {
        file.parts().map(move |part| (file.topic, file.day, &part.lane, part.range, file.path.as_str()))
    });
    let of_raw = raw.iter().filter_map(|file| match file.name.folder {
        Folder::Day(topic, day) => Some((topic, day, &file.name.lane, file.name.range, file.path.as_str())),
        Folder::Invalid(_) => None,
    });
    for (topic, day, lane, range, path) in of_merged.chain(of_raw) {
        if let Some(other) = owners.insert((topic, day, lane, range.start), path) {
            check.find(format!(
                "{lane}: rows from {} to {} of {} are in {other} and in {path}",
                range.start,
                range.end,
                day.date()
            ));
        }
    }
    let parts: usize = merged.iter().map(|file| file.parts().count()).sum();
    let rows: i64 =
        merged.iter().filter_map(|file| file.contents.as_ref().ok()).map(|contents| contents.rows).sum();
    check.looked_at(format!(
        "{} files of {parts} former ones, {rows} rows, each by its coordinates",
        merged.len()
    ))
}

/// The coordinates of the rows of a file, taken one by one.
pub struct Coordinates<'a> {
    parts: BTreeMap<(i32, i64), (&'a Part, Vec<u64>)>,
    wrong: Option<String>,
}

impl<'a> Coordinates<'a> {
    /// Of a file of these parts.
    pub fn new(parts: &'a [Part]) -> Self {
        let bits = |part: &Part| vec![0; ((part.range.end - part.range.start).max(0) as usize).div_ceil(64)];
        let parts = parts.iter().map(|part| ((part.lane.partition, part.range.start), (part, bits(part))));
        Coordinates { parts: parts.collect(), wrong: None }
    }

    /// A row.
    pub fn add(&mut self, partition: i32, offset: i64) {
        let part = self.parts.range_mut((partition, i64::MIN)..=(partition, offset)).next_back();
        let Some((_, (part, bits))) = part.filter(|(_, (part, _))| offset < part.range.end) else {
            self.wrong.get_or_insert_with(|| {
                format!("has offset {offset} of partition {partition}, which its footer does not name")
            });
            return;
        };
        let index = (offset - part.range.start) as usize;
        let bit = 1 << (index % 64);
        if bits[index / 64] & bit != 0 {
            self.wrong.get_or_insert_with(|| format!("has offset {offset} of partition {partition} twice"));
        }
        bits[index / 64] |= bit;
    }

    /// What they came to.
    ///
    /// # Errors
    /// What is wrong.
    pub fn finish(self) -> Result<(), String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        for (part, bits) in self.parts.into_values() {
            let rows: i64 = bits.iter().map(|bits| i64::from(bits.count_ones())).sum();
            if rows != part.rows {
                let Part { lane, range, rows: promised } = part;
                return Err(format!(
                    "has {rows} rows of {lane} from {} to {}, and {promised} by its footer",
                    range.start, range.end
                ));
            }
        }
        Ok(())
    }
}
