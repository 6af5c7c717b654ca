//! What looks like nothing to do: partitions that wait for each other, a state that is lost while all is quiet, a log
//! that ends with what is no record, an end that is one no more, records that are gone, a broker that does not answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::worker::{Data, PARTITIONS, metric, until_metric};
use tips_e2e::{Folder, Process, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const CONSUMED: &str = "tipstream_records_consumed_total";
const DATA: [&str; 8] = ["--seed", "31", "--rate", "2", "--span", "3h", "--disorder", "5m"];

/// A worker whose partitions are ahead hears how far another has come with those that are behind.
fn partitions_hours_apart_are_read_by_two_workers(folder: &Folder, servers: &Servers<'_>) -> Result<()> {
    let apart = [&DATA[..], &["--behind", "2h"]].concat();
    let data = Data::generate(folder, &apart)?;
    data.produce(&servers.kafka, "apart")?;
    let mut pipeline = servers.pipeline("apart", &["job: {maxDrift: 40m, idleTimeout: 3s}"])?;
    pipeline.catch_up(2, PATIENCE)?;
    servers.check(&data, "apart", &pipeline)
}

/// Nothing is applied, so nothing is refused.
fn a_quiet_pipeline_notices_that_its_state_is_gone(servers: &Servers<'_>, data: &Data) -> Result<()> {
    data.produce(&servers.kafka, "quiet")?;
    let mut pipeline = servers.pipeline("quiet", &["job: {idleTimeout: 3s}", "raw: {flushInterval: 1s}"])?;
    let mut worker = pipeline.start(&[])?;
    let records = data.records()? as f64;
    until_metric(&mut worker, "tipstream_windows_published_total", 1.0, PATIENCE)?;
    std::thread::sleep(Duration::from_secs(5));
    let (consumed, closed) = (metric(&worker, CONSUMED)?, servers.closed("quiet")?);
    servers.redis.flushall()?;
    until_metric(&mut worker, CONSUMED, consumed + records, PATIENCE)?;
    let is_back = || servers.closed("quiet").is_ok_and(|now| now >= closed);
    worker.until("built its state anew", PATIENCE, is_back)?;
    terminate(&mut worker)?;
    pipeline.catch_up(1, PATIENCE)?;
    servers.check(data, "quiet", &pipeline)
}

/// An aborted transaction leaves a record that nobody is given, and a marker.
fn a_log_that_ends_with_no_record_is_caught_up_by_two_workers(
    servers: &Servers<'_>,
    data: &Data,
) -> Result<()> {
    data.produce(&servers.kafka, "aborted")?;
    for kind in ["rides", "fares"] {
        servers.kafka.abort(&format!("aborted-{kind}"), 4)?;
    }
    let mut pipeline = servers.pipeline("aborted", &["job: {idleTimeout: 3s}"])?;
    pipeline.catch_up(2, PATIENCE)?;
    servers.check(data, "aborted", &pipeline)
}

/// That a partition is idle is told by its last owner, and believed until its next record is applied.
fn what_came_after_an_idle_worker_died_is_waited_for(servers: &Servers<'_>, data: &Data) -> Result<()> {
    data.produce(&servers.kafka, "more")?;
    let mut pipeline = servers.pipeline("more", &["job: {idleTimeout: 2s}", "raw: {flushInterval: 1s}"])?;
    let mut worker = pipeline.start(&[])?;
    let records = data.records()?;
    until_metric(&mut worker, CONSUMED, records as f64, PATIENCE)?;
    std::thread::sleep(Duration::from_secs(5));
    worker.kill9()?;
    for partition in 0..PARTITIONS as i32 {
        servers.kafka.produce("more-rides", partition, ["no ride"; 3])?;
    }
    pipeline.catch_up(1, PATIENCE)?;
    let topics = ["rides", "fares"].map(|kind| format!("more-{kind}"));
    let committed = servers.kafka.committed("default.more", &topics)?;
    ensure!(committed as usize == records + 3 * PARTITIONS, "{committed} are processed");
    pipeline.verify()?;
    Ok(())
}

/// Neither has anything to publish, nor to commit.
fn two_workers_that_begin_at_the_end_are_caught_up(servers: &Servers<'_>, data: &Data) -> Result<()> {
    data.produce(&servers.kafka, "latest")?;
    let mut pipeline = servers.pipeline("latest", &["job: {idleTimeout: 2s}"])?;
    pipeline.change("ridesTopic", "startFrom: Latest, ridesTopic")?;
    pipeline.catch_up(2, PATIENCE)
}

/// Retention that passes a worker: it goes on behind, and says how much it has missed.
fn what_kafka_deletes_before_it_is_read_is_counted(servers: &Servers<'_>, data: &Data) -> Result<()> {
    const GONE: i64 = 7;
    data.produce(&servers.kafka, "gone")?;
    let mut pipeline = servers.pipeline("gone", &["raw: {flushInterval: 1s}"])?;
    let mut worker = pipeline.start(&[])?;
    let records = data.records()? as f64;
    until_metric(&mut worker, CONSUMED, records, PATIENCE)?;
    let end = servers.kafka.end_offsets("gone-rides")?[&0];
    worker.stop()?;
    servers.kafka.produce("gone-rides", 0, ["no ride"; GONE as usize + 1])?;
    servers.kafka.delete_records("gone-rides", 0, end + GONE)?;
    worker.cont()?;
    until_metric(&mut worker, CONSUMED, records + 1.0, PATIENCE)?;
    until_metric(&mut worker, "tipstream_records_lost_total", GONE as f64, PATIENCE)?;
    terminate(&mut worker)
}

/// All partitions are due to be called idle, for which the broker is asked.
fn a_worker_ends_though_the_broker_hangs(servers: &mut Servers<'_>, data: &Data) -> Result<()> {
    data.produce(&servers.kafka, "hangs")?;
    let mut pipeline = servers.pipeline("hangs", &["job: {idleTimeout: 2s}", "raw: {flushInterval: 1s}"])?;
    let mut worker = pipeline.start(&["--drain-timeout", "2s"])?;
    until_metric(&mut worker, CONSUMED, data.records()? as f64, PATIENCE)?;
    servers.kafka.process().stop()?;
    std::thread::sleep(Duration::from_secs(4));
    worker.terminate()?;
    let ended = worker.wait(Duration::from_secs(20));
    servers.kafka.process().cont()?;
    ended?.with_context(|| format!("it does not end; {}", worker.last_lines()))?;
    pipeline.catch_up(1, PATIENCE)?;
    servers.check(data, "hangs", &pipeline)
}

fn terminate(worker: &mut Process) -> Result<()> {
    worker.terminate()?;
    let ended = worker.wait(PATIENCE)?.context("it does not end")?;
    ensure!(ended.success(), "it ended with {ended}; {}", worker.last_lines());
    Ok(())
}

#[test]
fn nothing_stands_still_for_good() {
    scenario("standstill", |folder| {
        let mut servers = Servers::start(folder)?;
        partitions_hours_apart_are_read_by_two_workers(&Folder::new("apart")?, &servers)?;
        let data = Data::generate(folder, &DATA)?;
        a_quiet_pipeline_notices_that_its_state_is_gone(&servers, &data)?;
        a_log_that_ends_with_no_record_is_caught_up_by_two_workers(&servers, &data)?;
        what_came_after_an_idle_worker_died_is_waited_for(&servers, &data)?;
        two_workers_that_begin_at_the_end_are_caught_up(&servers, &data)?;
        what_kafka_deletes_before_it_is_read_is_counted(&servers, &data)?;
        a_worker_ends_though_the_broker_hangs(&mut servers, &data)
    });
}
