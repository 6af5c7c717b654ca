//! What a benchmark prints: a line a figure, `name value unit limit ok|SHORT`.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;

/// Whether more or less is better.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// The value or more.
    AtLeast(f64),
    /// The value or less.
    AtMost(f64),
    /// It is told, and may be anything.
    None,
}

/// A promise and how it was kept.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured, in words joined by `_`.
    pub name: String,
    /// How much it was, in `unit`.
    pub value: f64,
    /// Of `value` and `limit`.
    pub unit: &'static str,
    /// What it may be.
    pub limit: Limit,
}

impl Figure {
    /// Whether the value is within its limit.
    pub fn is_kept(&self) -> bool {
        match self.limit {
            Limit::AtLeast(limit) => self.value >= limit,
            Limit::AtMost(limit) => self.value <= limit,
            Limit::None => true,
        }
    }

    fn print(&self) -> Result<()> {
        let Figure { name, value, unit, limit } = self;
        let limit = match limit {
            Limit::AtLeast(limit) => format!(">={limit}"),
            Limit::AtMost(limit) => format!("<={limit}"),
            Limit::None => "-".to_owned(),
        };
        let verdict = if self.is_kept() { "ok" } else { "SHORT" };
        writeln!(stdout(), "{name} {value:.3} {unit} {limit} {verdict}")?;
        Ok(())
    }
}

/// Prints each; whether all are kept.
pub fn print(figures: &[Figure]) -> Result<bool> {
    figures.iter().try_for_each(Figure::print)?;
    Ok(figures.iter().all(Figure::is_kept))
}

/// Success where all promises were kept.
pub fn exit_code(kept: bool) -> ExitCode {
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
