//! The end of a pipeline: nothing is left, and nothing hangs.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator};
use tips_e2e::scenario;

use crate::operator::pipeline::{
    QUIET, SOON, becomes, condition, end_job, events, field, manifest, patch, purge, with_operator,
};

/// What runs beside the workers goes with them.
const BESIDE: &str = "  query: {enabled: true, insecure: true}\n  compaction: {enabled: true}\n";
const FINALIZERS: &str = "{.metadata.finalizers}";
const KINDS: &str =
    "configmaps,services,deployments,cronjobs,jobs,poddisruptionbudgets,networkpolicies,serviceaccounts";

/// The garbage collector looks for kinds that are new to it every 30 s.
const COLLECTED: Duration = Duration::from_secs(90);

pub(crate) fn nothing_is_left(cluster: &Cluster) -> Result<()> {
    let monitors =
        cluster.kubectl(&["api-resources", "--api-group=monitoring.coreos.com", "--output=name"])?;
    let monitors = monitors.lines().filter(|kind| kind.starts_with("podmonitors"));
    let kinds = [KINDS].into_iter().chain(monitors).collect::<Vec<_>>().join(",");
    let left =
        ["get", &kinds, "--selector=app.kubernetes.io/instance=nyc", "--output=name", "--ignore-not-found"];
    cluster.until(&left, COLLECTED, str::is_empty)?;
    // A foreground deletion takes the pipeline after what it owned.
    cluster.until(&["get", "tips", "--output=name"], SOON, str::is_empty).map(drop)
}

#[test]
fn a_pipeline_that_retains_its_state_goes_at_once() {
    with_operator("operator-retain", |cluster| {
        cluster.apply(&manifest("nyc", &format!("  replicas: 1\n{BESIDE}")))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        becomes(cluster, "tips/nyc", FINALIZERS, "")?;
        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=10s"])?;
        nothing_is_left(cluster)
    });
}

#[test]
fn the_state_is_removed_where_that_is_asked_for() {
    with_operator("operator-purge", |cluster| {
        cluster.apply(&manifest("nyc", &format!("  replicas: 0\n  deletionPolicy: Delete\n{BESIDE}")))?;
        becomes(cluster, "tips/nyc", FINALIZERS, r#"["tipstream.dev/state"]"#)?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        // The end of a run of the compaction is not that of the removal.
        cluster.kubectl(&["create", "job", "by-hand", "--from=cronjob/nyc-compact"])?;
        end_job(cluster, "by-hand", "Complete")?;
        // Foreground: what the pipeline owns goes before it does.
        cluster.kubectl(&["delete", "tips", "nyc", "--cascade=foreground", "--wait=false"])?;
        let job = purge(cluster, "nyc")?;
        cluster.until(&["get", "job", &job], SOON, |_| true)?;
        let rules = field(cluster, &format!("networkpolicy/{job}"), "{.spec['policyTypes','ingress']}")?;
        ensure!(rules == r#"["Ingress"]"#, "{rules}");
        cluster.kubectl(&["delete", "networkpolicy", &job])?;
        cluster.until(&["get", "networkpolicy", &job], SOON, |_| true)?;
        end_job(cluster, &job, "Complete")?;
        nothing_is_left(cluster)?;
        ensure!(events(cluster)?.contains("StateRemoved"), "{}", events(cluster)?);
        Ok(())
    });
}

#[test]
fn a_state_that_cannot_be_removed_holds_nobody_up() {
    with_operator("operator-purge-fails", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 0\n  deletionPolicy: Delete\n"))?;
        becomes(cluster, "tips/nyc", FINALIZERS, r#"["tipstream.dev/state"]"#)?;
        cluster.kubectl(&["delete", "tips", "nyc", "--wait=false"])?;
        end_job(cluster, &purge(cluster, "nyc")?, "Failed")?;
        nothing_is_left(cluster)?;
        ensure!(events(cluster)?.contains("StateLeft"), "{}", events(cluster)?);
        Ok(())
    });
}

#[test]
fn a_removal_that_nothing_becomes_of_holds_nobody_up() {
    scenario("operator-purge-hangs", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster().clone();
        let rights = operator::install(&cluster)?;
        let _operator = Operator::start_with(folder, &rights, "operator", &["--purge-timeout=10s"])?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n  deletionPolicy: Delete\n"))?;
        condition(&cluster, "nyc", "Progressing", "False/Settled")?;
        // Nobody ends the workers' Deployment, nor begins the Job, which may not be deleted either.
        let kept = r#"[{"op": "test", "path": "/rules/13/resources/0", "value": "jobs"},
            {"op": "replace", "path": "/rules/13/verbs", "value": ["list", "watch", "create", "patch"]}]"#;
        cluster.kubectl(&["patch", "clusterrole/tipstream", "--type=json", "--patch", kept])?;
        control_plane.controllers().down()?;
        cluster.kubectl(&["delete", "tips", "nyc", "--wait=false"])?;
        let job = purge(&cluster, "nyc")?;
        cluster.until(&["get", "job", &job], SOON, |_| true)?;
        cluster.until(&["get", "tips", "--output=name"], SOON, str::is_empty)?;
        cluster.kubectl(&["delete", "job,networkpolicy", &job])?;
        let notes = cluster.kubectl(&["get", "events", "--output=jsonpath={.items[*].message}"])?;
        ensure!(
            notes.contains("(it took too long) and stays there under the keys tipstream:{default.nyc/*"),
            "{notes}"
        );
        control_plane.controllers().up()?;
        nothing_is_left(&cluster)
    });
}

/// By whom the Deployment is kept, though it is on its way out.
const KEPT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: nyc-worker, namespace: default, finalizers: [example.com/keep]}
";

#[test]
fn the_state_is_not_removed_while_a_worker_may_still_appear() {
    with_operator("operator-purge-waits", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 0\n  deletionPolicy: Delete\n"))?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        let as_somebody = ["apply", "--server-side", "--field-manager=somebody", "-f", "-"];
        cluster.kubectl_with(&as_somebody, KEPT)?;
        cluster.kubectl(&["delete", "tips", "nyc", "--wait=false"])?;
        let terminating = ["get", "deployment/nyc-worker", "--output=jsonpath={.metadata.deletionTimestamp}"];
        cluster.until(&terminating, SOON, |time| !time.is_empty())?;
        thread::sleep(QUIET);
        let jobs = cluster.kubectl(&["get", "jobs", "--output=name"])?;
        ensure!(jobs.is_empty(), "{jobs} beside a Deployment");
        let let_go = r#"{"metadata": {"finalizers": null}}"#;
        cluster.kubectl(&["patch", "deployment/nyc-worker", "--type=merge", "--patch", let_go])?;
        end_job(cluster, &purge(cluster, "nyc")?, "Complete")?;
        nothing_is_left(cluster)
    });
}

/// Without a pod, which nobody would run here.
const PREDECESSORS_PURGE: &str = "apiVersion: batch/v1
kind: Job
metadata:
  name: nyc-purge-0b1c2d3e
  namespace: default
  labels:
    app.kubernetes.io/component: purge
    app.kubernetes.io/instance: nyc
    app.kubernetes.io/managed-by: tips-operator
    app.kubernetes.io/name: tipstream
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: purge, image: none}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: nyc-purge-0b1c2d3e
  namespace: default
  labels:
    app.kubernetes.io/component: purge
    app.kubernetes.io/instance: nyc
    app.kubernetes.io/managed-by: tips-operator
    app.kubernetes.io/name: tipstream
spec: {podSelector: {}}
";

#[test]
fn the_removal_of_a_predecessors_state_ends_and_is_not_taken_for_that_of_its_successors() {
    with_operator("operator-successor", |cluster| {
        cluster.apply(PREDECESSORS_PURGE)?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n  deletionPolicy: Delete\n"))?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        let jobs = ["get", "jobs", "--output=name"];
        cluster.until(&jobs, SOON, str::is_empty)?;
        let policy = ["get", "networkpolicy", "nyc-purge-0b1c2d3e", "--ignore-not-found", "--output=name"];
        cluster.until(&policy, SOON, str::is_empty)?;
        cluster.kubectl(&["delete", "tips", "nyc", "--wait=false"])?;
        let own = purge(cluster, "nyc")?;
        cluster.until(&jobs, SOON, |names| names.contains(&own))?;
        end_job(cluster, &own, "Complete")?;
        nothing_is_left(cluster)
    });
}

#[test]
fn a_policy_that_is_changed_changes_the_finalizer() {
    with_operator("operator-policy", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 0\n  deletionPolicy: Delete\n"))?;
        becomes(cluster, "tips/nyc", FINALIZERS, r#"["tipstream.dev/state"]"#)?;
        patch(cluster, "nyc", r#"{"spec": {"deletionPolicy": "Retain"}}"#)?;
        becomes(cluster, "tips/nyc", FINALIZERS, "")?;

        // A namespace that is going takes no Job: the state stays, and the namespace goes.
        cluster.kubectl(&["create", "namespace", "going"])?;
        let pipeline = manifest("nyc", "  replicas: 0\n  deletionPolicy: Delete\n");
        cluster.apply(&pipeline.replace("namespace: default", "namespace: going"))?;
        let held = ["get", "tips/nyc", "--namespace=going", "--output=jsonpath={.metadata.finalizers}"];
        cluster.until(&held, SOON, |finalizers| !finalizers.is_empty())?;
        cluster.kubectl(&["delete", "namespace", "going", "--timeout=60s"]).map(drop)
    });
}
