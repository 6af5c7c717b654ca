//! What the operator measures of itself, `/metrics`.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::error::CATEGORIES;

/// The operator's metrics; clones are the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Of the process: names without the prefix of ours.
    process: Registry,
    /// Reconciles that ended, well or not.
    pub reconciles: IntCounter,
    /// Those that did not end well, by [`CATEGORIES`].
    pub errors: IntCounterVec,
    /// How long a reconcile took.
    pub seconds: Histogram,
    /// TipsPipelines that wait for a reconcile.
    pub queue: IntGauge,
    /// Reconciles that are under way.
    pub under_way: IntGauge,
    /// TipsPipelines that are known.
    pub pipelines: IntGauge,
    /// 1 for the one that reconciles.
    pub leader: IntGauge,
    /// Statuses that were written.
    pub status_writes: IntCounter,
    /// Numbers of workers that were written.
    pub rescales: IntCounter,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// Where two have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("tipstream_operator".to_owned()), None)?;
        let process = Registry::new();
        process.register(Box::new(ProcessCollector::for_self()))?;
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let errors = Opts::new("reconcile_errors_total", "Reconciles that failed, by category.");
        let seconds = HistogramOpts::new("reconcile_duration_seconds", "Duration of a reconcile.")
            .buckets(vec![0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]);
        let metrics = Metrics {
            reconciles: counter("reconciles_total", "Reconciles that ended, well or not.")?,
            errors: register(&registry, IntCounterVec::new(errors, &["category"])?)?,
            seconds: register(&registry, Histogram::with_opts(seconds)?)?,
            queue: gauge(
                "workqueue_depth",
                "TipsPipelines that a reconcile is due for and has not begun, as controller-runtime counts them.",
            )?,
            under_way: gauge("reconciles_under_way", "Reconciles that are under way.")?,
            pipelines: gauge("pipelines", "TipsPipelines that are known.")?,
            leader: gauge("leader", "1 for the operator that reconciles, 0 for one that stands by.")?,
            status_writes: counter("status_writes_total", "Statuses that were written.")?,
            rescales: counter("rescales_total", "Changes of a number of workers by spec.scaling.")?,
            registry,
            process,
        };
        for category in CATEGORIES {
            metrics.errors.with_label_values(&[category]);
        }
        Ok(metrics)
    }

    /// In the text format of Prometheus.
    ///
    /// # Errors
    /// Where they cannot be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&[self.registry.gather(), self.process.gather()].concat(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        const DOC: &str = include_str!("../../docs/operator.md");
        let text = Metrics::new().and_then(|metrics| metrics.render()).expect("metrics");
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let (process, ours): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with("process_"));
        assert!(process.contains(&"process_start_time_seconds"), "{process:?}");
        let missing: Vec<_> =
            ours.into_iter().filter(|name| !DOC.contains(&format!("| `{name}` |"))).collect();
        assert!(missing.is_empty(), "docs/operator.md lacks {missing:?}");
    }
}
