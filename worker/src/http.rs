//! `/metrics`, `/healthz`, `/readyz` and `/status`.

pub mod metrics_only;
mod ready;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::ready::Readiness;
use crate::core::books::{Account, Books, Outcome};
use crate::core::shard::{Partition, PartitionCounts, Topic};
use crate::core::time::EventTime;
use crate::metrics::Metrics;
use crate::sink::Sink;
use crate::state::redis::Identity;
use crate::state::{State, StateError, watermark};

/// The reader passes by several times a second whatever happens around it; when it has not for so long it is
/// stuck, and the worker is better started anew.
const STUCK_AFTER: Duration = Duration::from_secs(120);
const STATE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the running job shows: written by the reader, read by whoever asks.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    identity: Identity,
    state: State,
    sink: Sink,
    metrics: Metrics,
    readiness: Readiness,
    started: Instant,
    beat_millis: AtomicU64,
    shown: Mutex<Shown>,
}

/// What the reader shows.
#[derive(Clone, Default)]
struct Shown {
    lanes: Vec<LaneStatus>,
    counts: BTreeMap<&'static str, i32>,
}

/// A partition of this worker, as `/status` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    topic: &'static str,
    partition: i32,
    position: Option<i64>,
    lag: Option<i64>,
    event_time: Option<String>,
    idle: bool,
}

impl LaneStatus {
    /// A partition that is read up to `position` of `high`.
    pub fn new(
        partition: Partition,
        position: Option<i64>,
        high: Option<i64>,
        event_time: Option<EventTime>,
        idle: bool,
    ) -> Self {
        LaneStatus {
            topic: partition.topic.name(),
            partition: partition.index,
            position,
            lag: position.zip(high).map(|(position, high)| (high - position).max(0)),
            event_time: event_time.map(|time| time.to_string()),
            idle,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    pipeline: String,
    epoch: u64,
    fingerprint: String,
    watermark: Option<String>,
    last_window_end: Option<String>,
    lag_records: i64,
    /// This worker's.
    partitions: Vec<LaneStatus>,
    /// How many each topic has, whoever reads them; nothing before that is known.
    partition_counts: BTreeMap<&'static str, i32>,
    books: Option<BooksStatus>,
    /// Why there are no books, where there are none.
    state_error: Option<String>,
    /// Which of `kafka`, `redis` and `sink` have not answered for half a minute.
    silent_servers: Vec<&'static str>,
}

#[derive(Serialize)]
struct BooksStatus {
    rides: AccountStatus,
    fares: AccountStatus,
    balance: bool,
}

#[derive(Serialize)]
struct AccountStatus {
    consumed: i64,
    #[serde(flatten)]
    outcomes: BTreeMap<&'static str, i64>,
}

impl From<&Account> for AccountStatus {
    fn from(account: &Account) -> Self {
        let outcomes = Outcome::ALL.map(|outcome| (outcome.name(), account.get(outcome)));
        AccountStatus { consumed: account.consumed, outcomes: outcomes.into_iter().collect() }
    }
}

impl Board {
    /// An empty board.
    pub fn new(identity: Identity, state: State, sink: Sink, metrics: Metrics) -> Self {
        Board(Arc::new(Inner {
            identity,
            state,
            sink,
            readiness: Readiness::new(metrics.clone()),
            metrics,
            started: Instant::now(),
            beat_millis: AtomicU64::new(0),
            shown: Mutex::default(),
        }))
    }

    /// Says that the reader has passed by.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.started);
        self.0.beat_millis.store(since.as_millis() as u64, Ordering::Relaxed);
    }

    /// Says that the worker is about to end.
    pub fn drains(&self) {
        self.0.readiness.drains();
    }

    /// Says that the coordinator of the group has just been reached.
    pub fn reaches_group(&self) {
        self.0.readiness.reaches_group();
    }

    /// Shows the partitions of this worker, and how many there are of all.
    pub fn show(&self, lanes: Vec<LaneStatus>, known: PartitionCounts) {
        let counts = Topic::ALL.map(|topic| (topic.name(), known.of(topic))).into();
        *self.0.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { lanes, counts };
    }

    fn health(&self, now: Instant) -> (StatusCode, String) {
        let beat = self.0.started + Duration::from_millis(self.0.beat_millis.load(Ordering::Relaxed));
        let silent = now.saturating_duration_since(beat);
        if silent > STUCK_AFTER {
            let why = format!("the reader has not moved for {} s\n", silent.as_secs());
            return (StatusCode::SERVICE_UNAVAILABLE, why);
        }
        (StatusCode::OK, "ok\n".into())
    }

    async fn status(&self) -> Status {
        let Inner { identity, metrics, shown, .. } = &*self.0;
        let Shown { lanes, counts } = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let time = |seconds: i64| (seconds > 0).then(|| EventTime::from_seconds(seconds).to_string());
        let books = match tokio::time::timeout(STATE_TIMEOUT, self.books()).await {
            Ok(books) => books,
            Err(_) => Err(StateError::Unreachable("no answer in time".into())),
        };
        let (books, watermark, state_error) = match books {
            Ok((books, watermark)) => (Some(books), watermark, None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        Status {
            pipeline: identity.pipeline.clone(),
            epoch: identity.epoch,
            fingerprint: identity.fingerprint.clone(),
            watermark: watermark.map(|watermark| watermark.to_string()),
            last_window_end: time(metrics.last_window_seconds.get()),
            lag_records: lanes.iter().filter_map(|lane| lane.lag).sum(),
            partitions: lanes,
            partition_counts: counts,
            books: books.map(|books| BooksStatus {
                rides: books.of(Topic::Rides).into(),
                fares: books.of(Topic::Fares).into(),
                balance: books.balance(),
            }),
            state_error,
            silent_servers: self.0.readiness.silent(),
        }
    }

    async fn books(&self) -> Result<(Books, Option<EventTime>), StateError> {
        let state = &self.0.state;
        let views = state.views().await?;
        Ok((views.iter().map(|view| view.books).sum(), watermark(&views)))
    }
}

/// Nothing can be served at an address.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {error}; name another address, as in {flag}=127.0.0.1:0 for any free port"
)]
pub struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    error: std::io::Error,
}

/// Takes `address`, which `flag` has named, and says which port that is.
///
/// # Errors
/// Where somebody else has it, or it is none of this machine's.
pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let refused = |error| ListenError { address, flag, error };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

/// Serves until the task is aborted.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    board: Board,
) -> Result<JoinHandle<std::io::Result<()>>, ListenError> {
    let (listener, bound) = bind(address, "--listen").await?;
    tracing::info!(address = %bound, "serving /metrics, /healthz, /readyz and /status");
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(board.clone());
    Ok(tokio::spawn(async move {
        tokio::select! {
            served = axum::serve(listener, routes).into_future() => served,
            () = board.0.readiness.watch(&board.0.state, &board.0.sink) => Ok(()),
        }
    }))
}

async fn metrics(Shared(board): Shared<Board>) -> Result<String, (StatusCode, String)> {
    board.0.metrics.render().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn healthz(Shared(board): Shared<Board>) -> (StatusCode, String) {
    board.health(Instant::now())
}

async fn readyz(Shared(board): Shared<Board>) -> (StatusCode, String) {
    let missing = board.0.readiness.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join("; ")))
}

async fn status(Shared(board): Shared<Board>) -> Json<Status> {
    Json(board.status().await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::window::tests::RULES;
    use crate::sink::SinkConfig;
    use crate::state::MemoryState;

    async fn board(root: &std::path::Path) -> Board {
        let identity = Identity { pipeline: "default.taxi".into(), epoch: 0, fingerprint: "f".into() };
        let sink = Sink::open(&SinkConfig::Fs { root: root.to_owned() }).await.expect("a sink");
        let state = State::Memory(MemoryState::new(RULES, 1));
        Board::new(identity, state, sink, Metrics::new().expect("metrics"))
    }

    #[tokio::test]
    async fn a_reader_that_has_not_moved_for_long_is_ill_until_it_moves() {
        let dir = tempfile::tempdir().expect("a folder");
        let board = board(dir.path()).await;
        let since_start = |seconds| board.0.started + Duration::from_secs(seconds);
        assert_eq!(board.health(since_start(120)).0, StatusCode::OK);
        let stuck = (StatusCode::SERVICE_UNAVAILABLE, "the reader has not moved for 121 s\n".to_owned());
        assert_eq!(board.health(since_start(121)), stuck);
        board.beat_at(since_start(100));
        assert_eq!(board.health(since_start(220)).0, StatusCode::OK);
        assert_eq!(board.health(since_start(221)), stuck);
        board.beat_at(since_start(221));
        assert_eq!(board.health(since_start(221)).0, StatusCode::OK);
    }

    #[tokio::test]
    async fn that_nothing_is_known_of_the_partitions_is_not_told_as_that_there_are_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let board = board(dir.path()).await;
        assert!(board.status().await.partition_counts.is_empty());
        board.show(Vec::new(), PartitionCounts { rides: 3, fares: 2 });
        assert_eq!(board.status().await.partition_counts, [("rides", 3), ("fares", 2)].into());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named_with_the_flag_that_changes_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("its address");
        let error = serve(address, board(dir.path()).await).await.expect_err("it is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        assert!(error.contains("--listen=127.0.0.1:0"), "{error}");
    }
}
