//! Queries at once: who comes when all run waits for one to end.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::Result;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bounded::Limit;
use crate::metrics::Metrics;

/// The turns of a service.
#[derive(Debug)]
pub struct Turns {
    all: NonZeroUsize,
    free: Arc<Semaphore>,
    waiting: IntGauge,
}

/// That a query may run, until this is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// So many queries run at once.
    pub fn new(queries: NonZeroUsize, metrics: &Metrics) -> Self {
        let free = Arc::new(Semaphore::new(queries.get()));
        Turns { all: queries, free, waiting: metrics.waiting.clone() }
    }

    /// Waits for a turn, within what `limit` says of time.
    ///
    /// # Errors
    /// Where the time is over before, or the query is cancelled.
    pub async fn take(&self, limit: &Limit) -> Result<Turn> {
        let _waits = Waits::new(&self.waiting);
        tokio::select! {
            permit = Arc::clone(&self.free).acquire_owned() => {
                Ok(Turn { _permit: permit.expect("the semaphore is never closed") })
            }
            () = limit.query.cancelled() => Err(limit.cancelled()),
            () = tokio::time::sleep_until(limit.deadline.into()) => Err(limit.no_turn(self.all)),
        }
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
        let turn = turns.take(&long).await.expect("it is free");
        let short = limit(&client, &metrics, Duration::ZERO);
        let told = for_client(&turns.take(&short).await.expect_err("it is taken"));
        assert_eq!(told.code, "53400");
        assert!(told.message.contains("--max-queries"), "{}", told.message);
        drop(turn);
        turns.take(&long).await.expect("it is free again");
        client.cancel();
        let _turn = turns.free.clone().acquire_owned().await;
        let told = for_client(&turns.take(&long).await.expect_err("it is cancelled"));
        assert_eq!((told.code.as_str(), metrics.waiting.get()), ("57014", 0));
    }
}
