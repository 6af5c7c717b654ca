//! The one place that says how often and how long a sink tries.
//!
//! A try ends after its timeout; after a transient failure the next one follows, each time later,
//! about 15 s in all. A longer outage is the caller's: it pauses its partitions and calls again.
//!
//! S3 gets this through OpenDAL's layers, which can repeat a single part of an upload. HDFS gets it
//! through [`transient`], around steps that are written to be repeated. Of a local file system only the
//! lock of another worker is of the passing kind.

use std::future::Future;
use std::iter;
use std::time::Duration;

use opendal::Operator;
use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use rand::RngExt;

use super::error::{Category, Fault, describe};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LAST_DELAY: Duration = Duration::from_secs(8);
const RETRIES: usize = 6;

/// How long a call without a body may take.
const CALL: Duration = Duration::from_secs(30);
/// How long one transfer may take: a part of 8 MiB at 140 kB/s.
const TRANSFER: Duration = Duration::from_secs(60);

/// `op` with a time limit on each try.
pub(super) fn with_timeouts(op: Operator) -> Operator {
    op.layer(TimeoutLayer::new().with_timeout(CALL).with_io_timeout(TRANSFER))
}

/// `op`, which has its timeouts, with retries around them. The order matters: a timeout outside
/// would drop the retries' state in the middle (OpenDAL, `TimeoutLayer`, Cancellation Safety).
pub(super) fn with_retries(op: Operator) -> Operator {
    op.layer(
        RetryLayer::new()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LAST_DELAY)
            .with_factor(2.0)
            .with_max_times(RETRIES)
            .with_jitter()
            .with_notify(|event: RetryEvent<'_>| {
                let fault = describe(event.err);
                tracing::warn!(%fault, delay = ?event.retry_after, "sink: trying again");
            }),
    )
}

/// Runs `step` until it succeeds, fails for good, or has been tried often enough. `step` must be
/// safe to repeat after a failure that left its effect unknown.
pub(super) async fn transient<T, F>(step: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let delays = iter::successors(Some(FIRST_DELAY), |delay| Some((*delay * 2).min(LAST_DELAY)));
    let jittered = delays.map(|delay| delay.mul_f64(rand::rng().random_range(0.5..1.5)));
    tried(jittered.take(RETRIES), step).await
}

/// Tries once, and again after each of `delays`.
async fn tried<T, F>(delays: impl Iterator<Item = Duration>, mut step: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    for delay in delays {
        match step().await {
            Err(fault) if fault.is_transient() => {
                tracing::warn!(%fault, ?delay, "sink: trying again");
            }
            done => return done,
        }
        tokio::time::sleep(delay).await;
    }
    step().await
}

/// `call` with the time limit of a call without a body.
pub(super) async fn call<T, E: Into<Fault>>(call: impl Future<Output = Result<T, E>>) -> Result<T, Fault> {
    within(CALL, call).await
}

/// `transfer` with a time limit that grows with the bytes it moves.
pub(super) async fn transfer<T, E: Into<Fault>>(
    bytes: usize,
    transfer: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    const SLOWEST_BYTES_PER_SECOND: u64 = 256 * 1024;
    let limit = TRANSFER + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND);
    within(limit, transfer).await
}

async fn within<T, E: Into<Fault>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Fault::new(Category::Unreachable, format!("no answer within {limit:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tries(category: Category) -> usize {
        let mut tries = 0;
        let outcome: Result<(), _> = tried(iter::repeat_n(Duration::ZERO, RETRIES), || {
            tries += 1;
            async { Err(Fault::new(category, "down")) }
        })
        .await;
        assert_eq!(outcome.expect_err("always fails").category, category);
        tries
    }

    #[tokio::test]
    async fn a_transient_failure_is_tried_again_but_not_for_ever() {
        assert_eq!(tries(Category::Unreachable).await, RETRIES + 1);
    }

    #[tokio::test]
    async fn a_lasting_failure_is_reported_at_once() {
        assert_eq!(tries(Category::Denied).await, 1);
    }
}
