//! A run: finishes what others have left, then plans and compacts day by day.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::AT_ONCE;
use super::folder::{Dataset, Folder};
use super::footer::Footer;
use super::journal::{Begun, Id, Journal, JournalError, Newest};
use super::pace::{Pace, PacedSink};
use super::plan::{self, Merge, Plan, RawFile, Source, WindowsFile};
use super::raw::{MergeError, Merger, RawSource};
use super::report::{Line, Outcome, Report, Size};
use super::select::{Days, closed_up_to};
use crate::core::shard::Topic;
use crate::core::time::{EventTime, Span};
use crate::crash;
use crate::metrics::compact::CompactMetrics;
use crate::raw::range_log::{LogError, RangeLog};
use crate::results::day_file::{DayFileError, Windows};
use crate::sink::{self, Entry, Put, Sink, SinkError};

const ANOTHER_RUN: &str = "another run is at it, or has just compacted it";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which kinds.
    pub datasets: BTreeSet<Dataset>,
    /// Which days.
    pub days: Days,
    /// Size of a raw file to aim at, in bytes.
    pub target_bytes: u64,
    /// Decoded rows that are held at once, in bytes.
    pub memory: u64,
    /// Bytes of data files a second that are read and written; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Length of a window.
    pub window: Span,
    /// `spec.epoch`: windows of another one are left alone.
    pub epoch: u64,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Why a folder could not be compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The range log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Raw files.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Window files.
    #[error("{path} {error}")]
    Windows {
        /// Which.
        path: String,
        /// What is wrong.
        error: DayFileError,
    },
    /// A source that is gone without its target.
    #[error(
        "{source_path} is gone, and {target} is not there: files were deleted by hand; restore them, or delete {plan} to give the plan up"
    )]
    Torn {
        /// The source.
        source_path: String,
        /// The target.
        target: String,
        /// The plan.
        plan: String,
    },
    /// A signal.
    #[error("interrupted")]
    Interrupted,
}

/// Compacts the files of a sink.
pub struct Compactor {
    sink: Sink,
    /// The same for data files.
    paced: PacedSink,
    journal: Journal,
    options: Options,
    metrics: CompactMetrics,
    pace: Pace,
    stop: CancellationToken,
    /// Starts of the newest ranges, by topic and partition.
    begun: HashMap<(String, i32), Option<i64>>,
}

/// A folder that is there.
struct Found {
    folder: Folder,
    newest: Newest,
    /// Whether it has closed and is asked for; else its plan is finished, and no other made.
    is_wanted: bool,
}

impl Compactor {
    /// A compactor that has looked at nothing yet.
    pub fn new(sink: Sink, options: Options, metrics: CompactMetrics, stop: CancellationToken) -> Self {
        let (journal, pace) = (Journal::new(sink.clone()), Pace::new(options.rate));
        let paced = PacedSink::new(sink.clone(), pace.clone());
        Compactor { sink, paced, journal, options, metrics, pace, stop, begun: HashMap::new() }
    }

    /// Does all there is to do. What fails in one folder keeps no other back.
    ///
    /// # Errors
    /// Where the sink cannot be listed, or a signal came.
    pub async fn run(&mut self, now: i64) -> Result<Report, CompactError> {
        let stop = self.stop.clone();
        let folders = unless_stopped(&stop, self.folders()).await?;
        let mut report = Report {
            sink: self.sink.location().to_owned(),
            looked_at: folders.len() as u64,
            folders: vec![],
        };
        for found in folders {
            if stop.is_cancelled() {
                return Err(CompactError::Interrupted);
            }
            let folder = found.folder;
            match self.folder(found, now).await {
                Ok(line) => report.folders.extend(line),
                Err(CompactError::Interrupted) => return Err(CompactError::Interrupted),
                Err(error) => {
                    tracing::error!(%folder, %error, "cannot compact");
                    self.metrics.failures.inc();
                    report.folders.push(Line {
                        folder: folder.to_string(),
                        outcome: Outcome::Failed(error.to_string()),
                        before: Size::default(),
                        after: None,
                        overlap_seconds: 0.0,
                    });
                }
            }
        }
        if !self.options.dry_run {
            crash::point("compact::before-prune");
            if let Err(error) = self.journal.prune(now).await {
                tracing::warn!(%error, "old plans are left for the next run to remove");
            }
        }
        if report.failure().is_none() {
            self.metrics.last_success_seconds.set(now);
        }
        Ok(report)
    }

    /// The folders that are wanted and closed, and those with a plan that is not done.
    async fn folders(&self) -> Result<Vec<Found>, CompactError> {
        // Before any file is listed (C1).
        let newest = self.journal.newest().await?;
        let tips = self.days(Dataset::Tips).await?;
        let closed = self.closed(&tips).await?;
        let mut folders = Vec::new();
        for dataset in &self.options.datasets {
            let days = match dataset {
                Dataset::Tips => tips.clone(),
                dataset => self.days(*dataset).await?,
            };
            for folder in days {
                let newest = newest.get(&folder).copied().unwrap_or_default();
                let is_wanted = self.options.days.has(folder.day, closed);
                if is_wanted || newest.is_open() {
                    folders.push(Found { folder, newest, is_wanted });
                }
            }
        }
        Ok(folders)
    }

    /// How far windows have closed: the newest of their days that has one tells.
    async fn closed(&self, days: &[Folder]) -> Result<Option<EventTime>, SinkError> {
        for folder in days.iter().rev() {
            let files = self.sink.list(&folder.path()).await?;
            let closed = closed_up_to(files.iter().map(|entry| entry.path.as_str()), self.options.window);
            if closed.is_some() {
                return Ok(closed);
            }
        }
        Ok(None)
    }

    /// The days of a dataset that have a folder, in their order. What is in them is not listed: an archive of years has
    /// more files than are to be held at once.
    async fn days(&self, dataset: Dataset) -> Result<Vec<Folder>, SinkError> {
        let mut dirs = vec![dataset.name().to_owned()];
        for _below in ["year", "month", "day"] {
            let mut inner = Vec::new();
            for dir in &dirs {
                inner.extend(self.sink.dirs(dir).await?);
            }
            dirs = inner;
        }
        let mut days: Vec<Folder> = dirs.iter().filter_map(|dir| Folder::at(dir)).collect();
        days.sort_unstable();
        Ok(days)
    }

    /// `None`: there was nothing to do.
    async fn folder(
        &mut self,
        Found { folder, newest, is_wanted }: Found,
        now: i64,
    ) -> Result<Option<Line>, CompactError> {
        let mut files = self.list(folder).await?;
        let before = size(&files);
        let mut line = Line {
            folder: folder.to_string(),
            outcome: Outcome::Compacted,
            before,
            after: None,
            overlap_seconds: 0.0,
        };
        let mut id = Id { folder, number: newest.number };
        let mut has_done = false;
        if newest.is_open() {
            if self.options.dry_run {
                line.outcome = Outcome::Planned;
                return Ok(Some(line));
            }
            if let Some(plan) = self.journal.read(id).await? {
                line.overlap_seconds = self.carry_out(id, &plan, now).await?;
                has_done = true;
            }
            files = self.list(folder).await?;
        }
        if !is_wanted {
            return Ok(Some(Line { after: Some(size(&files)), ..line }));
        }
        id.number += 1;
        let stop = self.stop.clone();
        let plan = match unless_stopped(&stop, self.plan(id, files)).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(why)) => return Ok(Some(Line { outcome: Outcome::Left(why), ..line })),
            // Only another run takes files away.
            Err(CompactError::Merge(MergeError::Gone(_))) => {
                return Ok(Some(Line { outcome: Outcome::Left(ANOTHER_RUN.into()), ..line }));
            }
            Err(error) => return Err(error),
        };
        if !plan.is_empty() && self.options.dry_run {
            return Ok(Some(Line { outcome: Outcome::Planned, after: Some(planned(before, &plan)), ..line }));
        }
        if !plan.is_empty() {
            crash::point("compact::before-plan");
            match self.journal.begin(id, &plan).await? {
                Begun::Plan(plan) => {
                    crash::point("compact::after-plan");
                    let overlap_seconds = self.carry_out(id, &plan, now).await?;
                    line.overlap_seconds = line.overlap_seconds.max(overlap_seconds);
                    has_done = true;
                }
                Begun::Passed => line.outcome = Outcome::Left(ANOTHER_RUN.into()),
            }
        }
        if !has_done && line.outcome == Outcome::Compacted {
            return Ok(None);
        }
        let after = size(&self.list(folder).await?);
        Ok(Some(Line { after: Some(after), ..line }))
    }

    async fn list(&self, folder: Folder) -> Result<Vec<Source>, SinkError> {
        let files = self.sink.list(&folder.path()).await?;
        Ok(files.into_iter().map(|Entry { path, len }| Source { path, bytes: len }).collect())
    }

    /// What is to be done with `files`, which is all there is; the inner error says why nothing may be done.
    async fn plan(&mut self, id: Id, files: Vec<Source>) -> Result<Result<Plan, String>, CompactError> {
        if files.len() < 2 {
            return Ok(Ok(Plan::default()));
        }
        match id.folder.dataset.topic() {
            Some(topic) => {
                let files = self.footers(topic, files).await?;
                Ok(Ok(plan::raw(id, files, self.options.target_bytes)))
            }
            None => {
                let windows = self.windows(&files).await?;
                let mut epochs = windows.iter().flat_map(|file| file.made().values()).map(|made| made.epoch);
                if let Some(epoch) = epochs.find(|epoch| *epoch != self.options.epoch) {
                    return Ok(Err(format!("it has windows of epoch {epoch}")));
                }
                let files = files.into_iter().zip(&windows).map(|(source, file)| WindowsFile {
                    source,
                    windows: file.made().keys().copied().collect(),
                });
                Ok(Ok(plan::tips(id, self.options.epoch, files.collect())))
            }
        }
    }

    async fn footers(&mut self, topic: Topic, files: Vec<Source>) -> Result<Vec<RawFile>, CompactError> {
        let sink = &self.paced;
        let opened: Vec<(Source, Footer)> = stream::iter(files)
            .map(async |source| {
                let opened = RawSource::open(sink, &source.path, source.bytes, topic, false).await?;
                Ok::<_, MergeError>((source, opened.footer))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut raw = Vec::with_capacity(opened.len());
        for (source, footer) in opened {
            // A merged file is nobody's to publish again.
            let is_settled = match &footer.parts[..] {
                [part] => {
                    self.begun(&footer.topic, part.partition).await?.is_some_and(|begun| part.end <= begun)
                }
                _ => true,
            };
            raw.push(RawFile { source, footer, is_settled });
        }
        Ok(raw)
    }

    /// Where the newest range of a partition begins: those before it are whole (R3). It only moves on.
    async fn begun(&mut self, topic: &str, partition: i32) -> Result<Option<i64>, LogError> {
        let key = (topic.to_owned(), partition);
        if let Some(begun) = self.begun.get(&key) {
            return Ok(*begun);
        }
        let newest = RangeLog::new(self.sink.clone(), topic, partition).newest().await?;
        let begun = newest.map(|entry| entry.range.start);
        self.begun.insert(key, begun);
        Ok(begun)
    }

    async fn windows(&self, files: &[Source]) -> Result<Vec<Windows>, CompactError> {
        stream::iter(files)
            .map(async |Source { path, bytes }| {
                let file = self.paced.read(path, *bytes).await?;
                let file = file.ok_or_else(|| MergeError::Gone(path.clone()))?;
                Windows::read(file).map_err(|error| CompactError::Windows { path: path.clone(), error })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Does what of `plan` is not done, and says so in the journal (C3). Returns for how long rows were there twice at the
    /// longest, in seconds.
    async fn carry_out(&mut self, id: Id, plan: &Plan, now: i64) -> Result<f64, CompactError> {
        let mut overlap_seconds: f64 = 0.0;
        for merge in &plan.merges {
            if self.stop.is_cancelled() {
                return Err(CompactError::Interrupted);
            }
            overlap_seconds = overlap_seconds.max(self.merge(id, merge).await?);
        }
        for source in &plan.stale {
            self.sink.delete(&source.path).await?;
        }
        crash::point("compact::before-done");
        self.journal.finish(id, now).await?;
        crash::point("compact::after-done");
        tracing::info!(folder = %id.folder, merges = plan.merges.len(), "compacted");
        self.metrics.plans.with_label_values(&[id.folder.dataset.name()]).inc();
        Ok(overlap_seconds)
    }

    /// Returns for how long rows were there twice, in seconds.
    async fn merge(&mut self, id: Id, merge: &Merge) -> Result<f64, CompactError> {
        let Some(bytes) = self.build_if_missing(id, merge).await? else { return Ok(0.0) };
        let written = bytes.as_ref().map(|bytes| bytes.len() as u64);
        crash::point("compact::before-merge");
        let (dir, sources) = (id.folder.path(), merge.source_paths());
        let step = sink::Merge { dir: &dir, sources: &sources, target: &merge.target };
        let merged = self.sink.merge(step, bytes).await?;
        crash::point("compact::after-merge");
        if merged.put == Put::Created
            && self.journal.newest().await?.get(&id.folder).is_none_or(|newest| newest.number != id.number)
            && self.journal.is_superseded(&merge.target).await?
        {
            // This run has slept, and others have merged the target further.
            self.sink.delete(&merge.target).await?;
        }
        let read = merge.sources.iter().map(|source| source.bytes).sum();
        self.metrics.merged(id.folder.dataset, merge.sources.len() as u64, read, written, merged.overlap);
        Ok(merged.overlap.as_secs_f64())
    }

    /// The target's bytes; `Some(None)` where it is there, `None` where other runs have done all of the plan meanwhile.
    async fn build_if_missing(
        &mut self,
        id: Id,
        merge: &Merge,
    ) -> Result<Option<Option<Bytes>>, CompactError> {
        if self.sink.stat(&merge.target).await?.is_some() {
            return Ok(Some(None));
        }
        let stop = self.stop.clone();
        let error = match unless_stopped(&stop, self.build(id.folder.dataset, merge)).await {
            Ok(bytes) => return Ok(Some(Some(bytes))),
            Err(error) => error,
        };
        // Sources go only after their target has come.
        if self.sink.stat(&merge.target).await?.is_some() {
            return Ok(Some(None));
        }
        let newest = self.journal.newest().await?.get(&id.folder).copied().unwrap_or_default();
        if newest != (Newest { number: id.number, is_done: false }) {
            return Ok(None);
        }
        for source in &merge.sources {
            if self.sink.stat(&source.path).await?.is_none() {
                return Err(CompactError::Torn {
                    source_path: source.path.clone(),
                    target: merge.target.clone(),
                    plan: id.path(),
                });
            }
        }
        Err(error)
    }

    /// The target's bytes, which may be written now.
    async fn build(&self, dataset: Dataset, merge: &Merge) -> Result<Bytes, CompactError> {
        let bytes = match dataset.topic() {
            Some(topic) => self.merge_raw(topic, merge).await?,
            None => {
                let windows = self.windows(&merge.sources).await?;
                let encoded = Windows::merged(windows).and_then(|all| all.encode());
                encoded.map_err(|error| CompactError::Windows { path: merge.target.clone(), error })?
            }
        };
        self.pace.take(bytes.len() as u64).await;
        Ok(bytes)
    }

    async fn merge_raw(&self, topic: Topic, merge: &Merge) -> Result<Bytes, MergeError> {
        let opened = stream::iter(&merge.sources)
            .map(|source| RawSource::open(&self.paced, &source.path, source.bytes, topic, true))
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Merger { sink: &self.paced, topic, memory: self.options.memory }.merge(&opened).await
    }
}

/// What `work` comes to, unless a signal comes first: it may end anywhere, so it only reads.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, CompactError>>,
) -> Result<T, CompactError> {
    stop.run_until_cancelled(work).await.unwrap_or(Err(CompactError::Interrupted))
}

fn size(files: &[Source]) -> Size {
    Size { files: files.len() as u64, bytes: files.iter().map(|source| source.bytes).sum() }
}

/// Of a plan the bytes are not known before; its files are.
fn planned(before: Size, plan: &Plan) -> Size {
    let gone = plan.sources().count() as u64;
    Size { files: before.files - gone + plan.merges.len() as u64, bytes: before.bytes }
}

#[cfg(test)]
mod tests;
