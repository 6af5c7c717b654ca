//! Runs on what `local` made of what `generate` made: every row stays there once, whatever has happened before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::commands::verify::tests::Output;
use crate::compact::folder::parse_day;
use crate::compact::journal::DIR;
use crate::sink::SinkConfig;

const NOW: i64 = 1_000_000;

fn options() -> Options {
    Options {
        datasets: Dataset::ALL.into(),
        days: Days {
            only: ["2013-01-01", "2013-01-02"].map(|day| parse_day(day).expect("a day")).into(),
            since: None,
            until: None,
            settle: Span::from_seconds(3600),
        },
        target_bytes: 16 << 20,
        memory: 64 << 20,
        rate: None,
        window: Span::from_seconds(1800),
        epoch: 0,
        dry_run: false,
    }
}

async fn sink(output: &Output) -> Sink {
    Sink::open(&SinkConfig::Fs { root: output.path() }).await.expect("a sink")
}

/// A run beside a pipeline that has begun newer ranges: `local` has few, and the newest would stay.
async fn run(output: &Output, options: Options) -> Report {
    let metrics = CompactMetrics::new().expect("metrics");
    let stop = CancellationToken::new();
    let begun = begin_newer_ranges(output);
    let report = Compactor::new(sink(output).await, options, metrics, stop).run(NOW).await.expect("a run");
    begun.iter().for_each(|path| output.remove(path));
    report
}

fn begin_newer_ranges(output: &Output) -> Vec<String> {
    let newest: BTreeMap<String, String> = output
        .contents()
        .into_iter()
        .filter_map(|(path, entry)| {
            let (lane, start) = path.strip_prefix("_tips/raw/")?.rsplit_once('/')?;
            start.parse::<i64>().ok()?;
            Some((lane.to_owned(), String::from_utf8(entry).ok()?))
        })
        .collect();
    newest
        .into_iter()
        .map(|(lane, entry)| {
            let (end, mark) = entry.split_once(' ').expect("an entry");
            let end: i64 = end.parse().expect("an end");
            let path = format!("_tips/raw/{lane}/{end:020}");
            output.write(&path, format!("{} {mark}", end + 1).as_bytes());
            path
        })
        .collect()
}

async fn compact(output: &Output) -> Report {
    let report = run(output, options()).await;
    assert_eq!(report.failure(), None);
    report
}

#[track_caller]
fn holds((report, holds): (String, bool)) {
    assert!(holds, "{report}");
}

/// How often each row is there, by topic and coordinates.
fn rows(output: &Output) -> BTreeMap<(&'static str, i32, i64), usize> {
    let mut rows = BTreeMap::new();
    for topic in ["rides", "fares"] {
        for file in output.files(topic) {
            for (partition, offset, _) in read(&file) {
                *rows.entry((topic, partition, offset)).or_default() += 1;
            }
        }
    }
    rows
}

/// Partition, offset and event time of the rows of a file.
fn read(file: &Path) -> Vec<(i32, i64, i64)> {
    let bytes = Bytes::from(fs::read(file).expect("a file"));
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").build().expect("rows");
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch.expect("rows");
        let time = batch.column_by_name("event_time").or(batch.column_by_name("start_time")).expect("a time");
        let times = time.as_primitive::<TimestampMicrosecondType>().values();
        let partitions = batch["kafka_partition"].as_primitive::<Int32Type>().values();
        let offsets = batch["kafka_offset"].as_primitive::<Int64Type>().values();
        rows.extend((0..batch.num_rows()).map(|row| (partitions[row], offsets[row], times[row])));
    }
    rows
}

fn merged(output: &Output) -> Vec<std::path::PathBuf> {
    let mut files = [output.files("rides"), output.files("fares")].concat();
    files.retain(|file| file.to_string_lossy().contains("-compacted-"));
    files
}

#[tokio::test]
async fn every_row_stays_there_once_and_in_order_of_time() {
    let output = Output::make().await;
    let before = rows(&output);
    assert!(before.values().all(|times| *times == 1));
    let report = compact(&output).await;
    assert_eq!(report.folders.len(), 6, "{report:?}");
    assert_eq!(rows(&output), before);
    holds(output.verify(&[]).await);
    assert_eq!(merged(&output).len(), 4);
    for file in merged(&output) {
        assert!(read(&file).is_sorted_by_key(|(partition, offset, time)| (*time, *partition, *offset)));
    }
    assert!(
        output
            .files("tips")
            .iter()
            .all(|file| file.to_string_lossy().contains("/window=all/tips-compacted-"))
    );
    assert_eq!(output.files("tips").len(), 2);
    assert_eq!(compact(&output).await.folders, [], "nothing is left to do");
}

#[tokio::test]
async fn however_little_memory_there_is_the_files_are_the_same() {
    let (roomy, tight) = (Output::make().await, Output::make().await);
    compact(&roomy).await;
    let report = run(&tight, Options { memory: 300 << 10, ..options() }).await;
    assert_eq!(report.failure(), None);
    let contents = |output: &Output| -> Vec<(String, Vec<u8>)> {
        let name = |file: &Path| file.file_name().expect("a name").to_string_lossy().into_owned();
        merged(output).iter().map(|file| (name(file), fs::read(file).expect("a file"))).collect()
    };
    assert!(contents(&roomy) == contents(&tight));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let output = Output::make().await;
    let before = output.files("");
    let report = run(&output, Options { dry_run: true, ..options() }).await;
    assert!(report.folders.iter().all(|line| line.outcome == Outcome::Planned), "{report:?}");
    assert!(report.folders[0].after.is_some_and(|after| after.files < report.folders[0].before.files));
    assert_eq!(output.files(""), before);
}

/// What is read and what is written, of raw files and of windows.
#[tokio::test]
async fn a_run_moves_no_more_bytes_a_second_than_it_may() {
    let output = Output::make().await;
    // Files this small are read as a whole for their footers, and windows too; both for the plan and for the merge.
    let read_twice = 2;
    for dataset in [Dataset::Rides, Dataset::Tips] {
        let datasets = BTreeSet::from([dataset]);
        let planned = run(&output, Options { datasets: datasets.clone(), dry_run: true, ..options() }).await;
        let bytes: u64 = planned.folders.iter().map(|line| line.before.bytes).sum();
        // A second for what is read, and more for what is written.
        let rate = read_twice * bytes;
        let began = Instant::now();
        let done = run(&output, Options { datasets, rate: Some(rate), ..options() }).await;
        let written: u64 = done.folders.iter().filter_map(|line| line.after).map(|after| after.bytes).sum();
        let least = (read_twice * bytes + written) as f64 / rate as f64;
        let took = began.elapsed().as_secs_f64();
        // What is merged is read without its footers, which are a tenth of all in files this small. Were one of the
        // three not paid for, it would be a third.
        assert!(written > 0 && took >= 0.8 * least, "{dataset:?}: {took} s of {least} s");
    }
}

#[tokio::test]
async fn a_run_that_is_told_to_end_does_so_where_nothing_is_to_be_done_and_while_it_plans() {
    let (whole, compacted) = (Output::make().await, Output::make().await);
    compact(&compacted).await;
    for (output, after) in [(&compacted, Duration::ZERO), (&whole, Duration::from_millis(100))] {
        let (metrics, stop) = (CompactMetrics::new().expect("metrics"), CancellationToken::new());
        let slow = Options { rate: Some(1), ..options() };
        let mut compactor = Compactor::new(sink(output).await, slow, metrics, stop.clone());
        if after.is_zero() {
            stop.cancel();
        }
        let told = async {
            tokio::time::sleep(after).await;
            stop.cancel();
        };
        let run = tokio::time::timeout(Duration::from_secs(60), compactor.run(NOW));
        let ended = tokio::join!(told, run).1.expect("it ends");
        assert!(matches!(ended, Err(CompactError::Interrupted)), "{ended:?}");
    }
    assert!(!whole.contents().keys().any(|path| path.starts_with(DIR)));
}

/// A folder without a file is none on S3, and one of no day is nobody's.
#[tokio::test]
async fn the_newest_day_with_a_window_tells_how_far_windows_have_closed() {
    let output = Output::make().await;
    output.write("tips/year=2013/month=10/day=2/window=00-10/tips.parquet", b"");
    output.write("tips/year=2013/month=2/day=20/window=07-00/tips.parquet", b"");
    output.write("tips/year=2013/month=11/strange/window=07-00/tips.parquet", b"");
    fs::create_dir_all(output.path().join("tips/year=2013/month=12/day=1")).expect("made");
    let metrics = CompactMetrics::new().expect("metrics");
    let compactor = Compactor::new(sink(&output).await, options(), metrics, CancellationToken::new());
    let days = compactor.days(Dataset::Tips).await.expect("listed");
    let closed = compactor.closed(&days).await.expect("listed");
    let days: Vec<String> = days.iter().map(Folder::to_string).collect();
    let in_order =
        ["tips-2013-01-01", "tips-2013-01-02", "tips-2013-02-20", "tips-2013-10-02", "tips-2013-12-01"];
    assert_eq!(days, in_order);
    assert_eq!(closed, EventTime::parse(b"2013-10-02 00:40:00"));
}

#[tokio::test]
async fn days_that_have_not_closed_are_left() {
    let output = Output::make().await;
    let closed = Days { only: vec![], ..options().days };
    let report = run(&output, Options { days: closed.clone(), ..options() }).await;
    let folders: Vec<&str> = report.folders.iter().map(|line| line.folder.as_str()).collect();
    assert_eq!(folders, ["rides-2013-01-01", "fares-2013-01-01", "tips-2013-01-01"]);
    let late = Days { settle: Span::from_seconds(86_400), ..closed };
    assert_eq!(run(&output, Options { days: late, ..options() }).await.looked_at, 0);
}

/// Workers of a raised epoch are about to write them anew.
#[tokio::test]
async fn windows_of_another_epoch_are_left() {
    let output = Output::make().await;
    let before = output.data();
    let report = run(&output, Options { epoch: 1, datasets: [Dataset::Tips].into(), ..options() }).await;
    assert_eq!(report.folders.len(), 2, "{report:?}");
    let left = Outcome::Left("it has windows of epoch 0".into());
    assert!(report.folders.iter().all(|line| line.outcome == left), "{report:?}");
    assert_eq!(output.data(), before);
}

/// What a run leaves behind that dies, at each step between the plan and its end.
#[tokio::test]
async fn a_plan_that_is_not_done_is_finished_whatever_of_it_is_done() {
    let whole = Output::make().await;
    let sources = whole.contents();
    let before = rows(&whole);
    compact(&whole).await;
    let after = whole.contents();
    for remaining in [0, 1, usize::MAX] {
        for with_targets in [true, false] {
            if !with_targets && remaining != usize::MAX {
                continue;
            }
            let broken = Output::make().await;
            let is_plan = |path: &str| path.starts_with(DIR) && !path.ends_with(".done");
            let is_target = |path: &str| path.contains("-compacted-");
            for (path, bytes) in
                after.iter().filter(|(path, _)| is_plan(path) || (with_targets && is_target(path)))
            {
                broken.write(path, bytes);
            }
            let gone: Vec<&String> = sources.keys().filter(|path| !after.contains_key(*path)).collect();
            gone.iter().skip(remaining).for_each(|path| broken.remove(path));
            holds(broken.verify(&[]).await);
            compact(&broken).await;
            assert_eq!(rows(&broken), before);
            holds(broken.verify(&[]).await);
            assert_eq!(broken.data(), whole.data());
        }
    }
}

#[tokio::test]
async fn files_that_come_back_are_found_and_the_next_run_deletes_them() {
    let output = Output::make().await;
    let sources = output.contents();
    compact(&output).await;
    let after = output.data();
    let gone = |folder: &str| {
        sources.keys().find(|path| path.starts_with(folder) && !after.contains(path)).expect("a source")
    };
    for (folder, finding) in [("rides/", "rows from "), ("tips/", "the window of ")] {
        let path = gone(folder);
        output.write(path, &sources[path]);
        let (report, holds) = output.verify(&[]).await;
        assert!(!holds && report.contains(finding), "{report}");
        compact(&output).await;
        assert!(!output.data().contains(path));
        self::holds(output.verify(&[]).await);
    }
}

#[tokio::test]
async fn what_is_done_to_a_merged_file_is_found() {
    let output = Output::make().await;
    compact(&output).await;
    let contents = output.contents();
    let path = |folder: &str| {
        let is_merged = |path: &&String| path.starts_with(folder) && path.contains("-compacted-");
        contents.keys().find(is_merged).expect("a file")
    };
    for path in [path("rides/"), path("fares/")] {
        output.remove(path);
        output.fails_with(" rows for the ").await;
        output.write(path, &contents[path][..1000]);
        output.fails_with("is not a whole Parquet file").await;
        output.write(path, &contents[path]);
    }
    let tips = path("tips/");
    output.write(tips, &contents[tips][..1000]);
    output.fails_with("is not a whole Parquet file").await;
    output.write(tips, &contents[tips]);
    let other_day = tips.replace("day=1/", "day=9/");
    output.write(&other_day, &contents[tips]);
    output.fails_with("which is of another day").await;
}

#[tokio::test]
async fn a_plan_whose_files_a_person_has_deleted_is_told_and_keeps_no_other_back() {
    let output = Output::make().await;
    let sources = output.contents();
    let probe = Output::make().await;
    compact(&probe).await;
    let plan = format!("{DIR}/rides-2013-01-01-000001");
    output.write(&plan, &probe.contents()[&plan]);
    let source =
        sources.keys().find(|path| path.starts_with("rides/year=2013/month=1/day=1/")).expect("a source");
    output.remove(source);
    let report = run(&output, options()).await;
    let (folder, why) = report.failure().expect("a failure");
    assert!(folder == "rides-2013-01-01" && why.contains("were deleted by hand"), "{folder}: {why}");
    let done = report.folders.iter().filter(|line| line.outcome == Outcome::Compacted).count();
    assert_eq!(done, 5, "{report:?}");
}
