//! A progress line on standard error, where that is a terminal: reading a large archive takes its time.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{msg:14} {bar:32} {human_pos}/{human_len} files  {eta} left";

/// How far the reading is.
pub struct Progress {
    is_quiet: bool,
}

impl Progress {
    /// Shows nothing where `is_quiet`.
    pub fn new(is_quiet: bool) -> Self {
        Progress { is_quiet }
    }

    /// A line for `total` files.
    pub fn files(&self, what: &'static str, total: u64) -> Line {
        let bar = ProgressBar::new(total).with_message(what);
        if self.is_quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Line(bar)
    }
}

/// A line that goes away when the reading is done.
pub struct Line(ProgressBar);

impl Line {
    /// So much more is read.
    pub fn add(&self, read: u64) {
        self.0.inc(read);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
