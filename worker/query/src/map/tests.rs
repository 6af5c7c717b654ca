//! What the map shows while a part of the windows cannot be had, or is on its way.

use std::path::Path;

use tips_worker::core::delta::{Cell, Delta, Move};
use tips_worker::core::locate::Place;
use tips_worker::core::shard::{Partition, PartitionCounts, Topic};
use tips_worker::results::window_file;
use tips_worker::sink::{Sink, SinkConfig, owner};
use tips_worker::state::{MemoryState, State};

use super::*;
use crate::source::tests::{OWNER, sources_with};

const SHARDS: u16 = 2;

fn midnight() -> EventTime {
    EventTime::parse(b"2013-01-02 00:00:00").expect("a time")
}

fn at(minutes: i64) -> EventTime {
    EventTime::from_seconds(midnight().seconds() + minutes * 60)
}

/// Both topics have been read up to `time`.
fn read_up_to(time: EventTime, cells: Vec<Cell>) -> Delta {
    let partition = |topic| Partition { topic, index: 0 };
    let moved = |topic| Move {
        partition: partition(topic),
        from: None,
        to: 1,
        max_event_time: Some(time),
        idle: false,
    };
    Delta {
        known: PartitionCounts { rides: 1, fares: 1 },
        moves: vec![moved(Topic::Rides), moved(Topic::Fares)],
        cells,
        ..Delta::default()
    }
}

struct World {
    dir: tempfile::TempDir,
    state: MemoryState,
    shown: Shown,
}

impl World {
    /// Trips of one pane, and so of three windows, are in the first shard. It is ahead of the other, and has closed them.
    async fn new(owner: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut state = None;
        let sources = sources_with(dir.path(), |rules| state.insert(MemoryState::new(rules, SHARDS)).clone());
        let state = state.expect("made");
        let sum = TipSum { micros: 3_000_000, trips: 2 };
        let cell = Cell { pane: midnight(), place: Place::new(0), sum };
        let shards = State::Memory(state.clone());
        shards.apply(0, &read_up_to(at(120), vec![cell])).await.expect("applied");
        shards.apply(1, &read_up_to(at(0), Vec::new())).await.expect("applied");
        owner::claim(&sink(dir.path()).await, owner).await.expect("claimed");
        World { dir, state, shown: Shown::new(sources) }
    }

    async fn publish(&self, start: EventTime) {
        let setup = &self.shown.sources.setup;
        let sums = [(Place::new(0), TipSum { micros: 1_000_000, trips: 1 })].into();
        let (rules, neighbourhoods) = (&setup.job.rules, &setup.job.neighbourhoods);
        let file = window_file::encode(rules, neighbourhoods, &setup.provenance(), start, &sums);
        let (path, file) = (window_file::path(start), file.expect("encoded"));
        sink(self.dir.path()).await.put_if_absent(&path, file).await.expect("written");
    }

    async fn listed(&self) -> Vec<(EventTime, bool)> {
        let windows = self.shown.list(at(-24 * 60)..=at(24 * 60)).await.expect("listed");
        windows.into_iter().map(|window| (window.start, window.closed)).collect()
    }
}

async fn sink(root: &Path) -> Sink {
    Sink::open(&SinkConfig::Fs { root: root.to_owned() }).await.expect("a folder")
}

#[tokio::test]
async fn windows_that_one_shard_has_closed_are_within_the_extent() {
    let world = World::new(OWNER).await;
    assert_eq!(world.shown.extent().await.expect("found"), Some(at(-20)..=at(0)));
    let open = [(at(-20), false), (at(-10), false), (at(0), false)];
    assert_eq!(world.listed().await, open);
}

#[tokio::test]
async fn without_the_sink_windows_that_have_closed_are_shown_as_the_state_has_them() {
    let world = World::new("pipeline default/other\n").await;
    world.state.finish();
    assert_eq!(world.listed().await, [(at(-20), true), (at(-10), true), (at(0), true)]);
    let cells = world.shown.cells(at(0)).await.expect("read").expect("a window");
    assert!(cells.closed);
    assert_eq!(cells.sums.values().map(|sum| sum.trips).collect::<Vec<_>>(), [2]);
    let notice = world.shown.notice().await.expect("something is missing");
    assert!(notice.starts_with("Only the windows in Redis are here"), "{notice}");
}

#[tokio::test]
async fn while_the_ends_of_the_archive_are_looked_for_the_archive_is_there() {
    let world = World::new(OWNER).await;
    world.publish(at(-600)).await;
    let held = world.shown.ends.held().await;
    assert_eq!(world.shown.extent().await.expect("known"), Some(at(-20)..=at(0)), "of the state");
    assert_eq!(world.listed().await.first(), Some(&(at(-600), true)));
    assert_eq!(world.shown.notice().await, None);
    drop(held);
    assert_eq!(world.shown.extent().await.expect("found"), Some(at(-600)..=at(0)));
}

#[tokio::test]
async fn a_file_of_a_window_is_read_once_for_all_viewers() {
    let world = World::new(OWNER).await;
    world.publish(at(-600)).await;
    let reads = &world.shown.sources.metrics.sink_reads;
    for _ in 0..3 {
        let cells = world.shown.cells(at(-600)).await.expect("read").expect("a window");
        assert_eq!(cells.sums.values().map(|sum| sum.trips).collect::<Vec<_>>(), [1]);
        assert_eq!(reads.get(), 1);
    }
}
