//! Window files by themselves and against the state.

use std::collections::{BTreeMap, BTreeSet};

use super::{found, holds};
use crate::core::amount::TipSum;
use crate::core::batch::Job;
use crate::core::clean::Area;
use crate::core::locate::Neighbourhoods;
use crate::core::time::{EventTime, Span};
use crate::core::window::tests::RULES;
use crate::settings::BUILT_IN;
use crate::verify::report::Check;
use crate::verify::window_file::{Row, WindowError, WindowFile};
use crate::verify::window_files::{Form, WindowFiles};
use crate::verify::window_sums::{self, Expected, Windows, wrong};

const EPOCH: u64 = 2;
const WINDOW: Span = RULES.window;

fn at(minutes: i64) -> EventTime {
    EventTime::from_seconds(minutes * 60)
}

fn row(name: &str, trips: i64, micros: i128) -> Row {
    let average = micros as f64 / 1e6 / trips as f64;
    Row { start: at(60).micros(), end: at(90).micros(), name: name.into(), average, trips, micros }
}

/// The file of the window from 01:00 to 01:30.
fn file() -> WindowFile {
    WindowFile {
        epoch: EPOCH,
        fingerprint: "f".into(),
        rows: vec![row("Harlem", 3, 10_000_000), row("Other", 1, -2_500_000)],
    }
}

fn form() -> Form {
    let neighbourhoods = Neighbourhoods::parse(BUILT_IN).expect("polygons");
    let area = Area { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 };
    Form::new(&Job { rules: RULES, area, neighbourhoods }, EPOCH, "f")
}

fn check_file(start: EventTime, file: Result<WindowFile, WindowError>) -> Check {
    let mut check = WindowFiles::new(form());
    check.add("tips/x", start, &file);
    check.finish()
}

#[test]
fn a_window_file_that_is_right_holds() {
    holds(&check_file(at(60), Ok(file())));
}

#[test]
fn what_is_wrong_with_a_window_file_is_found() {
    type Fault = fn(&mut WindowFile);
    let faults: [(Fault, &str); 11] = [
        (|file| file.rows.clear(), "has no rows"),
        (|file| file.epoch = 3, "is of epoch 3, the manifest's is 2"),
        (|file| file.fingerprint = "g".into(), "was made with other settings (g)"),
        (|file| file.rows[0].average = 3.33, "has 3.33 for the average of Harlem"),
        (|file| file.rows[0].average = f64::NAN, "has NaN for the average of Harlem"),
        (|file| file.rows[1].trips = 0, "has Other with 0 trips"),
        (|file| file.rows[1].name = "Harlem".into(), "has Harlem twice"),
        (|file| file.rows[1].name = "Atlantis".into(), "has a neighbourhood Atlantis that is none"),
        (|file| file.rows[1].start = at(70).micros(), "holds a row of the window from 1970-01-01 01:10:00"),
        (|file| file.rows[1].end = at(100).micros(), "to 1970-01-01 01:40:00"),
        (
            |file| file.rows.iter_mut().for_each(|row| row.end = at(80).micros()),
            "ends at 1970-01-01 01:20:00",
        ),
    ];
    for (fault, finding) in faults {
        let mut file = file();
        fault(&mut file);
        let check = check_file(at(60), Ok(file));
        assert!(found(&check).contains(finding), "{finding}: {check:?}");
    }
    assert!(found(&check_file(at(50), Ok(file()))).contains("ends at"));
    assert!(found(&check_file(at(65), Ok(file()))).contains("starts between two slides"));
    assert!(found(&check_file(at(60), Err(WindowError::Column("trips")))).contains("no column trips"));
}

#[test]
fn a_file_of_an_earlier_epoch_keeps_its_own_form() {
    let mut older = file();
    older.epoch = 1;
    older.fingerprint = "g".into();
    older.rows[1].name = "Atlantis".into();
    older.rows.iter_mut().for_each(|row| row.end = at(80).micros());
    let check = check_file(at(60), Ok(older));
    holds(&check);
    assert_eq!(check.notes().len(), 1);
}

fn expected_sums() -> Expected {
    let sum = |micros, trips| TipSum { micros, trips };
    BTreeMap::from([("Harlem".into(), sum(10_000_000, 3)), ("Other".into(), sum(-2_500_000, 1))])
}

#[test]
fn a_file_with_the_sums_of_the_state_holds() {
    assert_eq!(wrong(&expected_sums(), Some(&file()), EPOCH), None);
}

#[test]
fn a_missing_window_and_a_wrong_sum_are_found() {
    let expected = expected_sums();
    let wrong = |file: Option<&WindowFile>| wrong(&expected, file, EPOCH).expect("a finding");
    assert_eq!(wrong(None), "has no file");
    let mut other = file();
    other.rows[0].micros += 1;
    assert_eq!(
        wrong(Some(&other)),
        "has 3 trips and 10000001 millionths of Harlem, the state 3 and 10000000"
    );
    let mut other = file();
    other.rows[1].trips = 2;
    assert!(wrong(Some(&other)).contains("has 2 trips"));
    let mut other = file();
    other.rows[1].name = "Chelsea".into();
    assert!(wrong(Some(&other)).ends_with("of Chelsea, the state 0 and 0"));
    other.rows.pop();
    assert_eq!(wrong(Some(&other)), "has 1 rows, the state 2 neighbourhoods");
    other.epoch = 1;
    assert_eq!(wrong(Some(&other)), "has the file of epoch 1 still");
}

#[test]
fn a_file_of_a_window_that_the_state_does_not_know_is_found_while_the_state_keeps_windows() {
    let windows =
        Windows { closed: BTreeSet::from([at(60)]), closed_up_to: Some(at(120)), kept_from: Some(at(50)) };
    let check = |files: &[EventTime]| {
        let files = files.iter().copied().collect();
        window_sums::check(&windows, &BTreeMap::new(), &files, WINDOW)
    };
    holds(&check(&[at(60)]));
    holds(&check(&[at(20), at(60)]));
    assert!(found(&check(&[at(60), at(70)])).contains("of a window without trips in the state"));
    let lost = check(&[at(60), at(100)]);
    holds(&lost);
    assert!(lost.notes()[0].contains("it has lost its last writes"), "{lost:?}");
}

#[test]
fn what_is_wrong_with_a_window_is_told_with_its_place() {
    let windows = Windows { closed_up_to: Some(at(120)), ..Windows::default() };
    let missing = BTreeMap::from([(at(60), "has no file".to_owned())]);
    let check = window_sums::check(&windows, &missing, &BTreeSet::new(), WINDOW);
    assert_eq!(
        found(&check),
        "the window of 1970-01-01 01:00:00 has no file (tips/year=1970/month=1/day=1/window=01-00/tips.parquet)"
    );
}
