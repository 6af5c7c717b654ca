//! Merged raw files.

use super::{found, holds, rides};
use crate::core::shard::Topic;
use crate::core::time::EventTime;
use crate::raw::range_log::Range;
use crate::verify::Lane;
use crate::verify::merged::{Contents, Coordinates, MergedFile, Part, check};
use crate::verify::ranges::by_lane;
use crate::verify::raw_files::RawFile;

fn part(partition: i32, start: i64, end: i64) -> Part {
    Part { lane: Lane { partition, ..rides() }, range: Range { start, end }, rows: end - start }
}

fn file(parts: Vec<Part>) -> MergedFile {
    let day = EventTime::parse(b"2013-01-02 00:00:00").expect("a time");
    let contents = Contents {
        rows: parts.iter().map(|part| part.rows).sum(),
        parts,
        event_times: Some((day.micros(), day.micros())),
        coordinates: Ok(()),
    };
    MergedFile { path: "m".into(), topic: Topic::Rides, day: day.day(), contents: Ok(contents) }
}

#[test]
fn a_merged_file_counts_for_the_ranges_of_its_parts() {
    let merged = [file(vec![part(0, 0, 10), part(0, 10, 30), part(1, 0, 5)])];
    holds(&check(&merged, &[]));
    let lanes = by_lane(&[], &merged);
    assert_eq!(lanes[&rides()].keys().copied().collect::<Vec<_>>(), [(0, 10), (10, 30)]);
    assert_eq!(lanes[&Lane { partition: 1, ..rides() }].len(), 1);
}

#[test]
fn rows_in_two_files_are_found() {
    let one = file(vec![part(0, 0, 10), part(0, 10, 30)]);
    let two = MergedFile { path: "n".into(), ..file(vec![part(0, 10, 30), part(0, 30, 40)]) };
    let found_in = check(&[one.clone(), two], &[]);
    assert_eq!(found(&found_in), "rides/0: rows from 10 to 30 of 2013-01-02 are in m and in n");
    let raw: RawFile = super::raw::file(0, 10);
    assert!(found(&check(&[one], &[raw])).contains("rows from 0 to 10 of 2013-01-02 are in m and in rides/"));
}

#[test]
fn a_file_of_other_rows_than_its_footer_says_is_found() {
    let mut fewer = file(vec![part(0, 0, 10), part(0, 10, 30)]);
    fewer.contents.as_mut().expect("contents").rows = 29;
    assert_eq!(found(&check(&[fewer], &[])), "m has 29 rows, and 30 by its footer");
}

#[test]
fn a_row_that_is_lost_is_not_made_up_for_by_one_that_is_there_twice() {
    let parts = [part(0, 0, 3), part(1, 100, 102)];
    let look = |rows: &[(i32, i64)]| {
        let mut coordinates = Coordinates::new(&parts);
        rows.iter().for_each(|(partition, offset)| coordinates.add(*partition, *offset));
        coordinates.finish()
    };
    assert_eq!(look(&[(0, 0), (1, 100), (0, 1), (1, 101), (0, 2)]), Ok(()));
    assert_eq!(
        look(&[(0, 0), (1, 100), (0, 1), (1, 101), (0, 1)]),
        Err("has offset 1 of partition 0 twice".into())
    );
    let other = look(&[(0, 0), (1, 100), (0, 1), (1, 101), (0, 3)]);
    assert_eq!(other, Err("has offset 3 of partition 0, which its footer does not name".into()));
    let fewer = look(&[(0, 0), (1, 100), (0, 1), (1, 101)]);
    assert_eq!(fewer, Err("has 2 rows of rides/0 from 0 to 3, and 3 by its footer".into()));
}
