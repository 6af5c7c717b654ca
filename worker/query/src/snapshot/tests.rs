//! Windows that are published, or published and forgotten, between a query's two looks.

use std::path::Path;
use std::time::Duration;

use tips_worker::core::amount::TipSum;
use tips_worker::core::delta::{Cell, Delta};
use tips_worker::core::locate::Place;
use tips_worker::results::window_file;
use tips_worker::sink::{Sink, SinkConfig, owner};
use tips_worker::state::{MemoryState, State};

use super::*;
use crate::source::tests::{OWNER, sources_with, state_held};

/// What a query takes to come to where it has to wait, and more: only a query that does not wait there needs it.
const A_WHILE: Duration = Duration::from_millis(200);
const DAY: &str = "2013-01-01 00:00:00";

fn midnight() -> EventTime {
    EventTime::parse(DAY.as_bytes()).expect("a time")
}

/// Trips of one pane, and so three windows.
async fn filled(state: &MemoryState) {
    let sum = TipSum { micros: 3_000_000, trips: 2 };
    let cells = vec![Cell { pane: midnight(), place: Place::new(0), sum }];
    let delta = Delta { cells, ..Delta::default() };
    State::Memory(state.clone()).apply(0, &delta).await.expect("applied");
}

struct World {
    dir: tempfile::TempDir,
    state: MemoryState,
    sources: Arc<Sources>,
}

impl World {
    /// A pipeline that has applied its trips, and published nothing.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut state = None;
        let sources = sources_with(dir.path(), |rules| state.insert(MemoryState::new(rules, 1)).clone());
        let state = state.expect("made");
        filled(&state).await;
        owner::claim(&sink(dir.path()).await, OWNER).await.expect("claimed");
        World { dir, state, sources }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.sources), Arc::default())
    }

    /// What the publisher does, and long after it: all windows that are closed get their files, and are forgotten.
    async fn publish(&self, forget: bool) {
        let sink = sink(self.dir.path()).await;
        let state = State::Memory(self.state.clone());
        let closed = state.closed(0).await.expect("closed");
        for start in &closed {
            let sums = state.frozen(0, *start).await.expect("frozen").sums;
            let setup = &self.sources.setup;
            let (rules, provenance) = (self.sources.rules(), setup.provenance());
            let file = window_file::encode(rules, &setup.job.neighbourhoods, &provenance, *start, &sums);
            let file = file.expect("encoded");
            sink.put_if_absent(&window_file::path(*start), file).await.expect("written");
        }
        if forget {
            state.forget(0, &closed).await.expect("forgotten");
        }
    }
}

async fn sink(root: &Path) -> Sink {
    Sink::open(&SinkConfig::Fs { root: root.to_owned() }).await.expect("a folder")
}

/// Windows of the state and files, of which each holds one: their starts, in order.
fn starts(tips: &Tips) -> Vec<EventTime> {
    let of_state = tips.windows.iter().map(|window| window.start);
    let mut starts: Vec<_> = of_state.chain(tips.files.iter().filter_map(File::window)).collect();
    starts.sort_unstable();
    starts
}

#[tokio::test]
async fn a_window_is_open_then_closed_then_a_file_and_always_there_once() {
    let world = World::new().await;
    let tips = world.snapshot().tips(Bounds::default()).await.expect("read");
    let all = starts(&tips);
    assert_eq!(all.len(), 3);
    assert!(tips.files.is_empty() && tips.windows.iter().all(|window| !window.is_final));

    world.state.finish();
    tokio::time::sleep(A_WHILE).await;
    let tips = world.snapshot().tips(Bounds::default()).await.expect("read");
    assert_eq!(starts(&tips), all);
    assert!(tips.files.is_empty() && tips.windows.iter().all(|window| window.is_final));

    for forget in [false, true] {
        world.publish(forget).await;
        tokio::time::sleep(A_WHILE).await;
        let tips = world.snapshot().tips(Bounds::default()).await.expect("read");
        assert_eq!(starts(&tips), all);
        assert!(tips.windows.is_empty(), "{forget}");
    }
}

/// Who listed the files first would find no window in either.
#[tokio::test]
async fn what_is_published_and_forgotten_before_the_state_is_read_is_in_the_files() {
    let world = World::new().await;
    world.state.finish();
    let snapshot = world.snapshot();
    let tips = {
        let held = state_held(&world.sources).await;
        let mut query = std::pin::pin!(snapshot.tips(Bounds::default()));
        let early = tokio::time::timeout(A_WHILE, &mut query).await;
        assert!(early.is_err(), "it does not read the state");
        world.publish(true).await;
        drop(held);
        query.await.expect("read")
    };
    assert_eq!(starts(&tips).len(), 3);
    assert!(tips.windows.is_empty());
}

/// The files were listed before, and are listed again.
#[tokio::test]
async fn what_is_published_and_forgotten_after_the_files_were_listed_is_in_the_files_too() {
    let world = World::new().await;
    world.state.finish();
    let snapshot = world.snapshot();
    assert!(snapshot.live().await.is_some());
    let listed = snapshot.listed(Table::Tips, Bounds::default()).await.expect("listed");
    assert!(listed.files.is_empty());
    world.publish(true).await;
    let tips = snapshot.tips(Bounds::default()).await.expect("read");
    assert_eq!(starts(&tips).len(), 3);
}

/// Two scans of one query, between which an open window closes and is published.
#[tokio::test]
async fn all_scans_of_a_query_see_a_window_alike() {
    let world = World::new().await;
    let snapshot = world.snapshot();
    let first = snapshot.tips(Bounds::default()).await.expect("read");
    world.state.finish();
    world.publish(true).await;
    let others = Bounds { from: Some(EventTime::from_seconds(0)), to: None };
    let second = snapshot.tips(others).await.expect("read");
    assert_eq!(starts(&second), starts(&first));
    assert!(second.windows.iter().all(|window| !window.is_final), "as it was when the query began");
    assert!(second.files.is_empty());
}
