//! Windows one by one, whether they have a file each or one of their day: each is whole, lies where its window belongs, and is right in itself.
//!
//! A file of an earlier epoch may have been made with other settings, so its window's length and its
//! neighbourhoods are its own affair.

use std::collections::{BTreeMap, HashSet};

use super::report::Check;
use super::window_file::{Row, WindowError, WindowFile};
use crate::core::batch::Job;
use crate::core::locate::OTHER;
use crate::core::time::{EventTime, Span};

const NAME: &str = "window files";
/// Averages are quotients of the same numbers, but a reader's own division may round otherwise.
const TOLERANCE: f64 = 1e-9;
const UNIT: f64 = 1e6;

/// What a file of this epoch has to look like.
#[derive(Clone, Debug)]
pub struct Form {
    window: Span,
    slide: Span,
    epoch: u64,
    fingerprint: String,
    names: HashSet<String>,
}

impl Form {
    /// By the settings of a pipeline.
    pub fn new(job: &Job, epoch: u64, fingerprint: &str) -> Self {
        let names = job.neighbourhoods.names().chain([OTHER]).map(str::to_owned).collect();
        let (window, slide) = (job.rules.window, job.rules.slide);
        Form { window, slide, epoch, fingerprint: fingerprint.to_owned(), names }
    }

    /// Length of a window.
    pub fn window(&self) -> Span {
        self.window
    }

    /// The present epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The first thing wrong with the file of the window that starts at `start`.
    fn wrong(&self, start: EventTime, file: &WindowFile) -> Option<String> {
        if file.epoch > self.epoch {
            return Some(format!("is of epoch {}, the manifest's is {}", file.epoch, self.epoch));
        }
        let is_ours = file.epoch == self.epoch;
        if is_ours && file.fingerprint != self.fingerprint {
            return Some(format!("was made with other settings ({})", file.fingerprint));
        }
        if is_ours && start.floor(self.slide) != start {
            return Some("starts between two slides".into());
        }
        let first = file.rows.first();
        let Some(end) = first.map(|row| row.end) else { return Some("has no rows".into()) };
        if is_ours && end != start.plus(self.window).micros() {
            return Some(format!("ends at {}", time(end)));
        }
        let mut seen = HashSet::new();
        for row in &file.rows {
            if let Some(wrong) = of_row(row, start, end) {
                return Some(wrong);
            }
            if !seen.insert(&row.name) {
                return Some(format!("has {} twice", row.name));
            }
            if is_ours && !self.names.contains(&row.name) {
                return Some(format!("has a neighbourhood {} that is none", row.name));
            }
        }
        None
    }
}

fn of_row(row: &Row, start: EventTime, end: i64) -> Option<String> {
    let Row { name, average, trips, micros, .. } = row;
    if row.start != start.micros() || row.end != end || row.end <= row.start {
        return Some(format!("holds a row of the window from {} to {}", time(row.start), time(row.end)));
    }
    if *trips <= 0 {
        return Some(format!("has {name} with {trips} trips"));
    }
    let expected = *micros as f64 / UNIT / *trips as f64;
    let is_right = (average - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
    (!is_right).then(|| format!("has {average} for the average of {name}, which is {expected}"))
}

fn time(micros: i64) -> EventTime {
    EventTime::from_seconds(micros.div_euclid(1_000_000))
}

/// The check, fed file by file: an archive has more windows than fit in memory.
pub struct WindowFiles {
    form: Form,
    check: Check,
    /// Where each window was found.
    seen: BTreeMap<EventTime, String>,
    rows: usize,
    older: usize,
}

impl WindowFiles {
    /// Before the first file.
    pub fn new(form: Form) -> Self {
        WindowFiles { form, check: Check::new(NAME), seen: BTreeMap::new(), rows: 0, older: 0 }
    }

    /// Finds that the file at `path` cannot be read.
    pub fn unreadable(&mut self, path: &str, error: &WindowError) {
        self.check.find(format!("{path} {error}"));
    }

    /// Checks the window that starts at `start`, of the file at `path`.
    pub fn add(&mut self, path: &str, start: EventTime, file: &Result<WindowFile, WindowError>) {
        if let Some(other) = self.seen.insert(start, path.to_owned()) {
            self.check.find(format!("the window of {start} is in {other} and in {path}"));
        }
        let wrong = match file {
            Ok(file) => {
                self.rows += file.rows.len();
                self.older += usize::from(file.epoch < self.form.epoch);
                self.form.wrong(start, file)
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(wrong) = wrong {
            self.check.find(format!("{path} {wrong}"));
        }
    }

    /// What all files came to.
    pub fn finish(mut self) -> Check {
        if self.older > 0 {
            self.check.note(format!("{} windows of earlier epochs, in their own form", self.older));
        }
        self.check.looked_at(format!("{} windows, {} rows", self.seen.len(), self.rows))
    }
}
