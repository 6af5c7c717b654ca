//! `make bench`: the figures that the project promises, each against its limit.
//!
//! A line a figure: `name value unit limit ok|SHORT`; exit status 1 if any is short. Work is counted in CPU seconds
//! of the process, which a busy machine changes less than wall time.

mod figures;
mod usage;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use tips_e2e::Folder;

/// Whether more or less is better.
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// A promise and how it was kept.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    limit: Limit,
}

impl Figure {
    fn is_kept(&self) -> bool {
        match self.limit {
            Limit::AtLeast(limit) => self.value >= limit,
            Limit::AtMost(limit) => self.value <= limit,
        }
    }

    fn print(&self) -> Result<()> {
        let Figure { name, value, unit, limit } = self;
        let (sign, limit) = match limit {
            Limit::AtLeast(limit) => (">=", limit),
            Limit::AtMost(limit) => ("<=", limit),
        };
        let verdict = if self.is_kept() { "ok" } else { "SHORT" };
        writeln!(stdout(), "{name} {value:.3} {unit} {sign}{limit} {verdict}")?;
        Ok(())
    }
}

fn main() -> Result<ExitCode> {
    let folder = Folder::new("bench")?;
    let mut kept = true;
    for measure in [figures::local, figures::backlog, figures::live] {
        for figure in measure(&folder)? {
            figure.print()?;
            kept &= figure.is_kept();
        }
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
