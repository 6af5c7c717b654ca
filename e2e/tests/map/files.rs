//! What the files of a run say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tips_e2e::cache;
use tips_e2e::process::run;

/// Average tip and trips by neighbourhood.
pub(crate) type Cells = BTreeMap<String, (f64, u64)>;
/// By the start of the window, as the map writes it.
pub(crate) type Figures = BTreeMap<String, Cells>;

const READ: &str = "\
import datetime, duckdb, json, sys
rows = duckdb.sql(f\"\"\"select epoch(window_start), stop_nbhd, avg_tip, trips
    from read_parquet('{sys.argv[1]}/tips/**/*.parquet', hive_partitioning = false)\"\"\").fetchall()
time = lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
print(json.dumps([[time(start), *row] for start, *row in rows]))";

/// What DuckDB reads in the window files below `output`.
pub(crate) fn figures(output: &Path) -> Result<Figures> {
    let printed = run(Command::new(cache::python()?).args(["-c", READ]).arg(output))?;
    let rows: Vec<(String, String, f64, u64)> =
        serde_json::from_str(&printed).context("reading what DuckDB found")?;
    let mut figures = Figures::new();
    for (start, name, average, trips) in rows {
        figures.entry(start).or_default().insert(name, (average, trips));
    }
    Ok(figures)
}

/// The windows that start within 6 hours up to `until`.
pub(crate) fn last_hours<'a>(figures: &'a Figures, until: &str) -> Result<Vec<(&'a String, &'a Cells)>> {
    let after = until.parse::<jiff::Timestamp>()? - jiff::SignedDuration::from_hours(6);
    let after = after.to_string();
    Ok(figures.iter().filter(|(start, _)| **start > after && start.as_str() <= until).collect())
}

/// The files below `dir`, with their sizes.
pub(crate) fn below(dir: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        if !dir.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else {
                files.insert(entry.path(), entry.metadata()?.len());
            }
        }
    }
    Ok(files)
}
