//! What a run came to, for people and for programs.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

const WIDTH: u16 = 110;

/// Files and bytes of a folder, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Size {
    /// These and those.
    #[must_use]
    pub fn plus(self, other: Size) -> Size {
        Size { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }

    /// These without those.
    #[must_use]
    pub fn minus(self, other: Size) -> Size {
        Size { files: self.files.saturating_sub(other.files), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// How a folder ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "why")]
pub enum Outcome {
    /// What was planned is done.
    Compacted,
    /// It would be.
    Planned,
    /// It is left as it is, and why.
    Left(String),
    /// It could not be done; what is missing is done by the next run.
    Failed(String),
}

/// A folder that there was something to do in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Which.
    pub folder: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was there.
    pub before: Size,
    /// What is there now; not known of a plan.
    pub after: Option<Size>,
    /// How long rows were there twice, at the longest.
    pub overlap_seconds: f64,
}

/// All of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where.
    pub sink: String,
    /// Folders that were looked at.
    pub looked_at: u64,
    /// Those that there was something to do in.
    pub folders: Vec<Line>,
}

impl Report {
    /// The first failure.
    pub fn failure(&self) -> Option<(&str, &str)> {
        self.folders.iter().find_map(|line| match &line.outcome {
            Outcome::Failed(why) => Some((line.folder.as_str(), why.as_str())),
            _ => None,
        })
    }

    /// Prints a table for people.
    ///
    /// # Errors
    /// Where `out` cannot be written.
    pub fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{}: {} days of rides, fares and tips looked at", self.sink, self.looked_at)?;
        if self.folders.is_empty() {
            return writeln!(out, "nothing to do");
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["day", "files", "bytes", "twice for", ""]);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        for line in &self.folders {
            table.add_row([
                line.folder.clone(),
                change(line.before, line.after, |size| HumanCount(size.files).to_string()),
                change(line.before, line.after, |size| HumanBytes(size.bytes).to_string()),
                format!("{:.1} ms", line.overlap_seconds * 1000.0),
                line.outcome.describe(),
            ]);
        }
        writeln!(out, "{table}")
    }

    /// Prints JSON for programs.
    ///
    /// # Errors
    /// Where `out` cannot be written.
    pub fn print_json(&self, out: &mut impl Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }
}

impl Outcome {
    fn describe(&self) -> String {
        match self {
            Outcome::Compacted => "compacted".into(),
            Outcome::Planned => "would be compacted".into(),
            Outcome::Left(why) => format!("left: {why}"),
            Outcome::Failed(why) => format!("failed: {why}"),
        }
    }
}

fn change(before: Size, after: Option<Size>, show: impl Fn(Size) -> String) -> String {
    match after {
        Some(after) if after != before => format!("{} → {}", show(before), show(after)),
        _ => show(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_became_of_each_day() {
        let line = |folder: &str, outcome, after| Line {
            folder: folder.into(),
            outcome,
            before: Size { files: 96, bytes: 3 << 20 },
            after,
            overlap_seconds: 0.0125,
        };
        let report = Report {
            sink: "/data".into(),
            looked_at: 3,
            folders: vec![
                line("rides-2013-01-01", Outcome::Compacted, Some(Size { files: 2, bytes: 2 << 20 })),
                line("tips-2013-01-01", Outcome::Failed("no room".into()), None),
            ],
        };
        let mut out = Vec::new();
        report.print(&mut out).expect("printed");
        let text = String::from_utf8(out).expect("text");
        for expected in ["96 → 2", "3.00 MiB → 2.00 MiB", "12.5 ms", "failed: no room"] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert_eq!(report.failure(), Some(("tips-2013-01-01", "no room")));
    }
}
