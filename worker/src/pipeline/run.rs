//! Wires the parts of a running job, and ends them in order.

use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::applier::{Applier, ApplierError, SharedWatermark};
use super::reader::{Drained, Ended, Links, Reader, ReaderSettings};
use crate::core::batch::Job;
use crate::http::Board;
use crate::metrics::Metrics;
use crate::raw::writer::{Limits, Writer, WriterError};
use crate::results::publisher::{PublishError, Publisher};
use crate::results::window_file::Provenance;
use crate::sink::Sink;
use crate::source::{Source, SourceError};
use crate::state::State;

/// Batches on their way: one being applied, one to follow.
const BATCHES: usize = 1;
/// Chunks on their way to the encoder.
const CHUNKS: usize = 4;
/// How often closed windows are looked for.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);

/// A job that can be run.
pub struct Pipeline {
    /// What decides results.
    pub job: Arc<Job>,
    /// Its state.
    pub state: State,
    /// Where files go.
    pub sink: Sink,
    /// What the results say of their making.
    pub provenance: Provenance,
    /// How the source is read.
    pub reader: ReaderSettings,
    /// When raw files are due.
    pub limits: Limits,
    /// How long publishing what was read may take at the end. `None`: as long as it needs where all was read, and no
    /// time at all where the job is told to stop, so that no file ends where a person was impatient.
    pub drain_timeout: Option<Duration>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the reader shows how it is doing.
    pub board: Option<Board>,
}

/// Why a job ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Reading.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Applying.
    #[error(transparent)]
    Applier(#[from] ApplierError),
    /// Raw files.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// Window files.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A thread.
    #[error("cannot start the reader's thread: {0}")]
    Thread(std::io::Error),
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why.
    pub ended: Ended,
    /// Whether all that was read is published; otherwise it is read again by whoever comes next.
    pub drained: bool,
}

/// How reading ended.
struct HasRead {
    ended: Ended,
    drained: Drained,
    /// Of the end.
    deadline: Option<Instant>,
    was_publisher: bool,
}

impl Pipeline {
    /// Runs until `stop`, or until the source is read where the settings say so.
    ///
    /// # Errors
    /// Where a part fails in a way that waiting does not mend. Nothing is lost: a later run goes on.
    pub async fn run<S>(self, source: S, stop: CancellationToken) -> Result<Finished, PipelineError>
    where
        S: Source + Send + 'static,
    {
        let (to_applier, applier_queue) = mpsc::channel(BATCHES);
        let (to_writer, writer_queue) = mpsc::channel(CHUNKS);
        let (applier_to_reader, from_applier) = std_mpsc::channel();
        let (writer_to_reader, from_writer) = std_mpsc::channel();
        let (owns_first, is_publisher) = watch::channel(false);
        let watermark = SharedWatermark::default();
        self.metrics.raw_budget_bytes.set(self.limits.budget.unwrap_or(0) as i64);

        let applier = Applier::new(
            self.job.clone(),
            self.state.clone(),
            self.sink.clone(),
            self.metrics.clone(),
            watermark.clone(),
            applier_to_reader,
        );
        let writer = Writer::new(self.sink.clone(), self.limits, self.metrics.clone(), writer_to_reader);
        let publisher = Publisher::new(
            self.job.clone(),
            self.state.clone(),
            self.sink.clone(),
            self.provenance.clone(),
            self.metrics.clone(),
        );
        let links = Links {
            applier: to_applier,
            from_applier,
            writer: to_writer,
            from_writer,
            watermark,
            owns_first,
            metrics: self.metrics.clone(),
            board: self.board.clone(),
        };
        let reader = Reader::new(source, self.reader.clone(), links, self.job.clone(), self.state.shards());

        let stop = stop.child_token();
        let applier = tokio::spawn(applier.run(applier_queue));
        let writer = tokio::spawn(writer.run(writer_queue));
        let publisher = tokio::spawn(publish_until(publisher, is_publisher, stop.clone()));
        let read = self.read(reader, stop.clone()).await;
        stop.cancel();

        // What has not ended by the deadline waits for a server that does not answer, and so may what a reader that
        // has failed leaves behind. A task that has failed itself has ended, and its error is still told.
        let deadline = read.as_ref().ok().and_then(|(read, _)| read.deadline);
        if !read.as_ref().is_ok_and(|(read, _)| read.drained == Drained::All) {
            applier.abort();
            writer.abort();
            publisher.abort();
        }
        // Whoever failed first is the reason; the reader only noticed.
        let late = publisher.abort_handle();
        let publisher = by(deadline, joined(publisher)).await.transpose()?.flatten();
        late.abort();
        joined(applier).await?;
        joined(writer).await?;
        let (read, has_left) = read?;
        if let (State::Memory(state), Ended::CaughtUp) = (&self.state, read.ended) {
            state.finish();
        }
        let mut drained = read.drained == Drained::All;
        if drained && (read.was_publisher || read.ended == Ended::CaughtUp) {
            let published = match publisher {
                Some(mut publisher) => by(deadline, publisher.publish_last()).await.transpose()?,
                None => None,
            };
            drained = published.is_some();
        }
        // A broker that does not answer finds out by itself that we are gone.
        _ = by(deadline, has_left).await;
        Ok(Finished { ended: read.ended, drained })
    }

    /// Reads on a thread of its own, and drains. That ends the queues; leaving the group may then take its time.
    async fn read<S>(
        &self,
        mut reader: Reader<S>,
        stop: CancellationToken,
    ) -> Result<(HasRead, oneshot::Receiver<()>), PipelineError>
    where
        S: Source + Send + 'static,
    {
        let drain_timeout = self.drain_timeout;
        let (result, outcome) = oneshot::channel();
        let (left, has_left) = oneshot::channel();
        let work = move || {
            let mut read = || -> Result<HasRead, SourceError> {
                loop {
                    let ended = reader.run(&stop)?;
                    let deadline = drain_timeout.map(|timeout| Instant::now() + timeout);
                    // A run without a deadline that is stopped is done again from its beginning.
                    let leaves = deadline.is_none() && ended == Ended::Stopped;
                    let drained = if leaves { Drained::TooLate } else { reader.drain(deadline)? };
                    if ended == Ended::CaughtUp && drained == Drained::ToReadAgain {
                        continue;
                    }
                    return Ok(HasRead { ended, drained, deadline, was_publisher: reader.is_publisher() });
                }
            };
            let read = read();
            let source = reader.close();
            // Who waits for either may have given up.
            _ = result.send(read);
            drop(source);
            _ = left.send(());
        };
        std::thread::Builder::new().name("reader".into()).spawn(work).map_err(PipelineError::Thread)?;
        match outcome.await {
            Ok(read) => Ok((read?, has_left)),
            Err(_) => panic!("the reader's thread has panicked"),
        }
    }
}

async fn publish_until(
    mut publisher: Publisher,
    is_publisher: watch::Receiver<bool>,
    stop: CancellationToken,
) -> Result<Publisher, PublishError> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(publisher),
            () = tokio::time::sleep(PUBLISH_INTERVAL) => {}
        }
        if !*is_publisher.borrow() {
            publisher.stand_by();
            continue;
        }
        let Err(error) = publisher.publish_closed().await else { continue };
        if !error.is_transient() {
            stop.cancel();
            return Err(error);
        }
        tracing::warn!(%error, "cannot publish windows; trying again");
    }
}

/// What `work` gives, if it ends in time.
async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

/// The result of a task; its panic is ours. `None`: it was aborted.
async fn joined<T, E>(task: JoinHandle<Result<T, E>>) -> Result<Option<T>, PipelineError>
where
    PipelineError: From<E>,
{
    match task.await {
        Ok(result) => Ok(Some(result?)),
        Err(error) if error.is_cancelled() => Ok(None),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
