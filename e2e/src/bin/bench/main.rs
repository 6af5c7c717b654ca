//! `make bench`: the figures that the project promises, each against its limit.
//!
//! Exit status 1 if any is short. Work is counted in CPU seconds of the process, which a busy machine changes less
//! than wall time. With names as arguments only those are measured: `machine`, `local`, `backlog`, `apart`, `live`,
//! `control`, `query`.

mod control;
mod figures;
mod machine;
mod query;
mod usage;

use std::process::ExitCode;

use anyhow::{Result, bail};
use tips_e2e::Folder;
use tips_e2e::figure::{Figure, exit_code, print};

type Measure = fn(&Folder) -> Result<Vec<Figure>>;

const ALL: [(&str, Measure); 7] = [
    ("machine", machine::speed),
    ("local", figures::local),
    ("backlog", figures::backlog),
    ("apart", figures::nothing_joins),
    ("live", figures::live),
    ("control", control::pipelines),
    ("query", query::query),
];

fn main() -> Result<ExitCode> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| ALL.iter().all(|(known, _)| known != name)) {
        bail!(
            "there is no {unknown}: measure machine, local, backlog, apart, live, control, query, or all of them"
        );
    }
    let mut kept = true;
    for (_, measure) in ALL.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|a| a == name)) {
        kept &= print(&measure(&Folder::new("bench")?)?)?;
    }
    Ok(exit_code(kept))
}
