//! What the query service tells Prometheus.

use std::sync::Arc;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Upper bounds in seconds: a live query takes milliseconds, one over a year's archive minutes.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// The metrics of the service; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

/// Each is described where it is made.
#[allow(missing_docs)]
#[derive(Debug)]
pub struct Inner {
    registry: Registry,
    pub connections: IntGauge,
    pub connections_refused: IntCounter,
    pub logins_refused: IntCounter,
    pub running: IntGauge,
    pub waiting: IntGauge,
    pub queries: IntCounterVec,
    pub repeated: IntCounter,
    pub query_seconds: Histogram,
    pub state_seconds: Histogram,
    pub state_errors: IntCounterVec,
    pub sink_reads: IntCounter,
    pub sink_bytes: IntCounter,
    pub sink_errors: IntCounter,
    pub map_seconds: HistogramVec,
    pub map_errors: IntCounter,
}

impl std::ops::Deref for Metrics {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// Where two of them have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let counter = |name: &str, help: &str| registered(&registry, IntCounter::new(full(name), help));
        let counters = |name: &str, help: &str, label: &str| {
            registered(&registry, IntCounterVec::new(Opts::new(full(name), help), &[label]))
        };
        let gauge = |name: &str, help: &str| registered(&registry, IntGauge::new(full(name), help));
        let buckets = |name: &str, help: &str| HistogramOpts::new(full(name), help).buckets(SECONDS.to_vec());
        let seconds =
            |name: &str, help: &str| registered(&registry, Histogram::with_opts(buckets(name, help)));
        let seconds_by = |name: &str, help: &str, label: &str| {
            registered(&registry, HistogramVec::new(buckets(name, help), &[label]))
        };
        Ok(Metrics(Arc::new(Inner {
            connections: gauge("connections", "Connections of clients.")?,
            connections_refused: counter(
                "connections_refused_total",
                "Connections refused because there were too many.",
            )?,
            logins_refused: counter(
                "logins_refused_total",
                "Logins with an unknown user or a wrong password.",
            )?,
            running: gauge("running", "Queries that run or wait for their turn.")?,
            waiting: gauge("waiting", "Queries that wait for their turn.")?,
            queries: counters("queries_total", "Queries that have ended, by outcome.", "outcome")?,
            repeated: counter(
                "repeated_total",
                "Queries begun again because files that they were to read had been merged.",
            )?,
            query_seconds: seconds("duration_seconds", "From the planning of a query to its last row.")?,
            state_seconds: seconds(
                "state_read_duration_seconds",
                "Time to read the open windows from Redis.",
            )?,
            state_errors: counters(
                "state_errors_total",
                "Readings of Redis that failed, by kind of error.",
                "category",
            )?,
            sink_reads: counter("sink_reads_total", "Ranges of files read from the sink.")?,
            sink_bytes: counter("sink_read_bytes_total", "Bytes of files read from the sink.")?,
            sink_errors: counter("sink_errors_total", "Listings and readings of the sink that failed.")?,
            map_seconds: seconds_by(
                "map_duration_seconds",
                "Time to give the map an answer, the wait for its turn included.",
                "answer",
            )?,
            map_errors: counter("map_errors_total", "Answers that the map could not be given.")?,
            registry,
        })))
    }

    /// The text that a scrape gets.
    ///
    /// # Errors
    /// Where a metric cannot be written.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = made?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn full(name: &str) -> String {
    format!("tipstream_query_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_each_metric() {
        let doc = include_str!("../../../docs/metrics.md");
        let metrics = Metrics::new().expect("names differ");
        metrics.queries.with_label_values(&["answered"]).inc();
        metrics.state_errors.with_label_values(&["unreachable"]).inc();
        metrics.map_seconds.with_label_values(&["windows"]).observe(0.0);
        let mut families = metrics.registry.gather();
        families.retain(|family| family.name().starts_with("tipstream_query_"));
        for family in &families {
            assert!(
                doc.contains(&format!("| `{}` |", family.name())),
                "docs/metrics.md lacks {}",
                family.name()
            );
        }
        let documented = doc.lines().filter(|line| line.starts_with("| `tipstream_query_")).count();
        assert_eq!(documented, families.len(), "docs/metrics.md has a metric that is not there");
    }
}
