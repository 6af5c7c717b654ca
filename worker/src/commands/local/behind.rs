//! Why records were late: a line that is dated far ahead of those after it moves the watermark past them.

use std::path::{Path, PathBuf};

use crate::core::parse;
use crate::core::shard::{Partition, Topic};
use crate::core::time::{EventTime, Span};
use crate::source::files::FileSource;
use crate::source::{Read, Source, SourceError};

const BURST: usize = 8192;

/// A line that others came too late after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ahead {
    /// From 1.
    pub(super) line: i64,
    pub(super) time: EventTime,
    /// Lines after it, up to the next that is ahead of it, that are older than the watermark could wait for.
    pub(super) behind: u64,
}

/// The line of each file that most are behind, if any are.
///
/// # Errors
/// Where a file cannot be read again.
pub(super) fn of_files(
    rides: &[PathBuf],
    fares: &[PathBuf],
    delay: Span,
) -> Result<Vec<(PathBuf, Ahead)>, SourceError> {
    let rides = rides.iter().map(|path| (Topic::Rides, path));
    let fares = fares.iter().map(|path| (Topic::Fares, path));
    let mut all = Vec::new();
    for (topic, path) in rides.chain(fares).filter(|(_, path)| path.is_file()) {
        all.extend(of_file(topic, path, delay)?.map(|ahead| (path.clone(), ahead)));
    }
    Ok(all)
}

fn of_file(topic: Topic, path: &Path, delay: Span) -> Result<Option<Ahead>, SourceError> {
    let file = [path.to_owned()];
    let mut source = match topic {
        Topic::Rides => FileSource::open(&file, &[])?,
        Topic::Fares => FileSource::open(&[], &file)?,
    };
    let mut most = Most::new(delay);
    let partition = Partition { topic, index: 0 };
    while source.read(partition, BURST, |record| {
        if let Some(time) = record.value.and_then(|line| event_time(topic, line)) {
            most.see(record.offset + 1, time);
        }
    })? != Read::End
    {}
    Ok(most.most())
}

fn event_time(topic: Topic, line: &[u8]) -> Option<EventTime> {
    match topic {
        Topic::Rides => parse::ride(line).ok().map(|ride| ride.event_time),
        Topic::Fares => parse::fare(line).ok().map(|fare| fare.start_time),
    }
}

struct Most {
    delay: Span,
    furthest: Option<Ahead>,
    most: Option<Ahead>,
}

impl Most {
    fn new(delay: Span) -> Self {
        Most { delay, furthest: None, most: None }
    }

    fn see(&mut self, line: i64, time: EventTime) {
        match &mut self.furthest {
            Some(furthest) if time <= furthest.time => {
                furthest.behind += u64::from(time.plus(self.delay) < furthest.time);
            }
            furthest => {
                let passed = furthest.replace(Ahead { line, time, behind: 0 });
                self.keep(passed);
            }
        }
    }

    fn keep(&mut self, seen: Option<Ahead>) {
        let behind = |ahead: &Option<Ahead>| ahead.map_or(0, |ahead| ahead.behind);
        if behind(&seen) > behind(&self.most) {
            self.most = seen;
        }
    }

    fn most(mut self) -> Option<Ahead> {
        self.keep(self.furthest);
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(times: &[i64]) -> Option<(i64, u64)> {
        let mut most = Most::new(Span::from_seconds(10));
        for (line, time) in times.iter().enumerate() {
            most.see(line as i64 + 1, EventTime::from_seconds(*time));
        }
        most.most().map(|ahead| (ahead.line, ahead.behind))
    }

    #[test]
    fn the_line_is_found_that_the_others_are_behind() {
        assert_eq!(most(&[100, 101, 900, 102, 103, 104]), Some((3, 3)));
        assert_eq!(most(&[900, 100, 101]), Some((1, 2)));
        assert_eq!(most(&[100, 900, 101, 102, 103, 950]), Some((2, 3)));
    }

    #[test]
    fn what_the_watermark_waits_for_is_not_behind() {
        assert_eq!(most(&[100, 110, 100, 105, 120, 500]), None);
        assert_eq!(most(&[]), None);
    }
}
