//! The windows as the map shows them: each once, as a query would see them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream};
use tips_worker::core::amount::TipSum;
use tips_worker::core::time::EventTime;
use tips_worker::map::{Cells, Unavailable, Window, Windows};
use tips_worker::results::day_file;
use tokio::sync::Mutex;

use crate::archive::{File, Table};
use crate::bounds::Bounds;
use crate::error::{for_client, overtaken};
use crate::snapshot::{self, Snapshot, Tips};
use crate::source::Sources;

/// How long the ends of the archive are believed: to find them all of it is listed, and they move with the day.
const EXTENT_KEPT: Duration = Duration::from_secs(60);
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
    /// Why the archive could not be read when it was wanted last.
    missing: std::sync::Mutex<Option<String>>,
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
        let listed = self.noted(self.sources.list(Table::Tips, Bounds::default()).await)?;
        let times = || listed.files.iter().filter_map(|file| file.times.clone());
        let first = times().map(|times| *times.start()).min();
        let last = times().map(|times| *times.end()).max();
        let extent = first.zip(last).map(|(first, last)| first..=last);
        *known = Some((Instant::now(), extent.clone()));
        extent
    }

    /// What was read, or `None` and a note.
    fn noted<T, E: Display>(&self, read: Result<T, E>) -> Option<T> {
        let (read, missing) = match read {
            Ok(read) => (Some(read), None),
            Err(error) => (None, Some(error.to_string())),
        };
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = missing;
        read
    }

    /// Without the sink, the open windows.
    async fn tips(&self, starts: &RangeInclusive<EventTime>) -> (Snapshot, Tips) {
        let snapshot = Snapshot::new(Arc::clone(&self.sources), Arc::default());
        let bounds = Bounds { from: Some(*starts.start()), to: Some(*starts.end()) };
        let read = snapshot.tips(bounds).await.map_err(|error| for_client(&error).message);
        let tips = match self.noted(read) {
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
            let read: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await.map_err(unavailable)?;
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
        let starts = || live.iter().flat_map(|live| live.open.iter().map(|(start, _)| *start));
        let archive = self.archive().await;
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
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(format!("Only open windows are here: {missing}"))
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

fn unavailable(error: DataFusionError) -> Unavailable {
    Unavailable(for_client(&error).message)
}
