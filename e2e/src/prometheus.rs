//! A Prometheus that scrapes what a test runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::ports::Port;
use crate::{Folder, Process, cache, http};

const READY: Duration = Duration::from_secs(30);

/// The project's alerts.
pub fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tipstream/files/alerts.yaml")
}

/// A running server, which scrapes and looks for alerts every second.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    port: Port,
}

impl Prometheus {
    /// Starts one with the alerts of `rules`; `jobs` are names and the addresses that serve `/metrics`.
    pub fn start(folder: &Folder, rules: &Path, jobs: &[(&str, Vec<String>)]) -> Result<Self> {
        let mut config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n",
            rules.display()
        );
        for (job, addresses) in jobs {
            writeln!(config, "  - {{job_name: {job}, static_configs: [{{targets: {addresses:?}}}]}}")?;
        }
        let config = folder.file("prometheus.yml", config)?;
        let port = Port::reserve()?;
        let mut command = Command::new(cache::binary("prometheus")?);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.dir("prometheus")?.display()))
            .arg(format!("--web.listen-address={}", port.address()));
        let mut process = Process::start("prometheus", command, &folder.path().join("prometheus.log"))?;
        let address = port.address();
        process.until("become ready", READY, || http::get(&address, "/-/ready").is_ok())?;
        Ok(Prometheus { _process: process, port })
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The values of `query` now, one a series; those that are no numbers are left out, as a panel shows nothing then.
    pub fn query(&self, query: &str) -> Result<Vec<f64>> {
        let answer = self.ask(&format!("query?query={}", percent_encoded(query)))?;
        let series = answer["result"].as_array().context("a query that gives no series")?;
        let value = |series: &Value| series["value"][1].as_str()?.parse::<f64>().ok();
        Ok(series.iter().filter_map(value).filter(|value| !value.is_nan()).collect())
    }

    /// Whether an alert of these `labels` fires, as `alertname="A", server="b"`.
    pub fn fires(&self, labels: &str) -> Result<bool> {
        let query = format!("ALERTS{{alertstate=\"firing\", {labels}}}");
        Ok(!self.query(&query)?.is_empty())
    }

    /// What went wrong with the evaluation of the alerts, by their names.
    pub fn failed_alerts(&self) -> Result<Vec<(String, String)>> {
        let answer = self.ask("rules")?;
        let groups = answer["groups"].as_array().context("no groups of rules")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let failed = rules.filter(|rule| rule["health"] != "ok");
        Ok(failed.map(|rule| (rule["name"].to_string(), rule["lastError"].to_string())).collect())
    }

    fn ask(&self, what: &str) -> Result<Value> {
        let answer = http::get(&self.address(), &format!("/api/v1/{what}"))?;
        let mut answer: Value = serde_json::from_slice(&answer).context("an answer that is no JSON")?;
        ensure!(answer["status"] == "success", "{what}: {answer}");
        Ok(answer["data"].take())
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => encoded.push(byte.into()),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
