//! The fold under any batching, any interleaving, any number of shards and workers, workers that die, workers that
//! do not know that they are dead, and shards that lose their last writes (I1, I2, I5, I6).

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

#[path = "fold/action.rs"]
mod action;
#[path = "fold/place.rs"]
mod place;
#[path = "fold/reference.rs"]
mod reference;
#[path = "fold/stream.rs"]
mod stream;
#[path = "fold/trip.rs"]
mod trip;
#[path = "fold/worker.rs"]
mod worker;
#[path = "fold/world.rs"]
mod world;

use proptest::prelude::*;
use tips_worker::core::books::Outcome;
use tips_worker::core::shard::Topic;

use crate::action::{Action, actions};
use crate::reference::{Answer, most_pairs};
use crate::stream::{Stream, tame, wild};
use crate::world::World;

/// Shards, workers, and what happens to them.
fn lives() -> impl Strategy<Value = (u16, u8, Vec<Action>)> {
    (1..6_u16, 1..4_u8, actions())
}

fn lived(stream: &Stream, (shards, workers, actions): &(u16, u8, Vec<Action>)) -> Answer {
    let mut world = World::new(stream, *shards, *workers);
    for action in actions {
        world.act(action);
    }
    world.end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Ids are unique and no partition is out of order by more than the delay.
    #[test]
    fn whatever_happens_the_answer_is_the_plain_one(stream in tame(), life in lives()) {
        prop_assert_eq!(lived(&stream, &life), Answer::plain(&stream));
    }

    /// Ids come again, records come late, partitions that were idle go on.
    #[test]
    fn whatever_comes_each_record_has_one_outcome_and_none_counts_twice(
        stream in wild(),
        life in lives(),
    ) {
        let Answer { books, windows } = lived(&stream, &life);
        for topic in Topic::ALL {
            let records = stream.logs(topic).map(|log| log.records.len() as i64).sum::<i64>();
            prop_assert_eq!(books.of(topic).consumed, records);
            prop_assert_eq!(books.of(topic).get(Outcome::Pending), 0);
        }
        let joined = books.rides.get(Outcome::Joined);
        prop_assert_eq!(books.fares.get(Outcome::Joined), joined);
        prop_assert!(joined <= most_pairs(&stream));
        let counted: i64 = windows.values().map(|sum| sum.trips as i64).sum();
        prop_assert!((joined..=3 * joined).contains(&counted), "{counted} of {joined}");
        let plain = Answer::all_copies(&stream);
        for (window, sum) in &windows {
            prop_assert!(sum.trips <= plain[window], "{window:?} has {sum:?}, at most {}", plain[window]);
        }
    }
}
