//! The query service's pod, as its clients see it.

use std::process::Command;

use anyhow::Result;
use reqwest::blocking::Response;
use tips_e2e::cache;
use tips_e2e::kubernetes::Cluster;
use tips_e2e::process::run;
use tips_e2e::query::USER;
use tips_e2e::site::PATIENCE;

/// The only query pod of the pipeline `nyc`.
pub(crate) struct QueryPod {
    address: String,
    options: &'static str,
}

impl QueryPod {
    /// Waits until the status of the pipeline says that it is ready. Clients connect with `options`, as libpq writes
    /// them.
    pub(crate) fn ready(cluster: &Cluster, options: &'static str) -> Result<Self> {
        let ready = "--output=jsonpath={.status.query.readyReplicas}";
        cluster.until(&["get", "tips", "nyc", ready], PATIENCE, |ready| ready == "1")?;
        let pods = "--selector=app.kubernetes.io/component=query";
        let address = "--output=jsonpath={.items[0].status.podIP}";
        Ok(Self { address: cluster.kubectl(&["get", "pods", pods, address])?, options })
    }

    /// What it answers to GET.
    pub(crate) fn get(&self, port: u16, path: &str) -> Result<Response> {
        Ok(reqwest::blocking::get(format!("http://{}:{port}{path}", self.address))?)
    }

    /// What `psql` prints for `sql`: rows of values with bars between them.
    pub(crate) fn psql(&self, sql: &str) -> Result<String> {
        let mut command = Command::new(cache::program("psql")?);
        command.args(["--no-psqlrc", "-Atc", sql]);
        let place = format!("host={} user={USER} dbname=tipstream {}", self.address, self.options);
        Ok(run(command.arg(place))?.trim_end().to_owned())
    }
}
