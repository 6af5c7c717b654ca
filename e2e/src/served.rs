//! A run of `local --serve`, with its map.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::blocking::{Client, Response};
use reqwest::header::HeaderName;
use serde_json::Value;

use crate::ports::Port;
use crate::worker::{Data, binary};
use crate::{Folder, Process};

/// The manifest of `make demo`.
pub const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that serves its map.
pub struct Served {
    /// The run.
    pub process: Process,
    /// Where its files are.
    pub output: PathBuf,
    /// Of the map, with a slash at the end.
    pub url: String,
    http: Client,
    _port: Port,
}

/// `local` without `--serve`.
pub fn local(output: &Path, manifest: &str, data: &Data) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["local", "--quiet", "-f", manifest, "--output"]).arg(output);
    command.arg("--rides").args(&data.rides).arg("--fares").args(&data.fares);
    Ok(command)
}

impl Served {
    /// Starts a run into the folder `output`, and waits until it serves.
    pub fn start(
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

    /// What is at `target`, asked for with this header.
    pub fn get(&self, target: &str, header: Option<(HeaderName, &str)>) -> Result<Response> {
        let mut request = self.http.get(format!("{}{target}", self.url));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().with_context(|| format!("GET {target}"))
    }

    /// The figures at `api/<target>`.
    pub fn json(&self, target: &str) -> Result<Value> {
        let answer = self.get(&format!("api/{target}"), None)?.error_for_status()?;
        answer.json().with_context(|| format!("{target} is no JSON"))
    }
}
