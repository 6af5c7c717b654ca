//! Each server of the harness starts, answers, dies and comes back.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tips_e2e::kafka::{Kafka, KafkaOptions, Record, Secure};
use tips_e2e::redis::{Redis, RedisOptions, User};
use tips_e2e::s3::S3;
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
            tls: true,
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
