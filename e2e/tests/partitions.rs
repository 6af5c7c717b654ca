//! Topics as they come: empty, with partitions that are silent, uneven, or added later; read from the beginning
//! or from now on, with raw rows kept or not; and a worker that is told to stop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::oracle::Oracle;
use tips_e2e::process::run;
use tips_e2e::sender::{Lines, send};
use tips_e2e::worker::{Data, PARTITIONS, binary, polygons, until_metric};
use tips_e2e::{Folder, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const ASSIGNED: &str = "tipstream_assigned_partitions";
const CONSUMED: &str = "tipstream_records_consumed_total";
const DATA: [&str; 10] =
    ["--seed", "24", "--rate", "2", "--span", "3h", "--disorder", "5m", "--invalid", "0.01"];

fn create_topics(servers: &Servers<'_>, name: &str, rides: i32, fares: i32) -> Result<()> {
    servers.kafka.create_topic(&format!("{name}-rides"), rides)?;
    servers.kafka.create_topic(&format!("{name}-fares"), fares)
}

fn send_to(servers: &Servers<'_>, name: &str, data: &Data) -> Result<()> {
    let lines =
        |kind: &str, files: &[PathBuf]| Lines { topic: format!("{name}-{kind}"), files: files.to_vec() };
    send(&servers.kafka.client(), &[lines("rides", &data.rides), lines("fares", &data.fares)], None)
}

/// The files that `part` makes of those of `data`, in a folder `name`.
fn parts(folder: &Folder, name: &str, data: &Data, part: impl Fn(&str, usize) -> bool) -> Result<Data> {
    let dir = folder.dir(name)?;
    let write = |file: &PathBuf| {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let file_name = file.file_name().context("a file without a name")?;
        let half = |line: usize| 2 * line / lines.len();
        let name = file_name.to_string_lossy();
        let kept = (0..lines.len()).filter(|line| part(&name, half(*line))).map(|line| lines[line]);
        let target = dir.join(file_name);
        std::fs::write(&target, kept.collect::<Vec<_>>().concat())?;
        Ok(target)
    };
    let all = |files: &[PathBuf]| files.iter().map(write).collect::<Result<Vec<_>>>();
    let neighbourhoods = data.neighbourhoods.clone();
    Ok(Data { rides: all(&data.rides)?, fares: all(&data.fares)?, neighbourhoods })
}

fn lines(data: &Data) -> Result<f64> {
    Ok(data.records()? as f64)
}

fn files_below(dir: &Path) -> Result<Vec<String>> {
    let listed = run(Command::new("find").arg(dir).args(["-type", "f", "-not", "-path", "*/_tips/*"]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn empty_topics_end_caught_up(servers: &Servers<'_>) -> Result<()> {
    create_topics(servers, "empty", 2, 3)?;
    let mut pipeline = servers.pipeline("empty", &[])?;
    pipeline.catch_up(1, PATIENCE)?;
    let files = files_below(&pipeline.output()?)?;
    ensure!(files.is_empty(), "nothing came in, and {files:?} came out");
    pipeline.verify()?;
    Ok(())
}

/// One partition more than there are files, in both topics: it never has a record.
fn silent_partitions_let_windows_close(servers: &Servers<'_>, data: &Data) -> Result<()> {
    let partitions = PARTITIONS as i32 + 1;
    create_topics(servers, "silent", partitions, partitions)?;
    send_to(servers, "silent", data)?;
    let settings = ["job: {idleTimeout: 3s}", "raw: {flushInterval: 1s}"];
    let mut pipeline = servers.pipeline("silent", &settings)?;
    let mut worker = pipeline.start(&[])?;
    until_metric(&mut worker, CONSUMED, lines(data)?, PATIENCE)?;
    // All partitions fall idle, and the last window closes that can.
    until_metric(&mut worker, "tipstream_windows_published_total", 1.0, PATIENCE)?;
    std::thread::sleep(Duration::from_secs(6));
    worker.terminate()?;
    let ended = worker.wait(PATIENCE)?.context("it does not end")?;
    ensure!(ended.success(), "it ended with {ended}; {}", worker.last_lines());
    servers.check(data, "silent", &pipeline)
}

/// The same data by one partition of rides and three of fares.
fn uneven(servers: &Servers<'_>) -> Result<()> {
    let generate = |partitions: usize, kind: &str| -> Result<Vec<PathBuf>> {
        let dir = servers.folder.path().join(format!("by-{partitions}"));
        let count = partitions.to_string();
        run(Command::new(binary()?)
            .arg("generate")
            .args(DATA)
            .args(["--partitions", &count, "--output"])
            .arg(&dir))?;
        Ok((0..partitions).map(|index| dir.join(format!("{kind}-{index}.csv"))).collect())
    };
    let data =
        Data { rides: generate(1, "rides")?, fares: generate(3, "fares")?, neighbourhoods: polygons() };
    create_topics(servers, "uneven", 1, 3)?;
    send_to(servers, "uneven", &data)?;
    let mut pipeline = servers.pipeline("uneven", &[])?;
    pipeline.catch_up(2, PATIENCE)?;
    servers.check(&data, "uneven", &pipeline)
}

#[test]
fn topics_may_be_empty_silent_or_uneven() {
    scenario("topics", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        empty_topics_end_caught_up(&servers)?;
        silent_partitions_let_windows_close(&servers, &data)?;
        uneven(&servers)
    });
}

/// The last partition of each topic comes when the others have been read halfway; its records are as old as
/// theirs, so nothing may have closed before.
fn partitions_added_are_read(servers: &Servers<'_>, data: &Data) -> Result<()> {
    let is_last = |file: &str| file.contains(&format!("-{}.", PARTITIONS - 1));
    let before = parts(servers.folder, "before", data, |file, half| !is_last(file) && half == 0)?;
    let after = parts(servers.folder, "after", data, |file, half| is_last(file) || half == 1)?;
    create_topics(servers, "added", PARTITIONS as i32 - 1, PARTITIONS as i32 - 1)?;
    let but_last = |data: &Data| Data {
        rides: data.rides[..PARTITIONS - 1].to_vec(),
        fares: data.fares[..PARTITIONS - 1].to_vec(),
        neighbourhoods: data.neighbourhoods.clone(),
    };
    send_to(servers, "added", &but_last(&before))?;

    let settings = ["job: {watermarkDelay: 2h, idleTimeout: 1h}", "raw: {flushInterval: 1s}"];
    let mut pipeline = servers.pipeline("added", &settings)?;
    pipeline
        .change("ridesTopic", "properties: {topic.metadata.refresh.interval.ms: \"1000\"}, ridesTopic")?;
    let mut worker = pipeline.start(&[])?;
    until_metric(&mut worker, CONSUMED, lines(&before)?, PATIENCE)?;
    for kind in ["rides", "fares"] {
        servers.kafka.add_partitions(&format!("added-{kind}"), PARTITIONS)?;
    }
    until_metric(&mut worker, ASSIGNED, 2.0 * PARTITIONS as f64, PATIENCE)?;
    send_to(servers, "added", &after)?;
    until_metric(&mut worker, CONSUMED, lines(data)?, PATIENCE)?;
    worker.end()?;
    pipeline.catch_up(1, PATIENCE)?;
    servers.check(data, "added", &pipeline)
}

/// What was there before the pipeline is not its business; a partition that is added is, from its beginning.
fn from_now_on(servers: &Servers<'_>, data: &Data) -> Result<()> {
    let first = parts(servers.folder, "first", data, |_, half| half == 0)?;
    let second = parts(servers.folder, "second", data, |_, half| half == 1)?;
    create_topics(servers, "latest", PARTITIONS as i32, PARTITIONS as i32)?;
    send_to(servers, "latest", &first)?;
    let mut pipeline = servers.pipeline("latest", &["raw: {flushInterval: 1s}"])?;
    pipeline.change("ridesTopic", "startFrom: Latest, ridesTopic")?;
    pipeline.catch_up(1, PATIENCE)?;
    send_to(servers, "latest", &second)?;
    pipeline.catch_up(1, PATIENCE)?;

    let added = [
        "999999999,END,2013-01-01 02:00:00,2013-01-01 01:50:00,-73.9,40.7,-73.9,40.7,1,2013000009,2013000009",
    ];
    for kind in ["rides", "fares"] {
        servers.kafka.add_partitions(&format!("latest-{kind}"), PARTITIONS + 1)?;
    }
    servers.kafka.produce("latest-rides", PARTITIONS as i32, added)?;
    let mut second = second;
    second.rides.push(servers.folder.file("second/added.csv", added.concat() + "\n")?);
    pipeline.catch_up(1, PATIENCE)?;
    let mut oracle = data.oracle("latest", None);
    (oracle.rides, oracle.fares, oracle.coordinates) = (second.rides, second.fares, false);
    oracle.closed_until = Some(servers.closed("latest")?);
    oracle.check(&pipeline.output()?)?;
    pipeline.verify()?;
    Ok(())
}

#[test]
fn partitions_are_read_from_where_they_should_be() {
    scenario("starts", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        partitions_added_are_read(&servers, &data)?;
        from_now_on(&servers, &data)
    });
}

/// Offsets have holes then, and the last is no record's.
#[test]
fn records_of_transactions_are_read_while_workers_come() {
    const SIZE: usize = 200;
    scenario("transactions", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        for lines in data.topics(&servers.kafka, "transactions")? {
            servers.kafka.produce_in_transactions(&lines, SIZE)?;
        }
        let mut pipeline = servers.pipeline("transactions", &["job: {idleTimeout: 1s}"])?;
        pipeline.catch_up(3, PATIENCE)?;
        let oracle = data.oracle("transactions", Some(servers.closed("transactions")?));
        Oracle { coordinates: false, holes: true, ..oracle }.check(&pipeline.output()?)?;
        pipeline.verify().map(drop)
    });
}

/// While it is gone, that is told; one that is made again under its name has other records at the same offsets.
#[test]
fn a_topic_that_is_deleted_and_made_again_is_not_read_as_if_it_were_the_same() {
    scenario("deleted", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        data.produce(&servers.kafka, "deleted")?;
        let mut pipeline = servers.pipeline("deleted", &["raw: {flushInterval: 1s}"])?;
        let mut worker = pipeline.start(&[])?;
        until_metric(&mut worker, CONSUMED, lines(&data)?, PATIENCE)?;
        until_metric(&mut worker, "tipstream_raw_rows_total", 1.0, PATIENCE)?;
        servers.kafka.delete_topic("deleted-rides")?;
        worker.until_said("there is no topic deleted-rides", PATIENCE)?;
        servers.kafka.create_topic("deleted-rides", PARTITIONS as i32)?;
        worker.until_said("the topic was deleted and made again", PATIENCE)?;
        let ended = worker.wait(PATIENCE)?.context("it does not end")?;
        ensure!(ended.code() == Some(1), "it ended with {ended}");
        pipeline.refused(1, &["of deleted-rides ends at offset 0", "was deleted and made again"])
    });
}

/// Reads all, is told to stop, and ends well before the flush interval.
fn stops_in_good_order(servers: &Servers<'_>, data: &Data, name: &str, more: &[&str]) -> Result<PathBuf> {
    data.produce(&servers.kafka, name)?;
    let mut pipeline = servers.pipeline(name, more)?;
    let mut worker = pipeline.start(&[])?;
    until_metric(&mut worker, CONSUMED, lines(data)?, PATIENCE)?;
    worker.terminate()?;
    let ended = worker.wait(PATIENCE)?.context("it does not end")?;
    ensure!(ended.success(), "it ended with {ended}; {}", worker.last_lines());
    let topics = ["rides", "fares"].map(|kind| format!("{name}-{kind}"));
    let committed = servers.kafka.committed(&format!("default.{name}"), &topics)?;
    ensure!(committed as f64 == lines(data)?, "{committed} of {} records are committed", lines(data)?);
    pipeline.verify()?;
    pipeline.output()
}

#[test]
fn a_worker_that_is_stopped_has_published_and_committed_what_it_read() {
    scenario("stopped", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        let output = stops_in_good_order(&servers, &data, "stopped", &["raw: {flushInterval: 1h}"])?;
        data.oracle("stopped", Some(servers.closed("stopped")?)).check(&output)?;

        let no_raw = stops_in_good_order(&servers, &data, "results", &["raw: {enabled: false}"])?;
        let raw: Vec<String> =
            files_below(&no_raw)?.into_iter().filter(|file| !file.contains("/tips/")).collect();
        ensure!(raw.is_empty(), "raw rows are not kept, and there is {raw:?}");
        // The oracle wants raw rows beside the results: those of the other pipeline, which has the same data.
        std::fs::remove_dir_all(output.join("tips"))?;
        run(Command::new("cp").arg("-r").arg(no_raw.join("tips")).arg(&output))?;
        data.oracle("stopped", Some(servers.closed("results")?)).check(&output)?;
        Ok(())
    });
}
