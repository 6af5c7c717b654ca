//! A worker that dies at any step of the protocol changes nothing (I6): each crash point is hit once, the next
//! worker goes on, and the files and the books are those of an undisturbed run.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::Signal;
use tips_e2e::hdfs::Hdfs;
use tips_e2e::kafka::KafkaOptions;
use tips_e2e::oracle::{Oracle, Watermark};
use tips_e2e::s3::S3;
use tips_e2e::sender::Paced;
use tips_e2e::worker::{Bucket, Data, MIXED, PARTITIONS, Pipeline, Target, died_with_its_kind, shards};
use tips_e2e::{Folder, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "12", "--rate", "12", "--span", "2h"];
/// Enough for each point to be passed often enough.
const LITTLE: [&str; 6] = ["--seed", "15", "--rate", "2", "--span", "2h"];
const FLUSH: [&str; 3] = ["epoch: 0", "raw: {flushInterval: 1s}", NEVER_IDLE];
/// All in one range, so that its file goes to S3 in parts.
const ONE_RANGE: [&str; 3] = ["epoch: 0", "raw: {flushInterval: 1h}", NEVER_IDLE];
/// So it is known from the lines how far the watermark has to come.
const NEVER_IDLE: &str = "job: {idleTimeout: 1h}";
const NOISE: usize = 24 << 20;
/// Of a state, as a manifest has them that does not say.
const SHARDS: usize = 16;
/// Pipelines that are worked on at a time: mostly they wait, for sessions that end and for each other's servers.
const AT_ONCE: usize = 4;

/// A point, and how often it is passed before the worker dies there: dying at the first pass finds nothing done
/// before, dying later finds some of it.
type Point = (&'static str, usize);

const POINTS: [Point; 22] = [
    ("state::before-apply", 1),
    (BETWEEN_SHARDS, 1),
    (BETWEEN_SHARDS, 7),
    ("state::after-apply", 0),
    ("raw::before-range", 3),
    ("raw::after-range", 0),
    ("raw::after-range", 3),
    ("raw::after-file", 3),
    (BEFORE_PRUNE, 0),
    ("raw::before-commit", 0),
    (AFTER_COMMIT, 0),
    (AFTER_COMMIT, 3),
    ("tips::before-window", 2),
    ("tips::after-window", 0),
    ("sink::before-upload/rides", 2),
    ("sink::mid-upload/rides", 2),
    ("sink::mid-upload/tips", 1),
    ("sink::before-publish/fares", 2),
    ("sink::before-publish/tips", 1),
    ("sink::after-publish/rides", 2),
    ("sink::after-publish/tips", 1),
    ("sink::after-publish/invalid", 0),
];

/// Those at which something of the sink is half done, which each sink does in its own way.
const REMOTE_POINTS: [Point; 11] = [
    ("raw::before-range", 0),
    ("raw::after-file", 3),
    (BEFORE_PRUNE, 0),
    ("raw::before-commit", 0),
    (AFTER_COMMIT, 3),
    ("tips::after-window", 0),
    // The first eight are where the partitions begin.
    ("sink::after-publish/_tips/raw", 9),
    ("sink::before-publish/rides", 2),
    ("sink::before-publish/tips", 1),
    ("sink::after-publish/rides", 2),
    ("sink::after-publish/tips", 1),
];

const BETWEEN_SHARDS: &str = "state::between-shards";
const BEFORE_PRUNE: &str = "raw::before-prune";
const AFTER_COMMIT: &str = "raw::after-commit";

/// The partitions of a worker that died are given to the next when its session has ended.
fn start(folder: &Folder) -> Result<Servers<'_>> {
    let session_timeout = Duration::from_secs(2);
    Servers::start_with(folder, &KafkaOptions { session_timeout, ..KafkaOptions::default() })
}

fn mixed(folder: &Folder, arguments: &[&str]) -> Result<Data> {
    Data::generate(folder, &[arguments, &MIXED].concat())
}

fn pipeline<'a>(servers: &Servers<'a>, data: &Data, name: &str) -> Result<Pipeline<'a>> {
    data.produce(&servers.kafka, name)?;
    servers.pipeline(name, &FLUSH)
}

/// A worker dies at `point`, another goes on, and all is as if nothing had been.
fn survives(
    servers: &Servers<'_>,
    pipeline: &mut Pipeline<'_>,
    data: &Data,
    name: &str,
    point: Point,
) -> Result<()> {
    die_at(pipeline, &["--until-caught-up"], point)?;
    match point.0 {
        BETWEEN_SHARDS => shards_differ(servers, name)?,
        AFTER_COMMIT => {
            let topics = ["rides", "fares"].map(|kind| format!("{name}-{kind}"));
            let committed = servers.kafka.committed(&format!("default.{name}"), &topics)?;
            ensure!(committed > 0, "nothing is committed");
        }
        _ => {}
    }
    pipeline.catch_up(1, PATIENCE)?;
    servers.check_with_books(data, name, pipeline, up_to_the_end)
}

fn up_to_the_end(oracle: Oracle) -> Oracle {
    Oracle { watermark: Watermark::OfAll, ..oracle }
}

/// Some shards are further than others, or nobody else would have to bring them together.
fn shards_differ(servers: &Servers<'_>, name: &str) -> Result<()> {
    let redis = &mut servers.redis.connection()?;
    let keys = shards(redis, name, "progress")?;
    let mut places = BTreeSet::new();
    for key in &keys {
        places.insert(redis::cmd("HGETALL").arg(key).query::<BTreeMap<String, Vec<u8>>>(redis)?);
    }
    ensure!(
        !keys.is_empty() && (keys.len() < SHARDS || places.len() > 1),
        "all shards are at the same place"
    );
    Ok(())
}

/// [`survives`] each of `points`, with a pipeline for each that writes to `target`.
fn all_survive(
    servers: &Servers<'_>,
    data: &Data,
    more: &[&str],
    points: &[Point],
    target: impl Fn(&str) -> Target + Sync,
) -> Result<()> {
    let settings = servers.settings(more);
    let one_survives = |point: Point| {
        let name = format!("{}-{}", point.0.replace("::", "-").replace(['/', '_'], "-"), point.1);
        data.produce(&servers.kafka, &name)?;
        let mut pipeline = Pipeline::new(servers.folder, &name, &settings, target(&name))?;
        let survived = survives(servers, &mut pipeline, data, &name, point);
        survived.with_context(|| format!("a death at {}, passed {} times before", point.0, point.1))
    };
    let left = Mutex::new(points.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(point) = next() {
            one_survives(*point)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

#[test]
fn a_worker_that_dies_at_any_step_changes_nothing() {
    scenario("crash-points", |folder| {
        let servers = start(folder)?;
        let data = mixed(folder, &DATA)?;
        let output = |name: &str| Target::Fs(folder.path().join("output").join(name));
        all_survive(&servers, &data, &FLUSH, &POINTS, output)
    });
}

#[test]
fn a_worker_that_dies_while_it_writes_to_s3_changes_nothing() {
    scenario("crash-s3", |folder| {
        let servers = start(folder)?;
        let s3 = S3::start(folder)?;
        let target = |_: &str| Target::S3(Bucket::of(&s3));
        let data = mixed(folder, &LITTLE)?;
        all_survive(&servers, &data, &FLUSH, &REMOTE_POINTS, target)?;
        replaces(&servers, &data, "replace", target("replace"), &[1])?;
        // More than one request takes.
        data.add_noise(0, NOISE)?;
        let points =
            ["sink::mid-upload/invalid", "sink::before-publish/invalid", "sink::after-publish/invalid"];
        all_survive(&servers, &data, &ONE_RANGE, &points.map(|point| (point, 0)), target)
    });
}

#[test]
fn a_worker_that_dies_while_it_writes_to_hdfs_changes_nothing() {
    scenario("crash-hdfs", |folder| {
        let servers = start(folder)?;
        let hdfs = Hdfs::start(folder)?;
        let data = mixed(folder, &LITTLE)?;
        let points =
            [&REMOTE_POINTS[..], &[("sink::mid-upload/rides", 2), ("sink::mid-upload/tips", 1)]].concat();
        all_survive(&servers, &data, &FLUSH, &points, |_| Target::Hdfs(hdfs.files()))?;
        replaces(&servers, &data, "replace", Target::Hdfs(hdfs.files()), &[1])
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

/// A raised epoch replaces the files of the one before; workers die before they do, having passed that `deaths` times.
fn replaces(servers: &Servers<'_>, data: &Data, name: &str, target: Target, deaths: &[usize]) -> Result<()> {
    data.produce(&servers.kafka, name)?;
    let mut pipeline = Pipeline::new(servers.folder, name, &servers.settings(&FLUSH), target)?;
    pipeline.catch_up(1, PATIENCE)?;
    for (epoch, passes) in deaths.iter().enumerate() {
        pipeline.change(&format!("epoch: {epoch}"), &format!("epoch: {}", epoch + 1))?;
        survives(servers, &mut pipeline, data, name, ("tips::before-replace", *passes))?;
    }
    Ok(())
}

#[test]
fn a_worker_that_dies_before_it_replaces_a_window_changes_nothing() {
    scenario("crash-replace", |folder| {
        let servers = start(folder)?;
        let data = mixed(folder, &DATA)?;
        let target = Target::Fs(folder.path().join("output"));
        replaces(&servers, &data, "replace", target, &[0, 2])
    });
}

/// The group is older than the range log then, and its offsets are beyond the range that was begun.
#[test]
fn a_sink_that_was_wiped_is_filled_again_though_a_worker_dies_at_the_first_range() {
    scenario("crash-wiped", |folder| {
        let servers = start(folder)?;
        let data = mixed(folder, &DATA)?;
        let mut pipeline = pipeline(&servers, &data, "wiped")?;
        pipeline.catch_up(1, PATIENCE)?;
        std::fs::remove_dir_all(pipeline.output()?)?;
        survives(&servers, &mut pipeline, &data, "wiped", ("raw::after-range", 0))
    });
}

/// A partition's range log keeps its newest entries. Ranges of a second fill it only where the records come slowly.
#[test]
fn a_worker_that_dies_with_old_ranges_to_prune_changes_nothing() {
    const KEPT: usize = 8;
    const PACE: usize = 5000;
    scenario("crash-prune", |folder| {
        let servers = start(folder)?;
        let data = mixed(folder, &DATA)?;
        let topics = data.topics(&servers.kafka, "prune")?;
        let sender = Paced::start(servers.kafka.client(), topics, PACE);
        let mut pipeline = servers.pipeline("prune", &FLUSH)?;
        // On a busy machine some partitions have had twice the ranges of others.
        die_at(&mut pipeline, &[], (BEFORE_PRUNE, 2 * KEPT * 2 * PARTITIONS))?;
        let longest = longest_log(&pipeline.output()?, "prune-rides")?;
        ensure!(longest > KEPT, "there was nothing to prune: {longest} entries");
        sender.finish()?;
        pipeline.catch_up(1, PATIENCE)?;
        servers.check_with_books(&data, "prune", &pipeline, up_to_the_end)?;
        let longest = longest_log(&pipeline.output()?, "prune-rides")?;
        ensure!(longest <= KEPT, "old entries are left: {longest}");
        Ok(())
    });
}

/// How many entries the longest of the range logs of `topic` has.
fn longest_log(output: &Path, topic: &str) -> Result<usize> {
    let mut longest = 0;
    for partition in 0..PARTITIONS {
        let log = output.join(format!("_tips/raw/{topic}/{partition}"));
        let files = std::fs::read_dir(&log).with_context(|| format!("listing {}", log.display()))?;
        // Beside them is `origin`.
        longest = longest.max(files.count() - 1);
    }
    Ok(longest)
}

fn die_at(pipeline: &mut Pipeline<'_>, arguments: &[&str], (point, passes): Point) -> Result<()> {
    // What was sent to shards or to the group has time to arrive.
    let death = if [BETWEEN_SHARDS, AFTER_COMMIT].contains(&point) { "return(500)" } else { "return" };
    let action = match passes {
        0 => format!("{point}={death}"),
        passes => format!("{point}={passes}*off->{death}"),
    };
    let mut worker = pipeline.start_with(arguments, &[("FAILPOINTS", &action)])?;
    let Some(status) = worker.wait(PATIENCE)? else {
        bail!("the worker neither died at {point} nor ended; {}", worker.last_lines());
    };
    let died = status.signal() == Some(Signal::ABORT.as_raw());
    ensure!(
        died,
        "the worker did not pass {point} so often, and ended with {status}; {}",
        worker.last_lines()
    );
    died_with_its_kind(&worker.output()?, point)
}
