//! The sink is a volume of the node: the pods of workers, queries and compaction mount it, and none of them is root. A
//! worker is killed while data flows.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tips_e2e::kubernetes::Cluster;
use tips_e2e::operator::{self, Operator};
use tips_e2e::sender::Paced;
use tips_e2e::site::{PATIENCE, Site, await_none, workers};
use tips_e2e::wait::until;
use tips_e2e::worker::{Data, MIXED, Pipeline, Settings, Target, watermark};
use tips_e2e::{query, scenario};

use crate::cluster::compaction::{merges_the_first_day, windows};
use crate::cluster::sql::QueryPod;

const DATA: [&str; 6] = ["--seed", "63", "--rate", "0.5", "--span", "28h"];
/// Records a second of wall time: there is more to be sent when the worker dies.
const PACE: usize = 5000;
/// Of clients of the query service, which asks nobody who they are.
const PLAIN: &str = "sslmode=disable";

#[test]
fn a_volume_is_written_read_and_compacted_by_pods() {
    scenario("cluster-volume", |folder| {
        let Some(site) = Site::start_with(folder, &[&query::binary()?])? else {
            return Ok(());
        };
        let cluster = site.cluster();
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        let lake = folder.dir("lake")?;
        create_volume(cluster, &lake)?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let topics = data.topics(&site.kafka, "nyc")?;
        let settings = Settings {
            kafka: site.kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", site.redis.url()),
            more: [
                "suspend: true",
                "raw: {flushInterval: 3s}",
                "job: {idleTimeout: 1h}",
                "query: {enabled: true, insecure: true}",
                "compaction: {enabled: true}",
            ]
            .map(str::to_owned)
            .into(),
        };
        let pipeline = Pipeline::new(folder, "nyc", &settings, Target::Fs(lake))?;
        cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?)?;
        let pod = QueryPod::ready(cluster, PLAIN)?;
        nothing_is_there_yet(&pod)?;

        operator::suspend(cluster, false)?;
        let sender = Paced::start(site.kafka.client(), topics, PACE);
        operator::await_ready(cluster, 1, PATIENCE)?;
        until("windows are published", PATIENCE, || Ok(windows(&pipeline.output()?, "*")? > 0))?;
        ensure!(!sender.is_finished(), "all is sent before the worker dies");
        let killed = workers(cluster)?;
        cluster.kubectl(&["delete", "pod", &killed[0], "--grace-period=0", "--force"])?;
        sender.finish()?;
        operator::await_consumed(cluster, data.records()?, PATIENCE)?;
        ensure!(workers(cluster)? != killed, "the worker was not replaced");

        merges_the_first_day(cluster, &pipeline.output()?, &pod)?;
        operator::suspend(cluster, true)?;
        await_none(cluster)?;
        let closed = watermark(&mut site.redis.connection()?, "nyc")?;
        data.oracle("nyc", Some(closed)).check(&pipeline.output()?)?;
        pipeline.verify().map(drop)
    });
}

/// A volume of the kind `local`, which is the folder, and a claim of it: who may write there is for the kubelet to see to.
fn create_volume(cluster: &Cluster, folder: &Path) -> Result<()> {
    let manifest = format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{name: lake}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  local: {{path: {}}}
  nodeAffinity:
    required:
      nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node1]}}]}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data, namespace: default}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: ''
  volumeName: lake
  resources: {{requests: {{storage: 1Gi}}}}
",
        folder.display()
    );
    cluster.apply(&manifest).map(drop)
}

/// No worker has made the folder yet, and who only reads cannot.
fn nothing_is_there_yet(pod: &QueryPod) -> Result<()> {
    let told = pod.psql("SELECT sink_error FROM pipeline_status")?;
    ensure!(told.contains("no files of pipeline default/nyc yet"), "{told}");
    let rows = pod.psql("SELECT count(*) FROM tips")?;
    ensure!(rows == "0", "{rows} rows");
    Ok(())
}
