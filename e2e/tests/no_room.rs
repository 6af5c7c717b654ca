//! No room in Redis, on the disk or in memory: a worker keeps what it has, and goes on when there is room again.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::kafka::KafkaOptions;
use tips_e2e::process::run;
use tips_e2e::redis::Redis;
use tips_e2e::s3::S3;
use tips_e2e::sender::send;
use tips_e2e::wait::until;
use tips_e2e::worker::{Bucket, Data, PARTITIONS, Pipeline, Target, metric, metrics, page, until_metric};
use tips_e2e::{Folder, Process, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const SESSION: Duration = Duration::from_secs(2);
const DATA: [&str; 10] =
    ["--seed", "23", "--rate", "3", "--span", "2h", "--disorder", "10m", "--invalid", "0.01"];

const ASSIGNED: &str = "tipstream_assigned_partitions";
const CONSUMED: &str = "tipstream_records_consumed_total";
const MIB: f64 = (1 << 20) as f64;

fn start(folder: &Folder) -> Result<Servers<'_>> {
    Servers::start_with(folder, &KafkaOptions { session_timeout: SESSION, ..KafkaOptions::default() })
}

fn set_maxmemory(redis: &Redis, limit: &str) -> Result<()> {
    let mut command = redis::cmd("CONFIG");
    Ok(command.arg("SET").arg("maxmemory").arg(limit).exec(&mut redis.connection()?)?)
}

#[test]
fn a_full_redis_is_waited_for() {
    scenario("full-redis", |folder| {
        let servers = start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        let topics = data.topics(&servers.kafka, "redis")?;
        let output = Target::Fs(folder.path().join("output"));
        let mut pipeline =
            Pipeline::new(folder, "redis", &servers.settings(&["raw: {flushInterval: 1s}"]), output)?;
        let mut worker = pipeline.start(&[])?;
        until_metric(&mut worker, ASSIGNED, 2.0 * PARTITIONS as f64, PATIENCE)?;
        let changes = metric(&worker, "tipstream_rebalances_total")?;
        // Less than an empty server has.
        set_maxmemory(&servers.redis, "500kb")?;
        send(&servers.kafka.client(), &topics, None)?;
        worker.until_said("Redis is out of memory: raise `maxmemory`", PATIENCE)?;
        std::thread::sleep(2 * SESSION);
        ensure!(metric(&worker, "tipstream_rebalances_total")? == changes, "it has not kept its partitions");
        until_metric(&mut worker, "tipstream_redis_memory_limit_bytes", 512_000.0, PATIENCE)?;
        ensure!(metric(&worker, "tipstream_redis_memory_bytes")? > 512_000.0, "it is not seen to be full");
        set_maxmemory(&servers.redis, "0")?;
        pipeline.catch_up(1, PATIENCE)?;
        worker.end()?;
        servers.check(&data, "redis", &pipeline)
    });
}

/// A file system of 16 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: PathBuf) -> Result<Self> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&dir))?;
        Ok(SmallDisk(dir))
    }

    /// Takes all the room there is; removing the file gives it back.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("filler");
        let mut file = File::create(&path).context("making a filler")?;
        let zeros = vec![0; 4096];
        while file.write_all(&zeros).is_ok() {}
        Ok(path)
    }
}

impl Drop for SmallDisk {
    #[expect(clippy::print_stderr, reason = "a drop has nobody else to tell")]
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg("--lazy").arg(&self.0)) {
            eprintln!("{} is still mounted: {error:#}", self.0.display());
        }
    }
}

fn may_mount() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

/// `local` has nobody to wait for: it says what to do, and the same command goes on.
fn local_says_so_and_goes_on(folder: &Folder, disk: &SmallDisk, data: &Data) -> Result<()> {
    let (elsewhere, output) = (folder.path().join("elsewhere"), disk.0.join("local"));
    data.local(&elsewhere)?;
    let filler = disk.fill()?;
    let refused = data.local(&output).err().context("it does not need any room")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("free space or enlarge the volume"), "{said}");
    std::fs::remove_file(&filler)?;
    data.local(&output)?;
    let mut compare = Command::new("diff");
    run(compare.args(["--recursive", "--brief", "--exclude=_tips"]).args([&elsewhere, &output]))?;
    std::fs::remove_dir_all(&output).context("making room")
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is not made says so")]
fn a_full_disk_is_waited_for() {
    if !may_mount() {
        return eprintln!("not made: only root may mount a small disk");
    }
    scenario("full-disk", |folder| {
        let disk = SmallDisk::mount(folder.dir("disk")?)?;
        let servers = start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        local_says_so_and_goes_on(folder, &disk, &data)?;
        let topics = data.topics(&servers.kafka, "disk")?;
        let mut pipeline = Pipeline::new(
            folder,
            "disk",
            &servers.settings(&["raw: {flushInterval: 1s}"]),
            Target::Fs(disk.0.clone()),
        )?;
        let filler = disk.fill()?;
        pipeline
            .refused(1, &["cannot open", "free space or enlarge the volume; nothing is lost meanwhile"])?;
        std::fs::remove_file(&filler)?;

        let mut worker = pipeline.start(&[])?;
        worker.until_said("\"started\"", PATIENCE)?;
        disk.fill()?;
        send(&servers.kafka.client(), &topics, None)?;
        worker.until_said("free space or enlarge the volume; nothing is lost meanwhile", PATIENCE)?;
        std::thread::sleep(2 * SESSION);
        ensure!(worker.is_running(), "a full disk is no reason to end; {}", worker.last_lines());
        std::fs::remove_file(&filler)?;
        pipeline.catch_up(1, PATIENCE)?;
        worker.end()?;
        servers.check(&data, "disk", &pipeline)
    });
}

/// Waits until the worker has read nothing for some seconds; how much it had read then.
fn until_it_waits(worker: &Process) -> Result<f64> {
    let mut last = metric(worker, CONSUMED)?;
    until("waiting", PATIENCE, || {
        std::thread::sleep(Duration::from_secs(3));
        let before = std::mem::replace(&mut last, metric(worker, CONSUMED)?);
        Ok(last > 0.0 && last == before)
    })?;
    Ok(last)
}

/// A worker holds what its budget allows, leaves the rest in Kafka, and stays in its group (I7).
#[test]
fn a_slow_sink_is_waited_for() {
    const NOISE_OF_A_PARTITION: usize = 40 << 20;
    scenario("slow-sink", |folder| {
        let servers = start(folder)?;
        let mut s3 = S3::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        (0..PARTITIONS).try_for_each(|partition| data.add_noise(partition, NOISE_OF_A_PARTITION))?;
        let topics = data.topics(&servers.kafka, "slow")?;
        let settings = servers.settings(&["raw: {flushInterval: 1s}"]);
        let mut pipeline = Pipeline::new(folder, "slow", &settings, Target::S3(Bucket::of(&s3)))?;
        let mut worker = pipeline.start(&[])?;
        // What a partition lacks is known when the sink has said where it begins. It may not listen yet.
        let begun = || metrics(&worker, "tipstream_partition_lag_records").map_or(0, |known| known.len());
        until("begun with all partitions", PATIENCE, || Ok(begun() == 2 * PARTITIONS))?;
        let changes = metric(&worker, "tipstream_rebalances_total")?;
        s3.process().stop()?;
        send(&servers.kafka.client(), &topics, None)?;
        let (read, records) = (until_it_waits(&worker)?, data.records()? as f64);
        ensure!(read < records, "it has read all {records} records, though none can be written");
        until("told how far it is behind", PATIENCE, || {
            let lag: f64 = metrics(&worker, "tipstream_partition_lag_records")?.iter().sum();
            Ok(lag == records - metric(&worker, CONSUMED)?)
        })?;
        let seconds = metrics(&worker, "tipstream_partition_lag_seconds")?;
        ensure!(seconds.iter().any(|seconds| *seconds > 0.0), "behind by no time: {seconds:?}");
        let held_up = || metric(&worker, "tipstream_backpressured_seconds_total");
        let before = held_up()?;
        until("held up", PATIENCE, || Ok(held_up()? > before + 1.0))?;

        // Now and then it answers a little.
        for _ in 0..4 {
            s3.process().cont()?;
            std::thread::sleep(Duration::from_millis(50));
            s3.process().stop()?;
            std::thread::sleep(Duration::from_secs(1));
            let held = metric(&worker, "tipstream_raw_buffered_bytes")?;
            let budget = metric(&worker, "tipstream_raw_budget_bytes")?;
            // A chunk is looked at when it is there.
            ensure!(held < budget + 4.0 * MIB, "it holds {held} of {budget} bytes");
            ensure!(held > budget / 2.0, "it waits, and holds only {held} of {budget} bytes");
            let resident = metric(&worker, "process_resident_memory_bytes")?;
            ensure!(resident < 256.0 * MIB, "it takes {resident} bytes");
        }
        ensure!(page(&worker, "/healthz")? == "ok\n", "to wait is no illness");
        ensure!(metric(&worker, "tipstream_rebalances_total")? == changes, "it has not kept its partitions");
        ensure!(metric(&worker, CONSUMED)? < records, "it was to have more to read yet");
        s3.process().cont()?;
        until_metric(&mut worker, CONSUMED, records, PATIENCE)?;
        worker.end()?;
        pipeline.catch_up(1, PATIENCE)?;
        servers.check(&data, "slow", &pipeline)
    });
}
