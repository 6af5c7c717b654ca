//! Money: exact fixed-point numbers, so that a sum does not depend on the order of its terms.

use std::fmt;
use std::ops::AddAssign;

use super::digits::number;

/// Digits after the point.
pub const SCALE: u32 = 6;
const UNIT: i64 = 1_000_000;
const MAX_WHOLE_DIGITS: usize = 9;

/// An amount in millionths: less than 10^9 in magnitude, at most six digits after the point. Fits Arrow's
/// `Decimal64(18, 6)` and, being below 2^53, a Lua number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// The amount of `micros` millionths.
    pub const fn from_micros(micros: i64) -> Self {
        Amount(micros)
    }

    /// In millionths.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal: an optional sign, digits, an optional point with digits. No exponent, no
    /// blanks, no digits beyond the sixth after the point other than zeros.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
        let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or(&[]));
        if whole.len() + fraction.len() == 0 {
            return None;
        }
        let whole = trim_leading_zeros(whole);
        if whole.len() > MAX_WHOLE_DIGITS {
            return None;
        }
        let (kept, beyond) = fraction.split_at(fraction.len().min(SCALE as usize));
        if beyond.iter().any(|b| *b != b'0') {
            return None;
        }
        let scale = 10_i64.pow(SCALE - kept.len() as u32);
        let micros = number(whole)? * UNIT + number(kept)? * scale;
        Some(Amount(if negative { -micros } else { micros }))
    }
}

fn trim_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

/// Tips of a neighbourhood in a pane or a window: their exact sum in millionths, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TipSum {
    /// Sum of the tips, in millionths.
    pub micros: i128,
    /// Number of trips.
    pub trips: u64,
}

impl TipSum {
    /// One trip with this tip.
    pub fn of(tip: Amount) -> Self {
        TipSum { micros: i128::from(tip.micros()), trips: 1 }
    }

    /// The mean tip; `NaN` where there is no trip.
    pub fn average(self) -> f64 {
        self.micros as f64 / UNIT as f64 / self.trips as f64
    }
}

impl AddAssign for TipSum {
    fn add_assign(&mut self, other: Self) {
        self.micros += other.micros;
        self.trips += other.trips;
    }
}

impl fmt::Display for TipSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = (self.micros + 5_000 * self.micros.signum()) / 10_000;
        let sign = if cents < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", (cents / 100).abs(), (cents % 100).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("0.64", 640_000),
            ("51.8", 51_800_000),
            (".5", 500_000),
            ("3.", 3_000_000),
            ("-1.25", -1_250_000),
            ("+2", 2_000_000),
            ("000000000007", 7_000_000),
            ("0.000001", 1),
            ("1.2300000000", 1_230_000),
            ("999999999.999999", 999_999_999_999_999),
        ] {
            assert_eq!(Amount::parse(text.as_bytes()), Some(Amount(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in [
            "",
            ".",
            "-",
            "+.",
            "1e3",
            "NaN",
            "inf",
            " 1",
            "1 ",
            "1,5",
            "1.2.3",
            "--1",
            "0x10",
            "1000000000",
            "0.0000001",
            "१",
        ] {
            assert_eq!(Amount::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_sum_prints_in_cents() {
        let print = |micros| TipSum { micros, trips: 1 }.to_string();
        assert_eq!(print(1_234_999), "1.23");
        assert_eq!(print(1_235_000), "1.24");
        assert_eq!(print(-5_000), "-0.01");
    }
}
