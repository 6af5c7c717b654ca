//! What the checks came to, for people and for programs.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// More findings of one check than this are only counted: one cause has often very many.
const KEPT: usize = 100;
/// Findings of a check below the table.
const SHOWN: usize = 5;
const WIDTH: u16 = 110;

/// Texts, of which the first are kept and all are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Texts {
    first: Vec<String>,
    total: usize,
}

impl Texts {
    fn push(&mut self, text: String) {
        if self.first.len() < KEPT {
            self.first.push(text);
        }
        self.total += 1;
    }

    fn print(&self, mark: &str, out: &mut impl Write) -> std::io::Result<()> {
        for text in self.first.iter().take(SHOWN) {
            writeln!(out, "  {mark} {text}")?;
        }
        if self.total > SHOWN {
            writeln!(out, "  {mark} … and {} more", self.total - SHOWN)?;
        }
        Ok(())
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// All holds.
    Ok,
    /// Something does not.
    Failed,
    /// It was not made, or not in full, because the command line or the manifest says so.
    NotMade,
}

/// A check and what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    check: &'static str,
    state: State,
    looked_at: String,
    findings: Texts,
    notes: Texts,
}

impl Check {
    /// A check that has found nothing yet.
    pub fn new(check: &'static str) -> Self {
        let (findings, notes) = (Texts::default(), Texts::default());
        Check { check, state: State::Ok, looked_at: String::new(), findings, notes }
    }

    /// A check that is not made.
    pub fn not_made(check: &'static str, why: impl Into<String>) -> Self {
        Check { state: State::NotMade, ..Check::new(check).looked_at(why) }
    }

    /// Says what was looked at.
    #[must_use]
    pub fn looked_at(mut self, what: impl Into<String>) -> Self {
        self.looked_at = what.into();
        self
    }

    /// Something that must not be.
    pub fn find(&mut self, finding: impl Into<String>) {
        self.state = State::Failed;
        self.findings.push(finding.into());
    }

    /// Part of it could not be looked at, so that it proves nothing unless it fails.
    pub fn leave_out(&mut self, why: impl Into<String>) {
        if self.state == State::Ok {
            self.state = State::NotMade;
        }
        self.note(why);
    }

    /// Something worth knowing that may be.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// How it ended.
    pub fn state(&self) -> State {
        self.state
    }

    /// The first findings.
    pub fn findings(&self) -> &[String] {
        &self.findings.first
    }

    /// The first notes.
    pub fn notes(&self) -> &[String] {
        &self.notes.first
    }

    fn result(&self) -> String {
        match self.state {
            State::Ok => "ok".to_owned(),
            State::NotMade => "not checked".to_owned(),
            State::Failed => format!("{} found", self.findings.total),
        }
    }

    fn print_details(&self, out: &mut impl Write) -> std::io::Result<()> {
        if self.findings.total + self.notes.total == 0 {
            return Ok(());
        }
        writeln!(out, "{}", self.check)?;
        self.findings.print("✗", out)?;
        self.notes.print("·", out)
    }
}

/// All checks of a pipeline.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `<namespace>.<name>`.
    pub pipeline: String,
    /// `spec.epoch`.
    pub epoch: u64,
    /// Where the files are.
    pub sink: String,
    /// The checks, in the order in which they are shown.
    pub checks: Vec<Check>,
}

impl Report {
    /// How many checks failed.
    pub fn failed(&self) -> usize {
        self.checks.iter().filter(|check| check.state == State::Failed).count()
    }

    /// Prints a table for people, and below it what was found, unwrapped, so that a path can be copied.
    ///
    /// # Errors
    /// Where `out` cannot be written.
    pub fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["check", "looked at", "result"]);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        for check in &self.checks {
            table.add_row([check.check, &check.looked_at, &check.result()]);
        }
        writeln!(out, "{} (epoch {}) in {}\n{table}", self.pipeline, self.epoch, self.sink)?;
        self.checks.iter().try_for_each(|check| check.print_details(out))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_are_counted_and_a_few_shown() {
        let mut check = Check::new("raw files");
        (0..250).for_each(|n| check.find(format!("finding {n}")));
        assert_eq!(check.findings().len(), KEPT);
        let mut out = Vec::new();
        check.print_details(&mut out).expect("printed");
        let text = String::from_utf8(out).expect("text");
        assert!(text.ends_with("  ✗ finding 4\n  ✗ … and 245 more\n"), "{text}");
        let json = serde_json::to_value(&check).expect("JSON");
        assert_eq!((&json["state"], &json["findings"]["total"]), (&"failed".into(), &250.into()));
    }

    #[test]
    fn a_check_that_was_not_made_does_not_fail() {
        let checks = vec![Check::new("books"), Check::not_made("group", "--offline")];
        let report = Report { pipeline: "default.taxi".into(), epoch: 0, sink: "/data".into(), checks };
        assert_eq!(report.failed(), 0);
    }
}
