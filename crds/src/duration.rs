//! Durations as they are written in a TipsPipeline: `30m`, `2h`, `1h30m`, `90s`.
//!
//! A subset of Go's `time.ParseDuration` (as GEP-2257 has it): hours, minutes and seconds in whole
//! numbers. Whole numbers cannot overflow, be negative or lose precision, so every string that
//! the pattern admits is a duration. `kube::core::Duration` is not used since it panics on input
//! such as `5m-3s` and writes `30m` back as `1800s`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration {
    secs: u64,
}

/// What `Duration` accepts, as a regular expression for the API server.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";
const MAX_PARTS: usize = 3;
const MAX_DIGITS: usize = 5;

impl Duration {
    /// `secs` seconds.
    pub const fn seconds(secs: u32) -> Self {
        Self { secs: secs as u64 }
    }

    /// `minutes` minutes.
    pub const fn minutes(minutes: u32) -> Self {
        Self { secs: minutes as u64 * 60 }
    }

    /// `hours` hours.
    pub const fn hours(hours: u32) -> Self {
        Self { secs: hours as u64 * 3600 }
    }

    /// The number of seconds.
    pub const fn as_secs(self) -> u64 {
        self.secs
    }

    pub(crate) const fn is_whole_minutes(self) -> bool {
        self.secs > 0 && self.secs.is_multiple_of(60)
    }

    /// Whether a whole number of `self` fills `other`.
    pub(crate) const fn divides(self, other: Self) -> bool {
        self.secs > 0 && other.secs.is_multiple_of(self.secs)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_secs(duration.secs)
    }
}

/// A string that is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write whole hours, minutes and seconds such as 30m, 2h or 1h30m")]
pub struct ParseDurationError(String);

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseDurationError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut secs = 0;
    let mut parts = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, tail) = rest.split_at(unit);
        parts += 1;
        if parts > MAX_PARTS || digits.len() > MAX_DIGITS {
            return None;
        }
        let scale = match tail.as_bytes()[0] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        secs += digits.parse::<u64>().ok()? * scale;
        rest = &tail[1..];
    }
    (parts > 0).then_some(Duration { secs })
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (h, m, s) = (self.secs / 3600, self.secs / 60 % 60, self.secs % 60);
        if h > 0 {
            write!(f, "{h}h")?;
        }
        if m > 0 {
            write!(f, "{m}m")?;
        }
        if s > 0 || self.secs == 0 {
            write!(f, "{s}s")?;
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30m, 2h or 1h30m")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// `format: duration` makes it a duration, not a string, in CEL rules.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "duration",
            "pattern": PATTERN,
            "maxLength": MAX_PARTS * (MAX_DIGITS + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back_in_its_shortest_form() {
        for (written, shortest) in [
            ("30m", "30m"),
            ("1800s", "30m"),
            ("90m", "1h30m"),
            ("1h0m5s", "1h5s"),
            ("0s", "0s"),
            ("24h", "24h"),
        ] {
            let duration: Duration = written.parse().expect(written);
            let back = duration.to_string();
            assert_eq!(back.parse(), Ok(duration), "{written} -> {back}");
            assert_eq!(back, shortest);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_without_panic() {
        for text in ["", "30", "m", "-5m", "5m-3s", "1.5h", "1d", "100000s", "1h1m1s1s", "٣m", "5µs"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
