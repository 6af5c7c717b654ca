//! What runs beside the workers: the query service and the compaction come and go with the spec, hold up nobody else,
//! and say what is wrong with them.

use std::thread;

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::Cluster;

use crate::operator::pipeline::{
    QUIET, SOON, becomes, condition, end_job, events, field, manifest, message, patch, with_operator,
};

const QUERY: [&str; 5] = [
    "configmap/nyc-query",
    "deployment/nyc-query",
    "networkpolicy/nyc-query",
    "poddisruptionbudget/nyc-query",
    "service/nyc-query",
];
const COMPACTION: [&str; 3] = ["configmap/nyc-compact", "cronjob/nyc-compact", "networkpolicy/nyc-compact"];
const BOTH: &str = "  query:
    enabled: true
    replicas: 2
    auth: {secretRef: {name: users}}
    tls: {secretRef: {name: certificate}}
  compaction: {enabled: true, schedule: '30 2 * * *'}
";

fn with_services() -> String {
    manifest("nyc", &format!("  replicas: 0\n{BOTH}"))
}

fn users(cluster: &Cluster, password: &str) -> Result<()> {
    secret(cluster, "users", &serde_json::json!({"ann": password}))
}

fn certificate(cluster: &Cluster, text: &str) -> Result<()> {
    secret(cluster, "certificate", &serde_json::json!({"tls.crt": text, "tls.key": text}))
}

fn secret(cluster: &Cluster, name: &str, data: &serde_json::Value) -> Result<()> {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "stringData": data,
    });
    cluster.apply(&object.to_string()).map(drop)
}

fn generation(cluster: &Cluster, object: &str) -> Result<String> {
    field(cluster, object, "{.metadata.generation}")
}

fn gone(cluster: &Cluster, children: &[&str]) -> Result<()> {
    for child in children {
        cluster.until(&["get", child, "--ignore-not-found", "--output=name"], SOON, str::is_empty)?;
    }
    Ok(())
}

#[test]
fn they_come_and_go_with_the_spec_and_the_workers_stay() {
    with_operator("operator-beside", |cluster| {
        users(cluster, "p")?;
        certificate(cluster, "c")?;
        cluster.apply(&with_services())?;
        for child in QUERY.iter().chain(&COMPACTION) {
            becomes(cluster, child, "{.metadata.ownerReferences[0].name}", "nyc")?;
        }
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        becomes(cluster, "service/nyc-query", "{.spec.ports[*].port}", "5432 8080")?;
        becomes(cluster, "tips/nyc", "{.status.query.replicas}", "2")?;
        let workers = generation(cluster, "deployment/nyc-worker")?;

        patch(cluster, "nyc", r#"{"spec": {"query": {"replicas": 1}}}"#)?;
        becomes(cluster, "deployment/nyc-query", "{.spec.replicas}", "1")?;
        gone(cluster, &["poddisruptionbudget/nyc-query"])?;
        patch(cluster, "nyc", r#"{"spec": {"query": {"enabled": false}}}"#)?;
        gone(cluster, &QUERY)?;
        becomes(cluster, "tips/nyc", "{.status.query}", "")?;
        cluster.kubectl(&["get", "cronjob/nyc-compact"])?;
        patch(cluster, "nyc", r#"{"spec": {"compaction": {"enabled": false}}}"#)?;
        gone(cluster, &COMPACTION)?;
        ensure!(generation(cluster, "deployment/nyc-worker")? == workers, "the workers are touched");
        Ok(())
    });
}

#[test]
fn what_of_them_is_edited_or_deleted_by_hand_comes_back() {
    with_operator("operator-beside-edits", |cluster| {
        users(cluster, "p")?;
        certificate(cluster, "c")?;
        cluster.apply(&with_services())?;
        for child in QUERY.iter().chain(&COMPACTION) {
            cluster.until(&["get", child], SOON, |_| true)?;
        }
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        let edit = |object: &str, patch: &str| cluster.kubectl(&["patch", object, "--patch", patch]);
        edit("cronjob/nyc-compact", r#"{"spec": {"suspend": true, "concurrencyPolicy": "Allow"}}"#)?;
        becomes(cluster, "cronjob/nyc-compact", "{.spec['suspend','concurrencyPolicy']}", "false Forbid")?;
        cluster.kubectl(&["scale", "deployment/nyc-query", "--replicas=9"])?;
        becomes(cluster, "deployment/nyc-query", "{.spec.replicas}", "2")?;
        for child in QUERY.iter().chain(&COMPACTION) {
            cluster.kubectl(&["delete", child])?;
            cluster.until(&["get", child], SOON, |_| true)?;
        }
        Ok(())
    });
}

#[test]
fn a_secret_that_only_queries_need_holds_up_nobody_else() {
    with_operator("operator-beside-secrets", |cluster| {
        cluster.apply(&with_services())?;
        condition(cluster, "nyc", "Degraded", "True/SecretNotFound")?;
        let said = message(cluster, "nyc", "Degraded")?;
        ensure!(said.contains("spec.query.auth.secretRef names the Secret users"), "{said}");
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        cluster.kubectl(&["get", "deployment/nyc-worker", "cronjob/nyc-compact"])?;
        gone(cluster, &["deployment/nyc-query"])?;
        users(cluster, "p")?;
        secret(cluster, "certificate", &serde_json::json!({"tls.crt": "c"}))?;
        condition(cluster, "nyc", "Degraded", "True/SecretKeyNotFound")?;
        certificate(cluster, "c")?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        cluster.until(&["get", "deployment/nyc-query"], SOON, |_| true)?;

        cluster.kubectl(&["delete", "secret", "users"])?;
        condition(cluster, "nyc", "Degraded", "True/SecretNotFound")?;
        patch(cluster, "nyc", r#"{"spec": {"replicas": 1, "query": {"replicas": 3}}}"#)?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "1")?;
        thread::sleep(QUIET);
        ensure!(
            field(cluster, "deployment/nyc-query", "{.spec.replicas}")? == "2",
            "it does not stay as it is"
        );
        users(cluster, "q")?;
        becomes(cluster, "deployment/nyc-query", "{.spec.replicas}", "3")?;
        let reasons = events(cluster)?;
        ensure!(reasons.contains("SecretNotFound") && reasons.contains("SecretKeyNotFound"), "{reasons}");
        Ok(())
    });
}

#[test]
fn a_certificate_rolls_the_query_pods_and_a_password_does_not() {
    with_operator("operator-beside-roll", |cluster| {
        users(cluster, "p")?;
        certificate(cluster, "c")?;
        cluster.apply(&with_services())?;
        let hash = r"{.spec.template.metadata.annotations.tipstream\.dev/config-hash}";
        let of = |part: &str| field(cluster, &format!("deployment/nyc-{part}"), hash);
        cluster.until(&["get", "deployment/nyc-query"], SOON, |_| true)?;
        let (worker, query) = (of("worker")?, of("query")?);
        users(cluster, "q")?;
        thread::sleep(QUIET);
        ensure!(of("query")? == query, "a password rolls the pods");
        certificate(cluster, "d")?;
        let changed = ["get", "deployment/nyc-query", &format!("--output=jsonpath={hash}")];
        cluster.until(&changed, SOON, |now| now != query)?;
        ensure!(of("worker")? == worker, "a certificate of the query service rolls the workers");
        Ok(())
    });
}

#[test]
fn a_suspended_pipeline_compacts_nothing_and_answers_on() {
    with_operator("operator-beside-suspend", |cluster| {
        users(cluster, "p")?;
        certificate(cluster, "c")?;
        cluster.apply(&with_services())?;
        let suspended = |wanted: &str| becomes(cluster, "cronjob/nyc-compact", "{.spec.suspend}", wanted);
        suspended("false")?;
        patch(cluster, "nyc", r#"{"spec": {"compaction": {"suspend": true}}}"#)?;
        suspended("true")?;
        patch(cluster, "nyc", r#"{"spec": {"compaction": {"suspend": false}}}"#)?;
        suspended("false")?;
        patch(cluster, "nyc", r#"{"spec": {"suspend": true}}"#)?;
        suspended("true")?;
        ensure!(field(cluster, "deployment/nyc-query", "{.spec.replicas}")? == "2", "no query is answered");
        Ok(())
    });
}

#[test]
fn a_compaction_that_fails_is_told_until_one_succeeds() {
    with_operator("operator-beside-runs", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 0\n  compaction: {enabled: true}\n"))?;
        cluster.until(&["get", "cronjob/nyc-compact"], SOON, |_| true)?;
        let run = |name: &str| cluster.kubectl(&["create", "job", name, "--from=cronjob/nyc-compact"]);
        run("first")?;
        end_job(cluster, "first", "Failed")?;
        condition(cluster, "nyc", "Degraded", "True/CompactionFailed")?;
        let said = message(cluster, "nyc", "Degraded")?;
        ensure!(said.starts_with("first: no server"), "{said}");
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        let reasons = ["get", "events", "--output=jsonpath={.items[*].reason}"];
        cluster.until(&reasons, SOON, |reasons| reasons.contains("CompactionFailed"))?;
        run("second")?;
        end_job(cluster, "second", "Complete")?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        let last = ["get", "tips/nyc", "--output=jsonpath={.status.compaction.lastSuccessfulTime}"];
        cluster.until(&last, SOON, |time| !time.is_empty()).map(drop)
    });
}
