//! A line into a record, or the reason why it is none. No allocation, no copy: a field is read where it lies.

use std::fmt;

use atoi::FromRadix10SignedChecked;

use super::amount::Amount;
use super::digits;
use super::record::{Fare, Point, Ride, RideKind};
use super::time::EventTime;

const RIDE_COLUMNS: usize = 11;
const FARE_COLUMNS: usize = 8;
/// As many digits as fit an `i64`, whichever they are.
const DIGITS_OF_ANY_I64: usize = 18;

/// Why a line is kept in quarantine. The first that applies, in the order of the variants; of several fields
/// that do not parse, the first of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalid {
    /// A Kafka record without a value.
    NullValue,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// Another number of columns than the topic has.
    Columns {
        /// Columns of the line.
        found: usize,
        /// Columns of the topic.
        expected: usize,
    },
    /// A field that does not parse, by its name in the topic's header.
    Field(&'static str),
}

impl Invalid {
    /// The kind of reason: a label of metrics, so one of a few.
    pub const fn category(self) -> &'static str {
        match self {
            Invalid::NullValue => "null_value",
            Invalid::NotUtf8 => "not_utf8",
            Invalid::Columns { .. } => "columns",
            Invalid::Field(_) => "field",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::NullValue => write!(f, "null value"),
            Invalid::NotUtf8 => write!(f, "not UTF-8"),
            Invalid::Columns { found, expected } => write!(f, "{found} columns, expected {expected}"),
            Invalid::Field(name) => write!(f, "{name} does not parse"),
        }
    }
}

/// Reads a line of the rides topic.
pub fn ride(line: &[u8]) -> Result<Ride, Invalid> {
    let fields = Fields::<RIDE_COLUMNS>::split(line)?;
    let broken = |name| move || broken(line, name);
    Ok(Ride {
        id: int(fields.get(0)).ok_or_else(broken("rideId"))?,
        kind: kind(fields.get(1)).ok_or_else(broken("isStart"))?,
        event_time: EventTime::parse(fields.get(2)).ok_or_else(broken("eventTime"))?,
        other_time: EventTime::parse(fields.get(3)).ok_or_else(broken("otherTime"))?,
        start: Point {
            lon: degrees(fields.get(4)).ok_or_else(broken("startLon"))?,
            lat: degrees(fields.get(5)).ok_or_else(broken("startLat"))?,
        },
        end: Point {
            lon: degrees(fields.get(6)).ok_or_else(broken("endLon"))?,
            lat: degrees(fields.get(7)).ok_or_else(broken("endLat"))?,
        },
        passengers: int(fields.get(8)).ok_or_else(broken("passengerCnt"))?,
        taxi_id: int(fields.get(9)).ok_or_else(broken("taxiId"))?,
        driver_id: int(fields.get(10)).ok_or_else(broken("driverId"))?,
    })
}

/// Reads a line of the fares topic.
pub fn fare(line: &[u8]) -> Result<Fare<'_>, Invalid> {
    let fields = Fields::<FARE_COLUMNS>::split(line)?;
    let broken = |name| move || broken(line, name);
    Ok(Fare {
        id: int(fields.get(0)).ok_or_else(broken("rideId"))?,
        taxi_id: int(fields.get(1)).ok_or_else(broken("taxiId"))?,
        driver_id: int(fields.get(2)).ok_or_else(broken("driverId"))?,
        start_time: EventTime::parse(fields.get(3)).ok_or_else(broken("startTime"))?,
        payment_type: payment_type(fields.get(4)).ok_or_else(broken("paymentType"))?,
        tip: Amount::parse(fields.get(5)).ok_or_else(broken("tip"))?,
        tolls: Amount::parse(fields.get(6)).ok_or_else(broken("tolls"))?,
        total: Amount::parse(fields.get(7)).ok_or_else(broken("totalFare"))?,
    })
}

#[cold]
fn broken(line: &[u8], field: &'static str) -> Invalid {
    utf8_or(line, Invalid::Field(field))
}

/// Bytes that are not UTF-8 never parse as a field, so the whole line is looked at only once it has failed.
#[cold]
fn utf8_or(line: &[u8], reason: Invalid) -> Invalid {
    if std::str::from_utf8(line).is_err() { Invalid::NotUtf8 } else { reason }
}

/// The columns of a line: where each ends.
struct Fields<'a, const N: usize> {
    line: &'a [u8],
    ends: [usize; N],
}

impl<'a, const N: usize> Fields<'a, N> {
    fn split(line: &'a [u8]) -> Result<Self, Invalid> {
        let mut ends = [line.len(); N];
        let mut found = 1;
        let mut column_ends = |end: usize| {
            if found < N {
                ends[found - 1] = end;
            }
            found += 1;
        };
        let (words, rest) = line.as_chunks::<8>();
        for (i, word) in words.iter().enumerate() {
            let mut commas = digits::places(*word, b',');
            while commas != 0 {
                column_ends(i * 8 + commas.trailing_zeros() as usize / 8);
                commas &= commas - 1;
            }
        }
        for (i, byte) in rest.iter().enumerate() {
            if *byte == b',' {
                column_ends(words.len() * 8 + i);
            }
        }
        if found != N {
            return Err(utf8_or(line, Invalid::Columns { found, expected: N }));
        }
        Ok(Fields { line, ends })
    }

    fn get(&self, column: usize) -> &'a [u8] {
        let start = if column == 0 { 0 } else { self.ends[column - 1] + 1 };
        &self.line[start..self.ends[column]]
    }
}

fn kind(field: &[u8]) -> Option<RideKind> {
    match field {
        b"START" => Some(RideKind::Start),
        b"END" => Some(RideKind::End),
        _ => None,
    }
}

/// Digits that cannot pass an `i64`, as nearly all are, are read here; the library reads the rest.
fn int<I: TryFrom<i64> + FromRadix10SignedChecked>(field: &[u8]) -> Option<I> {
    if field.is_empty() || field.len() > DIGITS_OF_ANY_I64 {
        return signed(field);
    }
    match digits::number(field) {
        Some(number) => I::try_from(number).ok(),
        None => signed(field),
    }
}

/// A sign alone is no number, though the library reads it as none.
#[cold]
fn signed<I: FromRadix10SignedChecked>(field: &[u8]) -> Option<I> {
    if !field.last()?.is_ascii_digit() {
        return None;
    }
    match I::from_radix_10_signed_checked(field) {
        (Some(number), used) if used == field.len() => Some(number),
        _ => None,
    }
}

/// Nearly all are a tenth of a metre of this city, two digits and six; the library reads the rest.
fn degrees(field: &[u8]) -> Option<f64> {
    let number = match micro_degrees(field) {
        Some(number) => number,
        None => fast_float2::parse(field).ok()?,
    };
    number.is_finite().then_some(number)
}

fn micro_degrees(field: &[u8]) -> Option<f64> {
    let (sign, digits) = match *field {
        [b'-', a, b, b'.', c, d, e, f, g, h] => (-1.0, digits::eight([a, b, c, d, e, f, g, h])?),
        [a, b, b'.', c, d, e, f, g, h] => (1.0, digits::eight([a, b, c, d, e, f, g, h])?),
        _ => return None,
    };
    // Both are exact as floats, so their quotient is the float next to the decimal.
    Some(sign * digits as f64 / 1e6)
}

fn payment_type(field: &[u8]) -> Option<&str> {
    if field.is_empty() { None } else { std::str::from_utf8(field).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIDE: &str = "6,END,2013-01-01 00:10:00,2013-01-01 00:00:00,-73.866135,40.771091,-73.961334,40.764912,6,2013000006,2013000007";
    const FARE: &str = "65,2013000065,2013000066,2013-01-01 00:00:09,CRD,0.64,0,4.14";

    #[test]
    fn a_ride_is_read_to_the_letter() {
        let ride = ride(RIDE.as_bytes()).expect("valid");
        assert_eq!((ride.id, ride.kind, ride.passengers), (6, RideKind::End, 6));
        assert_eq!((ride.taxi_id, ride.driver_id), (2013000006, 2013000007));
        assert_eq!(ride.event_time.to_string(), "2013-01-01 00:10:00");
        assert_eq!(ride.other_time.to_string(), "2013-01-01 00:00:00");
        assert_eq!(ride.start, Point { lon: -73.866135, lat: 40.771091 });
        assert_eq!(ride.end, Point { lon: -73.961334, lat: 40.764912 });
    }

    #[test]
    fn a_fare_is_read_to_the_letter() {
        let fare = fare(FARE.as_bytes()).expect("valid");
        assert_eq!((fare.id, fare.taxi_id, fare.driver_id), (65, 2013000065, 2013000066));
        assert_eq!(fare.payment_type, "CRD");
        assert_eq!(fare.tip, Amount::from_micros(640_000));
        assert_eq!(fare.tolls, Amount::from_micros(0));
        assert_eq!(fare.total, Amount::from_micros(4_140_000));
    }

    #[test]
    fn each_field_that_does_not_parse_is_named() {
        let names = [
            "rideId",
            "isStart",
            "eventTime",
            "otherTime",
            "startLon",
            "startLat",
            "endLon",
            "endLat",
            "passengerCnt",
            "taxiId",
            "driverId",
        ];
        for (column, name) in names.into_iter().enumerate() {
            let mut fields: Vec<&str> = RIDE.split(',').collect();
            for broken in ["", "x", "1x", "+", "-"] {
                fields[column] = broken;
                assert_eq!(ride(fields.join(",").as_bytes()), Err(Invalid::Field(name)), "{broken:?}");
            }
        }
        let names = ["rideId", "taxiId", "driverId", "startTime", "paymentType", "tip", "tolls", "totalFare"];
        for (column, name) in names.into_iter().enumerate() {
            let mut fields: Vec<&str> = FARE.split(',').collect();
            fields[column] = "";
            assert_eq!(fare(fields.join(",").as_bytes()), Err(Invalid::Field(name)));
        }
    }

    #[test]
    fn the_number_of_columns_and_utf8_come_first() {
        let columns = |found, expected| Err(Invalid::Columns { found, expected });
        assert_eq!(ride(b""), columns(1, 11));
        assert_eq!(ride(format!("{RIDE},").as_bytes()), columns(12, 11));
        assert_eq!(fare(RIDE.as_bytes()), Err(Invalid::Columns { found: 11, expected: 8 }));
        assert_eq!(ride(b"\xff"), Err(Invalid::NotUtf8));
        assert_eq!(
            fare(FARE.replace("CRD", "\u{1F695}").as_bytes()).expect("text").payment_type,
            "\u{1F695}"
        );
        let mut broken = FARE.as_bytes().to_vec();
        broken[40] = 0xff;
        assert_eq!(fare(&broken).map(|_| ()), Err(Invalid::NotUtf8));
    }

    proptest! {
        #[test]
        fn columns_end_at_commas_wherever_they_are(line in "[,-.a\\x2b\\x2d\\xac€]{0,60}") {
            let expected: Vec<&[u8]> = line.as_bytes().split(|byte| *byte == b',').collect();
            match Fields::<FARE_COLUMNS>::split(line.as_bytes()) {
                Ok(fields) => prop_assert_eq!((0..FARE_COLUMNS).map(|i| fields.get(i)).collect::<Vec<_>>(), expected),
                Err(reason) => prop_assert_eq!(reason, Invalid::Columns { found: expected.len(), expected: FARE_COLUMNS }),
            }
        }

        #[test]
        fn degrees_are_read_as_rust_reads_them(text in "-?[0-9]{2}[.][0-9]{5,7}|[+-]?[0-9.e-]{0,12}") {
            let expected = text.parse::<f64>().ok().filter(|number| number.is_finite());
            prop_assert_eq!(degrees(text.as_bytes()).map(f64::to_bits), expected.map(f64::to_bits));
        }

        #[test]
        fn a_whole_number_is_read_as_rust_reads_it(text in "[+-]?[0-9]{0,21}|[0-9+.-]{0,12}") {
            prop_assert_eq!(int::<i64>(text.as_bytes()), text.parse().ok());
            prop_assert_eq!(int::<i32>(text.as_bytes()), text.parse().ok());
        }
    }

    #[test]
    fn infinities_and_overflows_do_not_parse() {
        for (column, text, name) in [
            (4, "NaN", "startLon"),
            (5, "inf", "startLat"),
            (0, "9223372036854775808", "rideId"),
            (8, "2147483648", "passengerCnt"),
            (2, "2013-02-30 00:00:00", "eventTime"),
            (1, "start", "isStart"),
        ] {
            let mut fields: Vec<&str> = RIDE.split(',').collect();
            fields[column] = text;
            assert_eq!(ride(fields.join(",").as_bytes()), Err(Invalid::Field(name)));
        }
    }
}
