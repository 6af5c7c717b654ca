//! Asks the workers how they are doing: their `/status`, by pod address and never through the API server.
//!
//! Bounded in every way: so many workers of a pipeline, so long, so many bytes, so many requests at once for the
//! whole operator.

mod report;

use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Semaphore;

pub(super) use self::report::{Backlog, Figures, Server};
use self::report::{Report, together};
use crate::cluster::Key;
use crate::cluster::views::PodView;

/// More than a busy worker takes.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Workers of one pipeline that are asked; of more, the lag is not told.
const MOST_WORKERS: usize = 128;
/// Requests at once, of one pipeline and of all.
const AT_ONCE: usize = 16;
const AT_ONCE_OVER_ALL: usize = 64;
/// A status of a thousand partitions has a fifth of it.
const MOST_BYTES: usize = 512 << 10;

/// Asks workers.
pub struct Observer {
    http: reqwest::Client,
    port: i32,
    permits: Semaphore,
}

impl Observer {
    /// One that asks at `port`, and has asked nobody yet.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new(port: i32) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // A connection that is kept would cost more than the one that is made every few seconds.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Observer { http, port, permits: Semaphore::new(AT_ONCE_OVER_ALL) })
    }

    /// What the workers of `pipeline` in `pods` say of `epoch`; `None` where none of them says anything of it.
    pub async fn ask(&self, pipeline: &Key, pods: &[PodView], epoch: i64) -> Option<Figures> {
        let there = || pods.iter().filter(|pod| !pod.terminating && pod.address.is_some());
        let answers = futures::stream::iter(there().take(MOST_WORKERS))
            .map(|pod| async { (pod.ready, self.ask_one(pipeline, pod).await) })
            .buffer_unordered(AT_ONCE);
        let answers: Vec<(bool, Option<Report>)> = answers.collect().await;
        // One that is not ready has no partitions to tell of, or its silence is no news.
        let complete =
            there().count() <= MOST_WORKERS && answers.iter().all(|(ready, told)| told.is_some() || !ready);
        let reports: Vec<_> = answers.into_iter().filter_map(|(_, report)| report).collect();
        together(&reports, epoch, complete)
    }

    async fn ask_one(&self, pipeline: &Key, pod: &PodView) -> Option<Report> {
        let address = pod.address.as_deref()?;
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let _permit = self.permits.acquire().await.ok()?;
        match self.get(&format!("http://{host}:{}/status", self.port)).await {
            // An address may be somebody else's by now.
            Ok(report) => Some(report).filter(|report| report.is_of(pipeline)),
            Err(error) => {
                tracing::debug!(pod = pod.name, %error, "a worker does not tell its status");
                None
            }
        }
    }

    async fn get(&self, url: &str) -> anyhow::Result<Report> {
        let mut response = self.http.get(url).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= MOST_BYTES, "the answer has more than {MOST_BYTES} bytes");
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use axum::serve::ListenerExt as _;
    use futures::future::join_all;
    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Serves `answer` to whoever asks; the URL, and how many connections were made.
    async fn serve(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let url = format!("http://{}/status", listener.local_addr().expect("an address"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let counting = listener.tap_io(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
        let routes = axum::Router::new().route("/status", get(async move || answer.clone()));
        _ = tokio::spawn(async { axum::serve(counting, routes).await });
        (url, connections)
    }

    #[tokio::test]
    async fn no_connection_is_kept_and_a_long_answer_is_not_read_to_its_end() {
        let observer = Observer::new(0).expect("a client");
        let text = r#"{"pipeline": "default.taxi", "epoch": 0, "fingerprint": "f", "partitions": []}"#;
        let (url, connections) = serve(text.into()).await;
        for _ in 0..2 {
            observer.get(&url).await.expect("an answer");
        }
        assert_eq!(connections.load(Ordering::Relaxed), 2);
        let (url, _) = serve([text.as_bytes(), &vec![b' '; MOST_BYTES]].concat()).await;
        let refused = observer.get(&url).await.expect_err("it is too long").to_string();
        assert!(refused.contains("more than 524288 bytes"), "{refused}");
    }

    /// Workers at addresses of their own, all on this machine.
    fn workers(count: u8) -> Vec<PodView> {
        let worker = |number| PodView {
            pipeline: Some("taxi".to_owned()),
            component: Some(crate::build::names::Component::Worker),
            name: format!("taxi-worker-{number}"),
            created: None,
            template: None,
            address: Some(format!("127.0.0.{number}")),
            ready: true,
            terminating: false,
            trouble: None,
        };
        (1..=count).map(worker).collect()
    }

    /// An observer of workers that answer after `delay`, of whom that at `silent` never does; how many were asked, and
    /// how many at once at the most.
    async fn observed(delay: Duration, silent: Option<&'static str>) -> (Observer, Arc<[AtomicUsize; 3]>) {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("an address");
        let port = listener.local_addr().expect("an address").port().into();
        let counts = Arc::new([const { AtomicUsize::new(0) }; 3]);
        let counted = Arc::clone(&counts);
        let answer = async move |host: axum::http::HeaderMap| {
            let [asked, now, most] = &*counted;
            asked.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let host = host.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
            if silent.is_some_and(|silent| host.starts_with(silent)) {
                std::future::pending::<()>().await;
            }
            sleep(delay).await;
            now.fetch_sub(1, Ordering::Relaxed);
            r#"{"pipeline": "default.taxi", "epoch": 0, "fingerprint": "f", "partitions": [{"topic": "rides",
            "partition": 0, "lag": 5}], "partitionCounts": {"rides": 1}}"#
        };
        _ = tokio::spawn(async {
            axum::serve(listener, axum::Router::new().route("/status", get(answer))).await
        });
        (Observer::new(port).expect("a client"), counts)
    }

    fn of(counts: &[AtomicUsize; 3]) -> [usize; 2] {
        [&counts[0], &counts[2]].map(|count| count.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn so_many_are_asked_and_so_many_at_once() {
        let taxi = Key::new("default", "taxi");
        let (observer, counts) = observed(Duration::from_millis(20), None).await;
        let all = observer.ask(&taxi, &workers(128), 0).await.expect("figures");
        assert!(all.lag.is_some(), "all have answered");
        assert_eq!(of(&counts), [MOST_WORKERS, AT_ONCE]);
        let more = observer.ask(&taxi, &workers(129), 0).await.expect("figures");
        assert_eq!((more.lag, of(&counts)[0]), (None, 2 * MOST_WORKERS), "the lag is of all or not told");

        let (observer, counts) = observed(Duration::from_millis(200), None).await;
        let pods = workers(16);
        let asked = join_all((0..8).map(|_| observer.ask(&taxi, &pods, 0))).await;
        assert!(asked.iter().all(Option::is_some));
        assert_eq!(of(&counts), [128, AT_ONCE_OVER_ALL]);
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_not_waited_for_longer_than_told() {
        let (observer, _) = observed(Duration::ZERO, Some("127.0.0.2")).await;
        let begun = Instant::now();
        let figures = observer.ask(&Key::new("default", "taxi"), &workers(3), 0).await.expect("figures");
        assert_eq!(figures.lag, None, "one has not answered");
        assert!((TIMEOUT..2 * TIMEOUT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
