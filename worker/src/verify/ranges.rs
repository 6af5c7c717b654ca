//! The ranges of a partition (I4): from its origin to the newest in the range log they follow each other, with no
//! gap and no overlap, and each has all its rows.
//!
//! A range is whole before the next is begun, so of the log only the newest can be unfinished. Whether it is, is
//! told by its mark, which is committed with the group's offset after the files, or by its rows, if there are as
//! many as offsets. What was begun after the log was read is nobody's fault and is left out.
//!
//! Of a range that has several files, one a day, a missing one leaves no gap. It shows in the rows: a range of
//! lines has as many rows as offsets. In Kafka a range may have fewer, since the markers of transactions take
//! offsets too; there it is the books that tell ([`super::rows`]).

use std::collections::{BTreeMap, BTreeSet};

use indicatif::HumanCount;

use super::Lane;
use super::path::Folder;
use super::raw_files::RawFile;
use super::report::Check;
use crate::core::mark::Mark;
use crate::raw::range_log::{Entry, Range};

const NAME: &str = "raw ranges";

/// The range log of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Where the pipeline began to read.
    pub origin: Option<i64>,
    /// The newest entries as they stood before the files were listed, oldest first.
    pub entries: Vec<Entry>,
    /// The newest entry as it stood after.
    pub begun: Option<Entry>,
    /// An entry that cannot be read.
    pub corrupt: Option<String>,
}

/// The files of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Valid rows.
    pub valid: i64,
    /// Invalid lines.
    pub invalid: i64,
    /// Files whose rows are not known.
    pub unread: usize,
}

impl Written {
    fn rows(&self) -> i64 {
        self.valid + self.invalid
    }

    fn add(&mut self, file: &RawFile) {
        match (&file.footer, file.name.folder) {
            (Ok(footer), Folder::Day(..)) => self.valid += footer.rows,
            (Ok(footer), Folder::Invalid(_)) => self.invalid += footer.rows,
            (Err(_), _) => self.unread += 1,
        }
    }
}

/// The ranges of a partition that have files, by start and end.
pub type Ranges = BTreeMap<(i64, i64), Written>;

/// The ranges of every partition, by its files.
pub fn by_lane(files: &[RawFile]) -> BTreeMap<Lane, Ranges> {
    let mut lanes: BTreeMap<Lane, Ranges> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_of_its_range()) {
        let Range { start, end } = file.name.range;
        let ranges = lanes.entry(file.name.lane.clone()).or_default();
        ranges.entry((start, end)).or_default().add(file);
    }
    lanes
}

/// What is published of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Where the pipeline began to read.
    pub origin: i64,
    /// All below is published.
    pub end: i64,
    /// The rows below.
    pub written: Written,
}

/// Where the archive comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A run over files that has ended: nothing is unfinished, and every offset is a line.
    Files,
    /// Kafka, with the marks that the group has committed, where they are known.
    Kafka(BTreeMap<Lane, Mark>),
}

/// Checks the ranges of every partition, and says how far each is published.
pub fn check(
    files: &BTreeMap<Lane, Ranges>,
    logs: &BTreeMap<Lane, Log>,
    source: &Source,
) -> (Check, BTreeMap<Lane, Published>) {
    let mut check = Check::new(NAME);
    let lanes: BTreeSet<&Lane> = files.keys().chain(logs.keys()).collect();
    let (no_ranges, no_log) = (Ranges::new(), Log::default());
    let mut published = BTreeMap::new();
    for lane in lanes {
        let ranges = files.get(lane).unwrap_or(&no_ranges);
        let log = logs.get(lane).unwrap_or(&no_log);
        if let Some(is) = check_lane(&mut check, lane, ranges, log, source) {
            published.insert(lane.clone(), is);
        }
    }
    let ranges: usize = files.values().map(Ranges::len).sum();
    let offsets: i64 = published.values().map(|is| is.end - is.origin).sum();
    let (partitions, offsets) = (published.len(), HumanCount(offsets as u64));
    let check = check.looked_at(format!("{ranges} ranges of {partitions} partitions, {offsets} offsets"));
    (check, published)
}

fn check_lane(
    check: &mut Check,
    lane: &Lane,
    ranges: &Ranges,
    log: &Log,
    source: &Source,
) -> Option<Published> {
    if let Some(corrupt) = &log.corrupt {
        check.find(corrupt.clone());
        return None;
    }
    let Some(origin) = log.origin else {
        check.find(format!("{lane}: the range log has no origin"));
        return None;
    };
    check_log(check, lane, ranges, log);
    let end = published_end(lane, origin, ranges, log, source);
    check_chain(check, lane, ranges, origin, end);
    let written = check_rows(check, lane, ranges, end, matches!(source, Source::Files));
    if let Some(open) = log.entries.last().map(|newest| newest.range).filter(|newest| newest.end > end) {
        check.note(format!("{lane}: open from {} to {}", open.start, open.end));
    }
    Some(Published { origin, end, written })
}

/// The log holds against itself and against the names of the files.
fn check_log(check: &mut Check, lane: &Lane, ranges: &Ranges, log: &Log) {
    for pair in log.entries.windows(2) {
        let (end, start) = (pair[0].range.end, pair[1].range.start);
        if end != start {
            check.find(format!("{lane}: the log ends a range at {end} and begins the next at {start}"));
        }
    }
    for Entry { range: fixed, .. } in log.entries.iter().chain(&log.begun) {
        let same_start = ranges.range((fixed.start, i64::MIN)..=(fixed.start, i64::MAX));
        for ((start, end), _) in same_start.filter(|((_, end), _)| *end != fixed.end) {
            check.find(format!("{lane}: files from {start} to {end}, which the log ends at {}", fixed.end));
        }
    }
    let begun = log.begun.or(log.entries.last().copied()).map_or(i64::MIN, |newest| newest.range.start);
    for (start, end) in ranges.keys().filter(|(start, _)| *start > begun) {
        check.find(format!("{lane}: files from {start} to {end}, a range that was never begun in the log"));
    }
}

fn published_end(lane: &Lane, origin: i64, ranges: &Ranges, log: &Log, source: &Source) -> i64 {
    let Some(Entry { range: newest, mark }) = log.entries.last() else { return origin };
    let is_whole = match source {
        Source::Files => true,
        Source::Kafka(committed) => {
            let has_all = |written: &Written| written.rows() == newest.end - newest.start;
            committed.get(lane) == Some(mark) || ranges.get(&(newest.start, newest.end)).is_some_and(has_all)
        }
    };
    if is_whole { newest.end } else { newest.start }
}

fn check_chain(check: &mut Check, lane: &Lane, ranges: &Ranges, origin: i64, end: i64) {
    let mut reached = origin;
    for (start, stop) in ranges.keys().filter(|(start, _)| *start < end) {
        if *start > reached {
            check.find(format!("{lane}: no file from {reached} to {start}"));
        } else if *start < reached {
            let to = reached.min(*stop);
            check.find(format!("{lane}: offsets from {start} to {to} are in the files of two ranges"));
        }
        reached = reached.max(*stop);
    }
    if reached < end {
        check.find(format!("{lane}: no file from {reached} to {end}"));
    }
}

/// The rows of the ranges below `end`, against the offsets that they cover.
fn check_rows(check: &mut Check, lane: &Lane, ranges: &Ranges, end: i64, each_is_a_line: bool) -> Written {
    let mut all = Written::default();
    let mut without_row = 0;
    for ((start, stop), written) in ranges.iter().filter(|((_, stop), _)| *stop <= end) {
        let (rows, offsets) = (written.rows(), stop - start);
        if rows > offsets || (each_is_a_line && rows < offsets && written.unread == 0) {
            check.find(format!("{lane}: {rows} rows for the {offsets} offsets from {start} to {stop}"));
        } else if written.unread == 0 {
            without_row += offsets - rows;
        }
        all.valid += written.valid;
        all.invalid += written.invalid;
        all.unread += written.unread;
    }
    if without_row > 0 {
        check.note(format!(
            "{lane}: {without_row} offsets have no row: markers of transactions, or records that Kafka had deleted unread"
        ));
    }
    all
}
