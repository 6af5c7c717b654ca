//! Compaction of what `stream` has written: every row stays there once, on every sink, whatever else runs or dies.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tips_e2e::hdfs::Hdfs;
use tips_e2e::oracle::python;
use tips_e2e::process::run;
use tips_e2e::s3::S3;
use tips_e2e::sender::{Lines, send};
use tips_e2e::wait::until;
use tips_e2e::watcher::{Merging, Watcher};
use tips_e2e::worker::{Bucket, Data, MIXED, PARTITIONS, Pipeline, Settings, Target, metric, until_metric};
use tips_e2e::{Folder, Process, Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "31", "--rate", "8", "--span", "2h"];
const DAY: &str = "2013-01-01";
/// Several ranges of each partition.
const MORE: [&str; 2] = ["epoch: 0", "raw: {flushInterval: 1s, maxFileBytes: 1Mi}"];

fn data(folder: &Folder) -> Result<Data> {
    Data::generate(folder, &[&DATA[..], &MIXED].concat())
}

/// A pipeline that has read all data in several ranges.
fn filled<'a>(servers: &Servers<'a>, data: &Data, name: &str, target: Target) -> Result<Pipeline<'a>> {
    let mut pipeline = Pipeline::new(servers.folder, name, &servers.settings(&MORE), target)?;
    let topics = data.topics(&servers.kafka, name)?;
    for half in halves(servers.folder, data)? {
        send(&servers.kafka.client(), &named(&topics, half), None)?;
        pipeline.catch_up(2, PATIENCE)?;
    }
    Ok(pipeline)
}

/// The first and the second half of each file.
fn halves(folder: &Folder, data: &Data) -> Result<[[Vec<PathBuf>; 2]; 2]> {
    let half = |number: usize, files: &[PathBuf]| -> Result<Vec<PathBuf>> {
        let part = |file: &PathBuf| {
            let text = std::fs::read(file).context("reading lines")?;
            let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
            let middle = lines.len() / 2;
            let lines = if number == 0 { &lines[..middle] } else { &lines[middle..] };
            let name = file.file_name().context("a file without a name")?.to_string_lossy();
            folder.file(&format!("{number}-{name}"), lines.concat())
        };
        files.iter().map(part).collect()
    };
    Ok([[half(0, &data.rides)?, half(0, &data.fares)?], [half(1, &data.rides)?, half(1, &data.fares)?]])
}

fn named(topics: &[Lines; 2], [rides, fares]: [Vec<PathBuf>; 2]) -> [Lines; 2] {
    [
        Lines { topic: topics[0].topic.clone(), files: rides },
        Lines { topic: topics[1].topic.clone(), files: fares },
    ]
}

fn folder_target(folder: &Folder, name: &str) -> Target {
    Target::Fs(folder.path().join("output").join(name))
}

/// Few files in place of many, the oracle's answer as before, and nothing left to do. Returns for how long rows were there
/// twice, where the run rests at `points`.
fn compacts(
    servers: &Servers<'_>,
    data: &Data,
    name: &str,
    pipeline: &Pipeline<'_>,
    points: &str,
) -> Result<Duration> {
    let began = Instant::now();
    let compacted = pipeline.compact_with(DAY, points)?;
    let (took, overlap) = (began.elapsed(), compacted.overlap());
    let (before, after) = compacted.files();
    // One of each topic, the newest of each partition, and one of all windows.
    ensure!(compacted.folders() == 3 && after == 2 * (1 + PARTITIONS as u64) + 1, "{compacted:?}");
    eprintln!("{name}: {before} files became {after}, rows were there twice for {overlap:?}");
    ensure!(overlap <= took, "longer than the run took, {took:?}: {overlap:?}");
    servers.check(data, name, pipeline)?;
    let again = pipeline.compact(DAY, &[])?;
    ensure!(again.folders() == 0, "{again:?}");
    Ok(overlap)
}

/// The number before `what` in what a watcher says that it has seen.
fn count(seen: &str, what: &str) -> Result<usize> {
    let part = seen.split(", ").find_map(|part| part.strip_suffix(what));
    part.with_context(|| format!("no number of{what}: {seen}"))?.parse().context("no number")
}

/// Between putting a target and deleting its sources, long enough for a look.
const WHILE_TWICE: &str = "sink::before-removal=sleep(2000)";

#[test]
fn a_folder_is_compacted_and_no_reader_sees_a_row_twice_or_misses_one() {
    scenario("compact-fs", |folder| {
        let servers = Servers::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "fs", folder_target(folder, "fs"))?;
        let watcher = watch(folder, &pipeline.output()?, Merging::AtOnce)?;
        let rests = "sink::before-exchange=sleep(1000);sink::after-exchange=sleep(1000)";
        let overlap = compacts(&servers, &data, "fs", &pipeline, rests)?;
        ensure!(overlap.is_zero(), "rows were there twice for {overlap:?}");
        let seen = watcher.finish()?;
        // Before, after, and one at least between the merges of rides, fares and windows.
        ensure!(count(&seen, " states")? > 2, "no look fell between two merges: {seen}");
        eprintln!("watched: {seen}");
        Ok(())
    });
}

/// An object store has no step for it, but a row is never missed.
#[test]
fn a_bucket_is_compacted_and_no_reader_misses_a_row() {
    scenario("compact-s3", |folder| {
        let servers = Servers::start(folder)?;
        let s3 = S3::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "s3", Target::S3(Bucket::of(&s3)))?;
        let watcher = watch(folder, &pipeline.output()?, Merging::Overlapping)?;
        let overlap = compacts(&servers, &data, "s3", &pipeline, WHILE_TWICE)?;
        ensure!(overlap >= Duration::from_secs(2), "the run rested for longer: {overlap:?}");
        let seen = watcher.finish()?;
        ensure!(count(&seen, " with rows twice")? > 0, "no look fell into a merge: {seen}");
        eprintln!("watched: {seen}");
        for point in [
            "compact::after-plan",
            "sink::after-publish/rides",
            "sink::before-removal",
            "compact::before-done",
        ] {
            let name = format!("s3-{}", point.replace("::", "-").replace('/', "-"));
            let pipeline = filled(&servers, &data, &name, Target::S3(Bucket::of(&s3)))?;
            survives(&servers, &data, &name, &pipeline, point)?;
        }
        Ok(())
    });
}

#[test]
fn a_directory_of_hdfs_is_compacted() {
    scenario("compact-hdfs", |folder| {
        let servers = Servers::start(folder)?;
        let hdfs = Hdfs::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "hdfs", Target::Hdfs(hdfs.files()))?;
        let watcher = watch(folder, format!("{}/hdfs", hdfs.files().webhdfs()), Merging::Overlapping)?;
        let overlap = compacts(&servers, &data, "hdfs", &pipeline, WHILE_TWICE)?;
        ensure!(overlap >= Duration::from_secs(2), "the run rested for longer: {overlap:?}");
        let seen = watcher.finish()?;
        ensure!(count(&seen, " with rows twice")? > 0, "no look fell into a merge: {seen}");
        eprintln!("watched: {seen}");
        for point in ["sink::before-publish/rides", "sink::before-removal"] {
            let name = format!("hdfs-{}", point.replace("::", "-").replace('/', "-"));
            let pipeline = filled(&servers, &data, &name, Target::Hdfs(hdfs.files()))?;
            survives(&servers, &data, &name, &pipeline, point)?;
        }
        Ok(())
    });
}

/// The watcher has seen all that there is before anything is merged.
fn watch(folder: &Folder, output: impl AsRef<OsStr>, merging: Merging) -> Result<Watcher> {
    let mut watcher = Watcher::start(folder, output, merging)?;
    watcher.until_looked(PATIENCE)?;
    Ok(watcher)
}

/// A run dies at `point`; whatever is there then holds, and the next run finishes it. What is there twice since the death is
/// told, and nothing else.
fn survives(
    servers: &Servers<'_>,
    data: &Data,
    name: &str,
    pipeline: &Pipeline<'_>,
    point: &str,
) -> Result<()> {
    pipeline.compact_dies_at(DAY, point)?;
    let died = Instant::now();
    pipeline.verify().with_context(|| format!("after a death at {point}"))?;
    let (since_death, began) = (died.elapsed(), Instant::now());
    let rest = pipeline.compact(DAY, &[]).with_context(|| format!("after a death at {point}"))?;
    let (took, overlap) = (began.elapsed(), rest.overlap());
    eprintln!("{name}: finished after a death at {point}, rows were there twice for {overlap:?}");
    let leaves_both = ["sink::before-removal", "sink::after-publish/rides"].contains(&point);
    let is_told = if leaves_both { overlap >= since_death } else { overlap <= took };
    ensure!(
        is_told,
        "died {since_death:?} before a run of {took:?}, and rows were there twice for {overlap:?}"
    );
    servers.check(data, name, pipeline).with_context(|| format!("after a death at {point}"))?;
    let again = pipeline.compact(DAY, &[])?;
    ensure!(again.folders() == 0, "after a death at {point} and a run: {again:?}");
    Ok(())
}

const POINTS: [&str; 10] = [
    "compact::before-plan",
    "compact::after-plan",
    "compact::before-merge",
    "sink::before-exchange",
    "sink::after-exchange",
    "compact::after-merge",
    "compact::before-done",
    "sink::after-publish/_tips/compact",
    "compact::after-done",
    "compact::before-prune",
];

#[test]
fn a_run_that_dies_at_any_step_is_finished_by_the_next() {
    scenario("compact-crash", |folder| {
        let servers = Servers::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "crash", folder_target(folder, "crash"))?;
        let (output, copy) = (pipeline.output()?, folder.path().join("copy"));
        run(Command::new("cp").arg("-a").args([&output, &copy]))?;
        for point in POINTS {
            std::fs::remove_dir_all(&output)?;
            run(Command::new("cp").arg("-a").args([&copy, &output]))?;
            survives(&servers, &data, "crash", &pipeline, point)?;
        }
        Ok(())
    });
}

/// One is stopped between two of its steps, two others come at once and do all there is to do, and it goes on.
#[test]
fn runs_at_once_do_no_harm() {
    scenario("compact-two", |folder| {
        let servers = Servers::start(folder)?;
        let s3 = S3::start(folder)?;
        let data = data(folder)?;
        for (name, target, point, sign) in [
            ("two-fs", folder_target(folder, "two-fs"), "compact::after-plan", "rides-*-000001"),
            ("two-s3", Target::S3(Bucket::of(&s3)), "sink::before-removal", "*-compacted-*"),
        ] {
            let pipeline = filled(&servers, &data, name, target)?;
            let start = |number: usize, points: &str| {
                let mut command = pipeline.compact_command(DAY, &[])?;
                command.env("FAILPOINTS", points);
                Process::start(name, command, &folder.path().join(format!("{name}-{number}.log")))
            };
            let mut slow = start(0, &format!("{point}=1*sleep(3000)"))?;
            let mut signs = Command::new("find");
            signs.arg(pipeline.output()?).args(["-name", sign]);
            until("it is at its step", PATIENCE, || Ok(!run(&mut signs)?.is_empty()))?;
            slow.stop()?;
            let mut others = [start(1, "")?, start(2, "")?];
            let ends = |run: &mut Process| -> Result<()> {
                let status = run.wait(PATIENCE)?.context("a run does not end")?;
                ensure!(status.success(), "{status}: {}", run.last_lines());
                Ok(())
            };
            others.iter_mut().try_for_each(ends)?;
            slow.cont()?;
            ends(&mut slow)?;
            servers.check(&data, name, &pipeline)?;
            ensure!(pipeline.compact(DAY, &[])?.folders() == 0, "something was left");
        }
        Ok(())
    });
}

/// Starts a run that rests at `points`.
fn resting(mut compact: Command, folder: &Folder, points: &str) -> Result<Process> {
    compact.env("FAILPOINTS", points);
    Process::start("compact", compact, &folder.path().join("compact.log"))
}

/// Before, while and after: what would be done, how far it is, and what is left for the next run.
#[test]
fn a_run_tells_of_itself_and_ends_between_two_steps_when_it_is_told_to() {
    scenario("compact-told", |folder| {
        let servers = Servers::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "told", folder_target(folder, "told"))?;
        let output = pipeline.output()?;
        let files = || run(Command::new("find").arg(&output).args(["-type", "f"]));
        let manifest = pipeline.manifest().display().to_string();
        let before = files()?;
        let mut plan = pipeline.command(&["compact", "-f", &manifest, "--day", DAY, "--dry-run"])?;
        let plan = run(&mut plan)?;
        for said in ["rides-2013-01-01", "fares-2013-01-01", "tips-2013-01-01", "would be compacted", "→"] {
            ensure!(plan.contains(said), "{said:?} is not in\n{plan}");
        }
        ensure!(files()? == before, "a dry run has done something");

        let mut compact = resting(
            pipeline.compact_command(DAY, &["--listen", "127.0.0.1:0"])?,
            folder,
            "compact::before-merge=sleep(2000)",
        )?;
        // It has done one of three, and waits before the next.
        until_metric(&mut compact, "tipstream_compact_plans_total", 1.0, PATIENCE)?;
        for name in ["files_merged", "files_written", "bytes_merged", "bytes_written"] {
            let value = metric(&compact, &format!("tipstream_compact_{name}_total"))?;
            ensure!(value > 0.0, "{name}: {value}");
        }
        ensure!(metric(&compact, "tipstream_compact_failures_total")? == 0.0, "failures");
        compact.terminate()?;
        let status = compact.wait(PATIENCE)?.context("it does not end")?;
        ensure!(status.code() == Some(130), "{status}: {}", compact.last_lines());
        pipeline.verify().context("after it was told to end")?;
        let rest = pipeline.compact(DAY, &[])?;
        ensure!((1..3).contains(&rest.folders()), "{rest:?}");
        servers.check(&data, "told", &pipeline)
    });
}

/// A day whose files cannot be read is told, the others wait for the next run.
#[test]
fn a_sink_that_is_away_fails_a_run_and_the_next_goes_on() {
    scenario("compact-away", |folder| {
        let servers = Servers::start(folder)?;
        let mut s3 = S3::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "away", Target::S3(Bucket::of(&s3)))?;
        let mut compact =
            resting(pipeline.compact_command(DAY, &[])?, folder, "sink::before-removal=sleep(3000)")?;
        let mut merged = Command::new("find");
        merged.arg(s3.bucket_dir()).args(["-name", "*-compacted-*"]);
        until("published", PATIENCE, || Ok(!run(&mut merged)?.is_empty()))?;
        s3.kill9()?;
        let status = compact.wait(PATIENCE)?.context("it does not end")?;
        ensure!(status.code() == Some(1), "{status}: {}", compact.last_lines());
        s3.up()?;
        pipeline.verify().context("after the sink was away")?;
        pipeline.compact(DAY, &[])?;
        servers.check(&data, "away", &pipeline)?;
        ensure!(pipeline.compact(DAY, &[])?.folders() == 0, "something was left");
        Ok(())
    });
}

/// What a run has done is told, whether or not it can clear up after it.
#[test]
fn a_sink_that_goes_away_at_the_end_of_a_run_costs_no_report() {
    scenario("compact-prune", |folder| {
        let servers = Servers::start(folder)?;
        let mut s3 = S3::start(folder)?;
        let data = data(folder)?;
        let pipeline = filled(&servers, &data, "prune", Target::S3(Bucket::of(&s3)))?;
        let mut compact =
            resting(pipeline.compact_command(DAY, &[])?, folder, "compact::before-prune=sleep(5000)")?;
        let mut done = Command::new("find");
        done.arg(s3.bucket_dir()).args(["-name", "*.done"]);
        until("all done", PATIENCE, || Ok(run(&mut done)?.lines().count() == 3))?;
        std::thread::sleep(Duration::from_secs(1));
        s3.kill9()?;
        let status = compact.wait(PATIENCE)?.context("it does not end")?;
        let said = compact.output()?;
        ensure!(status.success() && said.contains("\"lookedAt\": 3"), "{status}: {said}");
        ensure!(said.contains("old plans are left"), "it could clear up: {said}");
        Ok(())
    });
}

/// Rows of a day, decoded and twice while they are sorted, are more than twice of what is allowed here.
#[test]
fn a_big_day_is_compacted_in_the_memory_that_is_given() {
    /// Beside the merged file and twice the rows that may be held: footers, what is being encoded, the program. In MiB.
    const REST: f64 = 160.0;
    scenario("compact-big", |folder| {
        let nowhere = Settings {
            kafka: "127.0.0.1:1".to_owned(),
            redis: "{urls: ['redis://127.0.0.1:1']}".to_owned(),
            more: vec![],
        };
        let pipeline = Pipeline::new(folder, "big", &nowhere, folder_target(folder, "big"))?;
        let output = pipeline.output()?;
        let mut day = python("day")?;
        day.arg("--output").arg(&output).args(["--topic", "big-rides", "--files", "12", "--rows", "400000"]);
        run(&mut day)?;
        std::fs::create_dir_all(output.join("_tips"))?;
        std::fs::write(output.join("_tips/owner"), "pipeline default/big\n")?;
        let mut compact = resting(
            pipeline.compact_command("2013-01-02", &["--memory", "16Mi"])?,
            folder,
            "compact::after-done=sleep(2000)",
        )?;
        let (began, mut peak) = (Instant::now(), 0.0);
        while let Some(mib) = compact.peak_mib() {
            peak = mib;
            ensure!(began.elapsed() < PATIENCE, "it does not end; {}", compact.last_lines());
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = compact.wait(PATIENCE)?.context("it does not end")?;
        ensure!(status.success(), "{status}: {}", compact.last_lines());
        let files =
            run(Command::new("find").arg(output.join("rides")).args(["-type", "f", "-printf", "%s\n"]))?;
        ensure!(files.lines().count() == 1, "merged into {files:?}");
        let merged = files.trim().parse::<f64>()? / f64::from(1 << 20);
        eprintln!("a day of {merged:.0} MiB with --memory 16Mi: at most {peak:.0} MiB");
        ensure!(peak < merged + 2.0 * 16.0 + REST, "{peak} MiB for a file of {merged} MiB");
        Ok(())
    });
}

/// A worker goes on meanwhile; what it writes of the day is merged by a later run.
#[test]
fn files_that_come_after_a_day_was_compacted_are_merged_by_the_next_run() {
    scenario("compact-late", |folder| {
        let servers = Servers::start(folder)?;
        let data = data(folder)?;
        let mut pipeline =
            Pipeline::new(folder, "late", &servers.settings(&MORE), folder_target(folder, "late"))?;
        let topics = data.topics(&servers.kafka, "late")?;
        let [first, second] = halves(folder, &data)?;
        send(&servers.kafka.client(), &named(&topics, first), None)?;
        pipeline.catch_up(2, PATIENCE)?;
        let watcher = watch(folder, &pipeline.output()?, Merging::AtOnce)?;
        let mut worker = pipeline.start(&[])?;
        until_metric(&mut worker, "tipstream_assigned_partitions", 2.0 * PARTITIONS as f64, PATIENCE)?;
        // Of each partition there is one range yet.
        ensure!(pipeline.compact(DAY, &[])?.folders() == 1, "only windows can be merged");
        let sending = std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(&servers.kafka.client(), &named(&topics, second), Some(8000)));
            while !sender.is_finished() {
                pipeline.compact(DAY, &[])?;
                pipeline.verify().context("while a worker writes")?;
            }
            sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
        });
        sending?;
        worker.end()?;
        pipeline.catch_up(1, PATIENCE)?;
        pipeline.compact(DAY, &[])?;
        watcher.finish()?;
        servers.check(&data, "late", &pipeline)
    });
}

/// The state keeps a window for a day after it has closed, and whoever starts publishes what it keeps.
#[test]
fn a_worker_that_starts_after_a_compaction_publishes_no_window_again_but_in_a_new_epoch() {
    scenario("compact-epoch", |folder| {
        let servers = Servers::start(folder)?;
        let data = data(folder)?;
        let mut pipeline = filled(&servers, &data, "epoch", folder_target(folder, "epoch"))?;
        compacts(&servers, &data, "epoch", &pipeline, "")?;
        pipeline.catch_up(1, PATIENCE)?;
        servers.check(&data, "epoch", &pipeline)?;
        let before = windows(&pipeline)?;
        ensure!(before.lines().count() == 1, "{before}");

        pipeline.change("epoch: 0", "epoch: 1")?;
        pipeline.catch_up(1, PATIENCE)?;
        servers.check(&data, "epoch", &pipeline)?;
        let after = windows(&pipeline)?;
        ensure!(after == before, "{after}");
        pipeline.compact(DAY, &[])?;
        servers.check(&data, "epoch", &pipeline)
    });
}

fn windows(pipeline: &Pipeline<'_>) -> Result<String> {
    run(Command::new("find").arg(pipeline.output()?.join("tips/year=2013")).args(["-name", "*.parquet"]))
}
