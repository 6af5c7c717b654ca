//! Each server of the harness starts, answers, dies and comes back.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tips_e2e::hdfs::Hdfs;
use tips_e2e::kafka::{Kafka, KafkaOptions, Record, Secure};
use tips_e2e::redis::{Redis, RedisCluster, RedisOptions, Sentinel, User};
use tips_e2e::s3::S3;
use tips_e2e::tls::Certificates;
use tips_e2e::{Folder, Process, scenario};

fn set(redis: &Redis, key: &str, value: &str) -> Result<()> {
    Ok(redis::cmd("SET").arg(key).arg(value).exec(&mut redis.connection()?)?)
}

fn get(redis: &Redis, key: &str) -> Result<Option<String>> {
    Ok(redis::cmd("GET").arg(key).query(&mut redis.connection()?)?)
}

#[test]
fn a_process_ends_with_its_guard_even_when_it_is_stopped() {
    scenario("process-guard", |folder| {
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut process = Process::start("sleep", command, &folder.path().join("log"))?;
        let proc = format!("/proc/{}", process.pid());
        process.stop()?;
        ensure!(std::fs::exists(&proc)?, "it should live");
        drop(process);
        ensure!(!std::fs::exists(&proc)?, "it should have ended");
        Ok(())
    });
}

#[test]
fn a_process_ends_when_the_test_process_is_killed() {
    scenario("process-orphan", |folder| {
        let pid_file = folder.path().join("pid");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--ignored", "--exact", "harness::holds_a_process"]).env(HOLDER, &pid_file);
        let mut holder = Process::start("holder", command, &folder.path().join("log"))?;
        holder.until("started its child", Duration::from_secs(20), || pid_file.exists())?;
        let child = format!("/proc/{}", std::fs::read_to_string(pid_file)?);
        ensure!(std::fs::exists(&child)?, "the child should live");
        holder.kill9()?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::exists(&child)? {
            ensure!(Instant::now() < deadline, "the child lives on");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
}

/// Where the test process that is to be killed says what it started.
const HOLDER: &str = "TIPS_E2E_HOLDER";

#[test]
#[ignore = "the victim of a_process_ends_when_the_test_process_is_killed"]
fn holds_a_process() {
    let Some(pid_file) = std::env::var_os(HOLDER).map(PathBuf::from) else {
        return;
    };
    let mut command = Command::new("sleep");
    command.arg("600");
    // Its guard lives on, and the thread that asked for it ends, as tests' threads do.
    let started =
        std::thread::spawn(move || Process::start("sleep", command, Path::new("/dev/null")).unwrap());
    let process = started.join().unwrap();
    let half = pid_file.with_extension("half");
    std::fs::write(&half, process.pid().to_string()).unwrap();
    std::fs::rename(half, pid_file).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_process_that_fails_to_start_shows_its_log() {
    scenario("process-fails", |folder| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason; exit 3"]);
        let mut process = Process::start("sh", command, &folder.path().join("log"))?;
        let error = process.until("answered", Duration::from_secs(10), || false).unwrap_err().to_string();
        ensure!(error.contains("the reason") && error.contains("exit status: 3"), "{error}");
        Ok(())
    });
}

#[test]
fn a_folder_of_a_failed_test_is_kept() {
    let failed = std::panic::catch_unwind(|| {
        scenario("folder-kept", |folder| {
            folder.file("evidence", "here")?;
            anyhow::bail!("{}", folder.path().display())
        });
    });
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    let path = message.strip_prefix("folder-kept: ").unwrap();
    assert_eq!(std::fs::read_to_string(format!("{path}/evidence")).unwrap(), "here");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn redis_keeps_its_data_over_a_kill_and_a_restart() {
    scenario("redis-restart", |folder| {
        let mut redis = Redis::start(folder, RedisOptions::default())?;
        set(&redis, "a", "1")?;
        redis.kill9()?;
        ensure!(redis.connection().is_err(), "it should be down");
        redis.up()?;
        ensure!(get(&redis, "a")?.as_deref() == Some("1"));
        redis.restart()?;
        ensure!(get(&redis, "a")?.as_deref() == Some("1"));
        ensure!(redis.cpu_seconds()?.process > 0.0);
        redis.flushall()?;
        ensure!(get(&redis, "a")?.is_none());
        Ok(())
    });
}

#[test]
fn redis_can_lose_its_last_writes() {
    scenario("redis-loses", |folder| {
        let mut redis = Redis::start(folder, RedisOptions::default())?;
        set(&redis, "kept", "1")?;
        let copy = redis.copy()?;
        set(&redis, "lost", "1")?;
        redis.restart_from(&copy)?;
        ensure!(get(&redis, "kept")?.is_some() && get(&redis, "lost")?.is_none());
        Ok(())
    });
}

#[test]
fn redis_with_tls_and_users_refuses_strangers() {
    scenario("redis-tls", |folder| {
        let user = User { name: "tips".into(), password: "tips-secret".into(), rules: "~tips* +@all".into() };
        let options = RedisOptions {
            password: Some("admin-secret".into()),
            user: Some(user),
            certificates: Some(Certificates::create(folder, "tls")?),
            maxmemory: Some("64mb".into()),
            maxmemory_policy: Some("noeviction".into()),
            ..RedisOptions::default()
        };
        let redis = Redis::start(folder, options)?;
        let cli = |key: &str| -> Result<String> {
            let ca = redis.certificates().context("no certificates")?.ca();
            let output = Command::new("redis-cli")
                .args(["-u", &redis.url(), "--cacert"])
                .arg(ca)
                .args(["get", key])
                .output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        ensure!(redis.url().starts_with("rediss://tips:tips-secret@"));
        ensure!(cli("tips:a")?.trim().is_empty(), "{}", cli("tips:a")?);
        ensure!(cli("other")?.contains("NOPERM"), "{}", cli("other")?);
        ensure!(redis.info("memory")?.get::<u64>("maxmemory") == Some(64 << 20));
        Ok(())
    });
}

#[test]
fn a_redis_cluster_serves_all_slots_and_fails_over() {
    scenario("redis-cluster", |folder| {
        let mut cluster = RedisCluster::start_with(folder, 3, 1, &RedisOptions::default())?;
        let client = redis::cluster::ClusterClient::new(cluster.urls())?;
        for key in ["a", "b", "c", "d"] {
            redis::cmd("SET").arg(key).arg(1).exec(&mut client.get_connection()?)?;
        }
        cluster.nodes()[0].kill9()?;
        cluster.await_failover(0)?;
        for key in ["a", "b", "c", "d"] {
            redis::cmd("SET").arg(key).arg(2).exec(&mut client.get_connection()?)?;
        }
        cluster.nodes()[0].up()?;
        cluster.await_ok()
    });
}

#[test]
fn sentinel_makes_the_replica_the_master() {
    scenario("redis-sentinel", |folder| {
        let mut sentinel = Sentinel::start(folder, None)?;
        set(sentinel.master()?, "a", "1")?;
        let old = sentinel.master_address()?;
        sentinel.fail_over()?;
        ensure!(sentinel.master_address()? != old);
        set(sentinel.master()?, "b", "1")
    });
}

#[test]
fn hdfs_keeps_its_files_over_a_kill_and_a_restart() {
    scenario("hdfs-restart", |folder| {
        let mut hdfs = Hdfs::start(folder)?;
        put_hdfs(&hdfs, folder, "/tips/year=2013/a file.parquet", "contents")?;
        hdfs.kill9()?;
        hdfs.up()?;
        hdfs.files().fetch("/tips", &folder.path().join("fetched"))?;
        let fetched = folder.path().join("fetched/year=2013/a file.parquet");
        ensure!(std::fs::read_to_string(fetched)? == "contents");
        hdfs.restart()?;
        ensure!(hdfs.files().read("/tips/year=2013/a file.parquet")? == b"contents");
        ensure!(hdfs.files().read("/tips/missing").is_err());
        Ok(())
    });
}

fn put_hdfs(hdfs: &Hdfs, folder: &Folder, path: &str, contents: &str) -> Result<()> {
    let body = folder.file("body", contents)?;
    let url = format!("{}{}?op=CREATE&overwrite=true", hdfs.files().webhdfs(), path.replace(' ', "%20"));
    let output = Command::new("curl").args(["-sSfL", "-X", "PUT", "-T"]).arg(&body).arg(url).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn kafka_keeps_its_topics_over_a_kill_and_a_restart() {
    scenario("kafka-restart", |folder| {
        let mut kafka = Kafka::start(folder)?;
        kafka.create_topic("rides", 2)?;
        kafka.produce("rides", 1, ["a", "b", "c"])?;
        kafka.kill9()?;
        kafka.up()?;
        kafka.add_partitions("rides", 3)?;
        kafka.produce("rides", None, (0..100).map(|id| Record::keyed(&format!("{id},START"))))?;
        let ends = kafka.end_offsets("rides")?;
        ensure!(ends.len() == 3 && ends.values().sum::<i64>() == 103 && ends[&1] > 3, "{ends:?}");
        kafka.restart()?;
        ensure!(kafka.end_offsets("rides")? == ends);
        ensure!(kafka.create_topic("rides", 1).is_err(), "it should exist");
        Ok(())
    });
}

#[test]
fn kafka_speaks_sasl_ssl_and_refuses_a_wrong_password() {
    scenario("kafka-secure", |folder| {
        let options = KafkaOptions { secure: true, ..KafkaOptions::default() };
        let kafka = Kafka::start_with(folder, &options)?;
        let secure = kafka.secure().context("no secure listener")?;
        for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
            ensure!(logs_in(secure, mechanism, secure.password()), "{mechanism}");
            ensure!(!logs_in(secure, mechanism, "wrong"), "{mechanism} with a wrong password");
        }
        Ok(())
    });
}

fn logs_in(secure: &Secure, mechanism: &str, password: &str) -> bool {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", secure.bootstrap())
        .set("security.protocol", "SASL_SSL")
        .set("ssl.ca.location", secure.ca().display().to_string())
        .set("sasl.mechanism", mechanism)
        .set("sasl.username", secure.username())
        .set("sasl.password", password)
        .create()
        .unwrap();
    consumer.fetch_metadata(None, Duration::from_secs(5)).is_ok()
}

#[test]
fn s3_refuses_while_it_is_down_and_keeps_its_objects() {
    scenario("s3-restart", |folder| {
        let mut s3 = S3::start(folder)?;
        put(&s3, folder, "hello")?;
        let object = s3.bucket_dir().join("dir/object");
        ensure!(std::fs::read_to_string(&object)? == "hello");
        s3.down()?;
        ensure!(TcpStream::connect(s3.endpoint().trim_start_matches("http://")).is_err());
        s3.up()?;
        put(&s3, folder, "again")?;
        ensure!(std::fs::read_to_string(&object)? == "again");
        s3.kill9()?;
        s3.up()
    });
}

/// A signed PUT by curl, which knows AWS's signature.
fn put(s3: &S3, folder: &Folder, contents: &str) -> Result<()> {
    let body = folder.file("body", contents)?;
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "--aws-sigv4", &format!("aws:amz:{}:s3", s3.region())])
        // Older versions of curl do not say by themselves what they sign.
        .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
        .args(["--user", &format!("{}:{}", s3.access_key(), s3.secret_key()), "-T"])
        .arg(&body)
        .arg(format!("{}/{}/dir/object", s3.endpoint(), s3.bucket()))
        .output()?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
