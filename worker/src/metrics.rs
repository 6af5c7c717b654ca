//! What the worker tells Prometheus. Labels are of a few values each: topics, partitions, outcomes, kinds.

pub mod compact;

use std::cell::RefCell;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricType;
use prometheus::{
    Counter, Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::core::books::{Books, Outcome};
use crate::core::parse::Invalid;
use crate::core::shard::{Partition, Topic};
use crate::raw::lane::PlannedFile;
use crate::state::Room;

/// Upper bounds in seconds, for what takes from a millisecond to a minute.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The metrics of a worker; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// Each is described where it is made.
#[allow(missing_docs)]
pub struct Inner {
    registry: Registry,
    pub consumed: IntCounterVec,
    pub invalid: IntCounterVec,
    pub outcomes: IntGaugeVec,
    pub unaccounted: IntGaugeVec,
    pub lag_records: IntGaugeVec,
    pub lag_seconds: IntGaugeVec,
    pub ahead_seconds: IntGaugeVec,
    pub watermark_seconds: IntGauge,
    pub apply_seconds: Histogram,
    pub flush_seconds: Histogram,
    pub latency_seconds: Histogram,
    pub state_calls: IntCounter,
    pub state_refusals: IntCounter,
    pub state_errors: IntCounterVec,
    pub redis_memory_bytes: IntGauge,
    pub redis_memory_limit_bytes: IntGauge,
    pub answer_seconds: IntGaugeVec,
    pub sink_errors: IntCounter,
    pub raw_files: IntCounterVec,
    pub raw_rows: IntCounterVec,
    pub raw_bytes: IntCounterVec,
    pub raw_buffered_bytes: IntGauge,
    pub raw_budget_bytes: IntGauge,
    pub windows_published: IntCounter,
    pub windows_unpublished: IntGauge,
    pub window_due_seconds: IntGauge,
    pub last_window_seconds: IntGauge,
    pub paused_partitions: IntGauge,
    pub backpressured_seconds: Counter,
    pub assigned_partitions: IntGauge,
    pub rebalances: IntCounter,
    pub lost_records: IntCounterVec,
}

/// How far a partition is read; what is not known yet is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records that are not read yet.
    pub records: Option<i64>,
    /// Age of the greatest event time read; 0 where all is read.
    pub seconds: Option<i64>,
    /// Event time from the watermark to the greatest event time read.
    pub ahead_seconds: Option<i64>,
}

impl std::ops::Deref for Metrics {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Metrics {
    /// All metrics, at zero, in a registry of their own.
    ///
    /// # Errors
    /// Where two of them have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        Self::made_by(&Maker::default())
    }

    fn made_by(make: &Maker) -> Result<Self, prometheus::Error> {
        let inner = Inner {
            consumed: make.counters("records_consumed_total", "Records read.", &["topic"])?,
            invalid: make.counters("records_invalid_total", "Lines in quarantine, by kind of reason.", &["topic", "reason"])?,
            outcomes: make.gauges("records_outcome", "Records of the pipeline by outcome, as its state has them.", &["topic", "outcome"])?,
            unaccounted: make.gauges("records_unaccounted", "Records consumed less the sum of their outcomes, as the state has them.", &["topic"])?,
            lag_records: make.gauges("partition_lag_records", "Records of an assigned partition that are not read yet.", &["topic", "partition"])?,
            lag_seconds: make.gauges("partition_lag_seconds", "Age of the greatest event time read of an assigned partition; 0 where all is read.", &["topic", "partition"])?,
            ahead_seconds: make.gauges("partition_ahead_seconds", "Event time from the watermark to the greatest event time read of an assigned partition.", &["topic", "partition"])?,
            watermark_seconds: make.gauge("watermark_timestamp_seconds", "The least watermark of all shards, as event time since the epoch.")?,
            apply_seconds: make.histogram("apply_duration_seconds", "Time to apply a batch to all shards.")?,
            flush_seconds: make.histogram("flush_duration_seconds", "Time to publish the raw files of a range.")?,
            latency_seconds: make.histogram("record_latency_seconds", "From a record's Kafka timestamp to its effect in the state, of the oldest of each read of a partition, 1024 records at most.")?,
            state_calls: make.counter("state_calls_total", "Calls that apply a delta to a shard.")?,
            state_refusals: make.counter("state_refusals_total", "Calls refused because the shard stood elsewhere.")?,
            state_errors: make.counters("state_errors_total", "Calls that failed, by kind of error.", &["category"])?,
            redis_memory_bytes: make.gauge("redis_memory_bytes", "Memory that the fullest Redis server uses.")?,
            redis_memory_limit_bytes: make.gauge("redis_memory_limit_bytes", "That server's maxmemory; 0 where it has none.")?,
            answer_seconds: make.gauges("server_answer_timestamp_seconds", "When a server has answered last, in seconds since 1970.", &["server"])?,
            sink_errors: make.counter("sink_errors_total", "Publications and readings of the range log that failed.")?,
            raw_files: make.counters("raw_files_total", "Raw files that this worker published.", &["topic"])?,
            raw_rows: make.counters("raw_rows_total", "Rows in raw files that this worker published, quarantine included.", &["topic"])?,
            raw_bytes: make.counters("raw_bytes_total", "Bytes of raw files that this worker published.", &["topic"])?,
            raw_buffered_bytes: make.gauge("raw_buffered_bytes", "Bytes of raw files that are not published yet.")?,
            raw_budget_bytes: make.gauge("raw_budget_bytes", "The limit of raw_buffered_bytes.")?,
            windows_published: make.counter("windows_published_total", "Window files published by this worker.")?,
            windows_unpublished: make.gauge("windows_unpublished", "Closed windows that cannot be written where they belong, though the sink answers.")?,
            window_due_seconds: make.gauge("window_due_timestamp_seconds", "Since when the window waits that has waited longest for its file, in seconds since 1970; 0: none does.")?,
            last_window_seconds: make.gauge("last_window_timestamp_seconds", "End of the latest window published, as event time since the epoch.")?,
            paused_partitions: make.gauge("paused_partitions", "Assigned partitions that run ahead of the watermark by more than maxDrift.")?,
            backpressured_seconds: make.seconds("backpressured_seconds_total", "Time in which nothing was read, since the state or the sink had more to take already than it may hold.")?,
            assigned_partitions: make.gauge("assigned_partitions", "Partitions assigned to this worker.")?,
            rebalances: make.counter("rebalances_total", "Changes of this worker's assignment.")?,
            lost_records: make.counters("records_lost_total", "Offsets that Kafka had deleted before any worker read them.", &["topic"])?,
            registry: make.registry.clone(),
        };
        // A counter that begins with its first value looks as if it had not risen.
        for counters in [&inner.consumed, &inner.lost_records] {
            Topic::ALL.iter().for_each(|topic| _ = counters.with_label_values(&[topic.name()]));
        }
        make.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Metrics(Arc::new(inner)))
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

    /// Counts an invalid line.
    pub fn invalid_line(&self, topic: Topic, reason: Invalid) {
        self.invalid.with_label_values(&[topic.name(), reason.category()]).inc();
    }

    /// Counts a raw file that this worker has published.
    pub fn raw_file(&self, topic: Topic, file: &PlannedFile) {
        self.raw_files.with_label_values(&[topic.name()]).inc();
        self.raw_rows.with_label_values(&[topic.name()]).inc_by(file.rows);
        self.raw_bytes.with_label_values(&[topic.name()]).inc_by(file.bytes.len() as u64);
    }

    /// Shows how far a partition is read, as of now.
    pub fn set_lag(&self, partition: Partition, lag: Lag) {
        let labels = [partition.topic.name(), &partition.index.to_string()];
        let set = |gauges: &IntGaugeVec, value: Option<i64>| {
            if let Some(value) = value {
                gauges.with_label_values(&labels).set(value);
            }
        };
        set(&self.lag_records, lag.records);
        set(&self.lag_seconds, lag.seconds);
        set(&self.ahead_seconds, lag.ahead_seconds);
    }

    /// Shows nothing any more of a partition that is another worker's now.
    pub fn forget_lag(&self, partition: Partition) {
        let labels = [partition.topic.name(), &partition.index.to_string()];
        for gauges in [&self.lag_records, &self.lag_seconds, &self.ahead_seconds] {
            // Not all have had a value.
            _ = gauges.remove_label_values(&labels);
        }
    }

    /// Records of the assigned partitions that are not read yet.
    pub fn unread(&self) -> u64 {
        total(&self.lag_records, |_| true)
    }

    /// Records of `topic` with this outcome; 0 also where this worker does not know the books.
    pub fn outcome(&self, topic: Topic, outcome: Outcome) -> u64 {
        total(&self.outcomes, |values| values.contains(&topic.name()) && values.contains(&outcome.name()))
    }

    /// Sets the books of the pipeline.
    pub fn set_books(&self, books: &Books) {
        for topic in Topic::ALL {
            for outcome in Outcome::ALL {
                let gauge = self.outcomes.with_label_values(&[topic.name(), outcome.name()]);
                gauge.set(books.of(topic).get(outcome));
            }
            self.unaccounted.with_label_values(&[topic.name()]).set(books.of(topic).unaccounted());
        }
    }

    /// Shows no books: another worker does, and what this one saw grows old.
    pub fn forget_books(&self) {
        self.outcomes.reset();
        self.unaccounted.reset();
    }

    /// Shows how full Redis is.
    pub fn set_room(&self, room: Room) {
        self.redis_memory_bytes.set(room.used as i64);
        self.redis_memory_limit_bytes.set(room.limit as i64);
    }
}

/// Adds up the gauges with such values of their labels. To ask for one by its labels would make it.
fn total(gauges: &IntGaugeVec, has: impl Fn(&[&str]) -> bool) -> u64 {
    let families = gauges.collect();
    let all = families.iter().flat_map(|family| family.get_metric());
    let such = all.filter(|metric| {
        let values: Vec<&str> = metric.get_label().iter().map(|label| label.value()).collect();
        has(&values)
    });
    such.map(|metric| metric.get_gauge().get_value() as u64).sum()
}

#[derive(Default)]
struct Maker {
    registry: Registry,
    /// Name, type and labels of each.
    made: RefCell<Vec<(String, MetricType, Vec<String>)>>,
}

impl Maker {
    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> prometheus::Result<C> {
        let collector = made?;
        let labels = collector.desc().iter().flat_map(|desc| desc.variable_labels.clone()).collect();
        let family = collector.collect().swap_remove(0);
        self.made.borrow_mut().push((family.name().to_owned(), family.get_field_type(), labels));
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(full(name), help))
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Counter> {
        self.register(Counter::new(full(name), help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(full(name), help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(full(name), help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(full(name), help), labels))
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(SECONDS.to_vec())))
    }
}

fn full(name: &str) -> String {
    format!("tipstream_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = include_str!("../../docs/metrics.md");

    #[test]
    fn records_without_an_outcome_are_shown_until_another_has_the_books() {
        let metrics = Metrics::new().expect("metrics");
        let mut books = Books::default();
        books.fares.consumed = 3;
        books.fares.add(Outcome::Joined, 1);
        metrics.set_books(&books);
        let shown = metrics.render().expect("text");
        assert!(shown.contains("tipstream_records_unaccounted{topic=\"fares\"} 2\n"), "{shown}");
        assert!(shown.contains("tipstream_records_unaccounted{topic=\"rides\"} 0\n"), "{shown}");
        metrics.forget_books();
        assert!(!metrics.render().expect("text").contains("tipstream_records_unaccounted"));
    }

    /// A row of the table is name, type, labels and meaning. The query service has a table of its own.
    #[test]
    fn the_document_has_each_metric_with_its_type_and_labels_and_no_other() {
        let make = Maker::default();
        Metrics::made_by(&make).expect("names differ");
        compact::CompactMetrics::made_by(&make).expect("names differ");
        let row = |(name, kind, labels): &(String, MetricType, Vec<String>)| {
            let kind = format!("{kind:?}").to_lowercase();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{name}` | {kind} | {} |", labels.join(", ")).replace("|  |", "| |")
        };
        let mut rows: Vec<_> = make.made.borrow().iter().map(row).collect();
        let missing: Vec<_> = rows.extract_if(.., |row| !DOC.contains(row.as_str())).collect();
        assert!(missing.is_empty(), "docs/metrics.md lacks the rows that begin with {missing:#?}");
        let documented = DOC
            .lines()
            .filter(|line| line.starts_with("| `tipstream_") && !line.starts_with("| `tipstream_query_"))
            .count();
        assert_eq!(documented, rows.len(), "docs/metrics.md has a metric that is not there");
    }
}
