//! A pipeline on a node, from `kubectl apply` to its end: real workers in pods that pass `restricted` Pod Security,
//! real Kafka, Redis and S3 on the host, and the oracle's word on the files.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::kafka::{Kafka, KafkaOptions};
use tips_e2e::kubernetes::{Cluster, Image, Node};
use tips_e2e::operator::{self, Operator};
use tips_e2e::redis::{Redis, RedisOptions};
use tips_e2e::s3::S3;
use tips_e2e::worker::{self, Bucket, Data, Pipeline, Settings, Target, watermark};
use tips_e2e::{Folder, scenario};

use crate::pipeline::{becomes, condition, field, message, patch};

/// Workers are pulled, started, and handed partitions over.
const PATIENCE: Duration = Duration::from_secs(180);

fn worker_image(folder: &Folder, node: &Node) -> Result<()> {
    let program = folder.path().join("tips-worker");
    fs::copy(worker::binary()?, &program).context("copying the worker")?;
    node.load(&Image::make(folder, "tipstream.test/tips-worker:e2e", &program)?)
}

fn ready(cluster: &Cluster, replicas: usize) -> Result<()> {
    cluster.kubectl(&["scale", "tips/nyc", &format!("--replicas={replicas}")])?;
    operator::await_ready(cluster, replicas, PATIENCE)
}

#[test]
fn a_pipeline_runs_scales_survives_and_leaves_nothing() {
    scenario("operator-node", |folder| {
        let Some(node) = Node::start(folder)? else {
            return Ok(());
        };
        let (cluster, host) = (node.cluster(), node.host());
        worker_image(folder, &node)?;
        cluster.kubectl(&[
            "label",
            "namespace",
            "default",
            "pod-security.kubernetes.io/enforce=restricted",
        ])?;
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;

        let kafka = Kafka::start_with(folder, &KafkaOptions { host, ..KafkaOptions::default() })?;
        let redis = Redis::start(folder, RedisOptions { host, ..RedisOptions::default() })?;
        let s3 = S3::start_at(folder, host)?;
        let data =
            Data::generate(folder, &["--seed", "7", "--rate", "12", "--span", "3h", "--disorder", "10m"])?;
        data.produce(&kafka, "nyc")?;
        let settings = Settings {
            kafka: kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", redis.url()),
            more: ["replicas: 2", "deletionPolicy: Delete", "raw: {flushInterval: 5s}"]
                .map(str::to_owned)
                .into(),
        };
        let pipeline = Pipeline::new(folder, "nyc", &settings, Target::S3(Bucket::of(&s3)))?;
        pipeline.change("prefix: nyc", "prefix: nyc, credentials: {secretRef: {name: s3}}")?;

        cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?)?;
        condition(cluster, "nyc", "Degraded", "True/SecretNotFound")?;
        cluster.create_secret("s3", pipeline.environment())?;
        cluster
            .kubectl(&["wait", "tips/nyc", "--for=condition=Ready", "--timeout=180s"])
            .with_context(|| message(cluster, "nyc", "Degraded").unwrap_or_default())?;
        condition(cluster, "nyc", "StateCompatible", "True/SameSettings")?;

        ready(cluster, 3)?;
        cluster.kubectl(&[
            "delete",
            "pods",
            "--selector=app.kubernetes.io/component=worker",
            "--grace-period=0",
            "--force",
        ])?;
        ready(cluster, 1)?;
        operator::await_consumed(cluster, data.records()?, PATIENCE)?;
        ensure!(
            !field(cluster, "tips/nyc", "{.status.lastWindow.start}")?.is_empty(),
            "no window was written"
        );
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;

        // A new epoch begins anew from the topics and writes the same windows.
        patch(cluster, "nyc", r#"{"spec": {"epoch": 1, "replicas": 2}}"#)?;
        condition(cluster, "nyc", "StateCompatible", "Unknown/NewEpoch")?;
        ready(cluster, 2)?;
        operator::await_consumed(cluster, data.records()?, PATIENCE)?;
        becomes(cluster, "tips/nyc", "{.status.stateEpoch}", "1")?;

        // Stopped, so that all that was read is published.
        patch(cluster, "nyc", r#"{"spec": {"suspend": true}}"#)?;
        let pods = ["get", "pods", "--selector=app.kubernetes.io/component=worker", "--output=name"];
        cluster.until(&pods, PATIENCE, str::is_empty)?;
        becomes(cluster, "tips/nyc", "{.status.replicas}", "0")?;
        let closed = watermark(&mut redis.connection()?, "nyc")?;
        data.oracle("nyc", Some(closed)).check(&pipeline.output()?)?;

        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=120s"])?;
        let left: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis.connection()?)?;
        ensure!(left.is_empty(), "the state is still there: {left:?}");
        let reasons = cluster.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"])?;
        ensure!(reasons.contains("StateRemoved"), "{reasons}");
        Ok(())
    });
}
