//! What workers tell of themselves is true: metrics without anybody asking for the status, partitions only of who
//! has them, and whether a worker is ready.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use tips_e2e::books::Books;
use tips_e2e::process::{at_terminal, run};
use tips_e2e::s3::S3;
use tips_e2e::sender::send;
use tips_e2e::wait::until;
use tips_e2e::worker::{Bucket, Data, PARTITIONS, Pipeline, Target, metric, metrics, page, until_metric};
use tips_e2e::{Process, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const ASSIGNED: &str = "tipstream_assigned_partitions";
const CONSUMED: &str = "tipstream_records_consumed_total";
const OUTCOME: &str = "tipstream_records_outcome";
/// Those that every partition has. How far it is ahead is known once it is read.
const BY_PARTITION: [&str; 2] = ["tipstream_partition_lag_records", "tipstream_partition_lag_seconds"];
const AHEAD: &str = "tipstream_partition_ahead_seconds";
const DATA: [&str; 8] = ["--seed", "31", "--rate", "3", "--span", "3h", "--invalid", "0.01"];

/// Waits until it is unready and says `why`.
fn until_unready(worker: &Process, why: &str) -> Result<()> {
    until(&format!("unready, since {why:?}"), PATIENCE, || match page(worker, "/readyz") {
        Ok(_) => Ok(false),
        Err(error) => Ok(error.to_string().contains("503") && error.to_string().contains(why)),
    })
}

fn until_ready(worker: &Process) -> Result<()> {
    until("ready", PATIENCE, || Ok(page(worker, "/readyz").is_ok()))
}

/// What a worker that has read and published all tells of it: as the generator has it, and as it lies in the sink.
/// Windows have closed up to `closed`.
fn counts_are_true(worker: &Process, books: &Books, closed: &str, output: &Path) -> Result<()> {
    let status = page(worker, "/status")?;
    books.check(&Books::of_status(&status)?)?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    ensure!(status["watermark"] == closed && status["lagRecords"] == 0, "{status:#}");
    let partitions = status["partitions"].as_array().context("no partitions")?;
    let read: Option<i64> = partitions.iter().map(|partition| partition["position"].as_i64()).sum();
    let consumed = books.get("rides", "consumed") + books.get("fares", "consumed");
    ensure!(partitions.len() == 2 * PARTITIONS && read == Some(consumed), "{status:#}");
    for topic in ["rides", "fares"] {
        let told = metric(worker, &format!("{CONSUMED}{{topic=\"{topic}\"}}"))?;
        ensure!(told == books.get(topic, "consumed") as f64, "{told} {topic} consumed");
        for outcome in ["joined", "out_of_area", "start", "invalid"] {
            let told = metric(worker, &format!("{OUTCOME}{{outcome=\"{outcome}\",topic=\"{topic}\"}}"))?;
            ensure!(told == books.get(topic, outcome) as f64, "{told} {topic} {outcome}");
        }
    }
    let invalid = metric(worker, "tipstream_records_invalid_total")?;
    ensure!(invalid == (books.get("rides", "invalid") + books.get("fares", "invalid")) as f64, "{invalid}");
    let files = |folders: &[&str]| -> Result<Vec<u64>> {
        let mut find = Command::new("find");
        find.args(folders.iter().map(|folder| output.join(folder)));
        let text = run(find.args(["-name", "*.parquet", "-printf", "%s\\n"]))?;
        text.lines().map(|bytes| bytes.parse().context("a size")).collect()
    };
    let (raw, windows) = (files(&["rides", "fares", "invalid"])?, files(&["tips"])?);
    let batches = metric(worker, "tipstream_apply_duration_seconds_count")?;
    for (name, value) in [
        ("raw_files_total", raw.len() as f64),
        ("raw_bytes_total", raw.iter().sum::<u64>() as f64),
        ("windows_published_total", windows.len() as f64),
        // Each batch goes to each of the shards, of which there are 16 by default, and none was sent twice.
        ("state_calls_total", 16.0 * batches),
    ] {
        let told = metric(worker, &format!("tipstream_{name}"))?;
        ensure!(told == value && value > 0.0, "{name}: {told} in place of {value}");
    }
    Ok(())
}

/// One of them shows the books of all, the other nothing; each shows its own partitions.
fn two_share(first: &Process, second: &Process, records: f64) -> Result<()> {
    let all = 2 * PARTITIONS;
    until("shared", PATIENCE, || {
        let parts = |worker| Ok::<_, anyhow::Error>(metric(worker, ASSIGNED)? as usize);
        let (one, two) = (parts(first)?, parts(second)?);
        Ok(one > 0 && two > 0 && one + two == all)
    })?;
    for name in BY_PARTITION {
        until(&format!("by partition: {name}"), PATIENCE, || {
            Ok(metrics(first, name)?.len() + metrics(second, name)?.len() == all)
        })?;
    }
    ensure!(
        metrics(first, AHEAD)?.len() <= metrics(first, BY_PARTITION[0])?.len(),
        "of another's partitions"
    );
    until("told by one", PATIENCE, || {
        let mut books = [metrics(first, OUTCOME)?, metrics(second, OUTCOME)?];
        books.sort_by_key(Vec::len);
        Ok(books[0].is_empty() && books[1].iter().sum::<f64>() == records)
    })
}

#[test]
fn metrics_and_readiness_are_true() {
    scenario("observed", |folder| {
        let mut servers = Servers::start(folder)?;
        let mut s3 = S3::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        let topics = data.topics(&servers.kafka, "observed")?;
        send(&servers.kafka.client(), &topics, None)?;
        let settings = servers.settings(&["raw: {flushInterval: 1s}", "job: {idleTimeout: 1h}"]);
        let mut pipeline = Pipeline::new(folder, "observed", &settings, Target::S3(Bucket::of(&s3)))?;
        let mut first = pipeline.start(&["--drain-timeout", "8s"])?;
        let records = data.records()? as f64;
        until_metric(&mut first, CONSUMED, records, PATIENCE)?;
        until("told in the books", PATIENCE, || Ok(metric(&first, OUTCOME)? == records))?;
        until("published", PATIENCE, || Ok(metric(&first, "tipstream_raw_rows_total")? == records))?;
        ensure!(metric(&first, "tipstream_partition_lag_seconds")? == 0.0, "all is read, and it lags");
        let closed = servers.closed("observed")?;
        let watermark = format!("{closed}Z").parse::<jiff::Timestamp>()?.as_second();
        until("all windows", PATIENCE, || {
            Ok(metric(&first, "tipstream_last_window_timestamp_seconds")? > (watermark - 600) as f64)
        })?;
        let books = Books::generated(&folder.path().join("input"))?;
        counts_are_true(&first, &books, &closed, &pipeline.output()?)?;
        let lines = first.output()?.lines().count();
        ensure!(lines < 200, "{lines} lines of log for {records} records");
        until("told by partition", PATIENCE, || Ok(metrics(&first, AHEAD)?.len() == 2 * PARTITIONS))?;
        until_ready(&first)?;
        let answers = metrics(&first, "tipstream_server_answer_timestamp_seconds")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        ensure!(answers.len() == 3 && answers.iter().all(|at| now - at < 60.0), "at {now}: {answers:?}");
        ensure!(metrics(&first, "tipstream_records_unaccounted")? == [0.0, 0.0], "the books do not balance");

        let mut second = pipeline.start(&[])?;
        until_metric(&mut second, ASSIGNED, 1.0, PATIENCE)?;
        two_share(&first, &second, records)?;
        second.terminate()?;
        second.wait(PATIENCE)?.context("it does not end")?;
        until("taken over", PATIENCE, || Ok(metrics(&first, BY_PARTITION[0])?.len() == 2 * PARTITIONS))?;

        servers.redis.kill9()?;
        until_unready(&first, "Redis has not answered")?;
        ensure!(
            metric(&first, "tipstream_state_errors_total")? > 0.0,
            "windows cannot be published, uncounted"
        );
        servers.redis.up()?;
        until_ready(&first)?;

        servers.kafka.kill9()?;
        until_unready(&first, "Kafka's group coordinator has not answered")?;
        servers.kafka.up()?;
        until_ready(&first)?;

        s3.kill9()?;
        until_unready(&first, "the sink has not answered")?;
        send(&servers.kafka.client(), &topics, None)?;
        first.terminate()?;
        until_unready(&first, "it is about to end")?;
        match first.wait(PATIENCE)?.map(|status| status.code()) {
            Some(Some(5)) => Ok(()),
            other => bail!("it could not publish, and ended with {other:?}; {}", first.last_lines()),
        }
    });
}

/// `RUST_LOG` decides.
fn logs_what_it_is_asked_for(pipeline: &mut Pipeline<'_>) -> Result<()> {
    for (level, started, assigned) in [("error", false, false), ("info", true, false), ("debug", true, true)]
    {
        let mut worker = pipeline.start_with(&["--until-caught-up"], &[("RUST_LOG", level)])?;
        worker.wait(PATIENCE)?.context("it does not end")?;
        let log = worker.output()?;
        let is_logged = |message: &str| log.contains(&format!("\"message\":\"{message}\""));
        ensure!(is_logged("started") == started && is_logged("assigned") == assigned, "at {level}:\n{log}");
    }
    Ok(())
}

#[test]
fn a_worker_that_stands_by_is_ready() {
    scenario("standby", |folder| {
        let servers = Servers::start(folder)?;
        servers.kafka.create_topics("standby", 1)?;
        let mut pipeline = servers.pipeline("standby", &[])?;
        logs_what_it_is_asked_for(&mut pipeline)?;
        let workers = [pipeline.start(&[])?, pipeline.start(&[])?];
        for worker in &workers {
            until("ready", PATIENCE, || Ok(page(worker, "/readyz").is_ok()))?;
        }
        until("standing by", PATIENCE, || {
            let assigned = [metric(&workers[0], ASSIGNED)?, metric(&workers[1], ASSIGNED)?];
            Ok(assigned.contains(&0.0) && assigned.contains(&2.0))
        })?;
        workers.iter().try_for_each(until_ready)
    });
}

/// The line without what moves the cursor or colours: what a person sees of it.
fn seen(line: &str) -> String {
    let mut seen = String::new();
    let mut rest = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    while let Some((before, escape)) = rest.split_once('\x1b') {
        seen.push_str(before);
        rest = escape.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &escape[end + 1..]);
    }
    seen + rest
}

#[test]
fn a_terminal_has_a_status_line_and_whole_lines_of_log_above_it() {
    scenario("terminal", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        data.produce(&servers.kafka, "terminal")?;
        let pipeline = servers.pipeline("terminal", &["raw: {flushInterval: 1s}"])?;
        let manifest = pipeline.manifest().display().to_string();
        let worker = pipeline.command(&["stream", "--listen", "127.0.0.1:0", "-f", &manifest])?;
        let log = folder.path().join("terminal.log");
        let mut terminal = Process::start("terminal", at_terminal(&worker), &log)?;
        let records = data.records()?;
        let all = format!("{},{:03} records read, 0 to go", records / 1000, records % 1000);
        terminal.until_said(&all, PATIENCE)?;
        terminal.until_said("│ watermark 2013-01-01 0", PATIENCE)?;
        terminal.until_said("window published", PATIENCE)?;
        for line in terminal.output()?.lines().map(seen).filter(|line| line.contains("INFO")) {
            ensure!(line.starts_with("20") && line.matches("INFO").count() == 1, "torn: {line:?}");
        }
        terminal.end()
    });
}
