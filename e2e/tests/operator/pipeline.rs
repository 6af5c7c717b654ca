//! A pipeline of a test, and what one asks of it.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
pub(crate) use tips_e2e::operator::manifest;
use tips_e2e::operator::{self, Operator};
use tips_e2e::{Folder, scenario};

pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Long enough for what must not happen.
pub(crate) const QUIET: Duration = Duration::from_secs(3);

/// Runs a test with an operator on a control plane of its own.
pub(crate) fn with_operator(name: &str, test: impl FnOnce(&Cluster) -> Result<()>) {
    scenario(name, |folder: &Folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        test(cluster)
    });
}

/// The kind PodMonitor of the Prometheus operator.
pub(crate) const POD_MONITORS: &str = "customresourcedefinition/podmonitors.monitoring.coreos.com";

/// Installs the kind PodMonitor, and waits until there may be some.
pub(crate) fn install_pod_monitors(cluster: &Cluster) -> Result<()> {
    cluster.apply(include_str!("../../manifests/podmonitors.yaml"))?;
    cluster.kubectl(&["wait", "--for=condition=Established", POD_MONITORS, "--timeout=30s"]).map(drop)
}

/// A TipsPipeline `name` as JSON, with `more` in its spec, which else lacks a sink.
pub(crate) fn object(name: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "tipstream.dev/v1alpha1", "kind": "TipsPipeline",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
            "redis": {"urls": ["redis://redis:6379"]},
        },
    });
    merge(&mut object["spec"], more);
    object
}

/// A merge patch.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    match patch.as_object() {
        Some(fields) => fields.iter().for_each(|(name, value)| merge(&mut into[name], value)),
        None => *into = patch.clone(),
    }
}

/// Waits until condition `kind` of the pipeline is `wanted`, as `True/Running`.
pub(crate) fn condition(cluster: &Cluster, name: &str, kind: &str, wanted: &str) -> Result<()> {
    let query = format!("--output=jsonpath={{.status.conditions[?(@.type=='{kind}')]['status','reason']}}");
    let answer = wanted.replace('/', " ");
    cluster.until(&["get", "tips", name, &query], SOON, |text| text == answer).map(drop)
}

/// The message of a condition.
pub(crate) fn message(cluster: &Cluster, name: &str, kind: &str) -> Result<String> {
    let query = format!("--output=jsonpath={{.status.conditions[?(@.type=='{kind}')].message}}");
    cluster.kubectl(&["get", "tips", name, &query])
}

/// A field of an object, such as `{.spec.replicas}` of `deployment/nyc-worker`.
pub(crate) fn field(cluster: &Cluster, object: &str, path: &str) -> Result<String> {
    cluster.kubectl(&["get", object, &format!("--output=jsonpath={path}")])
}

/// The ConfigMap that the workers of the pipeline `name` read, as `configmap/nyc-worker-0123456789`, once there is one
/// only.
pub(crate) fn config_map(cluster: &Cluster, namespace: &str, name: &str) -> Result<String> {
    let of_workers =
        format!("--selector=app.kubernetes.io/instance={name},app.kubernetes.io/component=worker");
    let query = ["get", "configmaps", "--namespace", namespace, &of_workers, "--output=name"];
    Ok(cluster.until(&query, SOON, |names| names.lines().count() == 1)?.trim_end().to_owned())
}

/// Waits until a field of an object is `wanted`.
pub(crate) fn becomes(cluster: &Cluster, object: &str, path: &str, wanted: &str) -> Result<()> {
    let query = format!("--output=jsonpath={path}");
    cluster.until(&["get", object, &query], SOON, |text| text == wanted).map(drop)
}

/// The reasons of all Events.
pub(crate) fn events(cluster: &Cluster) -> Result<String> {
    cluster.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"])
}

/// Changes a pipeline by a merge patch.
pub(crate) fn patch(cluster: &Cluster, name: &str, patch: &str) -> Result<String> {
    cluster.kubectl(&["patch", "tips", name, "--type=merge", "--patch", patch])
}

/// The name of the Job that removes the state of the pipeline `name`, which is there.
pub(crate) fn purge(cluster: &Cluster, name: &str) -> Result<String> {
    let uid = field(cluster, &format!("tips/{name}"), "{.metadata.uid}")?;
    Ok(format!("{name}-purge-{}", uid.split('-').next().unwrap_or_default()))
}

/// Ends a Job, with the condition Complete or Failed, as the kubelet and the Job's controller would.
pub(crate) fn end_job(cluster: &Cluster, name: &str, condition: &str) -> Result<()> {
    let job = format!("job/{name}");
    let started = ["get", &job, "--output=jsonpath={.status.startTime}"];
    cluster.until(&started, SOON, |time| !time.is_empty())?;
    // The controller insists on what leads to the end, and on times.
    let (before, counts) = match condition {
        "Complete" => ("SuccessCriteriaMet", r#""succeeded": 1, "completionTime": "2030-01-01T00:00:01Z","#),
        _ => ("FailureTarget", ""),
    };
    let entry = |kind: &str| {
        format!(
            r#"{{"type": "{kind}", "status": "True", "reason": "Test", "message": "no server",
            "lastTransitionTime": "2030-01-01T00:00:00Z", "lastProbeTime": "2030-01-01T00:00:00Z"}}"#
        )
    };
    let status = format!(
        r#"{{"status": {{{counts} "active": 0, "ready": 0, "terminating": 0,
            "uncountedTerminatedPods": {{}}, "conditions": [{}, {}]}}}}"#,
        entry(before),
        entry(condition)
    );
    cluster.kubectl(&["patch", &job, "--subresource=status", "--type=merge", "--patch", &status]).map(drop)
}
