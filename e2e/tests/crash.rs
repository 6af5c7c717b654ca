//! A worker that dies at any step of the protocol changes nothing (I6): each crash point is hit once, the next
//! worker goes on, and the files and the books are those of an undisturbed run.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tips_e2e::kafka::{Kafka, KafkaOptions};
use tips_e2e::redis::{Redis, RedisOptions};
use tips_e2e::scenario;
use tips_e2e::worker::{Data, Pipeline, Settings, Target, watermark};

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

#[test]
fn a_worker_that_dies_at_any_step_changes_nothing() {
    scenario("crash-points", |folder| {
        // The partitions of a worker that died are given to the next when its session has ended.
        let options = KafkaOptions { session_timeout: Duration::from_secs(2), ..KafkaOptions::default() };
        let kafka = Kafka::start_with(folder, &options)?;
        let redis = Redis::start(folder, RedisOptions::default())?;
        let data = Data::generate(folder, &DATA)?;
        for (number, (point, passes)) in POINTS.into_iter().enumerate() {
            let name = format!("crash-{number}");
            data.produce(&kafka, &name)?;
            let settings = Settings {
                kafka: kafka.bootstrap(),
                redis: format!("{{urls: [\"{}\"]}}", redis.url()),
                more: vec!["raw: {flushInterval: 1s}".into()],
            };
            let output = folder.path().join("output").join(&name);
            let mut pipeline = Pipeline::new(folder, &name, &settings, Target::Fs(output))?;
            die_at(&mut pipeline, point, passes)?;
            pipeline.catch_up(1, PATIENCE)?;
            let closed = watermark(&mut redis.connection()?, &name)?;
            let checked =
                data.oracle(&name, Some(closed)).check(&pipeline.output()?).and_then(|_| pipeline.verify());
            if let Err(error) = checked {
                bail!("after a death at {point}, passed {passes} times before: {error:#}");
            }
        }
        Ok(())
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
