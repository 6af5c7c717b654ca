//! What a pipeline stands on dies while it works, and comes back or is replaced: a namenode, a datanode, the master of
//! Redis, a worker. The files and the books are those of an undisturbed run.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tips_e2e::books::Books;
use tips_e2e::hdfs::Hdfs;
use tips_e2e::kafka::{Kafka, KafkaOptions};
use tips_e2e::redis::Sentinel;
use tips_e2e::sender::send;
use tips_e2e::wait::until;
use tips_e2e::watcher::{Merging, Store, Watcher};
use tips_e2e::worker::{Data, MIXED, Pipeline, Settings, Target, metric, metrics, watermark};
use tips_e2e::{Folder, Process, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "27", "--rate", "8", "--span", "2h"];
/// Records a second of wall time: the data lasts for what is done.
const PACE: usize = 12_000;
const CONSUMED: &str = "tipstream_records_consumed_total";

fn mixed(folder: &Folder) -> Result<Data> {
    Data::generate(folder, &[&DATA[..], &MIXED].concat())
}

/// Workers read what is sent meanwhile, and when they have read a fifth of it `strike` has its way with them and with
/// their servers.
fn disturbed(
    kafka: &Kafka,
    data: &Data,
    name: &str,
    pipeline: &mut Pipeline<'_>,
    strike: impl FnOnce(&mut Pipeline<'_>, &mut Vec<Process>) -> Result<()>,
) -> Result<()> {
    let (client, topics) = (kafka.client(), data.topics(kafka, name)?);
    let sender = std::thread::spawn(move || send(&client, &topics, Some(PACE)));
    let mut workers = vec![pipeline.start(&[])?, pipeline.start(&[])?];
    let a_fifth = data.records()? as f64 / 5.0;
    // They may not listen yet.
    let consumed = || workers.iter().filter_map(|worker| metric(worker, CONSUMED).ok()).sum::<f64>();
    until("a fifth is read", PATIENCE, || Ok(consumed() >= a_fifth))?;
    strike(pipeline, &mut workers)?;
    sender.join().map_err(|_| anyhow!("the sender panicked"))??;
    for worker in &mut workers {
        ensure!(worker.is_running(), "a worker has ended; {}", worker.last_lines());
        worker.end()?;
    }
    pipeline.catch_up(1, PATIENCE)
}

/// Files are published while the broker is away; when it is back, the group hears of them though no record comes.
#[test]
fn what_was_published_without_kafka_is_committed_once_it_is_back() {
    scenario("kafka-away", |folder| {
        let mut servers = Servers::start(folder)?;
        let data = mixed(folder)?;
        data.produce(&servers.kafka, "away")?;
        let mut pipeline = servers.pipeline("away", &["raw: {flushInterval: 5s}"])?;
        let worker = pipeline.start(&[])?;
        let all = data.records()? as f64;
        let reaches = |name: &str, all: f64| {
            until(name, PATIENCE, || {
                Ok(metrics(&worker, name).is_ok_and(|found| found.iter().sum::<f64>() >= all))
            })
        };
        reaches(CONSUMED, all)?;
        servers.kafka.down()?;
        reaches("tipstream_raw_rows_total", all)?;
        servers.kafka.up()?;
        let topics = ["rides", "fares"].map(|kind| format!("away-{kind}"));
        until("committed", PATIENCE, || {
            Ok(servers.kafka.committed("default.away", &topics).is_ok_and(|offset| offset as f64 == all))
        })
    });
}

/// Waits until a worker has said `text` once more.
fn until_said_again(workers: &[Process], text: &str) -> Result<()> {
    let said =
        || -> Result<usize> { workers.iter().map(|worker| Ok(worker.output()?.matches(text).count())).sum() };
    let before = said()?;
    until(&format!("said: {text}"), PATIENCE, || Ok(said()? > before))
}

#[test]
fn the_namenode_dies_and_then_the_datanode() {
    scenario("hdfs-dies", |folder| {
        let servers = Servers::start(folder)?;
        let mut hdfs = Hdfs::start(folder)?;
        let data = mixed(folder)?;
        let settings = servers.settings(&["raw: {flushInterval: 1s}"]);
        let mut pipeline = Pipeline::new(folder, "hdfs", &settings, Target::Hdfs(hdfs.files()))?;
        let output = format!("{}/hdfs", hdfs.files().webhdfs());
        let watcher = Watcher::start_with(folder, output, Merging::None, Store::MayBeAway)?;
        disturbed(&servers.kafka, &data, "hdfs", &mut pipeline, |_, workers| {
            hdfs.name_node().kill9()?;
            until_said_again(workers, "sink: trying again").context("without a namenode")?;
            hdfs.up()?;
            hdfs.data_node().kill9()?;
            until_said_again(workers, "sink: trying again").context("without a datanode")?;
            hdfs.up()
        })?;
        watcher.finish()?;
        servers.check_with_books(&data, "hdfs", &pipeline, |oracle| oracle)
    });
}

#[test]
fn the_master_of_redis_dies_and_its_replica_takes_over() {
    scenario("redis-fails-over", |folder| {
        let kafka = Kafka::start(folder)?;
        let mut sentinel = Sentinel::start(folder, None)?;
        let data = mixed(folder)?;
        let redis = format!(
            "{{mode: Sentinel, urls: [\"{}\"], sentinel: {{masterName: {}}}}}",
            sentinel.url(),
            sentinel.master_name()
        );
        let more = vec!["raw: {flushInterval: 1s}".to_owned()];
        let settings = Settings { kafka: kafka.bootstrap(), redis, more };
        let output = Target::Fs(folder.path().join("output"));
        let mut pipeline = Pipeline::new(folder, "redis", &settings, output)?;
        disturbed(&kafka, &data, "redis", &mut pipeline, |_, _| sentinel.fail_over())?;
        let closed = watermark(&mut sentinel.master()?.connection()?, "redis")?;
        data.oracle("redis", Some(closed)).check(&pipeline.output()?)?;
        let told = Books::of_redis(&mut [sentinel.master()?.connection()?], "redis")?;
        data.books()?.context("no books")?.check(&told)?;
        pipeline.verify()?;
        Ok(())
    });
}

/// Calls are given up in time; what they ask for may be done all the same.
#[test]
fn a_redis_that_hangs_is_waited_for() {
    scenario("redis-hangs", |folder| {
        let mut servers = Servers::start(folder)?;
        let data = mixed(folder)?;
        let mut pipeline = servers.pipeline("hangs", &["raw: {flushInterval: 1s}"])?;
        let Servers { kafka, redis, .. } = &mut servers;
        disturbed(kafka, &data, "hangs", &mut pipeline, |_, workers| {
            redis.process().stop()?;
            let told = until_said_again(workers, "trying again");
            redis.process().cont()?;
            told
        })?;
        servers.check_with_books(&data, "hangs", &pipeline, |oracle| oracle)
    });
}

/// A broker that knows no other protocol, as those before 4.0: it takes all partitions from everybody at each change.
#[test]
fn workers_of_the_classic_protocol_come_go_and_die() {
    scenario("classic", |folder| {
        let config = vec!["group.coordinator.rebalance.protocols=classic".to_owned()];
        let servers = Servers::start_with(folder, &KafkaOptions { config, ..KafkaOptions::default() })?;
        let data = mixed(folder)?;
        let mut pipeline = servers.pipeline("classic", &["raw: {flushInterval: 1s}"])?;
        let watcher = Watcher::start(folder, pipeline.output()?, Merging::None)?;
        let properties =
            "{group.protocol: classic, session.timeout.ms: \"2000\", heartbeat.interval.ms: \"500\"}";
        pipeline.change("ridesTopic", &format!("properties: {properties}, ridesTopic"))?;
        disturbed(&servers.kafka, &data, "classic", &mut pipeline, |pipeline, workers| {
            workers.push(pipeline.start(&[])?);
            let has_some =
                |worker: &Process| metric(worker, "tipstream_assigned_partitions").is_ok_and(|it| it > 0.0);
            until("shared out to three", PATIENCE, || Ok(workers.iter().all(has_some)))?;
            workers.remove(0).kill9()?;
            workers.remove(0).end()
        })?;
        watcher.finish()?;
        servers.check_with_books(&data, "classic", &pipeline, |oracle| oracle)
    });
}
