//! The windows as the map shows them: each once, as a query would see them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream};
use tips_worker::core::amount::TipSum;
use tips_worker::core::time::EventTime;
use tips_worker::map::{Cells, Unavailable, Window, Windows};
use tips_worker::results::day_file;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::archive::File;
use crate::bounds::Bounds;
use crate::ends::{Ends, Extent};
use crate::error::{for_client, overtaken};
use crate::kept::Kept;
use crate::snapshot::{self, Snapshot, Tips};
use crate::source::Sources;

/// Answers that are made at once, apart from the queries of clients; who asks beyond that waits.
const TURNS: usize = 4;
/// How long an answer may take, the wait for its turn included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Files that are read at once for an answer.
const AT_ONCE: usize = 8;
/// How often files are looked for that were merged away before they were read, or could not be read.
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

/// The windows of a pipeline.
pub struct Shown {
    sources: Arc<Sources>,
    ends: Arc<Ends>,
    kept: Arc<Kept>,
    turns: Semaphore,
    /// Why the archive could not be read, where that was so when it was wanted last.
    missing: std::sync::Mutex<Option<String>>,
}

impl Shown {
    /// Those of `sources`.
    pub fn new(sources: Arc<Sources>) -> Self {
        let ends = Ends::new(Arc::clone(&sources));
        let (turns, missing) = (Semaphore::new(TURNS), std::sync::Mutex::default());
        Shown { sources, ends, kept: Arc::default(), turns, missing }
    }

    fn missing(&self) -> MutexGuard<'_, Option<String>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `answer`, which the metrics know as `name`.
    async fn in_turn<T>(
        &self,
        name: &str,
        answer: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let metrics = &self.sources.metrics;
        let asked = Instant::now();
        let in_turn = async {
            let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
            answer.await
        };
        let given = timeout(PATIENCE, in_turn).await.unwrap_or_else(|_| Err(too_slow()));
        metrics.map_seconds.with_label_values(&[name]).observe(asked.elapsed().as_secs_f64());
        if given.is_err() {
            metrics.map_errors.inc();
        }
        given
    }

    /// Without the sink, what the state has.
    async fn tips(&self, starts: &RangeInclusive<EventTime>) -> (Snapshot, Tips) {
        let snapshot = Snapshot::new(Arc::clone(&self.sources), Arc::default());
        let snapshot = snapshot.keeping(Arc::clone(&self.kept));
        let bounds = Bounds::within(starts);
        let tips = snapshot.tips(bounds).await;
        *self.missing() = tips.as_ref().err().map(|error| for_client(error).message);
        let tips = match tips {
            Ok(tips) => tips,
            Err(_) => Tips { windows: snapshot.of_state(bounds).await, ..Tips::default() },
        };
        (snapshot, tips)
    }

    /// What there is within `starts`, with the files that are `wanted` read.
    async fn seen(
        &self,
        starts: &RangeInclusive<EventTime>,
        wanted: impl Fn(&File) -> bool,
    ) -> Result<Seen, Unavailable> {
        let mut why = overtaken();
        for _ in 0..TRIES {
            let (snapshot, Tips { windows, files, others }) = self.tips(starts).await;
            let (wanted, named): (Vec<_>, Vec<_>) = files.into_iter().partition(&wanted);
            let snapshot = &snapshot;
            let read = stream::iter(wanted).map(|file| async move { snapshot.windows_in(&file).await });
            let read = read.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await;
            match read.map(|read| read.into_iter().collect::<Option<Vec<_>>>()) {
                Ok(Some(read)) => return Ok(Seen { windows, named, read: [read, others].concat() }),
                // One was merged away since it was listed.
                Ok(None) => {}
                // Where the sink has gone since, the next look does without it.
                Err(error) => why = error,
            }
        }
        Err(unavailable(&why))
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
        let (live, archive) = tokio::join!(self.sources.live(), self.ends.get());
        let windows = live.iter().map(|live| &live.windows);
        let of_state = windows
            .flat_map(|windows| windows.open_starts().into_iter().chain(windows.closed.keys().copied()));
        let of_archive = archive.into_iter().flat_map(|extent| [*extent.start(), *extent.end()]);
        let starts: BTreeSet<EventTime> = of_state.chain(of_archive).collect();
        Ok(starts.first().zip(starts.last()).map(|(first, last)| *first..=*last))
    }

    async fn list(&self, starts: RangeInclusive<EventTime>) -> Result<Vec<Window>, Unavailable> {
        // Of a file of one window the name says which.
        let seen = self.seen(&starts, |file| file.windows_of().is_some());
        let Seen { windows, named, read } = self.in_turn("windows", seen).await?;
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
        Ok(self.in_turn("window", self.all(&(start..=start))).await?.remove(&start))
    }

    async fn notice(&self) -> Option<String> {
        let archive = self.missing().clone().or_else(|| self.ends.trouble());
        match (self.sources.live().await, archive) {
            (Err(live), Some(archive)) => Some(format!("Windows are missing: {live}; {archive}")),
            (Err(live), None) => Some(format!("Open windows are missing: {live}")),
            (Ok(_), Some(archive)) => Some(format!("Only the windows in Redis are here: {archive}")),
            (Ok(_), None) => None,
        }
    }

    async fn history(
        &self,
        neighbourhood: &str,
        starts: RangeInclusive<EventTime>,
    ) -> Result<Vec<(Window, TipSum)>, Unavailable> {
        let all = self.in_turn("history", self.all(&starts)).await?;
        let point = |(start, Cells { closed, sums }): (EventTime, Cells)| {
            (Window { start, closed }, sums.get(neighbourhood).copied().unwrap_or_default())
        };
        Ok(all.into_iter().map(point).collect())
    }
}

fn too_slow() -> Unavailable {
    Unavailable(format!("the sink has not given the figures within {PATIENCE:?}"))
}

fn unavailable(error: &DataFusionError) -> Unavailable {
    Unavailable(for_client(error).message)
}

#[cfg(test)]
mod tests;
