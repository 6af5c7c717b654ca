//! The text of a line, byte for byte as the topics carry it, and the ways in which one can be
//! broken.

use super::text::{TimePrinter, push_fixed, push_int};
use super::trip::{Line, Ride};

const DEGREE_PLACES: u32 = 6;
const CENT_PLACES: u32 = 2;
/// In the fields counted from 0.
const FARE_PAYMENT: usize = 4;
const FARE_TIP: usize = 5;

/// What is wrong with an invalid line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    ColumnTooFew,
    ColumnTooMany,
    Field,
    NotUtf8,
    EmptyTip,
    NullValue,
}

impl Flaw {
    /// Those that a line can have where values cannot be null, and where they can.
    pub(super) const IN_FILES: [Self; 5] =
        [Self::ColumnTooFew, Self::ColumnTooMany, Self::Field, Self::NotUtf8, Self::EmptyTip];
    pub(super) const IN_KAFKA: [Self; 6] = [
        Self::ColumnTooFew,
        Self::ColumnTooMany,
        Self::Field,
        Self::NotUtf8,
        Self::EmptyTip,
        Self::NullValue,
    ];
}

pub(super) struct Printer {
    times: TimePrinter,
}

impl Printer {
    pub(super) fn new() -> Self {
        Self { times: TimePrinter::new() }
    }

    /// Puts the line's text, without a line end, in place of what `out` held.
    pub(super) fn print(&mut self, out: &mut Vec<u8>, line: Line, ride: &Ride) {
        out.clear();
        push_int(out, ride.id);
        match line {
            Line::Start => self.ride(out, b",START,", (ride.start, 0), ride),
            Line::End => self.ride(out, b",END,", (ride.end(), ride.start), ride),
            Line::Fare => self.fare(out, ride),
        }
    }

    fn ride(&mut self, out: &mut Vec<u8>, mark: &[u8], times: (i64, i64), ride: &Ride) {
        out.extend_from_slice(mark);
        self.times.push(out, times.0);
        out.push(b',');
        self.times.push(out, times.1);
        for degrees in [ride.from.lon, ride.from.lat, ride.to.lon, ride.to.lat] {
            out.push(b',');
            push_fixed(out, degrees.into(), DEGREE_PLACES);
        }
        for number in [ride.passengers.into(), ride.taxi, ride.driver] {
            out.push(b',');
            push_int(out, number.into());
        }
    }

    fn fare(&mut self, out: &mut Vec<u8>, ride: &Ride) {
        for licence in [ride.taxi, ride.driver] {
            out.push(b',');
            push_int(out, licence.into());
        }
        out.push(b',');
        self.times.push(out, ride.start);
        out.push(b',');
        out.extend_from_slice(ride.paid.by.code());
        for cents in [ride.paid.tip, ride.paid.tolls, ride.paid.total] {
            out.push(b',');
            push_fixed(out, cents.into(), CENT_PLACES);
        }
    }
}

/// Breaks a valid line in the given way. Only this is wrong with it, except that a ride has no free
/// text: there, bytes that are not UTF-8 also keep a field from parsing.
pub(super) fn spoil(text: &mut Vec<u8>, line: Line, flaw: Flaw, field: usize) {
    match flaw {
        Flaw::ColumnTooFew => {
            let last = text.iter().rposition(|byte| *byte == b',');
            text.truncate(last.unwrap_or(0));
        }
        Flaw::ColumnTooMany => text.extend_from_slice(b",1"),
        Flaw::Field if line == Line::Fare && field == FARE_PAYMENT => replace(text, 0, b"x"),
        Flaw::Field => replace(text, field, b"x"),
        Flaw::NotUtf8 if line == Line::Fare => replace(text, FARE_PAYMENT, b"CR\xff"),
        Flaw::NotUtf8 => replace(text, 1, b"START\xff"),
        Flaw::EmptyTip => replace(text, FARE_TIP, b""),
        Flaw::NullValue => text.clear(),
    }
}

/// Fields of a line.
pub(super) fn fields(line: Line) -> usize {
    match line {
        Line::Start | Line::End => 11,
        Line::Fare => 8,
    }
}

fn replace(text: &mut Vec<u8>, field: usize, with: &[u8]) {
    let is_comma = |byte: &u8| *byte == b',';
    let start = match field {
        0 => 0,
        _ => text
            .iter()
            .enumerate()
            .filter(|(_, byte)| is_comma(byte))
            .nth(field - 1)
            .map_or(text.len(), |(at, _)| at + 1),
    };
    let end = text[start..].iter().position(is_comma).map_or(text.len(), |length| start + length);
    text.splice(start..end, with.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::super::area::Point;
    use super::super::trip::{Fate, Paid, Payment};
    use super::*;

    const RIDE: Ride = Ride {
        id: 6,
        start: 1_356_998_400,
        seconds: 600,
        from: Point { lon: -73_866_135, lat: 40_771_091 },
        to: Point { lon: -73_961_330, lat: 40_764_912 },
        taxi: 2_013_000_006,
        driver: 2_013_000_007,
        paid: Paid { by: Payment::Card, tip: 64, tolls: 0, total: 414 },
        area: 0,
        passengers: 6,
        fate: Fate::Joins,
        twice: None,
    };

    fn print(line: Line) -> String {
        let mut out = Vec::new();
        Printer::new().print(&mut out, line, &RIDE);
        String::from_utf8(out).expect("valid lines are ASCII")
    }

    fn spoiled(line: Line, flaw: Flaw, field: usize) -> String {
        let mut text = print(line).into_bytes();
        spoil(&mut text, line, flaw, field);
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn lines_are_as_the_topics_carry_them() {
        assert_eq!(
            print(Line::Start),
            "6,START,2013-01-01 00:00:00,1970-01-01 00:00:00,\
             -73.866135,40.771091,-73.96133,40.764912,6,2013000006,2013000007"
        );
        assert_eq!(
            print(Line::End),
            "6,END,2013-01-01 00:10:00,2013-01-01 00:00:00,\
             -73.866135,40.771091,-73.96133,40.764912,6,2013000006,2013000007"
        );
        assert_eq!(print(Line::Fare), "6,2013000006,2013000007,2013-01-01 00:00:00,CRD,0.64,0,4.14");
    }

    #[test]
    fn a_broken_line_is_broken_in_one_place() {
        let fare = "6,2013000006,2013000007,2013-01-01 00:00:00";
        assert_eq!(spoiled(Line::Fare, Flaw::ColumnTooFew, 0), format!("{fare},CRD,0.64,0"));
        assert_eq!(spoiled(Line::Fare, Flaw::ColumnTooMany, 0), format!("{fare},CRD,0.64,0,4.14,1"));
        assert_eq!(spoiled(Line::Fare, Flaw::Field, 7), format!("{fare},CRD,0.64,0,x"));
        assert_eq!(spoiled(Line::Fare, Flaw::EmptyTip, 0), format!("{fare},CRD,,0,4.14"));
        assert_eq!(spoiled(Line::Fare, Flaw::NotUtf8, 0), format!("{fare},CR\u{fffd},0.64,0,4.14"));
        assert_eq!(spoiled(Line::Fare, Flaw::Field, 4), print(Line::Fare).replacen('6', "x", 1));
    }
}
