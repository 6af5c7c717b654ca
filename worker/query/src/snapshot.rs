//! What one query sees: the results as of one moment, however often its plan reads them.
//!
//! # Each window once
//!
//! A window wanders: it is open in the state, then closed there, then a file as well, and long after that only a
//! file. A query reads the **state first, the files second**, and then, for windows of which both know, decides by
//! the window's start:
//!
//! 1. A window that the state had open counts as the state had it, whatever files there are by now. So all scans of
//!    a query agree on it, and a window that was published in between is not seen twice.
//! 2. Any other window with a file counts by its file.
//! 3. A window that the state had closed and that has no file counts by its frozen sums.
//!
//! None is missing: a window leaves the state only long after its file is there, and files do not go. So what the
//! state did not have when it was read had a file before, and the listing, which came later, has it too. The other
//! order would lose a window that was published and forgotten between the listing and the reading. Frozen sums are
//! read after the listing; where they have gone by then, the file is there by then too, and the listing is made
//! again.
//!
//! After `spec.epoch` was raised, files of the former epoch are read until the new one has the window: from the
//! state while it is open, as the new file once it has closed.
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
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::archive::{self, File, Listed, Table};
use crate::bounds::Bounds;
use crate::error::refuse;
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
pub struct Tips {
    /// From the state.
    pub windows: Vec<Window>,
    /// From the sink.
    pub files: Vec<File>,
}

impl Snapshot {
    /// A view that has seen nothing yet.
    pub fn new(sources: Arc<Sources>, warnings: Arc<Mutex<Vec<String>>>) -> Self {
        Snapshot { sources, warnings, live: OnceCell::new(), listed: AsyncMutex::default() }
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

    /// The windows within `bounds` of their starts, each once.
    ///
    /// # Errors
    /// Where the sink does not answer.
    pub async fn tips(&self, bounds: Bounds) -> Result<Tips> {
        let live = self.live().await;
        for _ in 0..TRIES {
            let listed = self.listed(Table::Tips, bounds).await?;
            let Some(live) = &live else {
                return Ok(Tips { windows: Vec::new(), files: listed.files.clone() });
            };
            if let Some(windows) = self.unpublished(live, &listed, bounds).await? {
                return Ok(Tips { windows, files: beside(&listed.files, &live.windows.open_starts()) });
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
        let list = async { archive::list(self.sources.sink().await?, table, bounds).await };
        let listed = list.await.map_err(|error| {
            self.sources.metrics.sink_errors.inc();
            let advice = "tips_live does not need the archive and still answers";
            refuse("58030", format!("the archive cannot be read: {error}; {advice}"))
        })?;
        Ok(Arc::clone(known.entry((table, bounds)).or_insert(Arc::new(listed))))
    }

    /// The state's windows that count by the state; `None` where one was published and forgotten since the files
    /// were listed.
    async fn unpublished(&self, live: &Live, listed: &Listed, bounds: Bounds) -> Result<Option<Vec<Window>>> {
        let wanted = |start: &EventTime| bounds.meet(&(*start..=*start));
        let mut windows: Vec<Window> =
            live.open.iter().filter(|(start, _)| wanted(start)).map(open_window).collect();
        let closed = live.windows.closed.iter().filter(|(start, _)| wanted(start));
        for (start, holders) in closed.filter(|(start, _)| !listed.windows.contains(start)) {
            match self.sources.frozen(*start, holders).await {
                Ok(Some(sums)) => windows.push(Window { start: *start, sums, is_final: true }),
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.warn(format!("windows that are not published yet are missing: {error}"));
                    break;
                }
            }
        }
        Ok(Some(windows))
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

/// The files without those of the windows in `open`, which count as the state had them.
fn beside(files: &[File], open: &BTreeSet<EventTime>) -> Vec<File> {
    let is_open = |file: &&File| file.window().is_some_and(|start| open.contains(&start));
    files.iter().filter(|file| !is_open(file)).cloned().collect()
}
