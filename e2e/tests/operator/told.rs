//! What the status says while something changes (O3).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator};
use tips_e2e::wait::until;
use tips_e2e::{Process, scenario};

use crate::operator::pipeline::{SOON, becomes, condition, events, manifest, message, patch, with_operator};

#[test]
fn an_edit_is_not_told_to_be_settled_before_it_is() {
    scenario("operator-told", |folder| {
        let mut control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster().clone();
        let rights = operator::install(&cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(&cluster, "nyc", "Progressing", "False/Settled")?;
        // So that nobody rolls out what the Deployment says.
        control_plane.controllers().down()?;

        let log = folder.path().join("told.log");
        let progress = "{.status.conditions[?(@.type=='Progressing')]['observedGeneration','reason']}";
        let mut command = cluster.client("kubectl")?;
        command.args(["get", "tips", "nyc", "--watch", &format!("--output=jsonpath={progress}{{'\\n'}}")]);
        let mut watch = Process::start("kubectl", command, &log)?;
        watch.until_said("1 Settled", SOON)?;
        patch(&cluster, "nyc", r#"{"spec": {"workload": {"labels": {"team": "taxi"}}}}"#)?;
        watch.until_said("2 RollingOut", SOON)?;
        let told = fs::read_to_string(&log).context("reading what was told")?;
        ensure!(!told.contains("2 Settled"), "{told}");
        Ok(())
    });
}

/// Degraded for `reason`, which an Event tells, too, with `words`.
fn degraded(cluster: &Cluster, name: &str, reason: &str, words: &str) -> Result<()> {
    condition(cluster, name, "Degraded", &format!("True/{reason}"))?;
    let said = message(cluster, name, "Degraded")?;
    ensure!(said.contains(words), "{reason}: {said}");
    ensure!(events(cluster)?.contains(reason), "no Event says {reason}: {}", events(cluster)?);
    Ok(())
}

/// A change of the rights of the operator, whose rule on `resource` is the one at `index`.
fn may(cluster: &Cluster, index: usize, resource: &str, verbs: &[&str]) -> Result<()> {
    let rule = format!("/rules/{index}");
    let patch = json!([
        {"op": "test", "path": format!("{rule}/resources/0"), "value": resource},
        {"op": "replace", "path": format!("{rule}/verbs"), "value": verbs},
    ]);
    change_rights(cluster, &patch)
}

fn change_rights(cluster: &Cluster, patch: &Value) -> Result<()> {
    cluster
        .kubectl(&["patch", "clusterrole/tipstream", "--type=json", "--patch", &patch.to_string()])
        .map(drop)
}

/// Waits until who has the rights of `rights` may not `verb` the `resource` of a pipeline.
fn may_not(rights: &Cluster, verb: &str, resource: &[&str]) -> Result<()> {
    let asked = [&["auth", "can-i", verb, "tipspipelines.tipstream.dev"], resource].concat();
    until("forbidden", SOON, || Ok(rights.kubectl(&asked).is_err()))
}

#[test]
fn whatever_is_refused_a_pipeline_can_be_scaled_and_stopped() {
    scenario("operator-refused", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        cluster.apply(&manifest("nyc", "  replicas: 1\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let replicas = |wanted| becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", wanted);

        patch(cluster, "nyc", r#"{"spec": {"workload": {"tolerations": [{"operator": "Perhaps"}]}}}"#)?;
        degraded(cluster, "nyc", "ApplyFailed", "spec.template.spec.tolerations[0].operator")?;
        patch(cluster, "nyc", r#"{"spec": {"replicas": 2}}"#)?;
        replicas("2")?;
        patch(cluster, "nyc", r#"{"spec": {"workload": null}}"#)?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;

        let only_status = json!([
            {"op": "test", "path": "/rules/1/resources/1", "value": "tipspipelines/scale"},
            {"op": "remove", "path": "/rules/1/resources/1"},
        ]);
        change_rights(cluster, &only_status)?;
        may_not(&rights, "patch", &["--subresource=scale"])?;
        patch(cluster, "nyc", r#"{"spec": {"scaling": {"maxReplicas": 1, "targetLag": 1}}}"#)?;
        degraded(
            cluster,
            "nyc",
            "ScaleFailed",
            "cannot scale: tipspipelines.tipstream.dev \"nyc\" is forbidden",
        )?;
        patch(cluster, "nyc", r#"{"spec": {"scaling": null}}"#)?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;

        may(cluster, 0, "tipspipelines", &["list", "watch"])?;
        may_not(&rights, "patch", &[])?;
        patch(cluster, "nyc", r#"{"spec": {"deletionPolicy": "Delete"}}"#)?;
        degraded(cluster, "nyc", "FinalizerFailed", "cannot change the finalizers: tipspipelines")?;
        patch(cluster, "nyc", r#"{"spec": {"suspend": true}}"#)?;
        replicas("0")
    });
}

#[test]
fn pods_that_name_what_is_not_there_are_refused_in_the_words_of_kubernetes() {
    with_operator("operator-refused-pods", |cluster| {
        for (name, field, words) in [
            ("account", "serviceAccountName", "error looking up service account default/absent"),
            ("class", "priorityClassName", "no PriorityClass with name absent was found"),
        ] {
            cluster.apply(&manifest(name, &format!("  replicas: 1\n  workload: {{{field}: absent}}\n")))?;
            degraded(cluster, name, "PodsRefused", words)?;
        }
        Ok(())
    });
}

#[test]
fn what_happens_again_is_counted_on_one_event() {
    with_operator("operator-events", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 0\n"))?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        for _ in 0..3 {
            for (suspend, reason) in [(true, "Suspended"), (false, "NoReplicas")] {
                patch(cluster, "nyc", &format!(r#"{{"spec": {{"suspend": {suspend}}}}}"#))?;
                condition(cluster, "nyc", "Ready", &format!("False/{reason}"))?;
            }
        }
        let counts = "--output=jsonpath={.items[*].series.count}";
        let suspended = cluster.kubectl(&["get", "events", "--field-selector=reason=Suspended", counts])?;
        ensure!(suspended == "3", "counted {suspended:?} times");
        Ok(())
    });
}

#[test]
fn what_keeps_a_pipeline_back_is_told_by_condition_and_event_and_in_the_log() {
    scenario("operator-reasons", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        let rights = operator::install(cluster)?;
        let mut operator = Operator::start(folder, &rights, "operator")?;

        cluster.kubectl(&["create", "quota", "none", "--hard=pods=0"])?;
        becomes(cluster, "quota/none", "{.status.hard.pods}", "0")?;
        cluster.apply(&manifest("refused", "  replicas: 1\n"))?;
        degraded(cluster, "refused", "PodsRefused", "exceeded quota: none")?;
        cluster.kubectl(&["delete", "quota", "none"])?;

        cluster.apply(&manifest("pulling", "  replicas: 1\n"))?;
        let pod = ["get", "pods", "--selector=app.kubernetes.io/instance=pulling", "--output=name"];
        let pod = cluster.until(&pod, SOON, |names| !names.is_empty())?;
        // As the kubelet says it.
        let waiting = json!({"status": {"containerStatuses": [{
            "name": "worker", "image": "none", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}},
        }]}});
        let status =
            ["patch", pod.trim(), "--subresource=status", "--type=merge", "--patch", &waiting.to_string()];
        cluster.kubectl(&status)?;
        degraded(cluster, "pulling", "ImagePullBackOff", "Back-off pulling image")?;

        cluster.kubectl(&["create", "secret", "generic", "redis", "--from-literal=password=p"])?;
        may(cluster, 3, "secrets", &["list", "watch"])?;
        until("forbidden", SOON, || Ok(rights.kubectl(&["get", "secret", "redis"]).is_err()))?;
        let referring = manifest("nyc", "  replicas: 0\n")
            .replace("redis: {urls", "redis: {auth: {secretRef: {name: redis}}, urls");
        cluster.apply(&referring)?;
        degraded(
            cluster,
            "nyc",
            "ReferenceUnreadable",
            "cannot read the Secret redis: secrets \"redis\" is forbidden",
        )?;
        may(cluster, 3, "secrets", &["get", "list", "watch"])?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;

        // A kind that lacks the rules.
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let bare = json!([{"op": "remove", "path": format!("{spec}/x-kubernetes-validations")}]).to_string();
        let crd = "crd/tipspipelines.tipstream.dev";
        cluster.kubectl(&["patch", crd, "--type=json", "--patch", &bare])?;
        let lower = r#"{"spec": {"epoch": -1}}"#;
        until("taken", SOON, || Ok(patch(cluster, "nyc", lower).is_ok()))?;
        degraded(cluster, "nyc", "InvalidSpec", "spec.epoch: must be 0 or more")?;

        let failed = |categories: &[&str]| -> Result<Vec<bool>> {
            categories.iter().map(|category| Ok(operator.errors(category)? > 0.0)).collect()
        };
        ensure!(failed(&["invalid", "read"])? == [true, true], "{:?}", failed(&["invalid", "read"]));
        ensure!(failed(&["name_taken", "timeout"])? == [false, false]);

        let log = operator.process().output()?;
        let lines: Vec<Value> =
            log.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the log is not JSON")?;
        let told =
            lines.iter().find(|line| line["reason"] == "InvalidSpec").context("it is not in the log")?;
        ensure!(told["span"]["name"] == "reconcile" && told["span"]["pipeline"] == "default/nyc", "{told}");
        let pass = &told["span"]["pass"];
        let same = |line: &&Value| line["span"]["pass"] == *pass && line["category"] == "invalid";
        ensure!(pass.is_u64() && lines.iter().any(|line| same(&line)), "nothing else of the pass: {told}");
        Ok(())
    });
}
