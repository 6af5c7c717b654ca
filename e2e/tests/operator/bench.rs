//! How little the operator asks for (O2), and how much it can look after (O7).

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator};
use tips_e2e::scenario;

use crate::pipeline::manifest;

/// Requests of the operator that the API server has let through: it is the only service account of this cluster that
/// is not Kubernetes' own.
fn requests(cluster: &Cluster) -> Result<u64> {
    let text = cluster.kubectl(&["get", "--raw", "/metrics"])?;
    let counted = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_dispatched_requests_total{")
            && line.contains("flow_schema=\"service-accounts\"")
    };
    let values = text.lines().filter(counted).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}

fn apply_many(cluster: &Cluster, count: usize) -> Result<()> {
    let manifests: Vec<_> = (0..count).map(|n| manifest(&format!("nyc-{n}"), "  replicas: 0\n")).collect();
    for some in manifests.chunks(100) {
        cluster.kubectl_with(&["create", "-f", "-"], &some.join("---\n"))?;
    }
    Ok(())
}

fn settled(cluster: &Cluster) -> Result<usize> {
    let query = "--output=jsonpath={range .items[*]}{.status.conditions[?(@.type=='Progressing')].reason}{'\\n'}{end}";
    Ok(cluster.kubectl(&["get", "tips", query])?.lines().filter(|reason| *reason == "Settled").count())
}

fn await_settled(cluster: &Cluster, count: usize, within: Duration) -> Result<()> {
    let begun = Instant::now();
    while settled(cluster)? < count {
        ensure!(begun.elapsed() < within, "{} of {count} are settled after {within:?}", settled(cluster)?);
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

#[test]
fn a_hundred_settled_pipelines_cost_the_api_server_nothing() {
    scenario("operator-quiet", |folder| {
        /// The Lease is renewed every 4 s, PodMonitors are looked for every minute, and each of the 14 watches begins
        /// anew within five.
        const OWN: u64 = 15 + 1 + 14;
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let operator = Operator::start(folder, &rights, "operator")?;
        apply_many(cluster, 100)?;
        await_settled(cluster, 100, Duration::from_secs(90))?;
        thread::sleep(Duration::from_secs(5));
        let (before, passes) = (requests(cluster)?, operator.metric("reconciles_total")?);
        thread::sleep(Duration::from_secs(60));
        let asked = requests(cluster)? - before;
        let passes = operator.metric("reconciles_total")? - passes;
        ensure!((1..=OWN).contains(&asked), "{asked} requests and {passes} passes in a quiet minute");

        // A new operator knows nothing and asks once for each object; nothing is written for it.
        let version = || {
            cluster.kubectl(&["get", "deployments", "--output=jsonpath={.items[*].metadata.resourceVersion}"])
        };
        let versions = version()?;
        drop(operator);
        let second = Operator::start(folder, &rights, "second")?;
        let begun = Instant::now();
        while second.metric("reconciles_total")? < 100.0 {
            ensure!(begun.elapsed() < Duration::from_secs(60), "it has not passed over all of them");
            thread::sleep(Duration::from_millis(200));
        }
        ensure!(version()? == versions, "a new operator writes what is as it should be");
        Ok(())
    });
}

fn resident_kibibytes(pid: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("reading the operator's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn a_thousand_pipelines_are_looked_after_by_one_small_operator() {
    scenario("operator-thousand", |folder| {
        const COUNT: usize = 1000;
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        apply_many(cluster, COUNT)?;
        let before = requests(cluster)?;
        let mut operator = Operator::start(folder, &rights, "operator")?;
        let begun = Instant::now();
        let answered = "--output=jsonpath={.items[*].status.observedGeneration}";
        while cluster.kubectl(&["get", "tips", answered])?.split_whitespace().count() < COUNT {
            ensure!(begun.elapsed() < Duration::from_secs(120), "they are not all looked after in time");
            thread::sleep(Duration::from_millis(500));
        }
        let rate = COUNT as f64 / begun.elapsed().as_secs_f64();
        let each = (requests(cluster)? - before) / COUNT as u64;
        let mebibytes = resident_kibibytes(operator.process().pid())? / 1024;
        let figures = format!("{rate:.0} pipelines/s, {each} requests each, {mebibytes} MiB at most");
        ensure!(mebibytes < 128, "{figures}");
        ensure!(rate >= 20.0, "{figures}");
        ensure!(each <= 20, "{figures}");
        println!("{figures}");
        Ok(())
    });
}
