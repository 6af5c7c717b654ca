//! `stream` and `local` give the oracle's answer, wherever they write and however many workers there are.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::data::RealData;
use tips_e2e::hdfs::Hdfs;
use tips_e2e::kafka::Kafka;
use tips_e2e::oracle::Oracle;
use tips_e2e::redis::{RedisCluster, Sentinel};
use tips_e2e::s3::S3;
use tips_e2e::worker::{Bucket, Data, MIXED, Pipeline, Settings, Target};
use tips_e2e::{Folder, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "11", "--rate", "12", "--span", "2h"];

/// One worker from the beginning, and three beside each other on another pipeline; then the real data.
fn one_worker_and_three<'a>(folder: &'a Folder, target: impl Fn(&str) -> Target<'a>) -> Result<()> {
    let servers = Servers::start(folder)?;
    let generated = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
    let real = RealData::find().map(|real| Data::real(folder, &real)).transpose()?;
    for (kind, data) in [("generated", Some(&generated)), ("real", real.as_ref())] {
        let Some(data) = data else { continue };
        for workers in [1, 3] {
            let name = format!("{kind}-{workers}");
            data.produce(&servers.kafka, &name)?;
            let mut pipeline = Pipeline::new(folder, &name, &servers.settings(&[]), target(&name))?;
            pipeline.set("TIPS_NEIGHBOURHOODS", &data.neighbourhoods.display().to_string());
            pipeline.catch_up(workers, PATIENCE)?;
            servers.check(data, &name, &pipeline).with_context(|| name)?;
        }
    }
    Ok(())
}

#[test]
fn one_and_three_workers_to_a_file_system() {
    scenario("stream-fs", |folder| {
        one_worker_and_three(folder, |name| Target::Fs(folder.path().join("output").join(name)))
    });
}

#[test]
fn one_and_three_workers_to_s3() {
    scenario("stream-s3", |folder| {
        let s3 = S3::start(folder)?;
        one_worker_and_three(folder, |_| Target::S3(Bucket::of(&s3)))
    });
}

#[test]
fn one_and_three_workers_to_hdfs() {
    scenario("stream-hdfs", |folder| {
        let hdfs = Hdfs::start(folder)?;
        one_worker_and_three(folder, |_| Target::Hdfs(&hdfs))
    });
}

#[test]
fn the_state_may_be_a_cluster_or_a_sentinels_master() {
    scenario("stream-redis", |folder| {
        let kafka = Kafka::start(folder)?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let cluster = RedisCluster::start(folder, 3)?;
        let sentinel = Sentinel::start(folder, None)?;
        let quoted: Vec<String> = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect();
        let redis = [
            ("cluster", format!("{{mode: Cluster, urls: [{}]}}", quoted.join(", "))),
            (
                "sentinel",
                format!(
                    "{{mode: Sentinel, urls: [\"{}\"], sentinel: {{masterName: {}}}}}",
                    sentinel.url(),
                    sentinel.master_name()
                ),
            ),
        ];
        for (name, redis) in redis {
            data.produce(&kafka, name)?;
            let settings = Settings { kafka: kafka.bootstrap(), redis, more: Vec::new() };
            let output = folder.path().join("output").join(name);
            let mut pipeline = Pipeline::new(folder, name, &settings, Target::Fs(output))?;
            pipeline.catch_up(1, PATIENCE)?;
            // The same data as on one server, of which other tests know that it is right: here it is enough
            // that raw rows and books are whole.
            pipeline.verify()?;
        }
        Ok(())
    });
}

#[test]
fn a_state_that_was_lost_is_found_until_a_worker_has_built_it_anew() {
    scenario("stream-lost", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        data.produce(&servers.kafka, "lost")?;
        let mut pipeline = servers.pipeline("lost", &[])?;
        pipeline.catch_up(1, PATIENCE)?;
        redis::cmd("FLUSHALL").exec(&mut servers.redis.connection()?)?;
        let manifest = pipeline.manifest().display().to_string();
        let verified = pipeline.command(&["verify", "--grace", "1s", "-f", &manifest])?.output()?;
        let said = String::from_utf8_lossy(&verified.stdout);
        ensure!(verified.status.code() == Some(4), "it ended with {}:\n{said}", verified.status);
        ensure!(said.contains("behind the files and stands still"), "{said}");
        pipeline.catch_up(1, PATIENCE)?;
        servers.check(&data, "lost", &pipeline)
    });
}

fn local(folder: &Folder, data: &Data, coordinates: bool) -> Result<()> {
    let output = folder.path().join("output");
    data.local(&output)?;
    let oracle = Oracle { coordinates, settings: Vec::new(), ..data.oracle("any", None) };
    oracle.check(&output).map(drop)
}

#[test]
fn local_gives_the_oracles_answer_on_generated_data() {
    scenario("local-generated", |folder| {
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        local(folder, &data, true)
    });
}

#[test]
fn local_gives_the_oracles_answer_on_real_data() {
    let Some(real) = RealData::find() else { return };
    scenario("local-real", |folder| {
        let data =
            Data { rides: vec![real.rides], fares: vec![real.fares], neighbourhoods: real.neighbourhoods };
        local(folder, &data, true)
    });
}
