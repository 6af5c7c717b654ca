//! A run of `local --serve`, and what its files say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::blocking::{Client, Response};
use reqwest::header::HeaderName;
use serde_json::Value;
use tips_e2e::ports::Port;
use tips_e2e::process::run;
use tips_e2e::worker::{Data, binary};
use tips_e2e::{Folder, Process, cache};

pub(crate) const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
const PATIENCE: Duration = Duration::from_secs(60);

/// Average tip and trips by neighbourhood.
pub(crate) type Cells = BTreeMap<String, (f64, u64)>;
/// By the start of the window, as the map writes it.
pub(crate) type Figures = BTreeMap<String, Cells>;

pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) output: PathBuf,
    pub(crate) url: String,
    http: Client,
    _port: Port,
}

/// `local` without `--serve`.
pub(crate) fn local(output: &Path, manifest: &str, data: &Data) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["local", "--quiet", "-f", manifest, "--output"]).arg(output);
    command.arg("--rides").args(&data.rides).arg("--fares").args(&data.fares);
    Ok(command)
}

impl Served {
    /// Starts a run into the folder `output`, and waits until it serves.
    pub(crate) fn start(
        folder: &Folder,
        output: &str,
        manifest: &str,
        data: &Data,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let port = Port::reserve()?;
        let output = folder.path().join(output);
        let mut command = local(&output, manifest, data)?;
        command.arg(format!("--serve={}", port.address())).envs(variables.iter().copied());
        let mut process = Process::start("local", command, &output.with_extension("log"))?;
        let url = format!("http://{}/", port.address());
        process.until_said(&url, PATIENCE)?;
        let http = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Served { process, output, url, http, _port: port })
    }

    pub(crate) fn get(&self, target: &str, header: Option<(HeaderName, &str)>) -> Result<Response> {
        let mut request = self.http.get(format!("{}{target}", self.url));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().with_context(|| format!("GET {target}"))
    }

    pub(crate) fn json(&self, target: &str) -> Result<Value> {
        let answer = self.get(&format!("api/{target}"), None)?.error_for_status()?;
        answer.json().with_context(|| format!("{target} is no JSON"))
    }
}

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

/// The files below `dir`, with their sizes.
pub(crate) fn files(dir: &Path) -> Result<BTreeMap<PathBuf, u64>> {
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
