//! What one query sees: the results as of one moment, however often its plan reads them.
//!
//! # Each window once
//!
//! A window wanders: it is open in the state, then closed there, then a file as well, and long after that only a
//! file. A query reads the **state first, the files second**, and then, for windows of which both know, decides by
//! the window's start:
//!
//! 1. A window that has a file counts by its file, also where the state has it open: it was published in between, or
//!    the state has lost what it had and is being filled again.
//! 2. Any other window counts as the state had it: its sums so far, or its frozen ones.
//!
//! What was decided holds for all scans of the query that read `tips`, whatever their listings find later.
//!
//! None is missing: a window leaves the state only long after its file is there, and files do not go. So what the
//! state did not have when it was read had a file before, and the listing, which came later, has it too. The other
//! order would lose a window that was published and forgotten between the listing and the reading. Frozen sums are
//! read after the listing; where they have gone by then, the file is there by then too, and the listing is made
//! again.
//!
//! A file of a day, which compaction has made, is looked into where the state has a window of that day: which windows it
//! has decides as above, and its rows are taken from it there and then if some of them count by the state.
//!
//! So after `spec.epoch` was raised, files of the former epoch are read until the new one has published the window.
//!
//! # A missing half
//!
//! Without Redis the archive still answers, and the client is told that live windows are missing. Without the sink
//! `tips_live` still answers, since it never asks for files; a query of files fails, since nearly all would be
//! missing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use tips_worker::core::fold::Sums;
use tips_worker::core::time::EventTime;
use tips_worker::results::day_file::Windows;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::archive::{File, Listed, Table};
use crate::bounds::Bounds;
use crate::error::{refuse, unreadable};
use crate::kept::Kept;
use crate::own_sink::ArchiveError;
use crate::source::{Live, Sources};

/// How often a listing is made again before a query gives up: each time, a window was published between two looks.
const TRIES: usize = 5;

/// One query's view of the results. Lives in the configuration of the query's session.
pub struct Snapshot {
    sources: Arc<Sources>,
    /// What the client is to be told beside the answer.
    warnings: Arc<Mutex<Vec<String>>>,
    live: OnceCell<Option<Arc<Live>>>,
    listed: AsyncMutex<HashMap<(Table, Bounds), Arc<Listed>>>,
    /// Whether an open window counts by its file, once a scan has decided it.
    by_file: Mutex<HashMap<EventTime, bool>>,
    /// Files that need not be read again.
    kept: Option<Arc<Kept>>,
}

/// A window with its sums, and whether they are final.
pub struct Window {
    /// Its start.
    pub start: EventTime,
    /// Its sums.
    pub sums: Sums,
    /// Whether no trip can be added any more.
    pub is_final: bool,
}

/// The windows that a query of `tips` reads.
#[derive(Default)]
pub struct Tips {
    /// From the state.
    pub windows: Vec<Window>,
    /// From the sink.
    pub files: Vec<File>,
    /// Of files in which there are others too.
    pub others: Vec<Windows>,
}

impl Snapshot {
    /// A view that has seen nothing yet.
    pub fn new(sources: Arc<Sources>, warnings: Arc<Mutex<Vec<String>>>) -> Self {
        Snapshot {
            sources,
            warnings,
            live: OnceCell::new(),
            listed: AsyncMutex::default(),
            by_file: Mutex::default(),
            kept: None,
        }
    }

    /// The same, which reads no file of windows that is in `kept`, and keeps there what it reads.
    pub fn keeping(self, kept: Arc<Kept>) -> Self {
        Snapshot { kept: Some(kept), ..self }
    }

    /// The same view of the state, of files as they are from now on; with what there is to say beside its answer.
    pub fn again(&self) -> (Self, Arc<Mutex<Vec<String>>>) {
        let warnings = Arc::default();
        let view = Snapshot::new(Arc::clone(&self.sources), Arc::clone(&warnings));
        (Snapshot { live: self.live.clone(), ..view }, warnings)
    }

    /// The view of the query that is planned in `session`.
    ///
    /// # Errors
    /// Where the session was not made for a query.
    pub fn of(session: &dyn Session) -> Result<Arc<Self>> {
        let missing = || DataFusionError::Internal("the session has no snapshot".to_owned());
        session.config().get_extension::<Snapshot>().ok_or_else(missing)
    }

    /// Where the results are.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// The open windows. Without Redis there are none, and the client is told why.
    pub async fn open_windows(&self) -> Vec<Window> {
        let live = self.live().await;
        live.iter().flat_map(|live| live.open.iter()).map(open_window).collect()
    }

    /// All windows of the state within `bounds` of their starts, whether or not they have files.
    pub async fn of_state(&self, bounds: Bounds) -> Vec<Window> {
        let Some(live) = self.live().await else { return Vec::new() };
        match self.unpublished(&live, &BTreeSet::new(), bounds).await {
            Some(windows) => windows,
            None => self.open_windows().await,
        }
    }

    /// The windows within `bounds` of their starts, each once.
    ///
    /// # Errors
    /// Where the sink does not answer.
    pub async fn tips(&self, bounds: Bounds) -> Result<Tips> {
        let live = self.live().await;
        for _ in 0..TRIES {
            let listed = self.listed(Table::Tips, bounds).await?;
            let Some(live) = &live else {
                return Ok(Tips { files: listed.files.clone(), ..Tips::default() });
            };
            if let Some(tips) = self.together(live, &listed, bounds).await? {
                return Ok(tips);
            }
            self.listed.lock().await.remove(&(Table::Tips, bounds));
        }
        Err(refuse("40001", "windows are published faster than they can be listed; run the query again"))
    }

    /// What `table` has in the sink within `bounds`.
    ///
    /// # Errors
    /// Where the sink does not answer.
    pub async fn listed(&self, table: Table, bounds: Bounds) -> Result<Arc<Listed>> {
        // Held while listing: scans of one query that want the same wait for one listing.
        let mut known = self.listed.lock().await;
        if let Some(listed) = known.get(&(table, bounds)) {
            return Ok(Arc::clone(listed));
        }
        let listed = self.sources.list(table, bounds).await.map_err(|error| self.unreadable(&error))?;
        Ok(Arc::clone(known.entry((table, bounds)).or_insert(Arc::new(listed))))
    }

    /// What the state and the files have, each window once; `None` where a file or a window has moved since the files
    /// were listed.
    async fn together(&self, live: &Live, listed: &Listed, bounds: Bounds) -> Result<Option<Tips>> {
        let mut published = listed.windows.clone();
        let mut days = Vec::new();
        for file in &listed.files {
            if file.windows_of().is_some_and(|day| live.windows.has_of(day)) {
                let Some(windows) = self.windows_in(file).await? else { return Ok(None) };
                published.extend(windows.made().keys());
                days.push((&file.entry.path, windows));
            }
        }
        let of_state = self.decided(live, &published, bounds);
        let (mut files, mut others) = (Vec::new(), Vec::new());
        for file in &listed.files {
            let day = days.iter().position(|(path, _)| **path == file.entry.path);
            match (file.window(), day) {
                (Some(start), _) if of_state.contains(&start) => {}
                (_, Some(day)) if days[day].1.made().keys().any(|start| of_state.contains(start)) => {
                    let rest = days.swap_remove(day).1.without(&of_state);
                    others.push(rest.map_err(|error| DataFusionError::External(error.into()))?);
                }
                _ => files.push(file.clone()),
            }
        }
        published.retain(|start| !of_state.contains(start));
        let windows = self.unpublished(live, &published, bounds).await;
        Ok(windows.map(|windows| Tips { windows, files, others }))
    }

    /// The open windows of `live` within `bounds` that count as the state had them.
    fn decided(&self, live: &Live, published: &BTreeSet<EventTime>, bounds: Bounds) -> BTreeSet<EventTime> {
        let mut by_file = self.by_file.lock().unwrap_or_else(PoisonError::into_inner);
        let open = live.windows.open_starts();
        let is_of_state =
            |start: &EventTime| !*by_file.entry(*start).or_insert_with(|| published.contains(start));
        open.into_iter().filter(|start| bounds.meet(&(*start..=*start))).filter(is_of_state).collect()
    }

    /// Reads a file of windows; `None` where it has gone since it was listed.
    ///
    /// # Errors
    /// Where the sink does not answer, or the file is of something else.
    pub async fn windows_in(&self, file: &File) -> Result<Option<Windows>> {
        let kept = self.kept.as_ref();
        if let Some(windows) = kept.and_then(|kept| kept.get(&file.entry)) {
            return Ok(Some(windows));
        }
        let path = &file.entry.path;
        let read = self.sources.own_sink().ask(|sink| async move { sink.read(path).await });
        let Some(bytes) = read.await.map_err(|error| self.unreadable(&error))? else { return Ok(None) };
        let metrics = &self.sources.metrics;
        metrics.sink_reads.inc();
        metrics.sink_bytes.inc_by(bytes.len() as u64);
        let windows = Windows::read(bytes)
            .map_err(|error| refuse("58030", format!("{path} {error}: it was not written by compact")))?;
        if let Some(kept) = kept {
            kept.put(&file.entry, &windows);
        }
        Ok(Some(windows))
    }

    fn unreadable(&self, error: &ArchiveError) -> DataFusionError {
        self.sources.metrics.sink_errors.inc();
        DataFusionError::External(Box::new(unreadable(error)))
    }

    /// The state's windows that count by the state; `None` where one was published and forgotten since the files
    /// were listed.
    async fn unpublished(
        &self,
        live: &Live,
        published: &BTreeSet<EventTime>,
        bounds: Bounds,
    ) -> Option<Vec<Window>> {
        let wanted = |start: &EventTime| bounds.meet(&(*start..=*start));
        let open = live.open.iter().filter(|(start, _)| wanted(start) && !published.contains(start));
        let mut windows: Vec<Window> = open.map(open_window).collect();
        let closed = live.windows.closed.iter().filter(|(start, _)| wanted(start));
        for (start, holders) in closed.filter(|(start, _)| !published.contains(start)) {
            match self.sources.frozen(*start, holders).await {
                Ok(Some(sums)) => windows.push(Window { start: *start, sums, is_final: true }),
                Ok(None) => return None,
                Err(error) => {
                    self.warn(format!("windows that are not published yet are missing: {error}"));
                    break;
                }
            }
        }
        Some(windows)
    }

    async fn live(&self) -> Option<Arc<Live>> {
        let read = async {
            let live = self.sources.live().await;
            live.inspect_err(|error| self.warn(format!("live windows are missing: {error}"))).ok()
        };
        self.live.get_or_init(|| read).await.clone()
    }

    fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }
}

fn open_window((start, sums): &(EventTime, Sums)) -> Window {
    Window { start: *start, sums: sums.clone(), is_final: false }
}

#[cfg(test)]
mod tests;
