//! The operator under test: the real binary on this machine, with the rights of the chart in a cluster.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::built::built;
use crate::kubernetes::Cluster;
use crate::ports::Port;
use crate::process::run;
use crate::{Folder, Process, http};

/// Where the chart and the README install the operator.
pub const NAMESPACE: &str = "tips-system";
/// Release of the chart.
const RELEASE: &str = "tipstream";
const LEASE: [&str; 4] = ["--lease-namespace", NAMESPACE, "--lease", RELEASE];
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

/// The chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tipstream")
}

/// The chart as it might have been once: its CRD knows neither compaction, in spec and status, nor the
/// category.
pub fn older_chart(folder: &Folder) -> Result<PathBuf> {
    run(Command::new("cp").arg("-r").arg(chart()).arg(folder.path()))?;
    let older = folder.path().join("tipstream");
    let mut crd = tipstream_crds::crd();
    crd.spec.names.categories = None;
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        for part in ["spec", "status"] {
            let part = schema.properties.as_mut().and_then(|fields| fields.get_mut(part));
            let fields = part.and_then(|part| part.properties.as_mut()).context("a part without fields")?;
            fields.remove("compaction").context("the CRD has no compaction to be taken away")?;
        }
    }
    // JSON is YAML.
    let text = serde_json::to_string(&crd).context("writing a CRD as JSON")?;
    fs::write(older.join("files/crd.yaml"), text).context("writing the older CRD")?;
    Ok(older)
}

/// Installs the chart without its own operator, and returns the cluster as that one would see it: with the rights
/// of the chart and no more.
pub fn install(cluster: &Cluster) -> Result<Cluster> {
    install_with(cluster, &[])
}

/// The same with further values of the chart, such as `watchNamespace=taxi`.
pub fn install_with(cluster: &Cluster, values: &[&str]) -> Result<Cluster> {
    let chart = chart().display().to_string();
    let values = [&["replicas=0"], values].concat().join(",");
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE, "--create-namespace", "--set"];
    cluster.helm(&[&install[..], &[&values]].concat())?;
    cluster.as_service_account(NAMESPACE, RELEASE)
}

/// What `tips-operator check` says to who has the rights of `cluster`; fails where it finds something.
pub fn check(cluster: &Cluster, flags: &[&str]) -> Result<String> {
    run(command(cluster)?.arg("check").args(LEASE).args(flags))
}

/// Starts an operator that dies at `point`, of those that `operator/src/crash.rs` tells, when it comes there for the
/// `nth` time, from 1, and waits for its end.
pub fn die_at(folder: &Folder, cluster: &Cluster, name: &str, point: &str, nth: usize) -> Result<()> {
    let action = format!("{point}={}*off->return", nth - 1);
    let mut operator = Operator::launch(folder, cluster, name, |command| command.env("FAILPOINTS", &action))?;
    let ended = operator.process.wait(READY)?;
    let said = || operator.process.last_lines();
    let status =
        ended.with_context(|| format!("it has not come to {point}, or has no crash points; {}", said()))?;
    ensure!(status.signal().is_some(), "it ended by itself, {status}; {}", said());
    Ok(())
}

/// A TipsPipeline `name` of servers that are not there, with `more` in its spec, as lines of YAML.
pub fn manifest(name: &str, more: &str) -> String {
    format!(
        "apiVersion: tipstream.dev/v1alpha1
kind: TipsPipeline
metadata: {{name: {name}, namespace: default}}
spec:
  kafka: {{bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}}
  redis: {{urls: ['redis://redis:6379']}}
  sink: {{volume: {{claimName: lake}}}}
{more}"
    )
}

/// Creates so many pipelines, none of which has workers.
pub fn apply_many(cluster: &Cluster, count: usize) -> Result<()> {
    let manifests: Vec<_> = (0..count).map(|n| manifest(&format!("nyc-{n}"), "  replicas: 0\n")).collect();
    for some in manifests.chunks(100) {
        cluster.kubectl_with(&["create", "-f", "-"], &some.join("---\n"))?;
    }
    Ok(())
}

/// Waits until the status of the pipeline `nyc` says that so many workers are wanted and ready.
pub fn await_ready(cluster: &Cluster, replicas: usize, patience: Duration) -> Result<()> {
    let all = format!("{replicas} of {replicas} workers are ready");
    let query = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].message}";
    cluster.until(&["get", "tips", "nyc", query], patience, |message| message == all).map(drop)
}

/// Waits until the condition Degraded of the pipeline `nyc` has this reason.
pub fn await_degraded(cluster: &Cluster, reason: &str, patience: Duration) -> Result<()> {
    let query = "--output=jsonpath={.status.conditions[?(@.type=='Degraded')].reason}";
    cluster.until(&["get", "tips", "nyc", query], patience, |now| now == reason).map(drop)
}

/// Waits until the status of the pipeline `nyc` accounts for so many records, and none waits.
pub fn await_consumed(cluster: &Cluster, records: usize, patience: Duration) -> Result<()> {
    let query = "--output=jsonpath={.status.books.rides.consumed} {.status.books.fares.consumed} {.status.lag.records}";
    let all = |text: &str| {
        let counts: Vec<usize> = text.split(' ').filter_map(|count| count.parse().ok()).collect();
        matches!(counts[..], [rides, fares, 0] if rides + fares == records)
    };
    cluster.until(&["get", "tips", "nyc", query], patience, all).map(drop)
}

/// Stops the pipeline `nyc`, or has it go on.
pub fn suspend(cluster: &Cluster, suspend: bool) -> Result<()> {
    let patch = format!(r#"{{"spec": {{"suspend": {suspend}}}}}"#);
    cluster.kubectl(&["patch", "tips", "nyc", "--type=merge", "--patch", &patch]).map(drop)
}

/// Requests of the operator that the API server has let through: it is the only service account of its cluster that
/// is not Kubernetes' own.
pub fn requests(cluster: &Cluster) -> Result<u64> {
    let text = cluster.kubectl(&["get", "--raw", "/metrics"])?;
    let counted = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_dispatched_requests_total{")
            && line.contains("flow_schema=\"service-accounts\"")
    };
    let values = text.lines().filter(counted).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}

fn command(cluster: &Cluster) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.env("KUBECONFIG", cluster.kubeconfig());
    Ok(command)
}

impl Operator {
    /// Starts one, called `name`, and does not wait for it.
    pub fn begin(folder: &Folder, cluster: &Cluster, name: &str) -> Result<Self> {
        Self::launch(folder, cluster, name, |command| command)
    }

    /// Starts one, called `name`, and waits until it knows what is there.
    pub fn start(folder: &Folder, cluster: &Cluster, name: &str) -> Result<Self> {
        Self::start_with(folder, cluster, name, &[])
    }

    /// The same with further flags.
    pub fn start_with(folder: &Folder, cluster: &Cluster, name: &str, flags: &[&str]) -> Result<Self> {
        let mut operator = Self::launch(folder, cluster, name, |command| command.args(flags))?;
        let address = operator.port.address();
        operator.process.until("knew what is there", READY, || http::get(&address, "/readyz").is_ok())?;
        Ok(operator)
    }

    fn launch(
        folder: &Folder,
        cluster: &Cluster,
        name: &str,
        further: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self> {
        let port = Port::reserve()?;
        let mut command = command(cluster)?;
        command
            .env("HOSTNAME", name)
            .env("RUST_LOG", "info,tips_operator=debug,kube_runtime=warn")
            .args(LEASE)
            .args(["--listen", &port.address()]);
        further(&mut command);
        let process = Process::start(name, command, &folder.path().join(format!("{name}.log")))?;
        Ok(Self { process, port })
    }

    /// The process, to stop and wake it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The most memory that it has ever had resident, in MiB.
    pub fn peak_mib(&self) -> Result<f64> {
        self.process.peak_mib().context("no VmHWM in /proc")
    }

    /// The value of a metric, such as `leader`; all of its labels added up.
    pub fn metric(&self, name: &str) -> Result<f64> {
        self.sum(|metric| metric.split('{').next() == Some(name))
    }

    /// The reconciles that failed for an error of this category.
    pub fn errors(&self, category: &str) -> Result<f64> {
        let wanted = format!("reconcile_errors_total{{category=\"{category}\"}}");
        self.sum(|metric| metric == wanted)
    }

    /// The values of the metrics whose name, without what all have in common, and labels are `wanted`.
    fn sum(&self, wanted: impl Fn(&str) -> bool) -> Result<f64> {
        let text = String::from_utf8(http::get(&self.port.address(), "/metrics")?)?;
        let values = text.lines().filter_map(|line| {
            let (metric, value) = line.strip_prefix("tipstream_operator_")?.rsplit_once(' ')?;
            wanted(metric).then(|| value.parse::<f64>().ok()).flatten()
        });
        Ok(values.sum())
    }

    /// Whether this one reconciles.
    pub fn leads(&self) -> bool {
        self.metric("leader").is_ok_and(|leader| leader == 1.0)
    }
}
