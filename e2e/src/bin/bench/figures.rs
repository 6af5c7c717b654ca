//! How each figure is measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tips_e2e::figure::{Figure, Limit};
use tips_e2e::kafka::{Kafka, KafkaOptions};
use tips_e2e::process::run;
use tips_e2e::redis::{Redis, RedisOptions};
use tips_e2e::worker::{binary, page};
use tips_e2e::{Folder, Process, Servers};

use super::usage::{self, Usage};

const PATIENCE: Duration = Duration::from_secs(600);
/// 8 partitions of each topic, both keyed by the ride.
const PARTITIONS: &str = "8";
/// Records a second at which latency is measured.
const PACE: f64 = 50_000.0;
/// As many records as a worker reads of a partition at most, before it reads of another.
const LARGEST_READ: f64 = 1024.0;

/// The whole job on uncompressed files, and what it costs to generate them: whoever loads a worker needs no more than
/// the worker does.
pub(super) fn local(folder: &Folder) -> Result<Vec<Figure>> {
    let input = folder.path().join("local-input");
    let mut command = Command::new(binary()?);
    command.args([
        "generate",
        "--seed",
        "1",
        "--rate",
        "100",
        "--span",
        "5h",
        "--partitions",
        "4",
        "--output",
    ]);
    command.arg(&input);
    let mut generator = Process::start("generate", command, &folder.path().join("generate.log"))?;
    let generated = usage::until_end(&mut generator, PATIENCE)?;
    let records = records(&input.join("expected"))?;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
    let mut command = Command::new(binary()?);
    command.args(["local", "--quiet", "-f", manifest]);
    for kind in ["rides", "fares"] {
        command.arg(format!("--{kind}"));
        command.args((0..4).map(|i| input.join(format!("{kind}-{i}.csv"))));
    }
    command.arg("--output").arg(folder.path().join("local-output"));
    let mut worker = Process::start("local", command, &folder.path().join("local.log"))?;
    let used = usage::until_end(&mut worker, PATIENCE)?;
    let per_cpu_second = |command: &str, used: &Usage, limit: f64| Figure {
        name: format!("{command}_records_per_cpu_second"),
        value: records / used.cpu_seconds,
        unit: "records/s",
        limit: Limit::AtLeast(limit),
    };
    let figures =
        [per_cpu_second("generate", &generated, 1_000_000.0), per_cpu_second("local", &used, 2_000_000.0)];
    Ok(figures.into_iter().chain(shares("local", &used)).collect())
}

/// How many records were generated, by the answer that was written into `expected`.
fn records(expected: &Path) -> Result<f64> {
    let books: serde_json::Value = serde_json::from_slice(&std::fs::read(expected.join("books.json"))?)?;
    let of = |topic: &str| books[topic]["consumed"].as_f64().context("books without a count");
    Ok(of("rides")? + of("fares")?)
}

/// A backlog that is no more.
struct WorkedOff {
    records: f64,
    worker: Usage,
    redis_cpu_seconds: f64,
}

/// A broker with room for a backlog, and a Redis that writes no log.
fn servers(folder: &Folder) -> Result<Servers<'_>> {
    let kafka = Kafka::start_with(folder, &KafkaOptions { heap: 1024, ..KafkaOptions::default() })?;
    let redis = Redis::start(folder, RedisOptions { appendonly: false, ..RedisOptions::default() })?;
    Ok(Servers { folder, kafka, redis })
}

fn expected(servers: &Servers<'_>, name: &str) -> PathBuf {
    servers.folder.path().join(format!("{name}-expected"))
}

/// Has one worker process all that is in the topics, once.
fn work_off(servers: &Servers<'_>, name: &str) -> Result<WorkedOff> {
    let records = records(&expected(servers, name))?;
    let before = servers.redis.cpu_seconds()?;
    let mut worker = servers.pipeline(name, &[])?.start(&["--until-caught-up"])?;
    let worker = usage::until_end(&mut worker, PATIENCE)?;
    let redis_cpu_seconds = servers.redis.cpu_seconds()?.process - before.process;
    Ok(WorkedOff { records, worker, redis_cpu_seconds })
}

fn generate(servers: &Servers<'_>, name: &str, more: &[&str]) -> Result<Command> {
    generate_to(servers, name, [&format!("{name}-rides"), &format!("{name}-fares")], more)
}

fn generate_to(servers: &Servers<'_>, name: &str, topics: [&str; 2], more: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(["generate", "--partitions", PARTITIONS, "--kafka", &servers.kafka.bootstrap()]);
    command.args(["--rides-topic", topics[0], "--fares-topic", topics[1]]);
    command.arg("--force").arg("--expected").arg(expected(servers, name)).args(more);
    Ok(command)
}

/// One worker and a backlog of ten million records, one of the 8 partitions of each topic three hours behind.
pub(super) fn backlog(folder: &Folder) -> Result<Vec<Figure>> {
    let servers = servers(folder)?;
    let ten_million =
        ["--seed", "2", "--rate", "200", "--rides", "3334000", "--disorder", "1m", "--behind", "3h"];
    run(&mut generate(&servers, "backlog", &ten_million)?)?;
    let worked = work_off(&servers, "backlog")?;
    Ok(vec![
        Figure {
            name: "stream_records_per_cpu_second".to_owned(),
            value: worked.records / worked.worker.cpu_seconds,
            unit: "records/s",
            limit: Limit::AtLeast(1_000_000.0),
        },
        Figure {
            name: "redis_cpu_per_record_keyed_alike".to_owned(),
            value: worked.redis_cpu_seconds / worked.records * 1e6,
            unit: "us",
            limit: Limit::AtMost(0.2),
        },
        Figure {
            name: "worker_peak_memory".to_owned(),
            value: worked.worker.peak_mib,
            unit: "MiB",
            limit: Limit::AtMost(256.0),
        },
    ]
    .into_iter()
    .chain(shares("stream", &worked.worker))
    .collect())
}

/// What share of the worker's CPU seconds each stage has.
fn shares(command: &str, worker: &Usage) -> impl Iterator<Item = Figure> {
    let all = worker.cpu_seconds;
    worker.stages().into_iter().map(move |(stage, seconds)| Figure {
        name: format!("{command}_share_of_{stage}"),
        value: seconds / all * 100.0,
        unit: "% of the worker's CPU",
        limit: Limit::None,
    })
}

/// Each fare comes to Kafka only after all the rides, so no pair meets in a batch.
pub(super) fn nothing_joins(folder: &Folder) -> Result<Vec<Figure>> {
    let servers = servers(folder)?;
    let data = ["--seed", "4", "--rate", "200", "--rides", "500000"];
    for topics in [["apart-rides", "unused-fares"], ["unused-rides", "apart-fares"]] {
        run(&mut generate_to(&servers, "apart", topics, &data)?)?;
    }
    let worked = work_off(&servers, "apart")?;
    Ok(vec![Figure {
        name: "redis_cpu_per_record_nothing_joins".to_owned(),
        value: worked.redis_cpu_seconds / worked.records * 1e6,
        unit: "us",
        limit: Limit::AtMost(1.0),
    }])
}

/// Two workers at 50,000 records a second, of which one is killed.
pub(super) fn live(folder: &Folder) -> Result<Vec<Figure>> {
    let live = folder.dir("live")?;
    let servers = servers(folder)?;
    let data = ["--seed", "3", "--rate", "500", "--rides", "2000000", "--pace", &PACE.to_string()];
    let mut pipeline = servers.pipeline("live", &[])?;
    let sender = generate(&servers, "live", &data)?;
    let mut sender = Process::start("generate", sender, &live.join("generate.log"))?;
    std::thread::sleep(Duration::from_secs(3));
    let (mut one, two) = (pipeline.start(&[])?, pipeline.start(&[])?);
    // Of the steady state: what waited before the workers began is no measure of them.
    std::thread::sleep(Duration::from_secs(10));
    let (begun, before) = (Instant::now(), [Latencies::of(&one)?, Latencies::of(&two)?]);
    std::thread::sleep(Duration::from_secs(20));
    let (seconds, after) = (begun.elapsed().as_secs_f64(), [Latencies::of(&one)?, Latencies::of(&two)?]);
    let latency = p99(&before, &after, seconds)?;
    one.kill9()?;
    let killed = Instant::now();
    let caught_up = loop {
        std::thread::sleep(Duration::from_millis(200));
        if has_all(&two)? {
            break killed.elapsed().as_secs_f64();
        }
        if killed.elapsed() > Duration::from_secs(60) {
            bail!("the other worker has not caught up within a minute");
        }
    };
    sender.end()?;
    Ok(vec![
        Figure {
            name: "latency_p99_at_50000_records_per_second".to_owned(),
            value: latency,
            unit: "s",
            limit: Limit::AtMost(1.0),
        },
        Figure {
            name: "takeover_after_kill_9".to_owned(),
            value: caught_up,
            unit: "s",
            limit: Limit::AtMost(15.0),
        },
        Figure {
            name: "takeover_share_of_session_timeout".to_owned(),
            value: KafkaOptions::default().session_timeout.as_secs_f64(),
            unit: "s",
            limit: Limit::None,
        },
    ])
}

/// What a worker has observed so far.
struct Latencies {
    records: f64,
    /// Upper bounds in seconds, and of how many reads the oldest record was below each.
    reads: Vec<(f64, f64)>,
}

impl Latencies {
    fn of(worker: &Process) -> Result<Self> {
        let metrics = page(worker, "/metrics")?;
        let of = |name: &'static str| {
            metrics.lines().filter_map(move |line| line.strip_prefix(name)?.split_once("\"} "))
        };
        let records =
            of("tipstream_records_consumed_total{topic=\"").map(|(_, count)| Ok(count.parse::<f64>()?));
        let reads = of("tipstream_record_latency_seconds_bucket{le=\"");
        let reads = reads.map(|(bound, count)| Ok((bound.parse().unwrap_or(f64::INFINITY), count.parse()?)));
        Ok(Latencies { records: records.sum::<Result<f64>>()?, reads: reads.collect::<Result<_>>()? })
    }
}

/// A bound, in seconds, that no more than one in a hundred of the records has passed that came to the workers between
/// two looks: a read whose oldest has passed it counts as one of the largest, with all its records.
fn p99(before: &[Latencies; 2], after: &[Latencies; 2], seconds: f64) -> Result<f64> {
    let records: f64 = after.iter().zip(before).map(|(after, before)| after.records - before.records).sum();
    if records < 0.95 * PACE * seconds {
        bail!(
            "{:.0} records a second came, fewer than {PACE}: this says nothing of the latency",
            records / seconds
        );
    }
    let reads = |looks: &[Latencies; 2], bucket: usize| -> Option<f64> {
        looks.iter().map(|look| look.reads.get(bucket).map(|(_, count)| count)).sum()
    };
    let new = |bucket| Some(reads(after, bucket)? - reads(before, bucket)?);
    let bounds = &after[0].reads;
    let all = bounds.len().checked_sub(1).and_then(new).context("no latencies in /metrics")?;
    let is_kept =
        |bucket: usize| new(bucket).is_some_and(|below| (all - below) * LARGEST_READ <= 0.01 * records);
    (0..bounds.len()).find(|bucket| is_kept(*bucket)).map(|bucket| bounds[bucket].0).context("no bucket")
}

/// Whether the worker has all partitions and is less than a second of records behind.
fn has_all(worker: &Process) -> Result<bool> {
    let status: serde_json::Value = serde_json::from_str(&page(worker, "/status")?)?;
    let partitions = status["partitions"].as_array().context("no partitions in /status")?;
    let reading = partitions.iter().filter(|partition| partition["position"].is_number()).count();
    Ok(reading == 16 && status["lagRecords"].as_i64().is_some_and(|lag| lag < 50_000))
}
