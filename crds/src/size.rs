//! Sizes in bytes as they are written in a TipsPipeline: `64Mi`, `1Gi`, `500M`, or a plain number.
//!
//! The part of Kubernetes' quantities that makes sense for a file: whole numbers of bytes. Every
//! string that the pattern admits fits a `u64`, and so does every number, which no pattern holds for.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize {
    bytes: u64,
}

/// What `ByteSize` accepts, as a regular expression for the API server.
const PATTERN: &str = "^[0-9]{1,10}(Ki|Mi|Gi|k|M|G)?$";
const MAX_DIGITS: usize = 10;

/// Binary units first and the greatest first, so that a size is written with the fewest digits.
const UNITS: [(&str, u64); 7] = [
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
    ("", 1),
];

impl ByteSize {
    /// `mebibytes` times 2^20 bytes.
    pub const fn mebibytes(mebibytes: u32) -> Self {
        Self { bytes: (mebibytes as u64) << 20 }
    }

    /// `self` and `other` together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// The number of bytes.
    pub const fn as_bytes(self) -> u64 {
        self.bytes
    }
}

/// A string that is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size; write a whole number of bytes such as 64Mi, 1Gi or 500M")]
pub struct ParseByteSizeError(String);

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseByteSizeError(text.to_owned());
        let unit = text.find(|c: char| !c.is_ascii_digit());
        let (digits, suffix) = text.split_at(unit.unwrap_or(text.len()));
        let scale = UNITS.iter().find(|(unit, _)| *unit == suffix);
        let (_, scale) = scale.ok_or_else(error)?;
        let number: u64 = digits.parse().map_err(|_| error())?;
        number.checked_mul(*scale).map(|bytes| Self { bytes }).ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = UNITS
            .iter()
            .find(|(_, scale)| self.bytes >= *scale && self.bytes.is_multiple_of(*scale))
            .unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.bytes / scale)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 64Mi, 1Gi or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                bytes.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                bytes.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// A number or a string, as every quantity of Kubernetes is.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": PATTERN,
            "maxLength": MAX_DIGITS + 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("64Mi", 64 << 20),
            ("1Gi", 1 << 30),
            ("500M", 500_000_000),
            ("12k", 12_000),
            ("67108864", 64 << 20),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize { bytes }), "{text}");
        }
    }

    #[test]
    fn a_size_is_written_with_the_fewest_digits_and_read_back() {
        for (bytes, text) in [
            (64 << 20, "64Mi"),
            (3 << 30, "3Gi"),
            (5_000, "5k"),
            (0, "0"),
            (7, "7"),
            ((1 << 34) + 1, "17179869185"),
        ] {
            let size = ByteSize { bytes };
            assert_eq!(size.to_string(), text);
            assert_eq!(text.parse(), Ok(size));
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "Mi", "-1Mi", "1.5Gi", "64MB", "64 Mi", "99999999999Gi", "1Ei"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
