//! `make bench`: the figures that the project promises, each against its limit.
//!
//! A line a figure: `name value unit limit ok|SHORT`; exit status 1 if any is short. Work is counted in CPU seconds
//! of the process, which a busy machine changes less than wall time. With names as arguments only those are
//! measured: `local`, `backlog`, `apart`, `live`, `query`.

mod figures;
mod query;
mod usage;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Result, bail};
use tips_e2e::Folder;

/// Whether more or less is better.
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// It is told, and may be anything.
    None,
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

type Measure = fn(&Folder) -> Result<Vec<Figure>>;

const ALL: [(&str, Measure); 5] = [
    ("local", figures::local),
    ("backlog", figures::backlog),
    ("apart", figures::nothing_joins),
    ("live", figures::live),
    ("query", query::query),
];

fn main() -> Result<ExitCode> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| ALL.iter().all(|(known, _)| known != name)) {
        bail!("there is no {unknown}: measure local, backlog, apart, live, query, or all of them");
    }
    let mut kept = true;
    for (_, measure) in ALL.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|a| a == name)) {
        for figure in measure(&Folder::new("bench")?)? {
            figure.print()?;
            kept &= figure.is_kept();
        }
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
