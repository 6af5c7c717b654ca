//! The windows as the map shows them: each once, as a query would see them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream};
use tips_worker::core::amount::TipSum;
use tips_worker::core::time::EventTime;
use tips_worker::map::{Cells, Unavailable, Window, Windows};
use tips_worker::results::day_file;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::archive::{File, Table};
use crate::bounds::Bounds;
use crate::error::{for_client, overtaken};
use crate::snapshot::{self, Snapshot, Tips};
use crate::source::Sources;

/// How long the ends of the archive are believed: to find them all of it is listed, and they move with the day.
const EXTENT_KEPT: Duration = Duration::from_secs(60);
/// How long a viewer waits for the sink before there are only open windows.
const SINK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the sink is not asked again after it did not answer: viewers do not all wait again.
const SINK_PAUSE: Duration = Duration::from_secs(10);
/// How long the files of an answer may take to be read.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// Files that are read at once.
const AT_ONCE: usize = 8;
/// How often files are looked for that were merged away before they were read.
const TRIES: usize = 3;

/// What is there of some time.
struct Seen {
    /// From the state.
    windows: Vec<snapshot::Window>,
    /// Files that were not read.
    named: Vec<File>,
    /// What others hold.
    read: Vec<day_file::Windows>,
}

type Extent = Option<RangeInclusive<EventTime>>;

/// The windows of a pipeline.
pub struct Shown {
    sources: Arc<Sources>,
    archive: Mutex<Option<(Instant, Extent)>>,
    /// When and why the archive could not be read, where that was so when it was wanted last.
    missing: std::sync::Mutex<Option<(Instant, String)>>,
}

impl Shown {
    /// Those of `sources`.
    pub fn new(sources: Arc<Sources>) -> Self {
        Shown { sources, archive: Mutex::default(), missing: std::sync::Mutex::default() }
    }

    async fn archive(&self) -> Extent {
        let mut known = self.archive.lock().await;
        if let Some((_, extent)) = known.as_ref().filter(|(when, _)| when.elapsed() < EXTENT_KEPT) {
            return extent.clone();
        }
        let listed = self.ask_sink(self.sources.list(Table::Tips, Bounds::default())).await?;
        let times = || listed.files.iter().filter_map(|file| file.times.clone());
        let first = times().map(|times| *times.start()).min();
        let last = times().map(|times| *times.end()).max();
        let extent = first.zip(last).map(|(first, last)| first..=last);
        *known = Some((Instant::now(), extent.clone()));
        extent
    }

    fn missing(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read, or `None` and a note.
    async fn ask_sink<T, E: Display>(&self, question: impl Future<Output = Result<T, E>>) -> Option<T> {
        if self.missing().as_ref().is_some_and(|(when, _)| when.elapsed() < SINK_PAUSE) {
            return None;
        }
        let read = match timeout(SINK_PATIENCE, question).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the sink has not answered within {SINK_PATIENCE:?}")),
        };
        let (read, why) = match read {
            Ok(read) => (Some(read), None),
            Err(why) => (None, Some(why)),
        };
        *self.missing() = why.map(|why| (Instant::now(), why));
        read
    }

    /// Without the sink, the open windows.
    async fn tips(&self, starts: &RangeInclusive<EventTime>) -> (Snapshot, Tips) {
        let snapshot = Snapshot::new(Arc::clone(&self.sources), Arc::default());
        let bounds = Bounds { from: Some(*starts.start()), to: Some(*starts.end()) };
        let tips = async { snapshot.tips(bounds).await.map_err(|error| for_client(&error).message) };
        let tips = match self.ask_sink(tips).await {
            Some(tips) => tips,
            None => Tips { windows: snapshot.open_windows().await, ..Tips::default() },
        };
        (snapshot, tips)
    }

    /// What there is within `starts`, with the files that are `wanted` read.
    async fn seen(
        &self,
        starts: &RangeInclusive<EventTime>,
        wanted: impl Fn(&File) -> bool,
    ) -> Result<Seen, Unavailable> {
        for _ in 0..TRIES {
            let (snapshot, Tips { windows, files, others }) = self.tips(starts).await;
            let (wanted, named): (Vec<_>, Vec<_>) = files.into_iter().partition(&wanted);
            let snapshot = &snapshot;
            let read = stream::iter(wanted).map(|file| async move { snapshot.windows_in(&file).await });
            let read = timeout(READ_PATIENCE, read.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>()).await;
            let read = read.map_err(|_| too_slow())?.map_err(unavailable)?;
            // Else one was merged away since it was listed.
            if let Some(read) = read.into_iter().collect::<Option<Vec<_>>>() {
                return Ok(Seen { windows, named, read: [read, others].concat() });
            }
        }
        Err(unavailable(overtaken()))
    }

    /// All figures of the windows that start within `starts`.
    async fn all(
        &self,
        starts: &RangeInclusive<EventTime>,
    ) -> Result<BTreeMap<EventTime, Cells>, Unavailable> {
        let Seen { windows, read, .. } = self.seen(starts, |_| true).await?;
        let mut all = BTreeMap::new();
        for windows in read {
            let sums = windows.sums().map_err(|error| Unavailable(error.to_string()))?;
            all.extend(sums.into_iter().map(|(start, sums)| (start, Cells { closed: true, sums })));
        }
        let neighbourhoods = &self.sources.setup.job.neighbourhoods;
        all.extend(
            windows
                .into_iter()
                .map(|window| (window.start, Cells::named(neighbourhoods, window.is_final, window.sums))),
        );
        all.retain(|start, cells| starts.contains(start) && !cells.sums.is_empty());
        Ok(all)
    }
}

impl Windows for Shown {
    async fn extent(&self) -> Result<Extent, Unavailable> {
        let live = self.sources.live().await.ok();
        let archive = self.archive().await;
        let starts = || {
            let windows = live.iter().map(|live| &live.windows);
            windows.flat_map(|windows| windows.open.keys().chain(windows.closed.keys())).copied()
        };
        let first = starts().chain(archive.as_ref().map(|extent| *extent.start())).min();
        let last = starts().chain(archive.map(|extent| *extent.end())).max();
        Ok(first.zip(last).map(|(first, last)| first..=last))
    }

    async fn list(&self, starts: RangeInclusive<EventTime>) -> Result<Vec<Window>, Unavailable> {
        // Of a file of one window the name says which.
        let Seen { windows, named, read } = self.seen(&starts, |file| file.windows_of().is_some()).await?;
        let mut windows: BTreeMap<EventTime, bool> =
            windows.iter().map(|window| (window.start, window.is_final)).collect();
        let archived = named.iter().filter_map(File::window);
        windows.extend(
            archived.chain(read.iter().flat_map(|day| day.made().keys().copied())).map(|start| (start, true)),
        );
        let wanted = windows.into_iter().filter(|(start, _)| starts.contains(start));
        Ok(wanted.map(|(start, closed)| Window { start, closed }).collect())
    }

    async fn cells(&self, start: EventTime) -> Result<Option<Cells>, Unavailable> {
        Ok(self.all(&(start..=start)).await?.remove(&start))
    }

    async fn notice(&self) -> Option<String> {
        if let Err(error) = self.sources.live().await {
            return Some(format!("Open windows are missing: {error}"));
        }
        let missing = self.missing();
        missing.as_ref().map(|(_, why)| format!("Only open windows are here: {why}"))
    }

    async fn history(
        &self,
        neighbourhood: &str,
        starts: RangeInclusive<EventTime>,
    ) -> Result<Vec<(Window, TipSum)>, Unavailable> {
        let all = self.all(&starts).await?;
        let point = |(start, Cells { closed, sums }): (EventTime, Cells)| {
            (Window { start, closed }, sums.get(neighbourhood).copied().unwrap_or_default())
        };
        Ok(all.into_iter().map(point).collect())
    }
}

fn too_slow() -> Unavailable {
    Unavailable(format!("the sink has not given the files within {READ_PATIENCE:?}: choose a shorter time"))
}

fn unavailable(error: DataFusionError) -> Unavailable {
    Unavailable(for_client(&error).message)
}
