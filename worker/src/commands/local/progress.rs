//! The progress bar of a run over files: bytes read of all, rate in records, time left.

use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::core::shard::Topic;
use crate::metrics::Metrics;
use crate::source::files::InputProgress;

const TEMPLATE: &str = "{bar:32} {bytes}/{total_bytes}  {msg}  {eta} left";
const INTERVAL: Duration = Duration::from_millis(200);

/// A bar on standard error, where that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Progress {
    pub(super) fn start(
        terminal: &MultiProgress,
        input: InputProgress,
        metrics: Metrics,
        quiet: bool,
    ) -> Self {
        let bar = terminal.add(ProgressBar::new(input.total()));
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        let task = tokio::spawn(follow(bar.clone(), input, metrics));
        Progress { bar, task }
    }

    pub(super) fn finish(self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn follow(bar: ProgressBar, input: InputProgress, metrics: Metrics) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let records: u64 =
            Topic::ALL.iter().map(|topic| metrics.consumed.with_label_values(&[topic.name()]).get()).sum();
        let rate = records as f64 / bar.elapsed().as_secs_f64();
        bar.set_position(input.read());
        bar.set_message(format!("{} records  {}/s", HumanCount(records), HumanCount(rate as u64)));
    }
}
