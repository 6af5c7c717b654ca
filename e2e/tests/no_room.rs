//! No room in Redis or on the disk: a worker says so, keeps what it has, and goes on when there is room again.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::kafka::KafkaOptions;
use tips_e2e::process::run;
use tips_e2e::redis::Redis;
use tips_e2e::sender::send;
use tips_e2e::worker::{Data, PARTITIONS, Pipeline, Target, metric, until_metric};
use tips_e2e::{Folder, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const SESSION: Duration = Duration::from_secs(2);
const DATA: [&str; 10] =
    ["--seed", "23", "--rate", "3", "--span", "2h", "--disorder", "10m", "--invalid", "0.01"];

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
        until_metric(&mut worker, "tipstream_assigned_partitions", 2.0 * PARTITIONS as f64, PATIENCE)?;
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
