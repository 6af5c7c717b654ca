//! The status line of a worker on a terminal: how fast it reads, what is left, and how far the results are.

use std::fmt::Write;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::core::books::Outcome;
use crate::core::shard::Topic;
use crate::core::time::EventTime;
use crate::metrics::Metrics;

const INTERVAL: Duration = Duration::from_millis(500);

/// A line below the log, where that goes to a terminal.
pub(super) struct StatusLine {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl StatusLine {
    /// `None` where nobody would see it.
    pub(super) fn start(terminal: &MultiProgress, metrics: Metrics) -> Option<Self> {
        if terminal.is_hidden() {
            return None;
        }
        let style = ProgressStyle::with_template("{spinner} {wide_msg}").ok()?;
        let bar = terminal.add(ProgressBar::new_spinner().with_style(style));
        let task = tokio::spawn(follow(bar.clone(), metrics));
        Some(StatusLine { bar, task })
    }

    pub(super) fn finish(self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn follow(bar: ProgressBar, metrics: Metrics) {
    let (mut before, mut since) = (consumed(&metrics), Instant::now());
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = consumed(&metrics);
        let rate = (now - before) as f64 / since.elapsed().as_secs_f64();
        (before, since) = (now, Instant::now());
        bar.set_message(line(&metrics, rate as u64));
        bar.tick();
    }
}

fn line(metrics: &Metrics, rate: u64) -> String {
    let mut text = format!(
        "{}/s, {} records read, {} to go",
        HumanCount(rate),
        HumanCount(consumed(metrics)),
        HumanCount(metrics.unread()),
    );
    let mut add = |what: &str, value: String| {
        // Writing to a String cannot fail.
        _ = write!(text, " │ {what} {value}");
    };
    if let seconds @ 1.. = metrics.watermark_seconds.get() {
        add("watermark", EventTime::from_seconds(seconds).to_string());
    }
    // Only the worker that publishes the windows knows the books.
    let joined = metrics.outcome(Topic::Rides, Outcome::Joined);
    if joined > 0 {
        add("joined", HumanCount(joined).to_string());
    }
    let windows = metrics.windows_published.get();
    if windows > 0 {
        add("windows", HumanCount(windows).to_string());
    }
    add("partitions", metrics.assigned_partitions.get().to_string());
    text
}

fn consumed(metrics: &Metrics) -> u64 {
    Topic::ALL.iter().map(|topic| metrics.consumed.with_label_values(&[topic.name()]).get()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::books::Books;
    use crate::core::shard::Partition;
    use crate::metrics::Lag;

    #[test]
    fn the_line_tells_rate_lag_watermark_and_joined() {
        let metrics = Metrics::new().expect("metrics");
        assert_eq!(line(&metrics, 0), "0/s, 0 records read, 0 to go │ partitions 0");
        metrics.consumed.with_label_values(&["rides"]).inc_by(1_500_000);
        for index in [0, 1] {
            let partition = Partition { topic: Topic::Rides, index };
            metrics.set_lag(partition, Lag { records: Some(600), ..Lag::default() });
        }
        let mut books = Books::default();
        books.of_mut(Topic::Rides).add(Outcome::Joined, 1234);
        metrics.set_books(&books);
        metrics.watermark_seconds.set(1_357_003_656);
        metrics.windows_published.inc();
        metrics.assigned_partitions.set(2);
        assert_eq!(
            line(&metrics, 52_000),
            "52,000/s, 1,500,000 records read, 1,200 to go │ watermark 2013-01-01 01:27:36 │ joined 1,234 │ \
             windows 1 │ partitions 2"
        );
    }
}
