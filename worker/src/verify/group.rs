//! The group's offsets: a hint to whoever takes a partition over, and a wrong hint loses rows (I4).
//!
//! What the group has committed names a range by its mark. Of a log that is not there any more, since the sink was
//! emptied, it tells nothing, and nobody goes by it.

use std::collections::BTreeMap;

use indicatif::HumanCount;

use super::ranges::{Log, Published};
use super::report::Check;
use super::{Lane, Names};
use crate::core::mark::Mark;
use crate::core::shard::{Partition, PartitionCounts, Topic};
use crate::source::kafka::{GroupOffsets, Offsets, Whole};

const NAME: &str = "group offsets";

/// A check that is not made.
pub fn not_made(why: &str) -> Check {
    Check::not_made(NAME, why)
}

/// Kafka did not answer.
pub fn unreachable(error: &str) -> Check {
    let mut check = Check::new(NAME).looked_at("nothing");
    check.find(format!("{error}; --offline leaves Kafka out"));
    check
}

/// The mark that the group has of each partition that has one, by the name of its topic.
pub fn committed(offsets: &GroupOffsets, names: &Names) -> BTreeMap<Lane, Mark> {
    let of = |(partition, offsets): (&Partition, &Offsets)| {
        Some((names.lane(*partition), offsets.committed?.mark))
    };
    offsets.iter().filter_map(of).collect()
}

/// The group's offsets as they stood before the files were looked at, with the ends of Kafka as they stood after:
/// so neither is ahead of the files because time has passed.
pub fn around(before: &GroupOffsets, mut after: GroupOffsets) -> GroupOffsets {
    for (partition, at) in &mut after {
        at.committed = before.get(partition).and_then(|before| before.committed);
    }
    after
}

/// Checks the offsets against the files, and Kafka against the partitions that the state knows.
pub fn check(
    offsets: &GroupOffsets,
    names: &Names,
    logs: &BTreeMap<Lane, Log>,
    published: &BTreeMap<Lane, Published>,
    known: PartitionCounts,
) -> Check {
    let mut check = Check::new(NAME);
    let mut unread = 0;
    for (partition, at) in offsets {
        let lane = names.lane(*partition);
        let end = published.get(&lane).map(|is| is.end);
        let next = end.unwrap_or(at.low);
        unread += (at.high - next).max(0);
        if let Some(whole) = at.committed {
            check_committed(&mut check, &lane, whole, logs.get(&lane));
        }
        if next > at.high {
            check.find(format!(
                "{lane}: published up to {next}, but Kafka ends at {}: the topic was made anew",
                at.high
            ));
        } else if next < at.low {
            check.note(format!("{lane}: Kafka has deleted {} offsets that are not published", at.low - next));
        }
    }
    for topic in Topic::ALL {
        let there = offsets.keys().filter(|partition| partition.topic == topic).count() as i32;
        if there < known.of(topic) {
            let (name, known) = (names.of(topic), known.of(topic));
            check.find(format!("{name} has {there} partitions, and had {known}: the topic was made anew"));
        }
    }
    let committed = offsets.values().filter(|at| at.committed.is_some()).count();
    check.looked_at(format!(
        "{committed} offsets of {} partitions, {} offsets of Kafka not published yet",
        offsets.len(),
        HumanCount(unread as u64)
    ))
}

fn check_committed(check: &mut Check, lane: &Lane, whole: Whole, log: Option<&Log>) {
    let Whole { end, mark } = whole;
    let Some(log) = log else {
        return check.find(format!("{lane}: committed {end}, and the sink has no range log: it was emptied"));
    };
    match log.entries.iter().find(|entry| entry.mark == mark) {
        Some(entry) if entry.range.end != end => check.find(format!(
            "{lane}: committed {end} for the range from {} to {}",
            entry.range.start, entry.range.end
        )),
        Some(_) => {}
        None => check.note(format!(
            "{lane}: committed {end} for a range that the log does not have any more; nobody goes by it"
        )),
    }
}
