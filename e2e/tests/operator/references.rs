//! Secrets and ConfigMaps that a spec refers to: each thing that can be wrong has its reason, and each change rolls
//! the pods.

use anyhow::{Result, ensure};
use tips_e2e::kubernetes::Cluster;

use crate::pipeline::{becomes, condition, field, manifest, message, with_operator};

const POLYGONS: &str = include_str!("../../../worker/assets/manhattan.geojson");
const REFERRING: &str = "  replicas: 1
  kafka:
    bootstrapServers: 'kafka:9092'
    ridesTopic: rides
    faresTopic: fares
    sasl: {mechanism: SCRAM-SHA-512, secretRef: {name: kafka}}
  job: {neighbourhoods: {configMapKeyRef: {name: polygons, key: nyc.geojson}}}
";

fn referring() -> String {
    let kafka = "  kafka: {bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}\n";
    manifest("nyc", REFERRING).replace(kafka, "")
}

fn polygons(cluster: &Cluster, text: &str) -> Result<()> {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "polygons", "namespace": "default"},
        "data": {"nyc.geojson": text},
    });
    cluster.apply(&object.to_string()).map(drop)
}

/// The Secret of `spec.kafka.sasl`, whole.
fn login(cluster: &Cluster) -> Result<()> {
    let keys = ["--from-literal=username=tips", "--from-literal=password=p"];
    cluster.kubectl(&[&["create", "secret", "generic", "kafka"], &keys[..]].concat()).map(drop)
}

fn hash(cluster: &Cluster) -> Result<String> {
    field(
        cluster,
        "deployment/nyc-worker",
        r"{.spec.template.metadata.annotations.tipstream\.dev/config-hash}",
    )
}

#[test]
fn each_bad_reference_has_its_reason_and_is_over_when_it_is_put_right() {
    with_operator("operator-references", |cluster| {
        cluster.apply(&referring())?;
        condition(cluster, "nyc", "Degraded", "True/SecretNotFound")?;
        condition(cluster, "nyc", "Ready", "False/SecretNotFound")?;
        let said = message(cluster, "nyc", "Degraded")?;
        ensure!(said.contains("spec.kafka.sasl.secretRef names the Secret kafka"), "{said}");
        cluster.kubectl(&["create", "secret", "generic", "kafka", "--from-literal=username=tips"])?;
        condition(cluster, "nyc", "Degraded", "True/ConfigMapNotFound")?;
        polygons(cluster, POLYGONS)?;
        condition(cluster, "nyc", "Degraded", "True/SecretKeyNotFound")?;
        cluster.kubectl(&["patch", "secret", "kafka", "--patch", r#"{"stringData": {"password": "p"}}"#])?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        let events = ["get", "events", "--field-selector=involvedObject.kind=TipsPipeline", "--output=name"];
        let with_reason = "--output=jsonpath={.items[*].reason}";
        ensure!(cluster.kubectl(&[&events[..3], &[with_reason]].concat())?.contains("SecretKeyNotFound"));
        Ok(())
    });
}

#[test]
fn what_the_pods_read_rolls_them_and_nothing_else_does() {
    with_operator("operator-roll", |cluster| {
        login(cluster)?;
        polygons(cluster, POLYGONS)?;
        cluster.apply(&referring())?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let before = hash(cluster)?;
        cluster.kubectl(&["label", "secret", "kafka", "team=taxi"])?;
        cluster.kubectl(&["patch", "secret", "kafka", "--patch", r#"{"stringData": {"other": "key"}}"#])?;
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=2"])?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "2")?;
        ensure!(hash(cluster)? == before, "the pods roll though nothing that they read has changed");
        cluster.kubectl(&["patch", "secret", "kafka", "--patch", r#"{"stringData": {"password": "q"}}"#])?;
        let query = ["get", "deployment/nyc-worker", "--output=jsonpath={.metadata.generation}"];
        cluster.until(&query, crate::pipeline::SOON, |generation| generation == "3")?;
        ensure!(hash(cluster)? != before, "a new password does not roll the pods");
        Ok(())
    });
}

#[test]
fn polygons_that_cannot_be_used_leave_the_last_good_ones_running() {
    with_operator("operator-polygons", |cluster| {
        login(cluster)?;
        polygons(cluster, POLYGONS)?;
        cluster.apply(&referring())?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let before = hash(cluster)?;
        polygons(cluster, "{\"type\": \"FeatureCollection\", \"features\": []}")?;
        condition(cluster, "nyc", "Degraded", "True/InvalidNeighbourhoods")?;
        cluster.kubectl(&["delete", "configmap", "polygons"])?;
        condition(cluster, "nyc", "Degraded", "True/ConfigMapNotFound")?;
        ensure!(hash(cluster)? == before, "the pods roll");
        let kept = field(cluster, "configmap/nyc-worker", r"{.data.neighbourhoods\.geojson}")?;
        ensure!(kept == POLYGONS, "a worker that starts again does not find the last good polygons");
        Ok(())
    });
}
