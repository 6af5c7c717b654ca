//! State in memory, in several shards, and the files that were made of it: they have to agree.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{holds, names};
use crate::core::amount::TipSum;
use crate::core::batch::Job;
use crate::core::clean::Area;
use crate::core::delta::{Cell, Delta, Move};
use crate::core::locate::{Neighbourhoods, Place};
use crate::core::shard::{Partition, PartitionCounts, Topic};
use crate::core::time::{EventTime, Span};
use crate::core::window::tests::RULES;
use crate::generate::{self, GenerateArgs};
use crate::metrics::Metrics;
use crate::pipeline::reader::ReaderSettings;
use crate::pipeline::run::Pipeline;
use crate::raw::writer::Limits;
use crate::results::publisher::Publisher;
use crate::results::window_file::Provenance;
use crate::settings::BUILT_IN;
use crate::sink::{Sink, SinkConfig};
use crate::source::files::FileSource;
use crate::state::{MemoryState, State};
use crate::verify::collect::archive::archive;
use crate::verify::collect::{views, windows};
use crate::verify::progress::Progress;
use crate::verify::ranges::{Source, by_lane};
use crate::verify::rows::Missed;
use crate::verify::{books, path, ranges, rows, shards};

const SHARDS: u16 = 3;

#[derive(Parser)]
struct Generate {
    #[command(flatten)]
    args: GenerateArgs,
}

fn job() -> Arc<Job> {
    let area = Area { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 };
    let neighbourhoods = Neighbourhoods::parse(BUILT_IN).expect("polygons");
    Arc::new(Job { rules: RULES, area, neighbourhoods })
}

fn provenance() -> Provenance {
    Provenance { epoch: 0, fingerprint: "f".into() }
}

struct Run {
    _dir: TempDir,
    sink: Sink,
    state: State,
}

impl Run {
    async fn make() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let input = dir.path().join("input");
        let flags = "generate --rides 4000 --rate 0.5 --partitions 2 --invalid 0.02 --duplicates 0.05 --unmatched 0.1 --output";
        let flags = flags.split_whitespace().chain(input.to_str());
        let args = Generate::try_parse_from(flags).expect("the test's flags are right").args;
        generate::run(args, &CancellationToken::new()).expect("generated");
        let parts = |topic: &str| -> Vec<PathBuf> {
            (0..2).map(|part| input.join(format!("{topic}-{part}.csv"))).collect()
        };
        let source = FileSource::open(&parts("rides"), &parts("fares")).expect("input");
        let root = dir.path().join("output");
        let sink = Sink::open(&SinkConfig::Fs { root }).await.expect("a sink");
        let state = State::Memory(MemoryState::new(RULES, SHARDS));
        let run = Run { _dir: dir, sink, state };
        run.pipeline().run(source, CancellationToken::new()).await.expect("a whole run");
        run
    }

    fn pipeline(&self) -> Pipeline {
        Pipeline {
            job: job(),
            state: self.state.clone(),
            sink: self.sink.clone(),
            provenance: provenance(),
            reader: ReaderSettings {
                batch_records: 1000,
                linger: Duration::MAX,
                chunk_linger: None,
                idle_timeout: Duration::ZERO,
                max_drift: Some(Span::from_seconds(4 * 3600)),
                raw: true,
                until_caught_up: true,
                fingerprint: "f".into(),
            },
            limits: Limits { file_bytes: 20_000, flush_interval: None, budget: None, tries: Some(1) },
            drain_timeout: None,
            metrics: Metrics::new().expect("metrics"),
            board: None,
        }
    }
}

#[tokio::test]
async fn state_and_files_of_a_run_agree() {
    let run = Run::make().await;
    let seen = views(&run.state).await.expect("the state");
    let found = archive(&run.sink, &Progress::new(true)).await.expect("the sink");
    let (ranges, published) = ranges::check(&by_lane(&found.files), &found.logs, &Source::Files);
    holds(&ranges);
    holds(&books::check(&seen));
    holds(&shards::check(&seen));
    let rows = rows::check(&names(), &published, &seen, &Missed::None);
    holds(&rows);
    assert!(!format!("{rows:?}").contains("offsets in flight"), "all is at rest: {rows:?}");
}

/// A day of tips in the panes of an hour: what a shard has of it.
fn tips(shard: u16) -> Delta {
    let move_to_end = |topic| Move {
        partition: Partition { topic, index: 0 },
        from: None,
        to: 100,
        max_event_time: Some(EventTime::from_seconds(86_400)),
        idle: false,
    };
    let cell = |pane: i64| Cell {
        pane: EventTime::from_seconds(pane * 600),
        place: Place::new(shard),
        sum: TipSum { micros: i128::from(pane) * 1_500_000, trips: 2 },
    };
    Delta {
        known: PartitionCounts { rides: 1, fares: 1 },
        moves: Topic::ALL.map(move_to_end).into(),
        cells: (100..106).map(cell).collect(),
        ..Delta::default()
    }
}

#[tokio::test]
async fn a_closed_window_without_its_file_is_found_until_it_is_there() {
    let dir = TempDir::new().expect("a temporary directory");
    let sink = Sink::open(&SinkConfig::Fs { root: dir.path().to_owned() }).await.expect("a sink");
    let (job, state) = (job(), State::Memory(MemoryState::new(RULES, SHARDS)));
    for shard in 0..SHARDS {
        state.apply(shard, &tips(shard)).await.expect("applied");
    }
    let kept = windows::kept(&state, &job).await.expect("the state");
    assert_eq!(kept.closed.len(), 8);
    let compare = async || {
        let closed = kept.closed.iter().copied();
        windows::compare(&state, &sink, &job, 0, closed).await.expect("compared")
    };
    assert_eq!(compare().await.len(), 8);
    let metrics = Metrics::new().expect("metrics");
    let mut publisher = Publisher::new(job.clone(), state.clone(), sink.clone(), provenance(), metrics);
    assert_eq!(publisher.publish_closed().await.expect("published"), 8);
    assert_eq!(compare().await, BTreeMap::new());

    let start = *kept.closed.first().expect("a window");
    let file = path::window_path(start);
    let bytes = sink.read(&file).await.expect("the sink").expect("a file");
    sink.delete(&file).await.expect("deleted");
    assert_eq!(compare().await, BTreeMap::from([(start, "has no file".to_owned())]));
    sink.put_if_absent(&file, bytes.slice(..100)).await.expect("written");
    assert!(compare().await[&start].starts_with("has a file that is not a whole Parquet file"));
    sink.delete(&file).await.expect("deleted");
    sink.put_if_absent(&file, bytes).await.expect("written");
    assert_eq!(compare().await, BTreeMap::new());
}

#[tokio::test]
async fn a_file_in_the_way_of_one_window_keeps_no_other_back() {
    let dir = TempDir::new().expect("a temporary directory");
    let sink = Sink::open(&SinkConfig::Fs { root: dir.path().to_owned() }).await.expect("a sink");
    let (job, state) = (job(), State::Memory(MemoryState::new(RULES, SHARDS)));
    for shard in 0..SHARDS {
        state.apply(shard, &tips(shard)).await.expect("applied");
    }
    let closed = windows::kept(&state, &job).await.expect("the state").closed;
    let taken = path::window_path(*closed.first().expect("a window"));
    sink.put_if_absent(&taken, "a note".into()).await.expect("written");
    let metrics = Metrics::new().expect("metrics");
    let mut publisher = Publisher::new(job, state, sink.clone(), provenance(), metrics.clone());

    let error = publisher.publish_closed().await.expect_err("it is in the way");
    assert!(error.is_transient() && error.to_string().contains(&taken), "{error}");
    assert_eq!(sink.list("tips").await.expect("the sink").len(), closed.len());
    assert_eq!(metrics.windows_unpublished.get(), 1);
    let since = metrics.window_due_seconds.get();
    assert!(since > 0, "nothing is told of a window that waits");
    assert_eq!(publisher.publish_closed().await.expect("it is left alone for a while"), 0);

    assert!(publisher.publish_last().await.is_err());
    assert_eq!(metrics.window_due_seconds.get(), since, "it has waited as long as before");
    sink.delete(&taken).await.expect("moved away");
    assert_eq!(publisher.publish_last().await.expect("published"), 1);
    assert_eq!(metrics.windows_unpublished.get(), 0);
    assert_eq!(metrics.window_due_seconds.get(), 0, "none waits");
}
