//! `stream` and `local` give the oracle's answer, wherever they write and however many workers there are.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use tips_e2e::books::Books;
use tips_e2e::data::RealData;
use tips_e2e::hdfs::Hdfs;
use tips_e2e::kafka::{Kafka, Record};
use tips_e2e::oracle::{Oracle, Watermark};
use tips_e2e::process::run;
use tips_e2e::query::Query;
use tips_e2e::redis::{RedisCluster, Sentinel};
use tips_e2e::s3::S3;
use tips_e2e::sender::{Lines, send};
use tips_e2e::wait::until;
use tips_e2e::worker::{
    Bucket, Data, MIXED, PARTITIONS, Pipeline, Settings, Target, binary, metric, page, watermark,
};
use tips_e2e::{Folder, Process, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "11", "--rate", "12", "--span", "2h"];

/// Three workers that share a pipeline have partitions, and read, before the lines are all there.
fn three_at_once(servers: &Servers<'_>, data: &Data, name: &str, pipeline: &mut Pipeline<'_>) -> Result<()> {
    let topics = data.topics(&servers.kafka, name)?;
    let mut workers = (0..3).map(|_| pipeline.start(&[])).collect::<Result<Vec<_>>>()?;
    let all_have =
        |what: &str| Ok(workers.iter().all(|worker| metric(worker, what).is_ok_and(|value| value > 0.0)));
    until("shared out to three", PATIENCE, || all_have("tipstream_assigned_partitions"))?;
    send(&servers.kafka.client(), &topics, None)?;
    until("read by three", PATIENCE, || all_have("tipstream_records_consumed_total"))?;
    workers.iter_mut().try_for_each(Process::end)
}

/// One worker from the beginning, and three beside each other on another pipeline; then the real data.
fn one_worker_and_three(folder: &Folder, target: impl Fn(&str) -> Target) -> Result<()> {
    let servers = Servers::start(folder)?;
    let generated = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
    let real = RealData::find().map(|real| Data::real(folder, &real)).transpose()?;
    for (kind, data) in [("generated", Some(&generated)), ("real", real.as_ref())] {
        let Some(data) = data else { continue };
        for workers in [1, 3] {
            let name = format!("{kind}-{workers}");
            let settings = servers.settings(&["job: {idleTimeout: 1h}"]);
            let mut pipeline = Pipeline::new(folder, &name, &settings, target(&name))?;
            pipeline.set("TIPS_NEIGHBOURHOODS", &data.neighbourhoods.display().to_string());
            match workers {
                1 => data.produce(&servers.kafka, &name)?,
                _ => three_at_once(&servers, data, &name, &mut pipeline)?,
            }
            pipeline.catch_up(workers, PATIENCE)?;
            let timestamps = folder.path().join(format!("{name}.timestamps"));
            let topics = ["rides", "fares"].map(|topic| format!("{name}-{topic}"));
            servers.kafka.timestamps(&topics, BufWriter::new(File::create(&timestamps)?))?;
            let more =
                |oracle| Oracle { watermark: Watermark::OfAll, timestamps: Some(timestamps), ..oracle };
            servers.check_with_books(data, &name, &pipeline, more).with_context(|| name)?;
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
        one_worker_and_three(folder, |_| Target::Hdfs(hdfs.files()))
    });
}

#[test]
fn the_state_may_be_a_cluster_or_a_sentinels_master() {
    scenario("stream-redis", |folder| {
        let kafka = Kafka::start(folder)?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let mut cluster = RedisCluster::start(folder, 3)?;
        let mut sentinel = Sentinel::start(folder, None)?;
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
            let masters = match name {
                "cluster" => cluster.nodes(),
                _ => std::slice::from_mut(sentinel.master()?),
            };
            // Every node has some of the shards.
            let connections: Result<Vec<_>> = masters.iter().map(|master| master.connection()).collect();
            let mut connections = connections?;
            let closed: Result<Vec<_>> = connections.iter_mut().map(|redis| watermark(redis, name)).collect();
            data.oracle(name, closed?.into_iter().min()).check(&pipeline.output()?)?;
            let told = Books::of_redis(&mut connections, name)?;
            data.books()?.context("no books")?.check(&told)?;
            pipeline.verify()?;

            let query = Query::open(&pipeline, &folder.path().join(format!("{name}-query.log")), &[])?;
            let status = query.rows(
                "SELECT rides_consumed + fares_consumed, state_error, sink_error FROM pipeline_status",
            )?;
            ensure!(status == [[data.records()?.to_string(), String::new(), String::new()]], "{status:?}");
            ensure!(query.value("SELECT count(DISTINCT final) FROM tips")? == "2", "not both halves");
            let tips =
                || query.rows("SELECT window_start, stop_nbhd, trips, tip_sum FROM tips ORDER BY 1, 2");
            let before = tips()?;
            ensure!(pipeline.compact("2013-01-01", &[])?.folders() > 0, "nothing was merged");
            pipeline.verify()?;
            ensure!(tips()? == before, "other windows after compaction");
        }
        Ok(())
    });
}

/// Sends what `generate` makes of these arguments, straight to Kafka, to the topics of the pipeline `name`.
fn generate_to_kafka(kafka: &Kafka, name: &str, expected: &Path, arguments: &[&str]) -> Result<()> {
    let mut generate = Command::new(binary()?);
    generate.args(["generate", "--kafka", &kafka.bootstrap()]).args(arguments);
    generate.args(["rides", "fares"].map(|topic| format!("--{topic}-topic={name}-{topic}")));
    generate.arg(format!("--partitions={PARTITIONS}")).arg("--expected").arg(expected);
    run(&mut generate).map(drop)
}

#[test]
fn what_is_generated_into_kafka_is_what_is_expected() {
    scenario("stream-generated", |folder| {
        let servers = Servers::start(folder)?;
        // The same lines as in files, at the same offsets.
        let same = [&DATA[..], &["--disorder", "10m", "--duplicates", "0.02"]].concat();
        let data = Data::generate(folder, &same)?;
        generate_to_kafka(&servers.kafka, "same", &folder.path().join("same"), &same)?;
        let mut pipeline = servers.pipeline("same", &[])?;
        pipeline.catch_up(1, PATIENCE)?;
        servers.check_with_books(&data, "same", &pipeline, |oracle| oracle)?;

        // Null values are in no file.
        let invalid = [&DATA[..], &["--invalid", "0.05"]].concat();
        let input = folder.path().join("nulls");
        generate_to_kafka(&servers.kafka, "nulls", &input.join("expected"), &invalid)?;
        let mut pipeline = servers.pipeline("nulls", &["raw: {flushInterval: 1s}"])?;
        let mut worker = pipeline.start(&[])?;
        let books = Books::generated(&input)?;
        let records = books.get("rides", "consumed") + books.get("fares", "consumed");
        books_are(&books, &worker, records as f64)?;
        for topic in ["rides", "fares"] {
            let nulls = format!("tipstream_records_invalid_total{{reason=\"null_value\",topic=\"{topic}\"}}");
            ensure!(metric(&worker, &nulls)? > 0.0, "no null values among {topic}");
        }
        worker.end()?;
        pipeline.catch_up(1, PATIENCE)?;
        pipeline.verify().map(drop)
    });
}

#[test]
fn what_dead_writers_have_left_is_swept() {
    scenario("stream-sweep", |folder| {
        let servers = Servers::start(folder)?;
        servers.kafka.create_topics("sweep", 1)?;
        let mut pipeline = servers.pipeline("sweep", &[])?;
        let left = pipeline.output()?.join("_tips/tmp");
        std::fs::create_dir_all(&left)?;
        let (old, new) = (left.join("old"), left.join("new"));
        for (file, age) in [(&old, 2), (&new, 0)] {
            let file = File::create(file)?;
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 3600))?;
        }
        let mut worker = pipeline.start(&[])?;
        until("swept", PATIENCE, || Ok(!old.exists()))?;
        ensure!(new.exists(), "whoever writes it may live");
        worker.end()
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
        servers.check_with_books(&data, "lost", &pipeline, |oracle| oracle)
    });
}

/// Waits until the books tell of `records`, then compares them.
fn books_are(books: &Books, worker: &Process, records: f64) -> Result<()> {
    // It may not listen yet.
    let told = || metric(worker, "tipstream_records_outcome").is_ok_and(|told| told == records);
    until("told in the books", PATIENCE, || Ok(told()))?;
    books.check(&Books::of_status(&page(worker, "/status")?)?)
}

/// Five hours, and rides of its first minutes that come when all of the others have been applied: each
/// window that they could count in has closed, whoever reads them in which order, so the tips are those of the others
/// alone. (Within one run lateness depends on what was read with what; that is why they come in two.) Null and empty
/// values come with them.
#[test]
fn late_lines_and_values_that_are_none_are_in_the_books_and_in_no_window() {
    scenario("stream-late", |folder| {
        let servers = Servers::start(folder)?;
        let punctual = ["--seed", "17", "--rate", "3", "--span", "5h"];
        let data = Data::generate(folder, &[&punctual[..], &MIXED].concat())?;
        let late = ["--seed", "18", "--rate", "1", "--span", "10m", "--first-ride-id", "1000000000"];
        let late_data = Data::generate_in(&folder.path().join("late"), &late)?;
        let topics = data.topics(&servers.kafka, "late")?;
        send(&servers.kafka.client(), &topics, None)?;
        let mut pipeline = servers.pipeline("late", &["raw: {flushInterval: 1s}"])?;
        pipeline.catch_up(2, PATIENCE)?;

        let mut books = Books::generated(&folder.path().join("input"))?;
        let more = Books::generated(&folder.path().join("late"))?;
        for topic in ["rides", "fares"] {
            let (consumed, start) = (more.get(topic, "consumed"), more.get(topic, "start"));
            for (outcome, records) in
                [("consumed", consumed + 2), ("start", start), ("late", consumed - start), ("invalid", 2)]
            {
                books.add(topic, outcome, records);
            }
            servers.kafka.produce(&format!("late-{topic}"), 1, [Record::from(""), Record::default()])?;
        }
        let late_lines = topics.into_iter().zip([&late_data.rides, &late_data.fares]);
        let late_lines: Vec<_> =
            late_lines.map(|(topic, files)| Lines { files: files.clone(), ..topic }).collect();
        send(&servers.kafka.client(), &late_lines, None)?;
        let mut worker = pipeline.start(&[])?;
        let records = (data.records()? + late_data.records()? + 4) as f64;
        books_are(&books, &worker, records)?;
        worker.end()?;

        let mut oracle = data.oracle("late", Some(servers.closed("late")?));
        let empty = folder.file("empty.csv", "\n")?;
        oracle.rides.extend(late_data.rides.into_iter().chain([empty.clone()]));
        oracle.fares.extend(late_data.fares.into_iter().chain([empty]));
        (oracle.coordinates, oracle.nulls) = (false, 2);
        oracle.settings.push("--late-from=1000000000".into());
        oracle.check(&pipeline.output()?)?;
        pipeline.verify()?;
        Ok(())
    });
}

fn local(folder: &Folder, data: &Data, coordinates: bool, name: &str) -> Result<String> {
    let output = folder.path().join(name);
    let said = data.local(&output)?;
    let oracle = Oracle { coordinates, settings: Vec::new(), ..data.oracle("any", None) };
    oracle.check(&output)?;
    Ok(said)
}

#[test]
fn local_gives_the_oracles_answer_on_generated_data() {
    scenario("local-generated", |folder| {
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let said = local(folder, &data, true, "output")?;
        Books::generated(&folder.path().join("input"))?.check(&Books::of_table(&said)?)?;
        // One line of six is no line any more, or has a field that only looks broken.
        let spoiled = |file: &PathBuf| -> Result<PathBuf> {
            let name = file.file_name().context("a file without a name")?.to_string_lossy();
            let copy = folder.path().join(format!("spoiled-{name}"));
            Oracle::spoil(file, 11, &copy)?;
            Ok(copy)
        };
        let all = |files: &[PathBuf]| files.iter().map(spoiled).collect::<Result<Vec<_>>>();
        let data = Data { rides: all(&data.rides)?, fares: all(&data.fares)?, ..data };
        local(folder, &data, true, "spoiled").map(drop)
    });
}

#[test]
fn local_gives_the_oracles_answer_on_real_data() {
    let Some(real) = RealData::find() else { return };
    scenario("local-real", |folder| {
        let data =
            Data { rides: vec![real.rides], fares: vec![real.fares], neighbourhoods: real.neighbourhoods };
        local(folder, &data, true, "output").map(drop)
    });
}
