//! Event time: whole seconds since 1970-01-01 00:00:00 UTC, read from `yyyy-MM-dd HH:mm:ss`.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, date};

use super::digits::Shape;

const DAY: i64 = 86_400;
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// A point in event time, in seconds since the epoch, UTC. Text is accepted for the years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// Later than every time that can be read: the watermark at the end of a bounded input.
    pub const END: EventTime = EventTime(1 << 48);

    /// The time of `seconds` since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        EventTime(seconds)
    }

    /// Seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// Microseconds since the epoch, as Parquet and Arrow timestamps count.
    pub const fn micros(self) -> i64 {
        self.0 * 1_000_000
    }

    /// Days since the epoch: the partition of a file.
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(DAY) as i32)
    }

    /// The start of the grid cell of `step` that holds this time; the grid passes through the epoch.
    pub const fn floor(self, step: Span) -> Self {
        EventTime(self.0.div_euclid(step.0) * step.0)
    }

    /// This time and `span` more.
    pub const fn plus(self, span: Span) -> Self {
        EventTime(self.0 + span.0)
    }

    /// This time less `span`.
    pub const fn minus(self, span: Span) -> Self {
        EventTime(self.0 - span.0)
    }

    /// The span from `earlier` to this time; negative where `earlier` is the later one.
    pub const fn since(self, earlier: EventTime) -> Span {
        Span(self.0 - earlier.0)
    }

    /// Reads exactly `yyyy-MM-dd HH:mm:ss`, years 1970 to 9999, a date that exists, no leap second.
    pub fn parse(text: &[u8]) -> Option<Self> {
        const YEAR_MONTH: Shape = Shape::new(b"0000-00-");
        const DAY_HOUR: Shape = Shape::new(b"00 00:00");
        const TIME: Shape = Shape::new(b"00:00:00");
        if text.len() != 19 {
            return None;
        }
        let [y, yy, yyy, yyyy, _, m, mm, _] = YEAR_MONTH.digits(*text.first_chunk()?)?;
        let [d, dd, ..] = DAY_HOUR.digits(*text[8..].first_chunk()?)?;
        let [h, hh, _, min, minmin, _, s, ss] = TIME.digits(*text.last_chunk()?)?;
        let year = two_digits(y, yy) * 100 + two_digits(yyy, yyyy);
        let (month, day) = (two_digits(m, mm), two_digits(d, dd));
        let (hour, minute, second) = (two_digits(h, hh), two_digits(min, minmin), two_digits(s, ss));
        let valid = year >= 1970
            && (1..=12).contains(&month)
            && day >= 1
            && (day <= 28 || day <= days_in_month(year, month))
            && hour < 24
            && minute < 60
            && second < 60;
        valid.then(|| {
            let days = days_from_civil(year, month, day);
            EventTime(days * DAY + i64::from(hour * 3600 + minute * 60 + second))
        })
    }

    fn civil(self) -> DateTime {
        EPOCH.saturating_add(SignedDuration::from_secs(self.0))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y-%m-%d %H:%M:%S"))
    }
}

/// A day of event time, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The day of a date of the calendar.
    pub fn of(date: Date) -> Self {
        Day((date - EPOCH.date()).get_days())
    }

    /// Its first second.
    pub const fn start(self) -> EventTime {
        EventTime(self.0 as i64 * DAY)
    }

    /// Its date in the calendar.
    pub fn date(self) -> Date {
        self.start().civil().date()
    }

    /// The folders of its rows, partitioned as Hive does it: `year=2013/month=1/day=31`.
    pub fn folders(self) -> String {
        let date = self.date();
        format!("year={}/month={}/day={}", date.year(), date.month(), date.day())
    }
}

/// `HH-MM` of a time, as in the paths of the results.
pub fn hour_minute(time: EventTime) -> String {
    time.civil().strftime("%H-%M").to_string()
}

/// A length of event time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

impl Span {
    /// A day.
    pub const DAY: Span = Span(DAY);

    /// A span of `seconds`.
    pub const fn from_seconds(seconds: i64) -> Self {
        Span(seconds)
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Span(duration.as_secs() as i64)
    }
}

fn two_digits(tens: u8, ones: u8) -> u32 {
    u32::from(tens) * 10 + u32::from(ones)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `days_from_civil` of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms", for years from 1970.
/// Here and not by the calendar library, since it is on the path of every record.
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::from(era) * 146_097 + i64::from(day_of_era) - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        EventTime::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn every_day_is_read_as_the_calendar_library_reads_it() {
        let mut date = jiff::civil::date(1970, 1, 1);
        let mut day = 0;
        while date.year() < 2500 {
            assert_eq!(at(&format!("{date} 00:00:00")).day(), Day(day), "{date}");
            assert_eq!(Day(day).date(), date);
            date = date.tomorrow().expect("far from the end of the calendar");
            day += 1;
        }
    }

    #[test]
    fn text_and_time_round_trip() {
        for text in ["1970-01-01 00:00:00", "2013-02-28 23:59:59", "9999-12-31 23:59:59"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert!(at("9999-12-31 23:59:59") < EventTime::END);
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "2013-01-01",
            "2013-01-01T00:00:00",
            "2013-13-01 00:00:00",
            "2013-02-29 00:00:00",
            "2013-01-00 00:00:00",
            "2013-01-01 24:00:00",
            "2013-01-01 00:60:00",
            "2013-01-01 00:00:60",
            "1969-12-31 23:59:59",
            "2013-01-01 00:00:00 ",
            "+013-01-01 00:00:00",
            "2013-1-01 00:00:000",
        ] {
            assert_eq!(EventTime::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_floor_is_on_the_grid_and_not_after() {
        let slide = Span::from_seconds(600);
        assert_eq!(at("2013-01-01 10:19:59").floor(slide), at("2013-01-01 10:10:00"));
        assert_eq!(at("2013-01-01 10:20:00").floor(slide), at("2013-01-01 10:20:00"));
        assert_eq!(hour_minute(at("2013-01-01 07:05:00")), "07-05");
    }
}
