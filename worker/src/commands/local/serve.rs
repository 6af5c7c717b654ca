//! `--serve`: the map of a run, while it works and afterwards.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::core::batch::Job;
use crate::core::fold::Sums;
use crate::core::time::EventTime;
use crate::failure::Failure;
use crate::map::{self, Cells, Unavailable, Window, Windows};
use crate::metrics::Metrics;
use crate::results::window_file;
use crate::settings::Setup;
use crate::sink::{Entry, Sink, SinkError};
use crate::state::MemoryState;
use crate::verify::path::{self, Kind};

/// Where `--serve` without a value serves.
pub(super) const ADDRESS: &str = "127.0.0.1:8080";

/// The map, being served.
pub(super) struct Served {
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    /// Serves at what was bound, and says so.
    pub(super) fn start(
        (listener, address): (TcpListener, SocketAddr),
        windows: LocalWindows,
        setup: Setup,
        out: &mut impl Write,
    ) -> Result<Self, Failure> {
        writeln!(out, "Map of the tips: http://{address}/\n")?;
        out.flush()?;
        let routes = map::routes(windows, setup);
        Ok(Served { address, task: tokio::spawn(axum::serve(listener, routes).into_future()) })
    }

    /// Goes on until `stop`.
    pub(super) async fn until(
        mut self,
        stop: CancellationToken,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        writeln!(out, "\nThe map is at http://{}/ until Ctrl-C.", self.address)?;
        out.flush()?;
        tokio::select! {
            served = &mut self.task => Ok(served??),
            () = stop.cancelled() => Ok(()),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The windows of a run: those that have a file, of this run or of one before it that was interrupted, and those of
/// the state. A closed window is in the state until it has its file, and long after.
pub(super) struct LocalWindows {
    job: Arc<Job>,
    state: MemoryState,
    sink: Sink,
    metrics: Metrics,
    files: Mutex<Option<Files>>,
}

/// The windows that have a file. Nobody else writes them, so they are listed again only when this run has published.
struct Files {
    published: u64,
    starts: Arc<BTreeSet<EventTime>>,
}

impl LocalWindows {
    pub(super) fn new(job: Arc<Job>, state: MemoryState, sink: Sink, metrics: Metrics) -> Self {
        LocalWindows { job, state, sink, metrics, files: Mutex::new(None) }
    }

    async fn files(&self) -> Result<Arc<BTreeSet<EventTime>>, SinkError> {
        let mut files = self.files.lock().await;
        let published = self.metrics.windows_published.get();
        if let Some(files) = files.as_ref().filter(|files| files.published == published) {
            return Ok(files.starts.clone());
        }
        let start = |entry: Entry| match path::kind(&entry.path) {
            Kind::Window(start) => Some(start),
            Kind::Raw(_) | Kind::Merged(..) | Kind::Windows(_) | Kind::Stray => None,
        };
        let starts = Arc::new(self.sink.list("tips").await?.into_iter().filter_map(start).collect());
        *files = Some(Files { published, starts: Arc::clone(&starts) });
        Ok(starts)
    }

    fn named(&self, closed: bool, sums: Sums) -> Cells {
        Cells::named(&self.job.neighbourhoods, closed, sums)
    }
}

impl Windows for LocalWindows {
    async fn extent(&self) -> Result<Option<RangeInclusive<EventTime>>, Unavailable> {
        let state = self.state.windows();
        let files = self.files().await?;
        let first = files.first().into_iter().chain(state.first()).min();
        let last = files.last().into_iter().chain(state.last()).max();
        Ok(first.zip(last).map(|(first, last)| *first..=*last))
    }

    async fn list(&self, starts: RangeInclusive<EventTime>) -> Result<Vec<Window>, Unavailable> {
        // The state first: what it forgets after that has its file.
        let state = self.state.windows();
        let files = self.files().await?;
        let all: BTreeSet<EventTime> =
            files.range(starts.clone()).chain(state.range(starts)).copied().collect();
        let closed = |start: &EventTime| files.contains(start) || self.state.window(*start).0;
        Ok(all.into_iter().map(|start| Window { start, closed: closed(&start) }).collect())
    }

    async fn cells(&self, start: EventTime) -> Result<Option<Cells>, Unavailable> {
        // The state first, as above. It may be behind the files of a run before.
        let (closed, sums) = self.state.window(start);
        if closed && !sums.is_empty() {
            return Ok(Some(self.named(closed, sums)));
        }
        let path = window_file::path(start);
        if let Some(file) = self.sink.read(&path).await? {
            let sums = window_file::decode(file).map_err(|error| Unavailable(format!("{path}: {error}")))?;
            return Ok(Some(Cells { closed: true, sums }));
        }
        Ok((!sums.is_empty()).then(|| self.named(closed, sums)))
    }
}

impl From<SinkError> for Unavailable {
    fn from(error: SinkError) -> Self {
        Unavailable(error.to_string())
    }
}
