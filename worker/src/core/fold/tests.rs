//! Scenarios of a shard. Times are in minutes; by the default rules the watermark is half an hour behind, a window
//! is half an hour long and begins every ten minutes, and a ride ends within two hours of its fare.

use super::*;
use crate::core::amount::Amount;
use crate::core::shard::Topic;
use crate::core::window::tests::RULES;

const RIDES: Partition = Partition { topic: Topic::Rides, index: 0 };
const FARES: Partition = Partition { topic: Topic::Fares, index: 0 };
const PLACE: Place = Place::new(3);

fn at(minutes: i64) -> EventTime {
    EventTime::from_seconds(minutes * 60)
}

fn ride(id: i64, end: i64) -> RideEnd {
    RideEnd { id, end: at(end), place: PLACE }
}

fn fare(id: i64, start: i64, micros: i64) -> FareStart {
    FareStart { id, start: at(start), tip: Amount::from_micros(micros) }
}

fn cell(pane: i64, micros: i128, trips: u64) -> Cell {
    Cell { pane: at(pane), place: PLACE, sum: TipSum { micros, trips } }
}

fn sums(micros: i128, trips: u64) -> Sums {
    Sums::from([(PLACE, TipSum { micros, trips })])
}

/// A shard of one partition a topic, told of batches in order.
#[derive(Default)]
struct Story {
    shard: Shard,
}

impl Story {
    /// A story whose watermark is at `minutes`.
    fn at(minutes: i64) -> Self {
        let mut story = Story::default();
        story.batch(minutes, &[], &[]);
        assert_eq!(story.shard.watermark(), Some(at(minutes)));
        story
    }

    /// Takes both partitions so far that the watermark comes to `watermark`.
    fn batch(&mut self, watermark: i64, rides: &[RideEnd], fares: &[FareStart]) {
        self.tell(self.delta(watermark, rides, fares)).expect("the shard is where it says");
    }

    fn delta(&self, watermark: i64, rides: &[RideEnd], fares: &[FareStart]) -> Delta {
        let mut booked = Books::default();
        (booked.rides.consumed, booked.fares.consumed) = (rides.len() as i64, fares.len() as i64);
        Delta {
            known: PartitionCounts { rides: 1, fares: 1 },
            moves: vec![self.go(RIDES, watermark + 30), self.go(FARES, watermark + 30)],
            rides: rides.to_vec(),
            fares: fares.to_vec(),
            cells: vec![],
            booked,
        }
    }

    fn go(&self, partition: Partition, time: i64) -> Move {
        let from = self.shard.progress().get(&partition).map(|progress| progress.offset);
        let to = from.unwrap_or(0) + 10;
        Move { partition, from, to, max_event_time: Some(at(time)), idle: false }
    }

    fn tell(&mut self, delta: Delta) -> Result<(), Refused> {
        let told = self.shard.apply(&RULES, &delta);
        assert!(self.shard.books().balance(), "{:?}", self.shard.books());
        told
    }

    /// Rides and fares with this outcome.
    fn outcome(&self, outcome: Outcome) -> (i64, i64) {
        (self.shard.books().rides.get(outcome), self.shard.books().fares.get(outcome))
    }

    /// The closed windows: their starts and sums.
    fn frozen(&self) -> Vec<(i64, Sums)> {
        let minutes = |start: &EventTime| start.seconds() / 60;
        self.shard.frozen().iter().map(|(start, sums)| (minutes(start), sums.clone())).collect()
    }
}

#[test]
fn a_ride_finds_the_fare_that_waits_and_counts_in_three_windows() {
    let mut story = Story::default();
    story.batch(0, &[], &[fare(1, 20, 500)]);
    assert_eq!(story.outcome(Outcome::Pending), (0, 1));
    story.batch(1, &[ride(1, 25)], &[]);
    assert_eq!((story.outcome(Outcome::Pending), story.outcome(Outcome::Joined)), ((0, 0), (1, 1)));
    story.batch(100, &[], &[]);
    assert_eq!(story.frozen(), [(0, sums(500, 1)), (10, sums(500, 1)), (20, sums(500, 1))]);
}

#[test]
fn a_fare_finds_the_ride_that_waits() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[]);
    story.batch(1, &[], &[fare(1, 20, -500)]);
    assert_eq!((story.outcome(Outcome::Pending), story.outcome(Outcome::Joined)), ((0, 0), (1, 1)));
    story.batch(100, &[], &[]);
    assert_eq!(story.frozen(), [(0, sums(-500, 1)), (10, sums(-500, 1)), (20, sums(-500, 1))]);
}

#[test]
fn pairs_that_met_in_the_batch_count_like_those_that_meet_here() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[]);
    let mut delta = story.delta(1, &[], &[fare(1, 20, 5)]);
    delta.cells = vec![cell(20, 70, 2)];
    delta.booked.rides.consumed += 2;
    delta.booked.fares.consumed += 2;
    story.tell(delta).expect("in order");
    story.batch(100, &[], &[]);
    assert_eq!(story.outcome(Outcome::Joined), (3, 3));
    assert_eq!(story.frozen()[2], (20, sums(75, 3)));
}

#[test]
fn a_copy_is_a_duplicate_while_its_like_waits() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[fare(2, 20, 5)]);
    story.batch(1, &[ride(1, 26)], &[fare(2, 21, 7)]);
    assert_eq!((story.outcome(Outcome::Duplicate), story.outcome(Outcome::Pending)), ((1, 1), (1, 1)));
    story.batch(2, &[ride(2, 25)], &[fare(1, 20, 3)]);
    assert_eq!((story.outcome(Outcome::Duplicate), story.outcome(Outcome::Joined)), ((1, 1), (2, 2)));
}

#[test]
fn a_copy_of_what_has_joined_waits_and_leaves_unmatched() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[fare(1, 20, 5)]);
    story.batch(1, &[ride(1, 45)], &[]);
    assert_eq!((story.outcome(Outcome::Joined), story.outcome(Outcome::Pending)), ((1, 1), (1, 0)));
    // When the first one would have left, the copy still has an open window.
    story.batch(50, &[], &[]);
    assert_eq!(story.outcome(Outcome::Pending), (1, 0));
    story.batch(70, &[], &[]);
    assert_eq!((story.outcome(Outcome::Unmatched), story.outcome(Outcome::Pending)), ((1, 0), (0, 0)));
}

#[test]
fn a_ride_and_a_fare_that_do_not_match_both_wait_and_each_finds_another() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[fare(1, 25, 1)]);
    assert_eq!(story.outcome(Outcome::Pending), (1, 1));
    story.batch(1, &[], &[fare(1, 24, 2)]);
    assert_eq!((story.outcome(Outcome::Joined), story.outcome(Outcome::Pending)), ((1, 1), (0, 1)));
    story.batch(2, &[ride(1, 26)], &[]);
    assert_eq!((story.outcome(Outcome::Joined), story.outcome(Outcome::Pending)), ((2, 2), (0, 0)));
}

#[test]
fn of_a_ride_and_a_fare_that_do_not_match_each_leaves_in_its_time() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[fare(1, 25, 1)]);
    story.batch(50, &[], &[]);
    assert_eq!((story.outcome(Outcome::Unmatched), story.outcome(Outcome::Pending)), ((1, 0), (0, 1)));
    story.batch(169, &[], &[]);
    assert_eq!(story.outcome(Outcome::Pending), (0, 1));
    story.batch(170, &[], &[]);
    assert_eq!((story.outcome(Outcome::Unmatched), story.outcome(Outcome::Pending)), ((1, 1), (0, 0)));
}

#[test]
fn a_pair_counts_only_in_its_windows_that_are_still_open() {
    let mut story = Story::at(35);
    story.batch(36, &[ride(1, 25)], &[fare(1, 20, 5)]);
    assert_eq!((story.outcome(Outcome::Joined), story.outcome(Outcome::Late)), ((1, 1), (0, 0)));
    story.batch(100, &[], &[]);
    assert_eq!(story.frozen(), [(10, sums(5, 1)), (20, sums(5, 1))], "the window from 0 closed at 30");
}

#[test]
fn a_closed_window_is_not_changed_by_what_comes_later() {
    let mut story = Story::default();
    story.batch(30, &[ride(1, 25)], &[fare(1, 20, 5)]);
    story.batch(31, &[ride(2, 25)], &[fare(2, 20, 7)]);
    story.batch(100, &[], &[]);
    assert_eq!(story.frozen(), [(0, sums(5, 1)), (10, sums(12, 2)), (20, sums(12, 2))]);
}

#[test]
fn what_has_no_open_window_left_is_late_at_the_very_watermark() {
    let mut before = Story::at(49);
    before.batch(49, &[ride(1, 25)], &[]);
    assert_eq!(before.outcome(Outcome::Pending), (1, 0));
    let mut at_it = Story::at(50);
    at_it.batch(50, &[ride(1, 25)], &[]);
    assert_eq!(at_it.outcome(Outcome::Late), (1, 0));

    let mut before = Story::at(169);
    before.batch(169, &[], &[fare(1, 25, 5)]);
    assert_eq!(before.outcome(Outcome::Pending), (0, 1));
    let mut at_it = Story::at(170);
    at_it.batch(170, &[], &[fare(1, 25, 5)]);
    assert_eq!(at_it.outcome(Outcome::Late), (0, 1));
}

#[test]
fn a_late_pair_is_late_on_both_sides() {
    let mut story = Story::at(50);
    story.batch(50, &[], &[fare(1, 20, 5)]);
    story.batch(50, &[ride(1, 25)], &[]);
    assert_eq!((story.outcome(Outcome::Late), story.outcome(Outcome::Pending)), ((1, 1), (0, 0)));
    let mut delta = story.delta(51, &[], &[]);
    delta.cells = vec![cell(20, 5, 4)];
    delta.booked.rides.consumed += 4;
    delta.booked.fares.consumed += 4;
    story.tell(delta).expect("in order");
    assert_eq!((story.outcome(Outcome::Late), story.outcome(Outcome::Joined)), ((5, 5), (0, 0)));
    story.batch(200, &[], &[]);
    assert_eq!(story.frozen(), []);
}

#[test]
fn what_waits_leaves_at_the_very_watermark_at_which_it_would_be_late() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[fare(2, 25, 5)]);
    story.batch(49, &[], &[]);
    assert_eq!(story.outcome(Outcome::Pending), (1, 1));
    story.batch(50, &[], &[]);
    assert_eq!((story.outcome(Outcome::Unmatched), story.outcome(Outcome::Pending)), ((1, 0), (0, 1)));
    story.batch(170, &[], &[]);
    assert_eq!((story.outcome(Outcome::Unmatched), story.outcome(Outcome::Pending)), ((1, 1), (0, 0)));
    assert!(story.shard.pending.is_empty() && story.shard.expiry.is_empty());
}

#[test]
fn a_window_closes_at_the_very_watermark() {
    let mut story = Story::default();
    story.batch(29, &[ride(1, 5)], &[fare(1, 1, 5)]);
    assert_eq!(story.frozen().last(), Some(&(-10, sums(5, 1))));
    story.batch(30, &[], &[]);
    assert_eq!(story.frozen().last(), Some(&(0, sums(5, 1))));
    assert!(story.shard.panes().is_empty());
}

#[test]
fn a_batch_never_makes_its_own_records_late() {
    let mut story = Story::at(0);
    story.batch(1000, &[ride(1, 25)], &[fare(1, 20, 5)]);
    assert_eq!(story.outcome(Outcome::Joined), (1, 1));
    assert_eq!(story.frozen().len(), 3);
}

#[test]
fn over_a_gap_in_event_time_only_windows_with_sums_are_frozen() {
    let week = 7 * 24 * 60;
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25), ride(2, week + 25)], &[fare(1, 20, 5), fare(2, week + 20, 7)]);
    story.batch(2 * week, &[], &[]);
    let starts: Vec<i64> = story.frozen().into_iter().map(|(start, _)| start).collect();
    assert_eq!(starts, [0, 10, 20, week, week + 10, week + 20]);
    assert!(story.shard.panes().is_empty());
}

#[test]
fn a_refused_delta_changes_nothing() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25)], &[fare(2, 20, 5)]);
    let before = story.shard.clone();
    let mut delta = story.delta(500, &[ride(2, 25)], &[fare(1, 20, 5)]);
    delta.known.rides = 7;
    delta.cells = vec![cell(20, 5, 1)];
    delta.moves[1].from = Some(9);
    let refused = story.shard.apply(&RULES, &delta).expect_err("it expects 9 and there is 10");
    assert_eq!(refused.offsets, [(RIDES, Some(10)), (FARES, Some(10))]);
    assert_eq!(story.shard, before);
}

#[test]
fn a_delta_that_is_sent_again_is_refused_and_shows_that_it_was_applied() {
    let mut story = Story::default();
    let delta = story.delta(0, &[ride(1, 25)], &[]);
    story.tell(delta.clone()).expect("the first time");
    let refused = story.tell(delta).expect_err("the second time");
    assert_eq!(refused.offsets, [(RIDES, Some(10)), (FARES, Some(10))]);
    assert_eq!(story.outcome(Outcome::Pending), (1, 0));
}

#[test]
fn a_zombies_stale_delta_is_refused() {
    let mut story = Story::default();
    let of_the_zombie = story.delta(0, &[ride(1, 25)], &[]);
    story.batch(0, &[ride(1, 25)], &[]);
    story.batch(1, &[], &[fare(1, 20, 5)]);
    story.tell(of_the_zombie).expect_err("the shard has gone on");
    assert_eq!((story.outcome(Outcome::Joined), story.outcome(Outcome::Pending)), ((1, 1), (0, 0)));
}

#[test]
fn a_delta_for_a_shard_that_has_lost_everything_is_refused() {
    let mut story = Story::at(0);
    let delta = story.delta(1, &[], &[]);
    let refused = Shard::default().apply(&RULES, &delta).expect_err("nothing is known");
    assert_eq!(refused.offsets, [(RIDES, None), (FARES, None)]);
    story.tell(delta).expect("nothing was lost here");
}

#[test]
fn an_idle_partition_does_not_hold_the_watermark_until_its_next_record() {
    let mut story = Story::at(0);
    let only = |story: &Story, moves| Delta { moves, ..story.delta(0, &[], &[]) };
    let ahead = only(&story, vec![story.go(RIDES, 90)]);
    story.tell(ahead).expect("in order");
    assert_eq!(story.shard.watermark(), Some(at(0)), "the fares hold it");
    let stands = Move { to: 10, idle: true, ..story.go(FARES, 30) };
    let idle = only(&story, vec![stands]);
    story.tell(idle).expect("in order");
    assert_eq!(story.shard.watermark(), Some(at(60)));
    let back = only(&story, vec![story.go(FARES, 95), story.go(RIDES, 200)]);
    story.tell(back).expect("in order");
    assert_eq!(story.shard.watermark(), Some(at(65)), "the fares hold it again");
}

#[test]
fn the_watermark_never_goes_back() {
    let mut story = Story::at(60);
    story.batch(10, &[], &[]);
    assert_eq!(story.shard.watermark(), Some(at(60)));
    assert_eq!(story.shard.progress()[&RIDES].max_event_time, Some(at(90)), "nor does event time");
}

#[test]
fn a_partition_that_was_added_holds_the_watermark_until_it_is_heard_of() {
    let mut story = Story::at(0);
    let mut delta = story.delta(60, &[], &[]);
    delta.known.fares = 2;
    story.tell(delta).expect("in order");
    assert_eq!(story.shard.watermark(), Some(at(0)));
    // A worker whose metadata are older does not take it away.
    story.batch(70, &[], &[]);
    assert_eq!(story.shard.watermark(), Some(at(0)));
    let mut delta = story.delta(80, &[], &[]);
    delta.moves.push(story.go(Partition { index: 1, ..FARES }, 75));
    story.tell(delta).expect("in order");
    assert_eq!(story.shard.watermark(), Some(at(45)));
}

#[test]
fn the_end_of_the_input_closes_every_window_and_leaves_nothing_pending() {
    let mut story = Story::default();
    story.batch(0, &[ride(1, 25), ride(2, 25)], &[fare(1, 20, 5), fare(3, 20, 7)]);
    story.shard.finish(&RULES);
    assert_eq!(story.frozen().len(), 3);
    assert_eq!((story.outcome(Outcome::Unmatched), story.outcome(Outcome::Pending)), ((1, 1), (0, 0)));
    assert!(story.shard.books().balance());
}

#[test]
fn a_window_that_was_forgotten_does_not_come_back() {
    let mut story = Story::default();
    story.batch(30, &[ride(1, 25)], &[fare(1, 20, 5)]);
    story.shard.forget(at(0));
    story.batch(31, &[ride(2, 25)], &[fare(2, 20, 5)]);
    story.batch(100, &[], &[]);
    assert_eq!(story.frozen(), [(10, sums(10, 2)), (20, sums(10, 2))]);
}

#[test]
fn an_open_window_shows_what_it_holds_so_far() {
    let mut story = Story::at(0);
    story.batch(5, &[ride(1, 25), ride(2, 35)], &[fare(1, 20, 500), fare(2, 20, 300)]);
    let window = |story: &Story, start| story.shard.window(&RULES, at(start));
    let starts: Vec<_> = story.shard.windows(&RULES).into_iter().collect();
    assert_eq!(starts, [at(0), at(10), at(20), at(30)]);
    assert_eq!(window(&story, 0), (false, sums(500, 1)));
    assert_eq!(window(&story, 20), (false, sums(800, 2)));
    assert_eq!(window(&story, 40), (false, Sums::new()));
    story.batch(30, &[], &[]);
    assert_eq!(window(&story, 0), (true, sums(500, 1)));
    assert_eq!(window(&story, 10), (false, sums(800, 2)));
    story.shard.forget(at(0));
    assert_eq!(window(&story, 0), (true, Sums::new()));
    assert!(!story.shard.windows(&RULES).contains(&at(0)));
}
