//! What `generate` promises, tried on whole runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use clap::Parser;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::naive::{Answer, Partition, Reader};
use super::{Books, GenerateArgs, GenerateError, MANHATTAN, Report, TopicBooks, run};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: GenerateArgs,
}

fn args(dir: &Path, flags: &str) -> GenerateArgs {
    let dir = dir.to_str().expect("temporary paths are UTF-8");
    let given = ["generate", "--output", dir].into_iter().chain(flags.split_whitespace());
    Cli::try_parse_from(given).expect("the test's flags are right").args
}

struct Run {
    dir: TempDir,
    report: Report,
}

fn generate(flags: &str) -> Run {
    let dir = TempDir::new().expect("a temporary directory");
    let report = run(args(dir.path(), flags), &CancellationToken::new()).expect("the run succeeds");
    Run { dir, report }
}

fn refused(flags: &str) -> GenerateError {
    let dir = TempDir::new().expect("a temporary directory");
    run(args(dir.path(), flags), &CancellationToken::new()).expect_err("the run is refused")
}

impl Run {
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).expect("the file is there")
    }

    fn part(&self, topic: &str, partition: usize) -> Partition {
        let bytes = self.read(&format!("{topic}-{partition}.csv"));
        let lines = bytes.strip_suffix(b"\n").map(|all| all.split(|byte| *byte == b'\n'));
        Partition {
            rides: topic == "rides",
            lines: lines.into_iter().flatten().map(<[u8]>::to_vec).collect(),
        }
    }

    fn partitions(&self) -> Vec<Partition> {
        let count = fs::read_dir(self.dir.path()).expect("the directory is there").count() / 2;
        let of = |topic| (0..count).map(move |partition| self.part(topic, partition));
        of("rides").chain(of("fares")).collect()
    }

    fn sha(&self) -> String {
        let mut hash = Sha256::new();
        for partition in self.partitions() {
            partition.lines.iter().for_each(|line| hash.update(line));
        }
        hash.update(self.read("expected/tips.csv"));
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    fn expected_tips(&self) -> BTreeMap<(String, String), (u64, String, f64)> {
        let text = String::from_utf8(self.read("expected/tips.csv")).expect("UTF-8");
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            let [start, _, name, trips, sum, average] = fields[..] else {
                panic!("six columns: {line}");
            };
            let cells = (number(trips), sum.to_owned(), average.parse().expect("a float"));
            ((start.to_owned(), name.to_owned()), cells)
        };
        text.lines().skip(1).map(row).collect()
    }

    /// Holds the expected answer against a naive reading in the given order.
    fn agrees(&self, choose: impl FnMut(&[i64]) -> usize) {
        let found = Reader::new(self.partitions(), MANHATTAN).read(choose);
        self.agrees_on_tips(&found);
        agree_on_books(&found, true, &self.report.books.rides);
        agree_on_books(&found, false, &self.report.books.fares);
    }

    fn agrees_on_tips(&self, found: &Answer) {
        let expected = self.expected_tips();
        assert_eq!(expected.len(), found.tips.len());
        for ((start, name), (trips, cents)) in &found.tips {
            let start = jiff::Timestamp::from_second(*start).expect("a time in range");
            let start = start.strftime("%Y-%m-%d %H:%M:%S").to_string();
            let (expected_trips, sum, average) = &expected[&(start, name.clone())];
            assert_eq!(expected_trips, trips);
            let exact = *cents as f64 / 100.0;
            assert_eq!(sum.parse(), Ok(exact));
            assert_eq!(*average, exact / *trips as f64);
        }
    }
}

fn agree_on_books(found: &Answer, rides: bool, expected: &TopicBooks) {
    let count = |outcome| found.books.get(&(rides, outcome)).copied().unwrap_or_default();
    assert_eq!(count("start"), expected.start);
    assert_eq!(count("joined"), expected.joined);
    assert_eq!(count("late"), expected.late);
    assert_eq!(count("out_of_area"), expected.out_of_area);
    assert_eq!(count("invalid"), expected.invalid);
    assert!(count("duplicate") >= expected.duplicate);
    assert!(count("unmatched") >= expected.unmatched);
    let either = expected.duplicate + expected.unmatched + expected.duplicate_or_unmatched;
    assert_eq!(count("duplicate") + count("unmatched"), either);
    assert_eq!(
        found.books.iter().filter(|(key, _)| key.0 == rides).map(|(_, count)| count).sum::<u64>(),
        expected.consumed
    );
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// Reads evenly: always where event time stands furthest back.
fn evenly(times: &[i64]) -> usize {
    let least = times.iter().min();
    times.iter().position(|time| Some(time) == least).unwrap_or_default()
}

/// Reads at random, by a small generator of its own.
fn at_random(mut state: u64) -> impl FnMut(&[i64]) -> usize {
    move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    }
}

const SOME_OF_ALL: &str = "--rides 1500 --rate 0.2 --partitions 3 --disorder 20m --duplicates 0.2 \
     --invalid 0.05 --unmatched 0.1 --out-of-area 0.1 --border-cases 0.1 --other 0.2";

#[test]
fn the_same_seed_gives_the_same_bytes_for_ever() {
    assert_eq!(generate(SOME_OF_ALL).sha(), "bbd9533c1f18d128");
    assert_eq!(generate("--rides 1000").sha(), "65473669ff60c62e");
}

#[test]
fn another_seed_gives_other_bytes() {
    assert_ne!(generate("--rides 100 --seed 1").sha(), generate("--rides 100 --seed 2").sha());
}

#[test]
fn the_answer_is_that_of_a_naive_reading_in_any_order() {
    for flags in [
        "--rides 2000 --rate 1",
        "--rides 2000 --rate 0.1 --border-cases 0.5",
        "--rides 1500 --rate 0.3 --disorder 30m --key none",
        "--rides 1500 --rate 50 --key taxiId --pattern uniform --duplicates 0.5 --unmatched 0.5",
        "--rides 1500 --rate 0.2 --pattern hotspot --partitions 1 --invalid 0.3",
        SOME_OF_ALL,
    ] {
        let made = generate(flags);
        made.agrees(evenly);
        made.agrees(|_| 0);
        made.agrees(|times| times.len() - 1);
        made.agrees(at_random(1));
        made.agrees(at_random(2));
    }
}

#[test]
fn late_pairs_are_late_where_partitions_are_read_evenly() {
    let made = generate("--span 8h --rate 0.1 --late 0.2 --partitions 2 --duplicates 0.1 --disorder 10m");
    assert!(made.report.books.rides.late > 50, "{:?}", made.report.books);
    assert!(made.report.books.fares.late > 50, "{:?}", made.report.books);
    made.agrees(evenly);
}

#[test]
fn every_kind_of_line_is_there_when_asked_for() {
    let Books { rides, fares } = generate(SOME_OF_ALL).report.books;
    for topic in [&rides, &fares] {
        assert!(topic.joined > 0 && topic.unmatched > 0 && topic.duplicate > 0);
        assert!(topic.duplicate_or_unmatched > 0 && topic.late == 0 && topic.pending == 0);
        let by = &topic.invalid_by;
        assert!(by.columns > 0 && by.field > 0 && by.not_utf8 > 0 && by.null_value == 0);
    }
    assert!(rides.start > 1500 && rides.out_of_area > 0 && fares.invalid_by.empty_tip > 0);
    assert_eq!((fares.start, fares.out_of_area), (0, 0));
}

#[test]
fn books_on_disk_are_those_of_the_report() {
    let made = generate(SOME_OF_ALL);
    let document: serde_json::Value =
        serde_json::from_slice(&made.read("expected/books.json")).expect("JSON");
    let books = serde_json::to_value(&made.report.books).expect("plain numbers");
    assert_eq!(document["rides"], books["rides"]);
    assert_eq!(document["fares"], books["fares"]);
    assert_eq!(document["job_seconds"]["join_within"], 7200);
}

#[test]
fn by_ride_id_both_sides_go_to_partitions_of_one_number() {
    let made = generate("--rides 500 --partitions 5");
    let mut home = BTreeMap::new();
    for (at, partition) in made.partitions().iter().enumerate() {
        for line in &partition.lines {
            let id = line.split(|byte| *byte == b',').next().map(<[u8]>::to_vec);
            assert_eq!(*home.entry(id).or_insert(at % 5), at % 5);
        }
    }
    assert_eq!(home.len(), 500);
}

#[test]
fn disorder_stays_within_its_bound() {
    let made = generate("--rides 1000 --rate 0.5 --disorder 5m --partitions 1");
    let lines = &made.part("rides", 0).lines;
    let mut newest = "";
    let mut displaced = 0;
    for line in lines {
        let time = std::str::from_utf8(line).expect("ASCII").split(',').nth(2).expect("a time");
        newest = newest.max(time);
        let behind = second(newest) - second(time);
        assert!(behind <= 300, "{behind}");
        displaced += usize::from(behind > 0);
    }
    assert!(displaced > lines.len() / 2, "{displaced}");
}

fn second(text: &str) -> i64 {
    let time: jiff::civil::DateTime = text.parse().expect("a time");
    jiff::tz::TimeZone::UTC.to_timestamp(time).expect("a time in range").as_second()
}

#[test]
fn compressed_files_hold_the_same_lines() {
    let (plain, packed) = (generate("--rides 100"), generate("--rides 100 --gzip"));
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.read("rides-0.csv.gz").as_slice()).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain.read("rides-0.csv"));
}

#[test]
fn what_is_there_is_kept_unless_forced_and_then_replaced_whole() {
    let made = generate("--rides 100 --partitions 3");
    fs::write(made.dir.path().join("notes.txt"), "mine").expect("a file");
    let again = run(args(made.dir.path(), "--rides 10 --partitions 1"), &CancellationToken::new());
    assert!(matches!(again, Err(GenerateError::NotEmpty { .. })), "{again:?}");
    run(args(made.dir.path(), "--rides 10 --partitions 1 --force"), &CancellationToken::new())
        .expect("forced");
    assert!(!made.dir.path().join("rides-1.csv").exists());
    assert_eq!(made.read("notes.txt"), b"mine");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for (flags, flag) in [
        ("--disorder 31m", "--disorder"),
        ("--late 0.1 --span 2h", "--late"),
        ("--slide 7m", "--slide"),
        ("--span 0s", "--span"),
        ("--join-within 0s", "--join-within"),
    ] {
        let error = refused(flags);
        assert!(error.to_string().starts_with(flag), "{flags}: {error}");
        assert_eq!(error.category(), "setting");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_setting_agrees_with_a_naive_reading(
        seed in any::<u64>(),
        rides in 1u64..300,
        rate in 0.01f64..5.0,
        partitions in 1u32..5,
        key in prop::sample::select(vec!["rideId", "taxiId", "none"]),
        disorder in 0u32..=30,
        shares in prop::array::uniform5(0.0f64..0.5),
        order in any::<u64>(),
    ) {
        let [duplicates, invalid, unmatched, out, border] = shares;
        let made = generate(&format!(
            "--seed {seed} --rides {rides} --rate {rate} --partitions {partitions} --key {key} \
             --disorder {disorder}m --duplicates {duplicates} --invalid {invalid} \
             --unmatched {unmatched} --out-of-area {out} --border-cases {border}"
        ));
        made.agrees(at_random(order));
    }
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_half_written() {
    for flags in ["--rides 10", "--rides 10 --gzip", "--rides 10 --pace 1"] {
        let dir = TempDir::new().expect("a temporary directory");
        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = run(args(dir.path(), flags), &stop).expect_err("it has not made all");
        assert_eq!(stopped.category(), "interrupted");
        let left: Vec<_> = fs::read_dir(dir.path()).expect("the directory is there").collect();
        assert!(left.is_empty(), "{flags}: {left:?}");
    }
}
