//! While data flows a pipeline is scaled, by hand and by an autoscaler, its workers are deleted and drained, the
//! kubelet stops, the operator is upgraded and rolled back: the files are those of an undisturbed run. Data flows in each
//! step: there is more to be sent, and what is sent is worked off.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use tips_e2e::kubernetes::Cluster;
use tips_e2e::operator::NAMESPACE;
use tips_e2e::sender::Paced;
use tips_e2e::site::{PATIENCE, Site, WORKERS, await_none, workers};
use tips_e2e::wait::until;
use tips_e2e::watcher::{Merging, Watcher};
use tips_e2e::worker::{Bucket, Data, MIXED, Pipeline, Settings, Target, watermark};
use tips_e2e::{Folder, Process, operator, scenario};

const DATA: [&str; 6] = ["--seed", "21", "--rate", "20", "--span", "3h"];
/// Records a second of wall time: the data lasts for longer than all that is done.
const PACE: usize = 1500;
/// A worker on a node that is given up is replaced 2 s later and not 5 min, as Kubernetes has it by itself.
const GIVEN_UP_SOON: &str = "workload: {tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, \
                             effect: NoExecute, tolerationSeconds: 2}]}";
/// A node beside that of the workers.
const ANOTHER: &str = "another";
/// Longer than a session of the group.
const PAST_SESSION: Duration = Duration::from_secs(10);

#[test]
fn whatever_is_done_to_a_pipeline_while_data_flows_its_files_are_right() {
    scenario("cluster-faults", |folder| {
        let Some(mut site) = Site::start(folder)? else {
            return Ok(());
        };
        let cluster = site.cluster().clone();
        let helm = |arguments: &[&str]| {
            let release = ["--namespace", NAMESPACE, "--wait", "--timeout=2m"];
            cluster.helm(&[arguments, &release[..]].concat())
        };
        let (older, chart) =
            (operator::older_chart(folder)?.display().to_string(), operator::chart().display().to_string());
        helm(&["install", "tips", &older])?;

        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let pipeline = pipeline(folder, &site)?;
        let watcher = Watcher::start(folder, &pipeline.output()?, Merging::None)?;
        let topics = data.topics(&site.kafka, "nyc")?;
        cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?)?;
        let sender = Paced::start(site.kafka.client(), topics, PACE);
        let mut flow = Flow { sender, closed: String::new() };
        cluster.kubectl(&["wait", "tips/nyc", "--for=condition=Ready", "--timeout=120s"])?;

        flow.goes_on(&site, "the scaling")?;
        scale(&cluster)?;
        flow.goes_on(&site, "the autoscaler")?;
        an_autoscaler_scales(&cluster)?;
        flow.goes_on(&site, "the roll")?;
        roll(&cluster)?;
        flow.goes_on(&site, "the death of a worker")?;
        let killed = workers(&cluster)?.into_iter().next().context("a worker")?;
        cluster.kubectl(&["delete", "pod", &killed, "--grace-period=0", "--force"])?;
        await_settled(&cluster, 3)?;
        flow.goes_on(&site, "the drains")?;
        drain(folder, &cluster)?;
        flow.goes_on(&site, "the death of a worker that lives on")?;
        a_worker_lives_on_beside_its_successor(&mut site)?;
        flow.goes_on(&site, "the silence of the node")?;
        a_silent_node_is_given_up(&mut site)?;
        flow.goes_on(&site, "the upgrade")?;

        let uid = || cluster.kubectl(&["get", "tips/nyc", "--output=jsonpath={.metadata.uid}"]);
        let (before, running) = (uid()?, workers(&cluster)?);
        helm(&["upgrade", "tips", &chart, "--set", "logLevel=debug"])?;
        cluster.helm(&["test", "tips", "--namespace", NAMESPACE])?;
        let compacted = r#"{"spec": {"compaction": {"schedule": "0 4 * * *"}}}"#;
        cluster.kubectl(&["patch", "tips", "nyc", "--type=merge", "--patch", compacted])?;
        flow.goes_on(&site, "the rollback")?;
        helm(&["rollback", "tips", "1"])?;
        operator::await_ready(&cluster, 2, PATIENCE)?;
        ensure!(uid()? == before, "it is another pipeline");
        ensure!(workers(&cluster)? == running, "workers were replaced though nothing of theirs has changed");

        flow.goes_on(&site, "the end")?;
        flow.sender.finish()?;
        operator::await_consumed(&cluster, data.records()?, PATIENCE)?;
        operator::suspend(&cluster, true)?;
        await_none(&cluster)?;
        watcher.finish()?;
        let closed = watermark(&mut site.redis.connection()?, "nyc")?;
        data.oracle("nyc", Some(closed)).check(&pipeline.output()?)?;
        pipeline.verify().map(drop)
    });
}

/// Data that is sent and worked off.
struct Flow {
    sender: Paced,
    /// Up to when the windows were closed on all shards at the last look.
    closed: String,
}

impl Flow {
    /// Waits until workers have come further than at the last look, and sees to it that there is more for them to do
    /// `before` the next step.
    fn goes_on(&mut self, site: &Site, before: &str) -> Result<()> {
        until(&format!("consumed on before {before}"), PATIENCE, || {
            // Before the first window closes there is none.
            let now = watermark(&mut site.redis.connection()?, "nyc").unwrap_or_default();
            let further = now > self.closed;
            self.closed = now.max(std::mem::take(&mut self.closed));
            Ok(further)
        })?;
        ensure!(!self.sender.is_finished(), "all is sent before {before}");
        Ok(())
    }
}

/// A changed template replaces the workers, and never are there more than were asked for.
fn roll(cluster: &Cluster) -> Result<()> {
    let old = workers(cluster)?;
    let labels = r#"{"spec": {"workload": {"labels": {"team": "taxi"}}}}"#;
    cluster.kubectl(&["patch", "tips", "nyc", "--type=merge", "--patch", labels])?;
    until("rolled", PATIENCE, || {
        let now = workers(cluster)?;
        ensure!(now.len() <= old.len(), "{} workers in place of {}: {now:?}", now.len(), old.len());
        Ok(now.len() == old.len() && now.iter().all(|name| !old.contains(name)))
    })?;
    await_settled(cluster, old.len())
}

fn pipeline<'a>(folder: &'a Folder, site: &Site) -> Result<Pipeline<'a>> {
    let settings = Settings {
        kafka: site.kafka.bootstrap(),
        redis: format!("{{urls: [\"{}\"]}}", site.redis.url()),
        more: ["replicas: 2", "raw: {flushInterval: 3s}", "job: {idleTimeout: 1h}", GIVEN_UP_SOON]
            .map(str::to_owned)
            .into(),
    };
    let pipeline = Pipeline::new(folder, "nyc", &settings, Target::S3(Bucket::of(&site.s3)))?;
    pipeline.change("prefix: nyc", "prefix: nyc, credentials: {secretRef: {name: s3}}")?;
    site.cluster().create_secret("s3", pipeline.environment())?;
    Ok(pipeline)
}

fn scale(cluster: &Cluster) -> Result<()> {
    let to = |replicas: &str| cluster.kubectl(&["scale", "tips/nyc", &format!("--replicas={replicas}")]);
    to("4")?;
    operator::await_ready(cluster, 4, PATIENCE)?;
    to("1")?;
    operator::await_ready(cluster, 1, PATIENCE)?;
    to("0")?;
    await_none(cluster)?;
    to("4")?;
    operator::await_ready(cluster, 4, PATIENCE)
}

/// The most that it is given is less than what runs, which it needs no metrics to see. With as many it asks for the
/// metrics of the pods that the selector names; there are none in this cluster.
fn an_autoscaler_scales(cluster: &Cluster) -> Result<()> {
    cluster.apply(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: nyc, namespace: default}
spec:
  scaleTargetRef: {apiVersion: tipstream.dev/v1alpha1, kind: TipsPipeline, name: nyc}
  minReplicas: 2
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
",
    )?;
    operator::await_ready(cluster, 3, PATIENCE)?;
    let active = "--output=jsonpath={.status.conditions[?(@.type=='ScalingActive')].reason}";
    cluster.until(&["get", "hpa", "nyc", active], PATIENCE, |reason| reason == "FailedGetResourceMetric")?;
    cluster.kubectl(&["delete", "hpa", "nyc"]).map(drop)
}

/// The status of the pipeline may be of a moment before: the Deployment counts its pods itself, and those that are about
/// to end are waited for.
fn await_settled(cluster: &Cluster, replicas: usize) -> Result<()> {
    let counts = "--output=jsonpath={.spec.replicas} {.status.replicas} {.status.readyReplicas}";
    let all = [replicas; 3].map(|count| count.to_string()).join(" ");
    cluster.until(&["get", "deployment/nyc-worker", counts], PATIENCE, |seen| seen == all)?;
    let pods = ["get", "pods", WORKERS, "--output=name"];
    cluster.until(&pods, PATIENCE, |names| names.lines().count() == replicas).map(drop)
}

/// Of several workers a drain takes one at a time, and the next when that one runs elsewhere; here there is no
/// elsewhere but the node itself, once it takes pods again. A single worker is taken at once.
fn drain(folder: &Folder, cluster: &Cluster) -> Result<()> {
    for replicas in [2, 1] {
        cluster.kubectl(&["scale", "tips/nyc", &format!("--replicas={replicas}")])?;
        await_settled(cluster, replicas)?;
        let old = workers(cluster)?;
        let mut command = cluster.client("kubectl")?;
        command.args(["drain", "node1", "--pod-selector=app.kubernetes.io/component=worker"]);
        command.args(["--delete-emptydir-data", "--timeout=90s"]);
        let mut drain =
            Process::start("drain", command, &folder.path().join(format!("drain-{replicas}.log")))?;
        let pending = ["get", "pods", "--field-selector=status.phase=Pending", "--output=name"];
        cluster.until(&pending, PATIENCE, |names| names.contains("nyc-worker"))?;
        let left = workers(cluster)?.into_iter().filter(|name| old.contains(name)).count();
        ensure!(left == replicas - 1, "of {replicas} workers {left} were left");
        cluster.kubectl(&["uncordon", "node1"])?;
        let ended = drain.wait(PATIENCE)?.is_some_and(|status| status.success());
        ensure!(ended, "{}", drain.last_lines());
        operator::await_ready(cluster, replicas, PATIENCE)?;
        ensure!(workers(cluster)?.iter().all(|name| !old.contains(name)), "a worker was not drained");
    }
    Ok(())
}

/// The kubelet does not see that a pod is deleted without grace: its worker runs on, and nothing knows of it.
fn a_worker_lives_on_beside_its_successor(site: &mut Site) -> Result<()> {
    let cluster = site.cluster().clone();
    site.node.kubelet().process().stop()?;
    for pod in workers(&cluster)? {
        cluster.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"])?;
    }
    cluster.kubectl(&["scale", "tips/nyc", "--replicas=2"])?;
    thread::sleep(PAST_SESSION);
    site.node.kubelet().process().cont()?;
    operator::await_ready(&cluster, 2, PATIENCE)
}

/// The node says nothing for so long, 50 s, that its pods are given up and replaced. No other takes pods, so the new ones
/// wait; the old ones, which nobody can end, work on, and end beside their successors.
fn a_silent_node_is_given_up(site: &mut Site) -> Result<()> {
    let cluster = site.cluster().clone();
    let old = workers(&cluster)?;
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Node, metadata: {{name: {ANOTHER}}}, spec: {{unschedulable: true}}}}"
    ))?;
    site.node.kubelet().process().stop()?;
    let pending = ["get", "pods", "--field-selector=status.phase=Pending", "--output=name"];
    until("every worker was replaced", PATIENCE, || {
        another_node_is_heard(&cluster)?;
        Ok(cluster.kubectl(&pending)?.matches("nyc-worker").count() == old.len())
    })?;
    operator::await_degraded(&cluster, "Unschedulable", PATIENCE)?;
    cluster.kubectl(&["delete", "node", ANOTHER])?;
    site.node.kubelet().process().cont()?;
    operator::await_ready(&cluster, old.len(), PATIENCE)?;
    ensure!(workers(&cluster)?.iter().all(|name| !old.contains(name)), "a worker was not replaced");
    Ok(())
}

/// A heartbeat of a node that takes no pods. Where every node is silent Kubernetes blames the network, not the nodes, and
/// gives none up.
/// <https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction>
fn another_node_is_heard(cluster: &Cluster) -> Result<()> {
    let now = Timestamp::now();
    let ready = format!(
        r#"{{"status": {{"conditions": [{{"type": "Ready", "status": "True", "reason": "Heard", "lastHeartbeatTime": "{now}"}}]}}}}"#
    );
    cluster.kubectl(&["patch", "node", ANOTHER, "--subresource=status", "--patch", &ready]).map(drop)
}
