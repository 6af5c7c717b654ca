//! Where a pipeline's results are: its state in Redis and its sink, both opened to read, neither needed to be
//! there when the service starts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tips_worker::core::fold::{Sums, add};
use tips_worker::core::time::EventTime;
use tips_worker::core::window::Rules;
use tips_worker::manifest::Manifest;
use tips_worker::settings::{self, SettingsError, Setup};
use tips_worker::sink::owner;
use tips_worker::state::redis::RedisConfig;
use tips_worker::state::{RedisState, Results, State, StateError, View};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::archive::{self, Listed, Table};
use crate::bounds::Bounds;
use crate::live::Windows;
use crate::metrics::Metrics;
use crate::own_sink::{ArchiveError, OwnSink};

/// How long a query waits for Redis. Far above what it takes, and short enough that a query over the archive is
/// not held up long where Redis is away.
const STATE_PATIENCE: Duration = Duration::from_secs(3);
/// How old a reading of the windows may be for another query: the panels of a dashboard share one, and Redis is read at
/// most so often. Far below the second that a record may take to get there.
const SHARED: Duration = Duration::from_millis(100);
/// How long Redis is not asked again after it did not answer in time.
const STATE_PAUSE: Duration = Duration::from_secs(1);

/// The sources of the tables.
pub struct Sources {
    /// What the files and windows mean.
    pub setup: Setup,
    /// Of the service.
    pub metrics: Metrics,
    shards: u16,
    redis: RedisConfig,
    state: OnceCell<State>,
    sink: OwnSink,
    latest: AsyncMutex<Option<Latest>>,
    refused: Mutex<Option<(Instant, Arc<StateError>)>>,
}

/// The windows of the state and when their reading began.
struct Latest {
    asked: Instant,
    read: Arc<Live>,
}

/// What was in the state at one moment.
#[derive(Debug)]
pub struct Live {
    /// Its windows.
    pub windows: Windows,
    /// The whole sums of its open ones.
    pub open: Vec<(EventTime, Sums)>,
}

impl Sources {
    /// Reads the settings. Connects to nothing.
    ///
    /// # Errors
    /// Where what the manifest refers to cannot be read.
    pub fn new(manifest: &Manifest, setup: Setup, metrics: Metrics) -> Result<Self, SettingsError> {
        Ok(Sources {
            setup,
            metrics,
            shards: manifest.redis.shards.get(),
            redis: settings::redis(manifest)?,
            state: OnceCell::new(),
            sink: OwnSink::new(
                settings::sink(manifest)?,
                owner::pipeline(&manifest.namespace, &manifest.name),
            ),
            latest: AsyncMutex::default(),
            refused: Mutex::default(),
        })
    }

    /// The rules of time of the pipeline.
    pub fn rules(&self) -> &Rules {
        &self.setup.job.rules
    }

    /// What `table` has within `bounds`, as of one moment.
    ///
    /// # Errors
    /// As [`OwnSink::ask`], and where the journal of compaction makes no sense.
    pub async fn list(&self, table: Table, bounds: Bounds) -> Result<Listed, ArchiveError> {
        self.sink.ask(|sink| async move { archive::list(&sink, table, bounds).await }).await
    }

    /// The folders right below `dir` in the sink.
    ///
    /// # Errors
    /// As [`OwnSink::ask`].
    pub async fn dirs(&self, dir: &str) -> Result<Vec<String>, ArchiveError> {
        self.sink.ask(|sink| async move { sink.dirs(dir).await }).await
    }

    /// The sink.
    pub fn own_sink(&self) -> &OwnSink {
        &self.sink
    }

    /// What the shards know of their input.
    ///
    /// # Errors
    /// Where Redis does not answer in time, or its state is of other settings.
    pub async fn views(&self) -> Result<Vec<View>, Arc<StateError>> {
        self.ask(async { self.state().await?.views().await }).await
    }

    /// The windows of the state, at a moment that is at most [`SHARED`] before this call: who asks sees all that was
    /// applied before that, and never less than was seen before. Those who ask at about the same time share one reading.
    ///
    /// # Errors
    /// Where Redis does not answer in time, or its state is of other settings.
    pub async fn live(&self) -> Result<Arc<Live>, Arc<StateError>> {
        let called = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some(Latest { asked, read }) = &*latest
            && called.saturating_duration_since(*asked) <= SHARED
        {
            return Ok(Arc::clone(read));
        }
        let asked = Instant::now();
        let read = Arc::new(self.ask(self.read_live()).await?);
        self.metrics.state_seconds.observe(asked.elapsed().as_secs_f64());
        *latest = Some(Latest { asked, read: Arc::clone(&read) });
        Ok(read)
    }

    /// The sums of a window that these shards have closed; `None` where one of them has forgotten it meanwhile,
    /// which it does only long after the window's file is there.
    ///
    /// # Errors
    /// Where Redis does not answer in time.
    pub async fn frozen(&self, start: EventTime, holders: &[u16]) -> Result<Option<Sums>, Arc<StateError>> {
        self.ask(async { self.read_frozen(start, holders).await }).await
    }

    async fn read_live(&self) -> Result<Live, StateError> {
        let state = self.state().await?;
        let shards: Vec<Results> =
            futures::future::try_join_all((0..self.shards).map(|shard| state.results(shard))).await?;
        let windows = Windows::of(self.rules(), &shards);
        let mut open = windows.open.clone();
        for (start, holders) in &windows.ahead {
            // Frozen sums do not change, and are not forgotten while a shard has the window open.
            if let Some(part) = self.read_frozen(*start, holders).await? {
                add(open.entry(*start).or_default(), &part);
            }
        }
        Ok(Live { windows, open: open.into_iter().collect() })
    }

    async fn read_frozen(&self, start: EventTime, holders: &[u16]) -> Result<Option<Sums>, StateError> {
        let state = self.state().await?;
        let parts = futures::future::try_join_all(holders.iter().map(|shard| state.frozen(*shard, start)));
        let mut sums = Sums::new();
        for part in parts.await? {
            if part.sums.is_empty() {
                return Ok(None);
            }
            add(&mut sums, &part.sums);
        }
        Ok(Some(sums))
    }

    async fn state(&self) -> Result<&State, StateError> {
        let open = async {
            let rules = *self.rules();
            RedisState::open(&self.redis, &self.setup.identity, rules, self.shards).await.map(State::Redis)
        };
        self.state.get_or_try_init(|| open).await
    }

    /// Asks Redis with patience, and lets it be for a moment after that was in vain: the queries of a dashboard
    /// do not all wait again.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, Arc<StateError>> {
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, error)) = &*refused()
            && when.elapsed() < STATE_PAUSE
        {
            return Err(Arc::clone(error));
        }
        let answer = match tokio::time::timeout(STATE_PATIENCE, question).await {
            Ok(answer) => answer,
            Err(_) => Err(StateError::Unreachable(format!("no answer within {STATE_PATIENCE:?}"))),
        };
        answer.map_err(|error| {
            self.metrics.state_errors.with_label_values(&[error.category()]).inc();
            let error = Arc::new(error);
            *refused() = Some((Instant::now(), Arc::clone(&error)));
            error
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use tips_worker::sink::SinkConfig;
    use tips_worker::state::MemoryState;

    use super::*;

    /// Nothing listens where its Redis would be.
    const MANIFEST: &str = "\
apiVersion: tipstream.dev/v1alpha1
kind: TipsPipeline
metadata: {name: taxi}
spec:
  kafka: {bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}
  redis: {urls: ['redis://127.0.0.1:1']}
  sink: {s3: {bucket: lake, region: us-east-1}}
";
    /// The pipeline of [`sources_of`].
    pub(crate) const OWNER: &str = "pipeline default/taxi\n";

    /// Files at `root`, without a state.
    pub(crate) fn sources_of(root: &Path) -> Arc<Sources> {
        Arc::new(made(root))
    }

    /// Files at `root`, and a state of one shard.
    pub(crate) fn sources_with(root: &Path, state: impl FnOnce(Rules) -> MemoryState) -> Arc<Sources> {
        let sources = made(root);
        let state = State::Memory(state(*sources.rules()));
        Arc::new(Sources { shards: state.shards(), state: OnceCell::new_with(Some(state)), ..sources })
    }

    /// Holds back who reads the state until this is dropped.
    pub(crate) async fn state_held(sources: &Sources) -> impl Sized + '_ {
        sources.latest.lock().await
    }

    fn made(root: &Path) -> Sources {
        let manifest = Manifest::parse("taxi.yaml", MANIFEST.as_bytes()).expect("a manifest");
        let setup = Setup::new(&manifest, None).expect("a setup");
        let metrics = Metrics::new().expect("metrics");
        let sources = Sources::new(&manifest, setup, metrics).expect("sources");
        let sink = OwnSink::new(SinkConfig::Fs { root: root.to_owned() }, OWNER.to_owned());
        Sources { sink, ..sources }
    }
}
