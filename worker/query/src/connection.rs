//! What the service knows of a client: what it is running, and what it is to be told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::metrics::Metrics;

/// A client, in the configuration of its session.
#[derive(Debug, Default)]
pub struct Client {
    warnings: Arc<Mutex<Vec<String>>>,
    /// Cancels what runs now and what begins before the next statement.
    cancel: Mutex<CancellationToken>,
    running: watch::Sender<usize>,
    admitted: AtomicBool,
    turned_away: CancellationToken,
}

/// How a query has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All rows were given.
    Answered,
    /// The engine could not.
    Failed,
    /// The client did not want it any more.
    Cancelled,
    /// It took too long.
    Timeout,
    /// It had too many rows.
    Rows,
    /// The client did not read it to the end.
    Abandoned,
}

impl Outcome {
    /// The metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Timeout => "timeout",
            Outcome::Rows => "rows",
            Outcome::Abandoned => "abandoned",
        }
    }
}

impl Client {
    /// Where a query puts its warnings.
    pub fn warnings(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.warnings)
    }

    /// The warnings since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It may ask from now on.
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// Whether it may ask.
    pub fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Ends its connection, when it has been told why.
    pub fn turn_away(&self) {
        self.turned_away.cancel();
    }

    /// Waits until it is turned away.
    pub async fn turned_away(&self) {
        self.turned_away.cancelled().await;
    }

    /// A statement begins: an earlier cancellation does not concern it.
    pub fn next_statement(&self) {
        let mut cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        if cancel.is_cancelled() {
            *cancel = CancellationToken::new();
        }
    }

    /// Resolves when what runs is cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone().cancelled_owned()
    }

    /// Cancels what runs.
    pub fn cancel(&self) {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// A query begins.
    pub fn begin(self: &Arc<Self>, metrics: &Metrics) -> Arc<Running> {
        self.running.send_modify(|running| *running += 1);
        metrics.running.inc();
        Arc::new(Running {
            client: Arc::clone(self),
            cancel: self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            began: Instant::now(),
            outcome: Mutex::new(Outcome::Abandoned),
            metrics: metrics.clone(),
        })
    }

    /// Waits until nothing runs.
    pub async fn idle(&self) {
        // The sender lives as long as the client, so waiting ends with none running only.
        _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }
}

/// A query that runs; it has ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    client: Arc<Client>,
    cancel: CancellationToken,
    began: Instant,
    outcome: Mutex<Outcome>,
    metrics: Metrics,
}

impl Running {
    /// Says how it ended.
    pub fn ended(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// Resolves when it is cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.cancel.clone().cancelled_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let outcome = *self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.queries.with_label_values(&[outcome.name()]).inc();
        self.metrics.query_seconds.observe(self.began.elapsed().as_secs_f64());
        self.metrics.running.dec();
        self.client.running.send_modify(|running| *running -= 1);
    }
}
