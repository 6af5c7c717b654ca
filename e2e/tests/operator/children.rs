//! What the operator makes, and that it comes back whatever is done to it (O2).

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator, await_degraded};
use tips_e2e::scenario;

use crate::operator::pipeline::{
    SOON, becomes, condition, config_map, field, install_pod_monitors, manifest, message, patch,
    with_operator,
};

/// What the workers of the pipeline `nyc` have beside what they read.
pub(crate) const CHILDREN: [&str; 5] = [
    "deployment/nyc-worker",
    "networkpolicy/nyc-worker",
    "poddisruptionbudget/nyc-worker",
    "service/nyc-worker",
    "serviceaccount/nyc-worker",
];

/// All that the workers of the pipeline `name` have.
pub(crate) fn of_workers(cluster: &Cluster, name: &str) -> Result<Vec<String>> {
    let read = config_map(cluster, "default", name)?;
    Ok(CHILDREN.iter().map(|child| child.replace("nyc", name)).chain([read]).collect())
}

#[test]
fn an_applied_pipeline_gets_its_objects_and_each_has_an_owner() {
    with_operator("operator-children", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 2\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        for child in of_workers(cluster, "nyc")? {
            ensure!(field(cluster, &child, "{.metadata.ownerReferences[0].name}")? == "nyc", "{child}");
        }
        let pods = ["get", "pods", "--selector=app.kubernetes.io/instance=nyc", "--output=name"];
        cluster.until(&pods, SOON, |names| names.lines().count() == 2)?;
        let table = cluster.kubectl(&["get", "tips"])?;
        ensure!(table.starts_with("NAME   READY   REASON"), "{table}");
        let wide = cluster.kubectl(&["get", "tips", "--output=wide"])?;
        let more = ["BEHIND", "LAST WINDOW", "DEGRADED", "QUERY", "COMPACTED", "SUSPENDED", "EPOCH"];
        ensure!(more.iter().all(|column| wide.contains(column) && !table.contains(column)), "{wide}");
        ensure!(wide.contains("AsExpected") && wide.contains("false"), "{wide}");
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=3"])?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "3")?;
        let scale = cluster.kubectl(&["get", "--raw", &format!("{API}/nyc/scale")])?;
        ensure!(scale.contains("app.kubernetes.io/instance=nyc"), "an autoscaler finds no pods: {scale}");
        Ok(())
    });
}

const API: &str = "/apis/tipstream.dev/v1alpha1/namespaces/default/tipspipelines";

#[test]
fn what_is_edited_or_deleted_by_hand_comes_back() {
    with_operator("operator-edits", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 2\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let ports = "{.spec.ports[*].port}";
        let patch =
            |object: &str, patch: &str| cluster.kubectl(&["patch", object, "--type=merge", "--patch", patch]);
        patch("service/nyc-worker", r#"{"spec": {"ports": [{"name": "http", "port": 9999}]}}"#)?;
        becomes(cluster, "service/nyc-worker", ports, "8080")?;
        let refused = patch(&config_map(cluster, "default", "nyc")?, r#"{"data": {"pipeline.yaml": ""}}"#);
        ensure!(refused.is_err_and(|error| error.to_string().contains("immutable")));
        cluster.kubectl(&["set", "env", "deployment/nyc-worker", "INTRUDER=1"])?;
        cluster.kubectl(&["scale", "deployment/nyc-worker", "--replicas=9"])?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "2")?;
        becomes(cluster, "deployment/nyc-worker", "{..env[?(@.name=='INTRUDER')].value}", "")?;
        cluster.kubectl(&["label", "networkpolicy/nyc-worker", "app.kubernetes.io/managed-by-"])?;
        becomes(
            cluster,
            "networkpolicy/nyc-worker",
            r"{.metadata.labels.app\.kubernetes\.io/managed-by}",
            "tips-operator",
        )?;
        for child in of_workers(cluster, "nyc")? {
            cluster.kubectl(&["delete", &child])?;
            cluster.until(&["get", &child], SOON, |_| true)?;
        }
        Ok(())
    });
}

#[test]
fn other_field_managers_say_their_part_of_a_spec_and_do_not_keep_what_they_take_of_a_child() {
    with_operator("operator-managers", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 2\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let taken = "apiVersion: apps/v1
kind: Deployment
metadata: {name: nyc-worker, namespace: default}
spec: {replicas: 7}
";
        let force = ["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-"];
        cluster.kubectl_with(&force, taken)?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "2")?;

        let says = |manager: &str, part: &str, more: &[&str]| {
            let object = format!(
                "{{apiVersion: tipstream.dev/v1alpha1, kind: TipsPipeline, metadata: {{name: nyc, namespace: default}}, {part}}}"
            );
            let manager = format!("--field-manager={manager}");
            let apply = ["apply", "--server-side", &manager, "-f", "-"];
            cluster.kubectl_with(&[&apply[..], more].concat(), &object)
        };
        says(
            "first",
            "spec: {workload: {env: [{name: A, value: a}], volumes: [{name: a, emptyDir: {}}]}}",
            &[],
        )?;
        says(
            "second",
            "spec: {workload: {env: [{name: B, value: b}], volumes: [{name: b, emptyDir: {}}]}}",
            &[],
        )?;
        becomes(
            cluster,
            "tips/nyc",
            "{.spec.workload.env[*].name} {.spec.workload.volumes[*].name}",
            "A B a b",
        )?;
        let variables = "{.spec.template.spec.containers[0].env[?(@.value!='/var/lib/tipstream')].name}";
        becomes(cluster, "deployment/nyc-worker", variables, "A B")?;
        says("first", "spec: {workload: {env: [{name: C, value: c}]}}", &[])?;
        becomes(cluster, "deployment/nyc-worker", variables, "B C")?;

        // A condition of somebody else stands beside those of the operator.
        let theirs = "status: {conditions: [{type: Audited, status: 'True', reason: Seen, message: '', \
                      lastTransitionTime: '2030-01-01T00:00:00Z'}]}";
        says("auditor", theirs, &["--subresource=status"])?;
        patch(cluster, "nyc", r#"{"spec": {"suspend": true}}"#)?;
        condition(cluster, "nyc", "Ready", "False/Suspended")?;
        condition(cluster, "nyc", "Audited", "True/Seen")
    });
}

#[test]
fn what_belongs_to_somebody_else_is_left_alone() {
    with_operator("operator-taken", |cluster| {
        // One that contradicts nothing that the operator would set, and one that does.
        cluster.kubectl(&["create", "serviceaccount", "nyc-worker"])?;
        cluster.kubectl(&["create", "service", "clusterip", "nyc-worker", "--tcp=80"])?;
        let budget = ["create", "pdb", "nyc-worker", "--selector=app=mine", "--min-available=1"];
        cluster.kubectl(&budget)?;
        cluster.kubectl(&["create", "deployment", "nyc-worker", "--image=mine", "--replicas=0"])?;
        cluster.apply(&manifest("nyc", ""))?;
        condition(cluster, "nyc", "Degraded", "True/NameTaken")?;
        ensure!(field(cluster, "serviceaccount/nyc-worker", "{.metadata.ownerReferences}")?.is_empty());
        cluster.kubectl(&["delete", "serviceaccount", "nyc-worker"])?;
        let owner = "{.metadata.ownerReferences[0].name}";
        becomes(cluster, "serviceaccount/nyc-worker", owner, "nyc")?;
        condition(cluster, "nyc", "Degraded", "True/NameTaken")?;
        ensure!(field(cluster, "service/nyc-worker", "{.spec.ports[0].port}")? == "80");
        cluster.kubectl(&["delete", "service", "nyc-worker"])?;
        for kind in ["PodDisruptionBudget", "Deployment"] {
            let message = "--output=jsonpath={.status.conditions[?(@.type=='Degraded')].message}";
            let taken = format!("the {kind} nyc-worker exists and does not belong to this TipsPipeline");
            cluster.until(&["get", "tips/nyc", message], SOON, |said| said.contains(&taken))?;
            let object = format!("{}/nyc-worker", kind.to_lowercase());
            ensure!(field(cluster, &object, "{.metadata.ownerReferences}")?.is_empty());
            cluster.kubectl(&["delete", &object])?;
            // Another spec is looked at at once.
            cluster.kubectl(&["scale", "tips/nyc", &format!("--replicas={}", kind.len())])?;
        }
        condition(cluster, "nyc", "Degraded", "False/AsExpected")
    });
}

/// That of a pipeline `nyc` that is gone: on its way out, and not gone yet.
const LEFT_BEHIND: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: nyc-worker
  namespace: default
  finalizers: [example.com/keep]
  ownerReferences:
    - apiVersion: tipstream.dev/v1alpha1
      kind: TipsPipeline
      name: nyc
      uid: 0b1c2d3e-0000-0000-0000-000000000000
      controller: true
spec: {podSelector: {matchLabels: {app.kubernetes.io/instance: nyc}}}
";

#[test]
fn what_a_pipeline_of_the_same_name_has_left_is_waited_for_and_told_only_if_it_stays() {
    scenario("operator-predecessor", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let operator = Operator::start(folder, &rights, "operator")?;
        let as_the_operator = ["apply", "--server-side", "--field-manager=tips-operator", "-f", "-"];
        cluster.kubectl_with(&as_the_operator, LEFT_BEHIND)?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        let begun = Instant::now();
        while operator.metric("reconcile_errors_total")? < 1.0 {
            ensure!(begun.elapsed() < SOON, "it takes what is not the pipeline's");
            thread::sleep(Duration::from_millis(100));
        }
        ensure!(field(cluster, "tips/nyc", "{.status.conditions}")?.is_empty(), "it is told at once");
        condition(cluster, "nyc", "Degraded", "True/NameTaken")?;
        let said = message(cluster, "nyc", "Degraded")?;
        ensure!(
            said.contains("NetworkPolicy nyc-worker of a TipsPipeline of this name that is gone"),
            "{said}"
        );
        let let_go = r#"{"metadata": {"finalizers": null}}"#;
        cluster.kubectl(&["patch", "networkpolicy/nyc-worker", "--type=merge", "--patch", let_go])?;
        // The collector takes its time, and the operator tries again in half a minute at the latest.
        cluster.kubectl(&["delete", "networkpolicy/nyc-worker", "--ignore-not-found"])?;
        await_degraded(cluster, "AsExpected", 3 * SOON)?;
        let owner = field(cluster, "networkpolicy/nyc-worker", "{.metadata.ownerReferences[0].uid}")?;
        ensure!(owner == field(cluster, "tips/nyc", "{.metadata.uid}")?);
        Ok(())
    });
}

#[test]
fn what_has_only_the_labels_is_not_taken_for_the_pipelines_own() {
    with_operator("operator-copy", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 2\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let mut copy: serde_json::Value =
            serde_json::from_str(&cluster.kubectl(&["get", "deployment/nyc-worker", "--output=json"])?)?;
        let labels = copy["metadata"]["labels"].clone();
        copy["metadata"] = serde_json::json!({"name": "nyc-copy", "namespace": "default", "labels": labels});
        copy["spec"]["replicas"] = serde_json::json!(0);
        cluster.apply(&copy.to_string())?;
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=3"])?;
        becomes(cluster, "tips/nyc", "{.status.replicas}", "3")?;
        ensure!(field(cluster, "deployment/nyc-copy", "{.spec.replicas}")? == "0");
        Ok(())
    });
}

#[test]
fn a_pod_monitor_is_made_where_the_prometheus_operator_is_installed() {
    scenario("operator-monitor", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        install_pod_monitors(cluster)?;
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        let beside = "  query: {enabled: true, insecure: true}\n  compaction: {enabled: true}\n";
        cluster.apply(&manifest("nyc", beside))?;
        for component in ["query", "compact"] {
            let of = format!("podmonitor/nyc-{component}");
            let selected = r"{.spec.selector.matchLabels.app\.kubernetes\.io/component}";
            becomes(cluster, &of, selected, component)?;
        }
        becomes(cluster, "podmonitor/nyc-worker", "{.spec.podMetricsEndpoints[0].port}", "http")?;
        cluster.kubectl(&["delete", "podmonitor/nyc-worker"])?;
        becomes(cluster, "podmonitor/nyc-worker", "{.spec.podMetricsEndpoints[0].port}", "http")
    });
}

#[test]
fn an_operator_that_is_killed_again_and_again_gets_there() {
    scenario("operator-killed", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        for round in 0..6_u64 {
            let name = format!("nyc-{round}");
            cluster.apply(&manifest(&name, "  replicas: 0\n"))?;
            let mut operator = Operator::start(folder, &rights, &format!("operator-{round}"))?;
            // From before it leads to after the last object.
            thread::sleep(Duration::from_millis(50 * round));
            operator.process().kill9()?;
            // Nobody gave the Lease up.
            cluster.kubectl(&[
                "delete",
                "lease",
                "tipstream",
                "--namespace=tips-system",
                "--ignore-not-found",
            ])?;
        }
        let _operator = Operator::start(folder, &rights, "operator")?;
        for round in 0..6 {
            let name = format!("nyc-{round}");
            condition(cluster, &name, "Progressing", "False/Settled")?;
            for child in of_workers(cluster, &name)? {
                cluster.kubectl(&["get", &child])?;
            }
        }
        Ok(())
    });
}

#[test]
fn what_decides_nothing_in_the_pods_restarts_none() {
    with_operator("operator-no-roll", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 1\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let template = || field(cluster, "deployment/nyc-worker", "{.spec.template}");
        let before = template()?;
        patch(cluster, "nyc", r#"{"spec": {"replicas": 2, "suspend": true, "query": {"replicas": 2}}}"#)?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "0")?;
        condition(cluster, "nyc", "Ready", "False/Suspended")?;
        ensure!(template()? == before, "the pods roll");
        patch(cluster, "nyc", r#"{"spec": {"suspend": false, "raw": {"flushInterval": "1m"}}}"#)?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "2")?;
        ensure!(template()? != before, "the pods do not roll");
        Ok(())
    });
}
