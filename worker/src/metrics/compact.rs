//! What `compact` tells Prometheus.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Encoder, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use super::Maker;
use crate::compact::folder::Dataset;

/// The metrics of a run; clones share them.
#[derive(Clone)]
pub struct CompactMetrics(Arc<Inner>);

/// Each is described where it is made.
#[allow(missing_docs)]
pub struct Inner {
    registry: Registry,
    pub plans: IntCounterVec,
    pub files_merged: IntCounterVec,
    pub files_written: IntCounterVec,
    pub bytes_merged: IntCounterVec,
    pub bytes_written: IntCounterVec,
    pub overlap_seconds: Histogram,
    pub failures: IntCounter,
    pub last_success_seconds: IntGauge,
}

impl std::ops::Deref for CompactMetrics {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl CompactMetrics {
    /// All metrics, at zero, in a registry of their own.
    ///
    /// # Errors
    /// Where two of them have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        Self::made_by(&Maker::default())
    }

    pub(super) fn made_by(make: &Maker) -> Result<Self, prometheus::Error> {
        let counters = |name, help| make.counters(name, help, &["dataset"]);
        Ok(CompactMetrics(Arc::new(Inner {
            plans: counters("compact_plans_total", "Plans carried out.")?,
            files_merged: counters("compact_files_merged_total", "Files that gave way to merged ones.")?,
            files_written: counters("compact_files_written_total", "Merged files written.")?,
            bytes_merged: counters("compact_bytes_merged_total", "Bytes of files that gave way.")?,
            bytes_written: counters("compact_bytes_written_total", "Bytes of merged files.")?,
            overlap_seconds: make.histogram(
                "compact_overlap_seconds",
                "How long a merged file and its sources were there together.",
            )?,
            failures: make.counter("compact_failures_total", "Days that could not be compacted.")?,
            last_success_seconds: make.gauge(
                "compact_last_success_timestamp_seconds",
                "When a run has ended without a failure, in seconds since the epoch.",
            )?,
            registry: make.registry.clone(),
        })))
    }

    /// Counts a merge; `written`: bytes of its target, where this run has put it there.
    pub fn merged(&self, dataset: Dataset, files: u64, bytes: u64, written: Option<u64>, overlap: Duration) {
        let labels = [dataset.name()];
        self.files_merged.with_label_values(&labels).inc_by(files);
        self.bytes_merged.with_label_values(&labels).inc_by(bytes);
        if let Some(written) = written {
            self.files_written.with_label_values(&labels).inc();
            self.bytes_written.with_label_values(&labels).inc_by(written);
        }
        self.overlap_seconds.observe(overlap.as_secs_f64());
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
