//! The operator under test: the real binary on this machine, with the rights of the chart in a cluster.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::built::built;
use crate::kubernetes::Cluster;
use crate::ports::Port;
use crate::{Folder, Process, http};

/// Namespace and release of the chart.
const NAMESPACE: &str = "tips-system";
const RELEASE: &str = "tipstream";
const READY: Duration = Duration::from_secs(30);

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    port: Port,
}

/// The binary: `TIPS_OPERATOR`, or the one that was built last.
pub fn binary() -> Result<PathBuf> {
    built("TIPS_OPERATOR", "tips-operator")
}

/// Installs the chart without its own operator, and returns the cluster as that one would see it: with the rights
/// of the chart and no more.
pub fn install(cluster: &Cluster) -> Result<Cluster> {
    install_with(cluster, &[])
}

/// The same with further values of the chart, such as `watchNamespace=taxi`.
pub fn install_with(cluster: &Cluster, values: &[&str]) -> Result<Cluster> {
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/tipstream");
    let chart = chart.display().to_string();
    let values = [&["replicas=0"], values].concat().join(",");
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE, "--create-namespace", "--set"];
    cluster.helm(&[&install[..], &[&values]].concat())?;
    cluster.as_service_account(NAMESPACE, RELEASE)
}

impl Operator {
    /// Starts one, called `name`, and waits until it knows what is there.
    pub fn start(folder: &Folder, cluster: &Cluster, name: &str) -> Result<Self> {
        Self::start_with(folder, cluster, name, &[])
    }

    /// The same with further flags.
    pub fn start_with(folder: &Folder, cluster: &Cluster, name: &str, flags: &[&str]) -> Result<Self> {
        let port = Port::reserve()?;
        let mut command = Command::new(binary()?);
        command
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("HOSTNAME", name)
            .env("RUST_LOG", "info,tips_operator=debug,kube_runtime=warn")
            .args(["--lease-namespace", NAMESPACE, "--lease", RELEASE])
            .args(["--listen", &port.address()])
            .args(["--worker-image", "tipstream.test/tips-worker:e2e"])
            .args(flags);
        let process = Process::start(name, command, &folder.path().join(format!("{name}.log")))?;
        let mut operator = Self { process, port };
        let address = operator.port.address();
        operator.process.until("knew what is there", READY, || http::get(&address, "/readyz").is_ok())?;
        Ok(operator)
    }

    /// The process, to stop and wake it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The value of a metric, such as `leader`; all of its labels added up.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = String::from_utf8(http::get(&self.port.address(), "/metrics")?)?;
        let name = format!("tipstream_operator_{name}");
        let values = text.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let of = metric.split('{').next()?;
            (of == name).then(|| value.parse::<f64>().ok()).flatten()
        });
        Ok(values.sum())
    }

    /// Whether this one reconciles.
    pub fn leads(&self) -> bool {
        self.metric("leader").is_ok_and(|leader| leader == 1.0)
    }
}
