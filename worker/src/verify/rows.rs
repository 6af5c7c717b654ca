//! Raw rows + invalid rows = records consumed (I5).
//!
//! The files hold the records below the published ends, the books those below the offsets of the shards, and on
//! a live pipeline these differ. Between two offsets of a partition lie at most as many records as offsets, so
//! however far apart the two are, the rows can be ahead of the books by no more than the offsets that the
//! furthest shard back has still to apply, and behind by no more than those not published yet. Where all
//! offsets agree, as in a pipeline that was drained, rows and records have to be equal.
//!
//! A state of a later epoch was begun anew and has not seen what Kafka had deleted by then, so it may have fewer
//! records, by as many as lie between the origins and Kafka's beginnings.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::HumanCount;

use super::ranges::Published;
use super::report::Check;
use super::{Lane, Names};
use crate::core::books::Outcome;
use crate::core::shard::{Partition, Topic};
use crate::state::View;

const NAME: &str = "rows";

/// A check that is not made.
pub fn not_made(why: &str) -> Check {
    Check::not_made(NAME, why)
}

/// Records that the state may rightly have missed.
#[derive(Clone, Debug)]
pub enum Missed {
    /// None: it was never begun anew.
    None,
    /// What Kafka had deleted below its present beginnings.
    Below(BTreeMap<Lane, i64>),
    /// Not known, since Kafka was not asked.
    Unknown,
}

/// How far apart the files and the books of a topic may be.
#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    /// Offsets published that some shard has not applied.
    unapplied: i64,
    /// Offsets that some shard has applied and that are not published.
    unpublished: i64,
    /// Offsets that the state may never have seen.
    missed: i64,
}

/// Checks the rows of each topic against its books.
pub fn check(names: &Names, published: &BTreeMap<Lane, Published>, views: &[View], missed: &Missed) -> Check {
    let mut check = Check::new(NAME);
    let mut looked_at = Vec::new();
    for topic in Topic::ALL {
        let partitions = partitions(topic, names, published, views);
        let mut apart = Apart::default();
        let (mut valid, mut invalid, mut unread) = (0, 0, 0);
        for partition in partitions {
            let lane = names.lane(partition);
            let Some(is) = published.get(&lane) else {
                check.find(format!("{lane}: the state has read it, and the sink has no origin of it"));
                continue;
            };
            apart.add(is, partition, views, missed_of(missed, &lane, is));
            valid += is.written.valid;
            invalid += is.written.invalid;
            unread += is.written.unread;
        }
        if unread > 0 {
            check.leave_out(format!("{}: the rows of {unread} files are not known", names.of(topic)));
            continue;
        }
        let books = |get: fn(&crate::core::books::Account) -> i64| -> i64 {
            views.iter().map(|view| get(view.books.of(topic))).sum()
        };
        let consumed = books(|account| account.consumed);
        let refused = books(|account| account.get(Outcome::Invalid));
        compare(
            &mut check,
            names.of(topic),
            ("rows", valid + invalid),
            ("records consumed", consumed),
            apart,
        );
        compare(
            &mut check,
            names.of(topic),
            ("rows in quarantine", invalid),
            ("invalid in the books", refused),
            apart,
        );
        looked_at.push(format!("{}: {}", names.of(topic), apart.describe(valid + invalid, consumed)));
    }
    check.looked_at(looked_at.join("\n"))
}

fn partitions(
    topic: Topic,
    names: &Names,
    published: &BTreeMap<Lane, Published>,
    views: &[View],
) -> BTreeSet<Partition> {
    let of_files = published
        .keys()
        .filter(|lane| lane.topic == names.of(topic))
        .map(|lane| Partition { topic, index: lane.partition });
    let of_state = views.iter().flat_map(|view| view.progress.keys().copied());
    of_files.chain(of_state.filter(|partition| partition.topic == topic)).collect()
}

fn missed_of(missed: &Missed, lane: &Lane, is: &Published) -> i64 {
    match missed {
        Missed::None => 0,
        Missed::Below(lows) => lows.get(lane).map_or(0, |low| (low.min(&is.end) - is.origin).max(0)),
        Missed::Unknown => is.end - is.origin,
    }
}

impl Apart {
    fn add(&mut self, is: &Published, partition: Partition, views: &[View], missed: i64) {
        let applied = views
            .iter()
            .map(|view| view.progress.get(&partition).map_or(is.origin, |progress| progress.offset));
        let least = applied.clone().min().unwrap_or(is.origin);
        let greatest = applied.max().unwrap_or(is.origin);
        self.unapplied += (is.end - least).max(0);
        self.unpublished += (greatest - is.end).max(0);
        self.missed += missed;
    }

    fn describe(&self, rows: i64, consumed: i64) -> String {
        let (rows, consumed) = (HumanCount(rows as u64), HumanCount(consumed as u64));
        let in_flight = match (self.unapplied, self.unpublished) {
            (0, 0) => "nothing in flight".to_owned(),
            (unapplied, unpublished) => {
                let (unapplied, unpublished) = (HumanCount(unapplied as u64), HumanCount(unpublished as u64));
                format!("offsets in flight: {unapplied} to be applied, {unpublished} to be published")
            }
        };
        let missed = if self.missed > 0 {
            format!("; up to {} lost to Kafka's retention before this epoch", HumanCount(self.missed as u64))
        } else {
            String::new()
        };
        format!("{rows} rows, {consumed} records ({in_flight}{missed})")
    }
}

fn compare(check: &mut Check, topic: &str, files: (&str, i64), books: (&str, i64), apart: Apart) {
    let ahead = files.1 - books.1;
    if ahead > apart.unapplied + apart.missed || ahead < -apart.unpublished {
        check.find(format!("{topic}: {} {}, {} {}", files.1, files.0, books.1, books.0));
    }
}
