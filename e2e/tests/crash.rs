//! A worker that dies at any step of the protocol changes nothing (I6): each crash point is hit once, the next
//! worker goes on, and the files and the books are those of an undisturbed run.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tips_e2e::kafka::KafkaOptions;
use tips_e2e::worker::{Data, Pipeline};
use tips_e2e::{Folder, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 10] =
    ["--seed", "12", "--rate", "12", "--span", "2h", "--disorder", "5m", "--invalid", "0.01"];

/// The points, and how often each is passed before the worker dies there: dying at the first pass finds nothing
/// done before, dying later finds some of it.
const POINTS: [(&str, usize); 22] = [
    ("state::before-apply", 0),
    ("state::before-apply", 1),
    ("state::between-shards", 0),
    ("state::between-shards", 7),
    ("state::after-apply", 0),
    ("raw::before-range", 0),
    ("raw::before-range", 3),
    ("raw::after-range", 0),
    ("raw::after-range", 3),
    ("raw::after-file", 0),
    ("raw::after-file", 3),
    ("raw::before-prune", 0),
    ("raw::before-commit", 0),
    ("raw::after-commit", 0),
    ("raw::after-commit", 3),
    ("tips::before-window", 0),
    ("tips::before-window", 2),
    ("tips::after-window", 0),
    ("sink::before-upload", 2),
    ("sink::mid-upload", 2),
    ("sink::before-publish", 2),
    ("sink::after-publish", 2),
];

/// The partitions of a worker that died are given to the next when its session has ended.
fn start(folder: &Folder) -> Result<Servers<'_>> {
    let session_timeout = Duration::from_secs(2);
    Servers::start_with(folder, &KafkaOptions { session_timeout, ..KafkaOptions::default() })
}

fn pipeline<'a>(servers: &Servers<'a>, data: &Data, name: &str) -> Result<Pipeline<'a>> {
    data.produce(&servers.kafka, name)?;
    servers.pipeline(name, &["epoch: 0", "raw: {flushInterval: 1s}"])
}

/// A worker dies at `point`, another goes on, and all is as if nothing had been.
fn survives(
    servers: &Servers<'_>,
    pipeline: &mut Pipeline<'_>,
    data: &Data,
    name: &str,
    (point, passes): (&str, usize),
) -> Result<()> {
    die_at(pipeline, point, passes)?;
    pipeline.catch_up(1, PATIENCE)?;
    let checked = servers.check(data, name, pipeline);
    checked.with_context(|| format!("after a death at {point}, passed {passes} times before"))
}

#[test]
fn a_worker_that_dies_at_any_step_changes_nothing() {
    scenario("crash-points", |folder| {
        let servers = start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        for (number, point) in POINTS.into_iter().enumerate() {
            let name = format!("crash-{number}");
            let mut pipeline = pipeline(&servers, &data, &name)?;
            survives(&servers, &mut pipeline, &data, &name, point)?;
        }
        Ok(())
    });
}

/// Windows are forgotten a day of event time after they have closed.
#[test]
fn a_worker_that_dies_before_it_forgets_windows_changes_nothing() {
    scenario("crash-forget", |folder| {
        let servers = start(folder)?;
        let data = Data::generate(folder, &["--seed", "14", "--rate", "0.4", "--span", "27h"])?;
        let mut pipeline = pipeline(&servers, &data, "forget")?;
        survives(&servers, &mut pipeline, &data, "forget", ("tips::before-forget", 0))
    });
}

/// A raised epoch replaces the files of the one before.
#[test]
fn a_worker_that_dies_before_it_replaces_a_window_changes_nothing() {
    scenario("crash-replace", |folder| {
        let servers = start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        let mut pipeline = pipeline(&servers, &data, "replace")?;
        pipeline.catch_up(1, PATIENCE)?;
        for (epoch, passes) in [(1, 0), (2, 2)] {
            pipeline.change(&format!("epoch: {}", epoch - 1), &format!("epoch: {epoch}"))?;
            survives(&servers, &mut pipeline, &data, "replace", ("tips::before-replace", passes))?;
        }
        Ok(())
    });
}

/// The group is older than the range log then, and its offsets are beyond the range that was begun.
#[test]
fn a_sink_that_was_wiped_is_filled_again_though_a_worker_dies_at_the_first_range() {
    scenario("crash-wiped", |folder| {
        let servers = start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        let mut pipeline = pipeline(&servers, &data, "wiped")?;
        pipeline.catch_up(1, PATIENCE)?;
        std::fs::remove_dir_all(pipeline.output()?)?;
        survives(&servers, &mut pipeline, &data, "wiped", ("raw::after-range", 0))
    });
}

fn die_at(pipeline: &mut Pipeline<'_>, point: &str, passes: usize) -> Result<()> {
    let action = match passes {
        0 => format!("{point}=return"),
        passes => format!("{point}={passes}*off->return"),
    };
    let mut worker = pipeline.start_with(&["--until-caught-up"], &[("FAILPOINTS", &action)])?;
    match worker.wait(PATIENCE)? {
        Some(status) => ensure!(!status.success(), "the worker did not pass {point} so often"),
        None => bail!("the worker neither died at {point} nor ended"),
    }
    Ok(())
}
