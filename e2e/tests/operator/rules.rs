//! Twenty wrong manifests, twenty messages that say what to write (O1), by a real API server.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tips_e2e::kubernetes::ControlPlane;
use tips_e2e::{operator, scenario};

fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/metadata/name", json!("nyc.taxi"), "beginning with a letter"),
        ("/spec/replicas", json!(-1), "0 stops the pipeline"),
        ("/spec/epoch", json!(-1), "must be 0 or more"),
        ("/spec/kafka/bootstrapServers", json!("kafka"), "write for example kafka-0.kafka:9092"),
        ("/spec/kafka/ridesTopic", json!("a b"), "must be the name of a topic"),
        ("/spec/kafka/faresTopic", json!("rides"), "must differ from ridesTopic"),
        ("/spec/kafka/properties", json!({"group.id": "x"}), "use bootstrapServers, groupId"),
        ("/spec/redis/urls", json!(["redis://u:p@redis:6379"]), "user and password belong in a Secret"),
        ("/spec/redis/urls", json!([]), "must name at least one server"),
        ("/spec/redis/mode", json!("Sentinel"), "write sentinel: {masterName: mymaster}"),
        ("/spec/redis/shards", json!(0), "must be from 1 to 1024"),
        ("/spec/sink", json!({}), "must be exactly one of s3, hdfs and volume"),
        ("/spec/sink", json!({"s3": {"bucket": "B", "region": "x"}}), "must be the name of a bucket"),
        ("/spec/sink", json!({"volume": {"claimName": "lake", "path": "/a"}}), "must be a folder"),
        ("/spec/job/slide", json!("20m"), "must divide the window"),
        ("/spec/job/window", json!("90s"), "must be whole minutes"),
        ("/spec/job/maxDrift", json!("10m"), "must be longer than watermarkDelay"),
        ("/spec/job/area", json!({"minLon": 10}), "must be less than maxLon"),
        ("/spec/raw", json!({"maxFileBytes": "1Ki"}), "must be from 1Mi to 32Mi"),
        ("/spec/query", json!({"enabled": true}), "auth: {secretRef: {name: query-users}}"),
        ("/spec/query", json!({"enabled": true, "replicas": 0}), "to stop the query service write enabled"),
        ("/spec/workload/labels", json!({"app.kubernetes.io/name": "x"}), "write a label of your own"),
        ("/spec/workload/env", json!([{"name": "TIPS_REDIS_PASSWORD", "value": "x"}]), "use kafka.sasl"),
        ("/spec/job/windw", json!("30m"), ".spec.job.windw: field not declared in schema"),
    ]
}

#[test]
fn each_wrong_manifest_is_refused_with_what_to_write_instead() {
    scenario("operator-rules", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        operator::install(cluster)?;
        for (pointer, value, message) in wrong() {
            let mut manifest = json!({
                "apiVersion": "tipstream.dev/v1alpha1", "kind": "TipsPipeline",
                "metadata": {"name": "nyc", "namespace": "default"},
                "spec": {
                    "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
                    "redis": {"urls": ["redis://redis:6379"]}, "sink": {"volume": {"claimName": "lake"}},
                    "job": {}, "workload": {},
                },
            });
            let (parent, field) = pointer.rsplit_once('/').context("a pointer")?;
            manifest.pointer_mut(parent).context("a parent")?[field] = value;
            let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
            let refused =
                cluster.kubectl_with(&arguments, &manifest.to_string()).map_err(|e| format!("{e:#}"));
            ensure!(refused.as_ref().is_err_and(|error| error.contains(message)), "{pointer}: {refused:?}");
        }
        Ok(())
    });
}
