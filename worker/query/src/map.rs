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
use tokio::sync::Mutex;

use crate::archive::{self, Table};
use crate::bounds::Bounds;
use crate::error::for_client;
use crate::snapshot::{Snapshot, Tips};
use crate::source::Sources;

/// How long the ends of the archive are believed: to find them all of it is listed, and they move with the day.
const EXTENT_KEPT: Duration = Duration::from_secs(60);
/// Files that are read at once.
const AT_ONCE: usize = 8;

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
        let list = async { archive::list(self.sources.sink().await?, Table::Tips, Bounds::default()).await };
        let listed = self.noted(list.await)?;
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

    /// All figures of the windows that start within `starts`.
    async fn all(
        &self,
        starts: &RangeInclusive<EventTime>,
    ) -> Result<BTreeMap<EventTime, Cells>, Unavailable> {
        let (snapshot, tips) = self.tips(starts).await;
        let snapshot = &snapshot;
        let read = stream::iter(tips.files).map(|file| async move { snapshot.windows_in(&file).await });
        let read: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await.map_err(unavailable)?;
        let mut all = BTreeMap::new();
        // Merged away since it was listed: the page asks again.
        for windows in read.into_iter().flatten().chain(tips.others) {
            let sums = windows.sums().map_err(|error| Unavailable(error.to_string()))?;
            all.extend(sums.into_iter().map(|(start, sums)| (start, Cells { closed: true, sums })));
        }
        let neighbourhoods = &self.sources.setup.job.neighbourhoods;
        all.extend(
            tips.windows
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
        let (snapshot, tips) = self.tips(&starts).await;
        let mut windows: BTreeMap<EventTime, bool> =
            tips.windows.iter().map(|window| (window.start, window.is_final)).collect();
        windows.extend(tips.files.iter().filter_map(|file| file.window()).map(|start| (start, true)));
        let mut merged = tips.others;
        for file in tips.files.iter().filter(|file| file.windows_of().is_some()) {
            merged.extend(snapshot.windows_in(file).await.map_err(unavailable)?);
        }
        windows.extend(merged.iter().flat_map(|day| day.made().keys()).map(|start| (*start, true)));
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
