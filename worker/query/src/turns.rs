//! Queries at once: who comes when all run waits for one to end.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::Result;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bounded::Limit;
use crate::metrics::Metrics;

/// What a query reads. One of files may have to wait for the sink, and the others do not wait behind it: the last turn is
/// theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Files, and perhaps the state.
    Files,
    /// The state alone.
    State,
}

/// The turns of a service.
#[derive(Debug)]
pub struct Turns {
    all: Kind,
    /// Of them, those that queries of files may have.
    of_files: Kind,
    waiting: IntGauge,
}

#[derive(Debug)]
struct Kind {
    number: NonZeroUsize,
    free: Arc<Semaphore>,
}

/// That a query may run, until this is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    _of_files: Option<OwnedSemaphorePermit>,
}

impl Kind {
    fn new(number: NonZeroUsize) -> Self {
        Kind { number, free: Arc::new(Semaphore::new(number.get())) }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }
}

impl Turns {
    /// So many queries run at once; where that is one, a query of files may have it.
    pub fn new(queries: NonZeroUsize, metrics: &Metrics) -> Self {
        let of_files = NonZeroUsize::new(queries.get() - 1).unwrap_or(queries);
        Turns { all: Kind::new(queries), of_files: Kind::new(of_files), waiting: metrics.waiting.clone() }
    }

    /// Waits for a turn, within what `limit` says of time.
    ///
    /// # Errors
    /// Where the time is over before, or the query is cancelled.
    pub async fn take(&self, reads: Reads, limit: &Limit) -> Result<Turn> {
        let _waits = Waits::new(&self.waiting);
        tokio::select! {
            turn = self.next(reads) => Ok(turn),
            () = limit.query.cancelled() => Err(limit.cancelled()),
            () = tokio::time::sleep_until(limit.deadline.into()) => {
                let kind = if reads == Reads::Files { &self.of_files } else { &self.all };
                Err(limit.no_turn(kind.number))
            }
        }
    }

    async fn next(&self, reads: Reads) -> Turn {
        let of_files = match reads {
            Reads::Files => Some(self.of_files.permit().await),
            Reads::State => None,
        };
        Turn { _of_files: of_files, _permit: self.all.permit().await }
    }
}

/// Counts who waits, however that ends.
struct Waits<'a>(&'a IntGauge);

impl<'a> Waits<'a> {
    fn new(waiting: &'a IntGauge) -> Self {
        waiting.inc();
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::connection::Client;
    use crate::error::for_client;

    fn limit(client: &Arc<Client>, metrics: &Metrics, time: Duration) -> Limit {
        Limit { deadline: Instant::now() + time, time, rows: 1, query: client.begin(metrics) }
    }

    #[tokio::test]
    async fn who_gets_no_turn_in_time_is_told_why() {
        let metrics = Metrics::new().expect("names differ");
        let client = Arc::new(Client::default());
        let turns = Turns::new(NonZeroUsize::MIN, &metrics);
        let long = limit(&client, &metrics, Duration::from_secs(60));
        let turn = turns.take(Reads::Files, &long).await.expect("it is free");
        let short = limit(&client, &metrics, Duration::ZERO);
        let told = for_client(&turns.take(Reads::State, &short).await.expect_err("it is taken"));
        assert_eq!(told.code, "53400");
        assert!(told.message.contains("--max-queries"), "{}", told.message);
        drop(turn);
        turns.take(Reads::Files, &long).await.expect("it is free again");
        client.cancel();
        let _turn = turns.next(Reads::State).await;
        let told = for_client(&turns.take(Reads::Files, &long).await.expect_err("it is cancelled"));
        assert_eq!((told.code.as_str(), metrics.waiting.get()), ("57014", 0));
    }

    #[tokio::test]
    async fn queries_of_files_leave_a_turn_to_those_of_the_state() {
        let metrics = Metrics::new().expect("names differ");
        let client = Arc::new(Client::default());
        let turns = Turns::new(NonZeroUsize::new(2).expect("two"), &metrics);
        let long = limit(&client, &metrics, Duration::from_secs(60));
        let _turn = turns.take(Reads::Files, &long).await.expect("it is free");
        let short = limit(&client, &metrics, Duration::from_millis(50));
        let told = for_client(&turns.take(Reads::Files, &short).await.expect_err("the other is not theirs"));
        assert!(told.message.contains("1 queries run"), "{}", told.message);
        turns.take(Reads::State, &long).await.expect("it is free");
    }
}
