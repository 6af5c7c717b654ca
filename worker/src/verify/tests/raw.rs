//! Raw files, their ranges, and what else lies about.

use std::collections::BTreeMap;

use super::{RIDES, found, holds, names, published, rides};
use crate::core::mark::Mark;
use crate::core::shard::{PartitionCounts, Topic};
use crate::core::time::EventTime;
use crate::raw::range_log::{Entry, Range};
use crate::sink;
use crate::source::kafka::{GroupOffsets, Offsets, Whole};
use crate::verify::footer::{Footer, FooterError};
use crate::verify::path::{Folder, Kind, kind};
use crate::verify::ranges::{Log, Published, Source, by_lane};
use crate::verify::raw_files::RawFile;
use crate::verify::report::Check;
use crate::verify::{group, ranges, raw_files, strays};

const DAY: &str = "2013-01-02";

fn micros(clock: &str) -> i64 {
    EventTime::parse(format!("{DAY} {clock}").as_bytes()).expect("a time").micros()
}

/// A file of rides/0 that is right in itself.
fn file(start: i64, end: i64) -> RawFile {
    part(start, end, end - start)
}

/// One of the files of a range: its first rows.
fn part(start: i64, end: i64, rows: i64) -> RawFile {
    let path = format!("rides/year=2013/month=1/day=2/rides-0-{start:020}-{end:020}.parquet");
    let Kind::Raw(name) = kind(&path) else { panic!("{path}") };
    let footer = Footer {
        lane: rides(),
        range: Range { start, end },
        rows,
        offsets: Some((start, start + rows - 1)),
        event_times: Some((micros("00:00:00"), micros("23:59:59"))),
    };
    RawFile { path, len: 1000, name, footer: Ok(footer) }
}

fn footer(file: &mut RawFile) -> &mut Footer {
    file.footer.as_mut().expect("a footer")
}

fn log(entries: &[(i64, i64)]) -> Log {
    let entries: Vec<Entry> = entries.iter().map(|(start, end)| entry(*start, *end)).collect();
    Log { origin: Some(0), begun: entries.last().copied(), entries, corrupt: None }
}

fn entry(start: i64, end: i64) -> Entry {
    Entry { range: Range { start, end }, mark: mark(end) }
}

/// Of the range that ends there.
fn mark(end: i64) -> Mark {
    Mark::new(end as u64)
}

fn check_ranges(files: &[RawFile], log: Log, source: &Source) -> (Check, Published) {
    let (check, published) = ranges::check(&by_lane(files), &BTreeMap::from([(rides(), log)]), source);
    (check, published.get(&rides()).copied().unwrap_or_default())
}

/// The group has the range that ends there.
fn committed(end: i64) -> Source {
    Source::Kafka(BTreeMap::from([(rides(), mark(end))]))
}

fn three() -> [RawFile; 3] {
    [file(0, 10), file(10, 30), file(30, 40)]
}

const THREE: [(i64, i64); 3] = [(0, 10), (10, 30), (30, 40)];

#[test]
fn ranges_that_follow_each_other_hold() {
    let (check, is) = check_ranges(&three(), log(&THREE), &committed(40));
    holds(&check);
    assert_eq!((is.origin, is.end, is.written.valid), (0, 40, 40));
    holds(&check_ranges(&three(), log(&THREE[1..]), &committed(40)).0);
    holds(&check_ranges(&[], Log { origin: Some(7), ..Log::default() }, &committed(0)).0);
}

#[test]
fn a_gap_is_found() {
    let [first, _, last] = three();
    let (check, _) = check_ranges(&[first.clone(), last], log(&THREE), &committed(40));
    assert_eq!(found(&check), "rides/0: no file from 10 to 30");
    let (check, _) = check_ranges(&[first], log(&THREE), &committed(40));
    assert_eq!(found(&check), "rides/0: no file from 10 to 40");
}

#[test]
fn a_missing_beginning_is_found() {
    let (check, _) = check_ranges(&three()[1..], log(&THREE), &committed(40));
    assert_eq!(found(&check), "rides/0: no file from 0 to 10");
}

#[test]
fn an_overlap_is_found() {
    let [first, second, last] = three();
    let files = [first, second, file(25, 30), last];
    let (check, _) = check_ranges(&files, log(&THREE), &committed(40));
    assert_eq!(found(&check), "rides/0: offsets from 25 to 30 are in the files of two ranges");
}

#[test]
fn a_range_with_two_ends_is_found() {
    let mut files = three().to_vec();
    files.push(file(10, 25));
    let (check, _) = check_ranges(&files, log(&THREE), &committed(40));
    let findings = check.findings().join("\n");
    assert!(findings.contains("files from 10 to 25, which the log ends at 30"), "{findings}");
    assert!(findings.contains("are in the files of two ranges"), "{findings}");
}

#[test]
fn rows_that_are_there_twice_are_found() {
    let mut files = three().to_vec();
    files.push(part(10, 30, 3));
    let (check, _) = check_ranges(&files, log(&THREE), &committed(40));
    assert_eq!(found(&check), "rides/0: 23 rows for the 20 offsets from 10 to 30");
}

#[test]
fn a_missing_file_of_a_range_is_found_where_every_offset_is_a_line() {
    let files = [file(0, 10), part(10, 30, 15), file(30, 40)];
    let (check, _) = check_ranges(&files, log(&THREE), &Source::Files);
    assert_eq!(found(&check), "rides/0: 15 rows for the 20 offsets from 10 to 30");
    let (check, is) = check_ranges(&files, log(&THREE), &committed(40));
    holds(&check);
    assert!(check.notes()[0].contains("5 offsets have no row"), "{check:?}");
    assert_eq!(is.written.valid, 35);
}

#[test]
fn an_unfinished_newest_range_is_open() {
    let files = [file(0, 10), file(10, 30), part(30, 40, 4)];
    let (check, is) = check_ranges(&files, log(&THREE), &committed(30));
    holds(&check);
    assert_eq!(check.notes(), ["rides/0: open from 30 to 40"]);
    assert_eq!((is.end, is.written.valid), (30, 30));
    let (check, _) = check_ranges(&files[..2], log(&THREE), &committed(40));
    assert_eq!(found(&check), "rides/0: no file from 30 to 40");
    let (check, _) = check_ranges(&files[..2], log(&THREE), &Source::Files);
    assert_eq!(found(&check), "rides/0: no file from 30 to 40");
}

#[test]
fn a_whole_newest_range_is_published_though_nobody_says_so() {
    let (check, is) = check_ranges(&three(), log(&THREE), &Source::Kafka(BTreeMap::new()));
    holds(&check);
    assert_eq!(is.end, 40);
}

#[test]
fn a_range_begun_while_we_looked_is_left_out() {
    let mut log = log(&THREE);
    log.begun = Some(entry(40, 60));
    let mut files = three().to_vec();
    files.push(part(40, 60, 5));
    let (check, is) = check_ranges(&files, log.clone(), &committed(40));
    holds(&check);
    assert_eq!((is.end, is.written.valid), (40, 40));
    files.push(file(60, 70));
    let (check, _) = check_ranges(&files, log, &committed(40));
    assert_eq!(found(&check), "rides/0: files from 60 to 70, a range that was never begun in the log");
}

#[test]
fn a_log_that_contradicts_itself_or_has_no_origin_is_found() {
    let (check, _) = check_ranges(&three(), log(&[(0, 10), (10, 20), (30, 40)]), &committed(40));
    let findings = check.findings().join("\n");
    assert!(findings.contains("the log ends a range at 20 and begins the next at 30"), "{findings}");
    let (check, _) = check_ranges(&three(), Log { origin: None, ..log(&THREE) }, &committed(40));
    assert_eq!(found(&check), "rides/0: the range log has no origin");
    let corrupt = Log { corrupt: Some("not a number".into()), ..Log::default() };
    assert_eq!(found(&check_ranges(&three(), corrupt, &committed(40)).0), "not a number");
}

#[test]
fn a_file_that_is_right_in_itself_holds() {
    holds(&raw_files::check(&three(), &names()));
}

#[test]
fn what_is_wrong_with_a_single_file_is_found() {
    type Fault = fn(&mut RawFile);
    let faults: [(Fault, &str); 9] = [
        (|file| footer(file).range.end = 11, "by its footer"),
        (|file| footer(file).lane.partition = 3, "holds rides/3 from 0 to 10"),
        (|file| footer(file).rows = 0, "has no rows"),
        (|file| footer(file).rows = 11, "holds 11 rows of the offsets from 0 to 9"),
        (|file| footer(file).offsets = Some((0, 10)), "holds offsets from 0 to 10"),
        (|file| footer(file).offsets = None, "has no statistics of its offsets"),
        (|file| footer(file).event_times = None, "has no statistics of its event times"),
        (
            |file| footer(file).event_times = Some((micros("00:00:00") - 1, micros("01:00:00"))),
            "holds event times from 2013-01-01 23:59:59",
        ),
        (|file| file.footer = Err(FooterError::Key("tipstream.topic")), "has no tipstream.topic"),
    ];
    for (fault, finding) in faults {
        let mut file = file(0, 10);
        fault(&mut file);
        let check = raw_files::check(&[file], &names());
        assert!(found(&check).contains(finding), "{finding}: {check:?}");
    }
}

#[test]
fn a_file_among_those_of_the_other_topic_is_found() {
    let mut file = file(0, 10);
    file.name.folder = Folder::Invalid(Topic::Fares);
    assert!(found(&raw_files::check(&[file], &names())).contains("lies with the other one's files"));
}

#[test]
fn a_stray_file_is_found_and_a_temporary_one_told() {
    let entry = |path: &str| sink::Entry { path: path.into(), len: 1 };
    let data = [entry(&file(0, 10).path), entry("tips/_SUCCESS")];
    let aside = [entry("_tips/raw/rides/0/origin"), entry("_tips/tmp/ab"), entry("_tips/else")];
    let check = strays::check(&data, &aside);
    assert_eq!(found(&check), "tips/_SUCCESS is no file of the pipeline");
    assert_eq!(check.notes().len(), 2);
}

fn check_group(at: Offsets, end: i64, known: i32) -> Check {
    let known = PartitionCounts { rides: known, fares: 0 };
    let logs = BTreeMap::from([(rides(), log(&THREE))]);
    group::check(&GroupOffsets::from([(RIDES, at)]), &names(), &logs, &published(0, end, end, 0), known)
}

fn whole(end: i64) -> Whole {
    Whole { end, mark: mark(end) }
}

#[test]
fn an_offset_that_is_not_its_ranges_and_a_topic_made_anew_are_found() {
    let at = |low, high, committed| Offsets { low, high, committed };
    holds(&check_group(at(0, 50, Some(whole(40))), 40, 1));
    holds(&check_group(at(0, 50, Some(whole(30))), 40, 1));
    holds(&check_group(at(0, 50, None), 40, 1));
    let beyond = Whole { end: 41, ..whole(40) };
    let check = check_group(at(0, 50, Some(beyond)), 40, 1);
    assert_eq!(found(&check), "rides/0: committed 41 for the range from 30 to 40");
    assert!(found(&check_group(at(0, 30, None), 40, 1)).contains("Kafka ends at 30"));
    assert!(found(&check_group(at(0, 50, None), 40, 2)).contains("rides has 1 partitions, and had 2"));
    let check = check_group(at(45, 50, None), 40, 1);
    assert_eq!(check.notes(), ["rides/0: Kafka has deleted 5 offsets that are not published"]);
}

#[test]
fn an_answer_of_kafka_that_is_older_than_the_files_is_no_fault() {
    let before = GroupOffsets::from([(RIDES, Offsets { low: 0, high: 30, committed: Some(whole(20)) })]);
    let after = GroupOffsets::from([(RIDES, Offsets { low: 5, high: 60, committed: Some(whole(50)) })]);
    let around = group::around(&before, after);
    assert_eq!(around[&RIDES], Offsets { low: 5, high: 60, committed: Some(whole(20)) });
}

#[test]
fn what_was_committed_of_a_log_that_has_gone_proves_nothing() {
    let at = Offsets { low: 0, high: 900, committed: Some(whole(800)) };
    let check = check_group(at, 40, 1);
    holds(&check);
    let said = "rides/0: committed 800 for a range that the log does not have any more; nobody goes by it";
    assert_eq!(check.notes(), [said]);

    let emptied = group::check(
        &GroupOffsets::from([(RIDES, at)]),
        &names(),
        &BTreeMap::new(),
        &BTreeMap::new(),
        PartitionCounts { rides: 1, fares: 0 },
    );
    assert!(found(&emptied).contains("the sink has no range log"));

    let (check, is) = check_ranges(&three()[..2], log(&THREE), &committed(800));
    holds(&check);
    assert_eq!(is.end, 30);
}
