//! Asks the workers how they are doing: their `/status`, by pod address and never through the API server.
//!
//! Bounded in every way: so many workers of a pipeline, so long, so many bytes, so many requests at once for the
//! whole operator.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::jiff::{self, Timestamp};
use serde::Deserialize;
use tipstream_crds::{Books, Lag, TopicBooks};
use tokio::sync::Semaphore;

use crate::build::PORT;
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

/// What the workers of a pipeline say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Fingerprint of their settings, and so of the state.
    pub fingerprint: String,
    /// The watermark of the state.
    pub watermark: Option<Timestamp>,
    /// The end of the latest window that was written.
    pub last_window_end: Option<Timestamp>,
    /// What is still to be read; `None` where a worker did not answer.
    pub lag: Option<Lag>,
    /// The books of the state.
    pub books: Option<Books>,
    /// Whether they balance.
    pub balance: Option<bool>,
    /// Why a worker cannot read the state, where it cannot.
    pub state_error: Option<String>,
    /// Who does not answer a worker.
    pub silent: BTreeSet<Server>,
}

/// What workers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// The coordinator of the group.
    Kafka,
    /// Redis.
    Redis,
    /// The sink.
    Sink,
}

/// Asks workers.
pub struct Observer {
    http: reqwest::Client,
    permits: Semaphore,
}

impl Observer {
    /// One that has asked nobody yet.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new() -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // A connection that is kept would cost more than the one that is made every few seconds.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Observer { http, permits: Semaphore::new(AT_ONCE_OVER_ALL) })
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
        match self.get(&format!("http://{host}:{PORT}/status")).await {
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

/// A worker's `/status`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    pipeline: String,
    epoch: i64,
    fingerprint: String,
    watermark: Option<String>,
    last_window_end: Option<String>,
    partitions: Vec<Partition>,
    books: Option<ReportedBooks>,
    state_error: Option<String>,
    // A worker of an older image does not say.
    #[serde(default)]
    silent_servers: BTreeSet<Server>,
}

impl Report {
    fn is_of(&self, pipeline: &Key) -> bool {
        self.pipeline == format!("{}.{}", pipeline.namespace, pipeline.name)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    lag: Option<i64>,
    event_time: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ReportedBooks {
    rides: Account,
    fares: Account,
    balance: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    consumed: i64,
    joined: i64,
    pending: i64,
    unmatched: i64,
    duplicate: i64,
    late: i64,
    out_of_area: i64,
    start: i64,
    invalid: i64,
}

impl From<Account> for TopicBooks {
    fn from(account: Account) -> Self {
        TopicBooks {
            consumed: account.consumed,
            joined: account.joined,
            pending: account.pending,
            unmatched: account.unmatched,
            duplicate: account.duplicate,
            late: account.late,
            out_of_area: account.out_of_area,
            start: account.start,
            invalid: account.invalid,
        }
    }
}

/// The state is one, so its books and watermark are those of whoever read it last; the partitions are shared out.
fn together(reports: &[Report], epoch: i64, complete: bool) -> Option<Figures> {
    let reports: Vec<_> = reports.iter().filter(|report| report.epoch == epoch).collect();
    let first = reports.first()?;
    let latest = |of: fn(&Report) -> Option<&String>| {
        reports.iter().filter_map(|report| of(report)).filter_map(|text| event_time(text)).max()
    };
    let watermark = latest(|report| report.watermark.as_ref());
    let partitions = || reports.iter().flat_map(|report| &report.partitions);
    let newest = partitions().filter_map(|p| p.event_time.as_deref()).filter_map(event_time).max();
    let behind = watermark
        .zip(newest)
        .map_or(0, |(watermark, newest)| (newest.as_second() - watermark.as_second()).max(0));
    let lag = Lag { records: partitions().filter_map(|p| p.lag).sum(), seconds: behind };
    let books = reports
        .iter()
        .filter_map(|report| report.books)
        .max_by_key(|books| books.rides.consumed + books.fares.consumed);
    Some(Figures {
        fingerprint: first.fingerprint.clone(),
        watermark,
        last_window_end: latest(|report| report.last_window_end.as_ref()),
        lag: complete.then_some(lag),
        books: books.map(|books| Books { rides: books.rides.into(), fares: books.fares.into() }),
        balance: books.map(|books| books.balance),
        state_error: reports.iter().find_map(|report| report.state_error.clone()),
        silent: reports.iter().flat_map(|report| report.silent_servers.iter().copied()).collect(),
    })
}

/// An event time as workers write it, `2013-01-01 03:29:59`, UTC.
fn event_time(text: &str) -> Option<Timestamp> {
    let time: jiff::civil::DateTime = text.replacen(' ', "T", 1).parse().ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use axum::serve::ListenerExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn report(lag: i64, consumed: i64, watermark: &str) -> Report {
        let text = format!(
            r#"{{"pipeline":"default.taxi","epoch":0,"fingerprint":"ffd49dbd4f95d5fd","watermark":"{watermark}",
            "lastWindowEnd":"2013-01-01 03:20:00","lagRecords":{lag},"partitions":[{{"topic":"rides","partition":0,
            "position":144317,"lag":{lag},"eventTime":"2013-01-01 04:00:00","idle":false}},{{"topic":"fares",
            "partition":0,"position":null,"lag":null,"eventTime":null,"idle":true}}],"books":{{"rides":
            {{"consumed":{consumed},"duplicate":97,"invalid":619,"joined":284339,"late":0,"out_of_area":2757,
            "pending":268,"start":288088,"unmatched":395}},"fares":{{"consumed":1}},"balance":true}},"stateError":null}}"#
        );
        serde_json::from_str(&text).expect("what a worker answers")
    }

    #[test]
    fn workers_are_added_up_and_the_state_is_taken_from_the_latest() {
        let reports = [report(5, 100, "2013-01-01 03:29:59"), report(7, 200, "2013-01-01 03:30:00")];
        let figures = together(&reports, 0, true).expect("they answered");
        assert_eq!(figures.lag, Some(Lag { records: 12, seconds: 1800 }));
        assert_eq!(figures.books.map(|books| books.rides.consumed), Some(200));
        assert_eq!(figures.watermark, event_time("2013-01-01 03:30:00"));
        assert_eq!(figures.watermark.map(|t| t.to_string()).as_deref(), Some("2013-01-01T03:30:00Z"));
    }

    #[test]
    fn the_lag_is_not_told_where_a_worker_is_silent() {
        assert_eq!(together(&[report(5, 100, "2013-01-01 03:29:59")], 0, false).and_then(|f| f.lag), None);
    }

    #[test]
    fn what_another_pipeline_says_is_known_as_such() {
        let report = report(5, 100, "2013-01-01 03:29:59");
        assert!(report.is_of(&Key::new("default", "taxi")));
        assert!(!report.is_of(&Key::new("default", "taxi2")));
    }

    #[test]
    fn workers_of_another_epoch_say_nothing_of_this_one() {
        assert_eq!(together(&[report(5, 100, "2013-01-01 03:29:59")], 1, true), None);
    }

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
        let observer = Observer::new().expect("a client");
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
}
