//! Books, shards and rows.

use std::collections::BTreeMap;

use super::{RIDES, found, holds, names, published, rides};
use crate::core::books::Outcome;
use crate::core::shard::PartitionCounts;
use crate::core::watermark::Progress;
use crate::state::View;
use crate::verify::applied::{self, Behind};
use crate::verify::report::State;
use crate::verify::rows::Missed;
use crate::verify::{books, rows, shards};

/// A shard that has applied rides/0 up to `offset`, and booked `starts` START rides and `invalid` lines.
fn view(offset: i64, starts: i64, invalid: i64) -> View {
    let mut view = View { known: PartitionCounts { rides: 1, fares: 0 }, ..View::default() };
    view.progress.insert(RIDES, Progress { offset, max_event_time: None, idle: false });
    view.books.rides.consumed = starts + invalid;
    view.books.rides.add(Outcome::Start, starts);
    view.books.rides.add(Outcome::Invalid, invalid);
    view
}

#[test]
fn books_that_balance_hold() {
    let mut waiting = view(10, 6, 1);
    waiting.books.rides.consumed += 2;
    waiting.books.rides.add(Outcome::Pending, 2);
    waiting.waiting = 2;
    holds(&books::check(&[view(10, 3, 0), waiting]));
}

#[test]
fn books_that_do_not_balance_are_found() {
    let mut short = view(10, 3, 0);
    short.books.rides.consumed = 4;
    assert_eq!(found(&books::check(&[short])), "shard 0: 4 rides consumed, 3 outcomes");
    let mut negative = view(10, 3, 0);
    negative.books.rides.settle(Outcome::Joined, 1);
    let check = books::check(&[negative]);
    assert!(check.findings().contains(&"shard 0: -1 rides are pending".to_owned()), "{check:?}");
}

#[test]
fn pending_records_that_are_not_there_are_found() {
    let mut lost = view(10, 3, 0);
    lost.books.rides.consumed += 2;
    lost.books.rides.add(Outcome::Pending, 2);
    lost.waiting = 1;
    assert_eq!(found(&books::check(&[lost.clone()])), "shard 0: 2 rides and 0 fares pending, under 1 ids");
    lost.waiting = 3;
    assert_eq!(books::check(&[lost]).findings().len(), 1);
}

#[test]
fn shards_that_know_other_partitions_are_found() {
    let mut other = view(10, 0, 0);
    other.known.rides = 2;
    let check = shards::check(&[view(10, 0, 0), other]);
    assert!(found(&check).starts_with("shard 0 knows 1 partitions of rides"), "{check:?}");
    let mut unheard = view(10, 0, 0);
    unheard.known.rides = 0;
    assert_eq!(found(&shards::check(&[unheard])), "shard 0 has read rides/0, which no shard counts");
}

#[test]
fn shards_at_different_offsets_are_only_told() {
    let check = shards::check(&[view(10, 0, 0), view(25, 0, 0)]);
    holds(&check);
    assert!(check.notes()[0].contains("up to 15 offsets"), "{check:?}");
}

#[test]
fn rows_and_records_are_equal_at_rest() {
    let views = [view(40, 20, 1), view(40, 18, 1)];
    holds(&rows::check(&names(), &published(0, 40, 38, 2), &views, &Missed::None));
    let check = rows::check(&names(), &published(0, 40, 37, 2), &views, &Missed::None);
    assert_eq!(found(&check), "rides: 39 rows, 40 records consumed");
    let check = rows::check(&names(), &published(0, 40, 37, 3), &views, &Missed::None);
    assert_eq!(found(&check), "rides: 3 rows in quarantine, 2 invalid in the books");
}

#[test]
fn rows_and_records_may_differ_by_what_is_in_flight() {
    let views = [view(30, 15, 0), view(50, 25, 0)];
    holds(&rows::check(&names(), &published(0, 40, 40, 0), &views, &Missed::None));
    holds(&rows::check(&names(), &published(0, 40, 30, 0), &views, &Missed::None));
    holds(&rows::check(&names(), &published(0, 40, 39, 1), &views, &Missed::None));
    let check = rows::check(&names(), &published(0, 40, 29, 0), &views, &Missed::None);
    assert_eq!(found(&check), "rides: 29 rows, 40 records consumed");
    let views = [view(30, 10, 0), view(50, 18, 0)];
    let check = rows::check(&names(), &published(0, 40, 40, 0), &views, &Missed::None);
    assert_eq!(found(&check), "rides: 40 rows, 28 records consumed");
}

#[test]
fn a_shard_that_has_not_heard_of_a_partition_stands_at_its_origin() {
    let silent = View { known: PartitionCounts { rides: 1, fares: 0 }, ..View::default() };
    holds(&rows::check(&names(), &published(10, 40, 30, 0), &[silent, view(40, 0, 0)], &Missed::None));
}

#[test]
fn a_later_epoch_may_have_missed_what_kafka_had_deleted() {
    let views = [view(40, 28, 0)];
    let missed = |low| Missed::Below(BTreeMap::from([(rides(), low)]));
    holds(&rows::check(&names(), &published(0, 40, 40, 0), &views, &missed(12)));
    let check = rows::check(&names(), &published(0, 40, 40, 0), &views, &missed(11));
    assert_eq!(found(&check), "rides: 40 rows, 28 records consumed");
    holds(&rows::check(&names(), &published(0, 40, 40, 0), &views, &Missed::Unknown));
}

#[test]
fn a_partition_that_only_the_state_knows_is_found() {
    let check = rows::check(&names(), &BTreeMap::new(), &[view(40, 40, 0)], &Missed::None);
    assert!(check.findings()[0].contains("the sink has no origin of it"), "{check:?}");
}

#[test]
fn rows_that_were_not_read_are_not_compared() {
    let mut spared = published(0, 40, 10, 0);
    spared.values_mut().for_each(|is| is.written.unread = 1);
    let check = rows::check(&names(), &spared, &[view(40, 40, 0)], &Missed::None);
    assert_eq!((check.state(), check.notes().len()), (State::NotMade, 1));
}

#[test]
fn a_state_that_is_behind_the_files_and_stands_still_is_found() {
    let published = published(5, 40, 35, 0);
    let behind = |views: &[View]| Behind::new(&names(), &published, views);
    let lost = behind(&[View::default(), View::default()]);
    let check = applied::check(&names(), &lost, &lost);
    assert!(found(&check).starts_with("rides/0: the state is 35 offsets behind the files and stands still"));

    let read_again = behind(&[view(20, 0, 0), view(12, 0, 0)]);
    let check = applied::check(&names(), &lost, &read_again);
    holds(&check);
    assert!(check.notes()[0].contains("28 offsets behind"), "{check:?}");
    let applied_since = behind(&[view(40, 35, 0), view(50, 45, 0)]);
    assert!(!applied_since.is_any());
    holds(&applied::check(&names(), &read_again, &applied_since));
    holds(&applied::check(&names(), &applied_since, &applied_since));
}
