//! A pipeline on a node, from `kubectl apply` to its end: real workers in pods that pass `restricted` Pod Security,
//! real Kafka, Redis and S3 on the host, and the oracle's word on the files.

use std::fs;

use anyhow::{Context, Result, ensure};
use tips_e2e::books::Books;
use tips_e2e::kubernetes::Cluster;
use tips_e2e::operator::{self, Operator};
use tips_e2e::oracle::{Oracle, Watermark};
use tips_e2e::scenario;
use tips_e2e::sender::send;
use tips_e2e::site::{PATIENCE, Site, await_none, workers};
use tips_e2e::worker::{Bucket, Data, Pipeline, Settings, Target, watermark};

use crate::operator::pipeline::{
    POD_MONITORS, becomes, condition, config_map, field, install_pod_monitors, manifest, message, patch,
};

const MANHATTAN: &str = include_str!("../../../worker/assets/manhattan.geojson");

/// The polygons of the pipeline.
fn polygons(cluster: &Cluster, text: &str) -> Result<()> {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "polygons", "namespace": "default"},
        "data": {"nyc.geojson": text},
    });
    cluster.apply(&object.to_string()).map(drop)
}

fn ready(cluster: &Cluster, replicas: usize) -> Result<()> {
    cluster.kubectl(&["scale", "tips/nyc", &format!("--replicas={replicas}")])?;
    operator::await_ready(cluster, replicas, PATIENCE)
}

#[test]
fn a_pipeline_runs_scales_survives_and_leaves_nothing() {
    scenario("operator-node", |folder| {
        let Some(mut site) = Site::start(folder)? else {
            return Ok(());
        };
        let cluster = &site.cluster().clone();
        let rights = operator::install(cluster)?;
        let mut operator = Operator::start_with(folder, &rights, "operator", &["--purge-timeout=50s"])?;

        let data =
            Data::generate(folder, &["--seed", "7", "--rate", "12", "--span", "3h", "--disorder", "10m"])?;
        data.produce(&site.kafka, "nyc")?;
        let settings = Settings {
            kafka: site.kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", site.redis.url()),
            more: [
                "replicas: 2",
                "deletionPolicy: Delete",
                "raw: {flushInterval: 5s}",
                // How far the windows have closed does not depend on how long anything takes.
                "job: {idleTimeout: 1h, neighbourhoods: {configMapKeyRef: {name: polygons, key: nyc.geojson}}}",
            ]
            .map(str::to_owned)
            .into(),
        };
        let pipeline = Pipeline::new(folder, "nyc", &settings, Target::S3(Bucket::of(&site.s3)))?;
        pipeline.change("prefix: nyc", "prefix: nyc, credentials: {secretRef: {name: s3}}")?;

        // It comes when the operator has found that there is none, and is looked for every minute.
        install_pod_monitors(cluster)?;
        polygons(cluster, MANHATTAN)?;
        cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?)?;
        condition(cluster, "nyc", "Degraded", "True/SecretNotFound")?;
        cluster.create_secret("s3", pipeline.environment())?;
        cluster
            .kubectl(&["wait", "tips/nyc", "--for=condition=Ready", "--timeout=180s"])
            .with_context(|| message(cluster, "nyc", "Degraded").unwrap_or_default())?;
        condition(cluster, "nyc", "StateCompatible", "True/SameSettings")?;

        // Polygons are not of the spec: the API server lets others in, and the state refuses them.
        let running = workers(cluster)?;
        polygons(cluster, &MANHATTAN.replacen("Battery Park City", "The Battery", 1))?;
        condition(cluster, "nyc", "StateCompatible", "False/SettingsDiffer")?;
        condition(cluster, "nyc", "Degraded", "True/SettingsDiffer")?;
        ensure!(workers(cluster)? == running, "the workers of the last good polygons are replaced");
        polygons(cluster, MANHATTAN)?;
        condition(cluster, "nyc", "StateCompatible", "True/SameSettings")?;
        ensure!(workers(cluster)? == running, "workers are replaced though they have read the same polygons");

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
        let told = Books::of_pipeline(&field(cluster, "tips/nyc", "{.status.books}")?)?;
        data.books()?.context("the generator's books")?.check(&told)?;
        let closed = watermark(&mut site.redis.connection()?, "nyc")?.replace(' ', "T") + "Z";
        let query = ["get", "tips/nyc", "--output=jsonpath={.status.watermark}"];
        cluster.until(&query, PATIENCE, |told| told == closed)?;
        let window = field(cluster, "tips/nyc", "{.status.lastWindow.end}")?;
        ensure!(!window.is_empty() && window <= closed, "{window} was written, and {closed} is closed");
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        cluster.until(&["get", "podmonitor/nyc-worker"], PATIENCE, |_| true)?;
        cluster.kubectl(&["delete", POD_MONITORS])?;

        // A new epoch begins anew from the topics and writes the same windows.
        patch(cluster, "nyc", r#"{"spec": {"epoch": 1, "replicas": 2}}"#)?;
        condition(cluster, "nyc", "StateCompatible", "Unknown/NewEpoch")?;
        ready(cluster, 2)?;
        // Before, the books are those of the epoch before.
        becomes(cluster, "tips/nyc", "{.status.stateEpoch}", "1")?;
        operator::await_consumed(cluster, data.records()?, PATIENCE)?;

        // Stopped, so that all that was read is published.
        patch(cluster, "nyc", r#"{"spec": {"suspend": true}}"#)?;
        await_none(cluster)?;
        becomes(cluster, "tips/nyc", "{.status.replicas}", "0")?;
        let closed = watermark(&mut site.redis.connection()?, "nyc")?;
        let oracle = Oracle { watermark: Watermark::OfAll, ..data.oracle("nyc", Some(closed)) };
        oracle.check(&pipeline.output()?)?;

        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=120s"])?;
        let left: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut site.redis.connection()?)?;
        ensure!(left.is_empty(), "the state is still there: {left:?}");
        let reasons = cluster.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"])?;
        ensure!(reasons.contains("StateRemoved"), "{reasons}");

        // Another one, whose Redis is gone.
        pipeline.change("replicas: 2", "replicas: 0")?;
        cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?)?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        site.redis.kill9()?;
        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=70s"])?;
        let reasons = cluster.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"])?;
        ensure!(reasons.contains("StateLeft"), "{reasons}");
        operator.process().until_said("PodMonitors are no longer installed", PATIENCE)
    });
}

#[test]
fn why_workers_end_is_told_in_their_own_words() {
    scenario("operator-node-ends", |folder| {
        let Some(site) = Site::start(folder)? else {
            return Ok(());
        };
        let cluster = site.cluster();
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        cluster.apply(&manifest("unclaimed", "  replicas: 1\n"))?;
        condition(cluster, "unclaimed", "Degraded", "True/Unschedulable")?;
        let said = message(cluster, "unclaimed", "Degraded")?;
        ensure!(said.contains("persistentvolumeclaim \"lake\" not found"), "{said}");
        cluster.kubectl(&["delete", "tips", "unclaimed"])?;

        let (host, servers) = (site.node.host(), site.kafka.bootstrap());
        let nobody = format!("{host}:1");
        let settings = Settings {
            kafka: nobody.clone(),
            redis: format!("{{urls: [\"{}\"]}}", site.redis.url()),
            more: vec!["replicas: 1".to_owned()],
        };
        let pipeline = Pipeline::new(folder, "nyc", &settings, Target::S3(Bucket::of(&site.s3)))?;
        pipeline.change("prefix: nyc", "prefix: nyc, credentials: {secretRef: {name: s3}}")?;
        cluster.create_secret("s3", pipeline.environment())?;
        let apply =
            || cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?);
        let ends = |reason: &str, words: &str| -> Result<()> {
            let query = "--output=jsonpath={.status.conditions[?(@.type=='Degraded')]['reason','message']}";
            let told = |text: &str| text.starts_with(reason) && text.contains(words);
            cluster.until(&["get", "tips", "nyc", query], PATIENCE, told)?;
            let reasons = cluster.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"])?;
            ensure!(reasons.contains(reason), "no Event says {reason}: {reasons}");
            Ok(())
        };

        apply()?;
        ends("WorkerFailing", &format!("exit code 1: tips-worker: cannot reach Kafka at {nobody}"))?;
        condition(cluster, "nyc", "Ready", "False/WorkersNotReady")?;
        pipeline.change(&format!("\"{nobody}\""), &format!("\"{servers}\""))?;
        apply()?;
        ends("WorkerFailing", "has no topic nyc-rides: create it, or name another in spec.kafka")?;

        let data = Data::generate(folder, &["--seed", "7", "--rate", "3", "--span", "1h"])?;
        let topics = data.topics(&site.kafka, "nyc")?;
        send(&site.kafka.client(), &topics, None)?;
        operator::await_ready(cluster, 1, PATIENCE)?;
        operator::await_consumed(cluster, data.records()?, PATIENCE)?;

        // Settings that do not work leave the only worker running, and it starts again with those that it has.
        let (running, read) = (workers(cluster)?, config_map(cluster, "default", "nyc")?);
        pipeline.change(&format!("\"{servers}\""), &format!("\"{nobody}\""))?;
        apply()?;
        ends("WorkerFailing", &format!("cannot reach Kafka at {nobody}"))?;
        let (pod, count) = (format!("pod/{}", running[0]), "{.status.containerStatuses[0].restartCount}");
        let restarts: u32 = field(cluster, &pod, count)?.parse()?;
        site.node.kill_container(&running[0])?;
        let again = "--output=jsonpath={.status.containerStatuses[0]['restartCount','ready']}";
        let is_again = format!("{} true", restarts + 1);
        cluster.until(&["get", &pod, again], PATIENCE, |text| text == is_again)?;
        send(&site.kafka.client(), &topics, None)?;
        operator::await_consumed(cluster, 2 * data.records()?, PATIENCE)?;
        pipeline.change(&format!("\"{nobody}\""), &format!("\"{servers}\""))?;
        apply()?;
        condition(cluster, "nyc", "Ready", "True/Running")?;
        ensure!(workers(cluster)? == running, "the worker was replaced by one that is like it");
        ensure!(config_map(cluster, "default", "nyc")? == read, "it reads something else");

        // Another pipeline of the name has its state, too.
        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=60s"])?;
        await_none(cluster)?;
        pipeline.change("replicas: 1", "replicas: 1\n  job: {window: 1h}")?;
        apply()?;
        ends("SettingsDiffer", "exit code 3: ")?;
        condition(cluster, "nyc", "StateCompatible", "False/SettingsDiffer")
    });
}
