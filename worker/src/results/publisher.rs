//! Publishes closed windows, and lets the state forget them long after.
//!
//! Any worker may do it, at any time, and as often as it likes: a file that is there is left alone, unless it is
//! of an older epoch (I8). To spare the work, only the owner of the first partition does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use futures::{StreamExt, stream};
use parquet::errors::ParquetError;

use super::shelf::{Shelf, ShelfError};
use super::window_file::{self, Provenance};
use crate::clock::unix_millis;
use crate::core::batch::Job;
use crate::core::fold::{Sums, add};
use crate::core::time::{EventTime, Span};
use crate::crash;
use crate::metrics::Metrics;
use crate::sink::Sink;
use crate::state::{State, StateError, watermark};

/// How long after its file a window stays in the state: longer than any worker can be stopped and come back
/// with a window that it was about to write, and long enough to prove the file against the state.
pub const KEEP: Span = Span::from_seconds(24 * 3600);

/// Windows that are published at once: HDFS takes a third of a second for each, and a backlog may have thousands.
const AT_ONCE: usize = 16;
/// How long a window is left alone that cannot be written where it belongs.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Why windows could not be published this time.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Where it belongs.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The encoder.
    #[error("cannot encode {path}: {error}")]
    Encode {
        /// Which file.
        path: String,
        /// What is wrong.
        error: ParquetError,
    },
}

impl PublishError {
    /// Whether a later try may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            PublishError::State(error) => error.is_transient(),
            PublishError::Shelf(_) => true,
            PublishError::Encode { .. } => false,
        }
    }
}

/// Publishes the windows of a pipeline.
pub struct Publisher {
    job: Arc<Job>,
    state: State,
    shelf: Shelf,
    provenance: Provenance,
    metrics: Metrics,
    /// Windows that have closed and have no file, and since when they wait for it, in seconds since 1970.
    due: BTreeMap<EventTime, i64>,
    /// Windows whose file is known to be there.
    published: BTreeSet<EventTime>,
    /// Windows that cannot be written where they belong, and since when they are left alone.
    blocked: BTreeMap<EventTime, Instant>,
}

/// What became of a window.
enum Outcome {
    /// Its file is there; `true`: by this call.
    There(bool),
    /// A shard has lost its last writes, and will close it again.
    Open,
    /// It cannot be written where it belongs.
    Blocked(PublishError),
}

impl Publisher {
    /// A publisher that knows of no file yet.
    pub fn new(job: Arc<Job>, state: State, sink: Sink, provenance: Provenance, metrics: Metrics) -> Self {
        Publisher {
            job,
            state,
            shelf: Shelf::new(sink, provenance.epoch),
            provenance,
            metrics,
            due: BTreeMap::new(),
            published: BTreeSet::new(),
            blocked: BTreeMap::new(),
        }
    }

    /// Publishes every window that has closed on all shards, and shows the books. Returns how many files this call
    /// wrote.
    ///
    /// # Errors
    /// Where the state or the sink fails, or something else is at the path of a window; what was published stays so,
    /// and a later call goes on.
    pub async fn publish_closed(&mut self) -> Result<usize, PublishError> {
        let published = self.publish_due().await;
        if let Err(error) = &published {
            match error {
                PublishError::State(error) => {
                    self.metrics.state_errors.with_label_values(&[error.category()]).inc();
                }
                PublishError::Shelf(ShelfError::Sink(_)) => self.metrics.sink_errors.inc(),
                PublishError::Shelf(_) | PublishError::Encode { .. } => {}
            }
        }
        published
    }

    /// The same for the last time: what was left alone is looked at too.
    ///
    /// # Errors
    /// As there.
    pub async fn publish_last(&mut self) -> Result<usize, PublishError> {
        self.blocked.clear();
        self.publish_closed().await
    }

    /// Shows nothing of the pipeline any more: another worker does, and what this one saw grows old.
    pub fn stand_by(&mut self) {
        self.metrics.forget_books();
        self.metrics.windows_unpublished.set(0);
        self.due.clear();
        self.show_due();
    }

    async fn publish_due(&mut self) -> Result<usize, PublishError> {
        let shards = 0..self.state.shards();
        // The watermarks first: whatever has closed below them is in the lists that are read after.
        let views = self.state.views().await?;
        let closed = try_join_all(shards.map(|shard| self.state.closed(shard))).await?;
        self.metrics.set_books(&views.iter().map(|view| view.books).sum());
        let Some(watermark) = watermark(&views) else {
            return Ok(0);
        };
        self.metrics.watermark_seconds.set(watermark.seconds());
        let starts: BTreeSet<EventTime> = closed.into_iter().flatten().collect();
        let window = self.job.rules.window;
        let is_closed = |start: &EventTime| start.plus(window) <= watermark;
        self.expect(starts.iter().filter(|start| is_closed(start)));
        let waits =
            |start: &EventTime| self.blocked.get(start).is_some_and(|since| since.elapsed() < LOOK_AGAIN);
        // The newest first: whoever takes over finds the files of the others there.
        let due: Vec<EventTime> = self.due.keys().rev().filter(|start| !waits(start)).copied().collect();
        let published = self.publish_all(due).await;
        self.forget(watermark, &starts).await?;
        published
    }

    /// Notes which of the `closed` windows are due, and shows since when.
    fn expect<'a>(&mut self, closed: impl Iterator<Item = &'a EventTime>) {
        let now = unix_millis() / 1000;
        let due = closed.filter(|start| !self.published.contains(start));
        self.due = due.map(|start| (*start, self.due.get(start).copied().unwrap_or(now))).collect();
        self.show_due();
    }

    fn show_due(&self) {
        self.metrics.window_due_seconds.set(self.due.values().min().copied().unwrap_or(0));
    }

    /// Publishes these, several at once, up to the first that fails. One that is refused for itself keeps no other back.
    async fn publish_all(&mut self, due: Vec<EventTime>) -> Result<usize, PublishError> {
        let mut outcomes = Vec::new();
        let mut failed = None;
        let mut publishing = stream::iter(due).map(|start| self.publish_one(start)).buffer_unordered(AT_ONCE);
        while let Some(outcome) = publishing.next().await {
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(publishing);
        let mut written = 0;
        for (start, outcome) in outcomes {
            match outcome {
                Outcome::There(by_us) => {
                    written += usize::from(by_us);
                    self.published.insert(start);
                    self.due.remove(&start);
                    self.blocked.remove(&start);
                }
                Outcome::Open => {}
                Outcome::Blocked(error) => {
                    self.blocked.insert(start, Instant::now());
                    failed.get_or_insert(error);
                }
            }
        }
        self.metrics.windows_unpublished.set(self.blocked.len() as i64);
        self.show_due();
        failed.map_or(Ok(written), Err)
    }

    async fn publish_one(&self, start: EventTime) -> Result<(EventTime, Outcome), PublishError> {
        let Some(sums) = self.sums(start).await? else { return Ok((start, Outcome::Open)) };
        match self.publish(start, &sums).await {
            Ok(by_us) => Ok((start, Outcome::There(by_us))),
            Err(PublishError::Shelf(error)) if error.is_of_its_window() => {
                Ok((start, Outcome::Blocked(error.into())))
            }
            Err(error) => Err(error),
        }
    }

    async fn publish(&self, start: EventTime, sums: &Sums) -> Result<bool, PublishError> {
        let file =
            window_file::encode(&self.job.rules, &self.job.neighbourhoods, &self.provenance, start, sums)
                .map_err(|error| PublishError::Encode { path: window_file::path(start), error })?;
        let written = self.shelf.put(start, &file).await?;
        if written {
            let end = start.plus(self.job.rules.window).seconds();
            self.metrics.windows_published.inc();
            self.metrics.last_window_seconds.set(end.max(self.metrics.last_window_seconds.get()));
            tracing::info!(window = %start, neighbourhoods = sums.len(), "window published");
        }
        Ok(written)
    }

    /// The sums of a window over all shards; `None` where a shard has not closed it: it has lost its last
    /// writes since its watermark was read, and will close the window again.
    async fn sums(&self, start: EventTime) -> Result<Option<Sums>, StateError> {
        let end = start.plus(self.job.rules.window);
        let shards = 0..self.state.shards();
        let parts = try_join_all(shards.map(|shard| self.state.frozen(shard, start))).await?;
        let mut sums = Sums::new();
        for part in parts {
            if part.watermark.is_none_or(|watermark| watermark < end) {
                return Ok(None);
            }
            add(&mut sums, &part.sums);
        }
        Ok(Some(sums))
    }

    async fn forget(
        &mut self,
        watermark: EventTime,
        starts: &BTreeSet<EventTime>,
    ) -> Result<(), PublishError> {
        let old = |start: &&EventTime| {
            start.plus(self.job.rules.window).plus(KEEP) <= watermark && self.published.contains(*start)
        };
        let starts: Vec<EventTime> = starts.iter().filter(old).copied().collect();
        if starts.is_empty() {
            return Ok(());
        }
        crash::point("tips::before-forget");
        let shards = 0..self.state.shards();
        try_join_all(shards.map(|shard| self.state.forget(shard, &starts))).await?;
        starts.iter().for_each(|start| _ = self.published.remove(start));
        Ok(())
    }
}
