//! Numbers and times as the real data print them, straight into a byte buffer: no allocation, and
//! fixed-point throughout, so that the text is exact.

use jiff::Span;
use jiff::civil::{Date, date};

pub(super) const SECONDS_A_DAY: i64 = 86_400;
const EPOCH: Date = date(1970, 1, 1);

pub(super) fn push_int(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Prints `value / 10^places` without trailing zeros: 0, 3.5, 0.64, -73.87117.
pub(super) fn push_fixed(out: &mut Vec<u8>, value: i64, places: u32) {
    if value < 0 {
        out.push(b'-');
    }
    let unit = 10u64.pow(places);
    let magnitude = value.unsigned_abs();
    push_int(out, magnitude / unit);
    let mut fraction = magnitude % unit;
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    let mut place = unit / 10;
    while fraction > 0 {
        out.push(b'0' + (fraction / place) as u8);
        fraction %= place;
        place /= 10;
    }
}

/// Prints seconds since 1970 as `yyyy-MM-dd HH:mm:ss`. Keeps the date it printed last: neighbouring
/// records nearly always share it.
pub(super) struct TimePrinter {
    day: i64,
    date: [u8; 10],
}

impl TimePrinter {
    pub(super) fn new() -> Self {
        Self { day: 0, date: *b"1970-01-01" }
    }

    pub(super) fn push(&mut self, out: &mut Vec<u8>, second: i64) {
        let day = second.div_euclid(SECONDS_A_DAY);
        if day != self.day {
            self.turn_to(day);
        }
        let in_day = second.rem_euclid(SECONDS_A_DAY);
        out.extend_from_slice(&self.date);
        out.push(b' ');
        push_two(out, in_day / 3600);
        out.push(b':');
        push_two(out, in_day / 60 % 60);
        out.push(b':');
        push_two(out, in_day % 60);
    }

    fn turn_to(&mut self, day: i64) {
        let date = EPOCH
            .checked_add(Span::new().days(day))
            .expect("the plan keeps event times within years 1970 to 9999");
        let text = date.to_string();
        self.date.copy_from_slice(text.as_bytes());
        self.day = day;
    }
}

fn push_two(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(value: i64, places: u32) -> String {
        let mut out = Vec::new();
        push_fixed(&mut out, value, places);
        String::from_utf8(out).expect("digits are ASCII")
    }

    #[test]
    fn fixed_point_has_no_trailing_zeros() {
        assert_eq!(fixed(0, 2), "0");
        assert_eq!(fixed(350, 2), "3.5");
        assert_eq!(fixed(64, 2), "0.64");
        assert_eq!(fixed(10_001, 2), "100.01");
        assert_eq!(fixed(-73_871_170, 6), "-73.87117");
        assert_eq!(fixed(40_000_001, 6), "40.000001");
        assert_eq!(fixed(-5, 6), "-0.000005");
    }

    #[test]
    fn times_turn_the_page_at_midnight_and_on_leap_days() {
        let mut times = TimePrinter::new();
        let mut print = |second: i64| {
            let mut out = Vec::new();
            times.push(&mut out, second);
            String::from_utf8(out).expect("digits are ASCII")
        };
        assert_eq!(print(0), "1970-01-01 00:00:00");
        assert_eq!(print(1_356_998_399), "2012-12-31 23:59:59");
        assert_eq!(print(1_356_998_400), "2013-01-01 00:00:00");
        assert_eq!(print(1_330_523_696), "2012-02-29 13:54:56");
        assert_eq!(print(1_356_998_399), "2012-12-31 23:59:59");
    }
}
