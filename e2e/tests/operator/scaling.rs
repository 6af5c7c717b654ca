//! Scaling by lag: the operator writes `spec.replicas` as an autoscaler would, and brings it about.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tips_e2e::operator::{self, Operator};
use tips_e2e::scenario;
use tips_e2e::sender::send;
use tips_e2e::site::{PATIENCE, Site};
use tips_e2e::worker::{Bucket, Data, PARTITIONS, Pipeline, Settings, Target};

use crate::operator::pipeline::{QUIET, becomes, condition, events, field, manifest, patch, with_operator};
use crate::operator::quiet::a_quiet_minute;

const REPLICAS: &str = "{.spec.replicas}";

#[test]
fn a_number_is_brought_inside_of_its_range_and_nothing_that_is_stopped_is_started() {
    with_operator("operator-scaling", |cluster| {
        let spec = "  replicas: 5\n  scaling: {minReplicas: 2, maxReplicas: 3, targetLag: 1000}\n";
        cluster.apply(&manifest("nyc", spec))?;
        becomes(cluster, "tips/nyc", REPLICAS, "3")?;
        becomes(cluster, "deployment/nyc-worker", REPLICAS, "3")?;
        condition(cluster, "nyc", "ScalingActive", "False/LagUnknown")?;
        ensure!(events(cluster)?.contains("SuccessfulRescale"), "{}", events(cluster)?);
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=1"])?;
        becomes(cluster, "deployment/nyc-worker", REPLICAS, "2")?;

        let stopped = [r#"{"spec": {"replicas": 0}}"#, r#"{"spec": {"replicas": 1, "suspend": true}}"#];
        for (spec, replicas) in stopped.into_iter().zip(["0", "1"]) {
            patch(cluster, "nyc", spec)?;
            becomes(cluster, "deployment/nyc-worker", REPLICAS, "0")?;
            condition(cluster, "nyc", "ScalingActive", "False/ScalingDisabled")?;
            thread::sleep(QUIET);
            ensure!(field(cluster, "tips/nyc", REPLICAS)? == replicas, "it is scaled though it is stopped");
        }
        patch(cluster, "nyc", r#"{"spec": {"scaling": null, "suspend": false}}"#)?;
        condition(cluster, "nyc", "ScalingActive", "")?;
        becomes(cluster, "deployment/nyc-worker", REPLICAS, "1")
    });
}

#[test]
fn a_backlog_adds_workers_at_once_its_end_takes_none_away_at_once_and_then_it_is_quiet() {
    scenario("operator-scaling-node", |folder| {
        let Some(site) = Site::start(folder)? else {
            return Ok(());
        };
        let cluster = site.cluster();
        let rights = operator::install(cluster)?;
        let operator = Operator::start(folder, &rights, "operator")?;

        // Without fares the rides are not read on once they are too far ahead: a backlog that stands.
        let data = Data::generate(folder, &["--seed", "23", "--rate", "3", "--span", "12h"])?;
        let [rides, fares] = data.topics(&site.kafka, "nyc")?;
        send(&site.kafka.client(), &[rides], None)?;
        let settings = Settings {
            kafka: site.kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", site.redis.url()),
            more: [
                "scaling: {maxReplicas: 3, targetLag: 10000}",
                "job: {maxDrift: 40m, idleTimeout: 1h}",
                "raw: {flushInterval: 5s}",
            ]
            .map(str::to_owned)
            .into(),
        };
        let pipeline = Pipeline::new(folder, "nyc", &settings, Target::S3(Bucket::of(&site.s3)))?;
        pipeline.change("prefix: nyc", "prefix: nyc, credentials: {secretRef: {name: s3}}")?;
        cluster.create_secret("s3", pipeline.environment())?;
        cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?)?;
        operator::await_ready(cluster, 3, PATIENCE)?;
        condition(cluster, "nyc", "ScalingActive", "True/TooManyReplicas")?;
        patch(cluster, "nyc", r#"{"spec": {"scaling": {"maxReplicas": 9}}}"#)?;
        operator::await_ready(cluster, PARTITIONS, PATIENCE)?;
        condition(cluster, "nyc", "ScalingActive", "True/TooFewPartitions")?;

        send(&site.kafka.client(), &[fares], None)?;
        let reason = "--output=jsonpath={.status.conditions[?(@.type=='ScalingActive')].reason}";
        cluster.until(&["get", "tips", "nyc", reason], PATIENCE, |reason| reason == "ScaleDownStabilized")?;
        // Until the last figures are written.
        thread::sleep(Duration::from_secs(40));
        a_quiet_minute(cluster, &operator)?;
        ensure!(
            field(cluster, "tips/nyc", REPLICAS)? == PARTITIONS.to_string(),
            "they were taken away at once"
        );
        Ok(())
    });
}
